"""Strategies that cheat on purpose are caught; those that do not are not."""

import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from alephtx.core.config import load_config
from alephtx.core.errors import ConfigError, SimulationError
from alephtx.core.kernel import JIT
from alephtx.lab.peek import look, peeks
from tests.engine.bottling import CONFIG, KEY, tape_file

PEEKING = Path(__file__).parent / "peeking"
EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/config.toml"))

slow = pytest.mark.skipif(not JIT, reason="long uncompiled")


@pytest.fixture
def write(tmp_path):
    """Return a maker of configs over the synthetic market, of which the strategy may be told."""
    tape = tape_file(tmp_path, 8_000)

    def make(use=None, **own):
        text = CONFIG.format(fees="", market=f'tapes = {{ "{KEY}" = "{tape}" }}')
        if use is not None:
            lines = "\n".join(f'{key} = "{value}"' for key, value in own.items())
            head, _, _ = text.partition("half_spread_ticks")
            text = re.sub('use = "market_maker"', f'use = "{use}"', head) + lines
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    make.tape = tape
    return make


def loaded(path):
    return load_config(path, mode="paper")


@slow
@pytest.mark.parametrize("cheat", ["opens", "table"])
def test_who_reads_the_recording_that_a_key_names_is_caught(write, cheat):
    path = write(PEEKING / f"{cheat}.py", file=write.tape)
    found = peeks(loaded(path))
    assert (found.kind, found.strategy) == ("decision", "maker")
    assert found.at_ns < found.cut_ns
    assert found.recorded != found.otherwise
    told = [found.recorded, found.otherwise]
    assert any(re.match(rf"{found.at_ns} ns place market (buy|sell) 0.050 at", one) for one in told)


@slow
@pytest.mark.parametrize("cheat", ["opens", "table"])
def test_who_opens_the_recording_past_the_changed_one_is_caught(write, cheat, tmp_path):
    source = (PEEKING / f"{cheat}.py").read_text()
    mine = tmp_path / "mine.py"
    mine.write_text(source.replace('section["file"]', repr(str(write.tape))))
    found = peeks(loaded(write(mine)))
    assert found.kind == "file"
    assert str(write.tape) in found.recorded


@slow
def test_the_verb_says_who_when_and_both_decisions(write):
    words = [sys.executable, "-m", "alephtx.cli", "lab", "peek"]
    path = write(PEEKING / "opens.py", file=write.tape)
    done = subprocess.run([*words, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    said = done.stdout
    assert "CAUGHT: strategy maker knew what came later" in said
    assert re.search(r"at \d+ ns, market changed from \d+ ns on \(", said)
    assert re.search(r"as recorded: .*\n *otherwise: .*", said)
    done = subprocess.run(
        [*words, str(write()), "--cuts", "3", "--seed", "5", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    looked = json.loads(done.stdout)
    assert (looked["found"], len(looked["cuts"]), looked["seed"]) == (None, 3, 5)
    assert looked["decisions"] > 10


UNSTEADY = """
import numpy as np
from alephtx.core.view import Needs
from alephtx.core.words import BUY, IOC, MARKET, PLACE
COMPILED = False
NEEDS = Needs(depth=0, timer_ns=100_000_000)
PARAMS = STATE = np.dtype([("spare", "i8")])
calls = [0]
def config_to_params(section, instruments):
    calls[0] += 1
    return np.zeros(1, PARAMS)
def on_timer(now, view, params, state, intents):
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, MARKET, IOC
    intents[0]["side"], intents[0]["qty"] = BUY, 50
    intents[0]["tag"] = __import__("time").perf_counter_ns()
    return 1
"""


def test_who_does_not_repeat_himself_is_told_so(write, tmp_path):
    (tmp_path / "unsteady.py").write_text(UNSTEADY)
    looked = look(loaded(write(tmp_path / "unsteady.py")), cuts=1)
    assert looked.found is not None
    assert not looked.repeats


def test_a_check_of_nothing_is_no_pass(write, tmp_path):
    (tmp_path / "idle.py").write_text(UNSTEADY.replace("return 1", "return 0"))
    with pytest.raises(SimulationError, match="no strategy decides anything"):
        peeks(loaded(write(tmp_path / "idle.py")))
    with pytest.raises(ConfigError, match="0 cuts"):
        peeks(loaded(write()), cuts=0)


@slow
@pytest.mark.parametrize("name", NAMES)
def test_the_strategies_of_the_examples_do_not_know_what_comes(name):
    config = loaded(EXAMPLES / name / "config.toml")
    looked = look(config, cuts=3)
    assert looked.found is None
    assert looked.decisions > 5
    assert msgspec.json.encode(looked)
