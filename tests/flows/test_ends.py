"""How runs end and why they do not begin: signals, and refusals of one clear line each."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import alephtx
from alephtx.cli import CONFIG, INTERRUPTED, OK
from alephtx.engine.rundir import runs
from tests.flows.river import River, Twins, environment, is_ours, prove, until

pytestmark = pytest.mark.flow

SPOT = ("binance_spot",)


@pytest.fixture(scope="module")
def spot(warm, tmp_path_factory):
    """One twin for all refusals."""
    made = Twins(tmp_path_factory.mktemp("spot"), SPOT)
    yield made
    made.stop()


@pytest.fixture
def small(spot, tmp_path):
    """A config that makes a market at one venue."""
    made = River(tmp_path, spot, makers=SPOT, coins=())
    yield made
    made.close()


def command(*words, folder=None, **more):
    """Run `alephtx ...` to its end; return (exit code, output, lines of stderr)."""
    ended = subprocess.run(
        [*more.pop("before", ()), sys.executable, "-m", "alephtx.cli", *map(str, words)],
        capture_output=True, text=True, timeout=60, cwd=folder, env=environment(**more),
        check=False,
    )  # fmt: skip
    noise = ("compiling ", " info ")
    lines = [line for line in ended.stderr.splitlines() if not any(n in line for n in noise)]
    return ended.returncode, ended.stdout, lines


def refused(result, *said):
    """Hold an ended command to one clear line and a code that says so."""
    code, _, lines = result
    assert code == CONFIG, lines
    assert len(lines) == 1, lines
    assert lines[0].startswith("alephtx: ")
    for text in said:
        assert text in lines[0]


def test_second_interrupt_forces_and_sigterm_ends_the_next_life_in_order(river, twins):
    """Ctrl-C twice ends at once and says what may be open; the next life cleans that up."""
    life = river.start()
    life.trading(20, 5)
    children = [life.pid("engine"), *(life.pid(f"feeder:{venue}") for venue in twins.venues)]
    life.process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    began = time.monotonic()
    code, summary = life.end(signal.SIGINT)
    assert code == INTERRUPTED
    assert time.monotonic() - began < 10
    assert not summary["reconciled"]
    assert not any(is_ours(pid) for pid in children)
    assert not river.matrix.exists()
    again = river.start()
    again.trading(10, 3, epoch=2, reached=30)
    code, summary = again.end(signal.SIGTERM)
    prove(again.run, twins, summary, orders=30, fills=8)
    assert code == OK
    assert not list(Path("/dev/shm").glob(f"*{river.matrix.name}*"))


def test_second_instance_on_the_same_matrix_or_run_is_refused(small, spot, tmp_path):
    """One owner per matrix, one per run; the first one does not even notice."""
    life = small.start()
    until(lambda: life.counters().get("orders", 0) > 0, 40, "the first one trades")
    refused(command("run", small.config), "is still going")
    other = small.config.with_name("other.toml")
    other.write_text(small.config.read_text().replace('name = "flow"', 'name = "second"'))
    refused(command("run", other, "--fresh"), str(small.matrix), "in use by a living owner")
    assert len(list(runs(small.runs))) == 1
    orders = life.counters()["orders"]
    until(lambda: life.counters().get("orders", 0) > orders, 20, "the first one goes on")
    code, summary = life.end()
    assert (code, summary["reconciled"]) == (OK, True)


def test_no_room_for_the_matrix_is_one_line(small, tmp_path):
    """A tmpfs that is too small is said in bytes, and nothing is left behind."""
    full = tmp_path / "full"
    full.mkdir()
    mount = f"mount -t tmpfs -o size=256k none {full} && exec"
    probe = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} true"], capture_output=True, check=False
    )
    if probe.returncode:
        pytest.skip(f"no mount namespace here: {probe.stderr.decode().strip()}")
    text = small.config.read_text().replace(str(small.matrix), str(full / "matrix"))
    small.config.write_text(text)
    before = ("unshare", "-rm", "sh", "-c", f'{mount} "$@"', "sh")
    refused(command("run", small.config, before=before), "no room for", str(full))
    assert not list(runs(small.runs))


def test_busy_port_of_a_twin_is_one_line():
    """A port that somebody has is named."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, lines = command("twin", "binance_spot", "--port", f"binance_spot={port}")
    assert code != OK
    assert len(lines) == 1, lines
    assert str(port) in lines[0]


def test_truncated_recording_ends_the_twin_with_one_line(tmp_path):
    """A recording whose end is missing is named, not replayed as far as it goes."""
    package = Path(alephtx.__file__).parent
    shutil.copytree(package, tmp_path / "alephtx", ignore=shutil.ignore_patterns("__pycache__"))
    (recording,) = (tmp_path / "alephtx/twins/recordings").glob("spot_btcusdt_*.zst")
    os.truncate(recording, recording.stat().st_size // 12)
    code, _, lines = command(
        "twin", "binance_spot", "--speed", "0", PYTHONPATH=str(tmp_path), NUMBA_DISABLE_JIT="1"
    )
    assert code != OK
    assert len(lines) == 1, lines
    assert recording.name in lines[0]


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ('use = "market_maker"', 'use = "market_baker"', "market_baker"),
        ("half_spread_bps", "half_spred_bps", "half_spred_bps"),
        ("band_bps = 100", "band_bps = 0", "band_bps"),
        ('symbols = ["BTCUSDT", ', 'symbols = ["NOSUCH", ', "NOSUCH"),
    ],
)
def test_bad_config_is_named(small, wrong, right, said):
    """What a user mistyped is in the one line, and no run directory stays."""
    text = small.config.read_text()
    assert wrong in text
    small.config.write_text(text.replace(wrong, right))
    refused(command("run", small.config), said)
    assert not list(runs(small.runs))


def test_venue_that_is_not_there_is_one_line(small, spot):
    """Nobody listens: the venue is named, with the exit code of venues."""
    text = small.config.read_text()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    small.config.write_text(text.replace(str(spot.ports["binance_spot"]), str(port)))
    code, _, lines = command("run", small.config)
    assert code == 4
    assert len([line for line in lines if line.startswith("alephtx: ")]) == 1
    assert not any("Traceback" in line for line in lines)
