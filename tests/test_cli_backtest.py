"""`alephtx backtest` from the prompt: what its first line may cost."""

import json
import os
import subprocess
import sys

import pytest

from alephtx.core.kernel import JIT
from tests.engine.bottling import CONFIG, KEY, tape_file

HEAVY = (
    "numba.core", "scipy", "pandas", "polars", "pyarrow", "duckdb", "httpx", "websockets", "picows",
    "asyncio", "rich.live", "alephtx.core.compiling", "alephtx.engine.session",
)  # fmt: skip
WATCH = """
import json, sys
from alephtx.cli import backtest, main
heavy = sys.argv.pop(1).split()
say = backtest._Bar.say
def watched(bar, line):
    print(json.dumps([name for name in heavy if name in sys.modules]))
    say(bar, line)
backtest._Bar.say = watched
sys.exit(main())
"""
"""Says which of some modules are imported when the first line comes."""


def start(config, **environment):
    """Begin a backtest that says what is imported when its first line comes."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("NUMBA_")}
    return subprocess.Popen(
        [sys.executable, "-c", WATCH, " ".join(HEAVY), "backtest", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, **environment},
    )


def finish(process, seconds=300):
    """Return the heavy modules that it needed, and the digest that it came to."""
    said, errors = process.communicate(timeout=seconds)
    assert process.returncode == 0, errors[-2000:]
    lines = said.splitlines()
    return json.loads(lines[0]), lines[2].split("digest ")[1]


@pytest.fixture
def config(tmp_path):
    market = f'tapes = {{ "{KEY}" = "{tape_file(tmp_path)}" }}'
    text = CONFIG.format(fees="", market=market)
    path = tmp_path / "config.toml"
    path.write_text(text.replace("[node]", f'[node]\nruns = "{tmp_path / "runs"}"'))
    return path


@pytest.mark.kernel
@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_the_first_line_of_a_warm_backtest_needs_no_compiler(config):
    (_, first), (heavy, second) = (finish(start(config)) for _ in range(2))
    assert heavy == []
    assert first == second


@pytest.mark.timeout(900)
@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_eight_backtests_at_once_on_an_empty_cache_agree_and_leave_it_warm(config, tmp_path):
    cache = tmp_path / "cache"
    cold = [start(config, ALEPHTX_CACHE=str(cache)) for _ in range(8)]
    try:
        digests = {finish(process, 800)[1] for process in cold}
    finally:
        for process in cold:
            process.kill()
            process.communicate()
    heavy, digest = finish(start(config, ALEPHTX_CACHE=str(cache)))
    assert heavy == []
    assert digests == {digest}
