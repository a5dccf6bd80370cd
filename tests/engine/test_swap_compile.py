"""What the process beside an engine finds in a version, before the engine has seen it."""

import asyncio
from decimal import Decimal

import pytest

from alephtx.core import words
from alephtx.core.config import load_config
from alephtx.core.errors import AlephError, PluginError
from alephtx.core.instruments import Instrument, Instruments
from alephtx.engine import swap_beside
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.swap_beside import check_beside
from alephtx.engine.swap_compile import check
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_publish
from tests.engine import swapping as s

KEY = "binance_usdm:BTC-USDT-PERP"
CONFIG = """\
[node]
name = "swap"
mode = "paper"
runs = "{folder}/runs"
[matrix]
path = "{folder}/matrix"
depth = 4
[risk]
notional_max = 1000
position_notional_max = 1000
drawdown_max = 100
[venues.binance_usdm]
symbols = ["BTC-USDT-PERP"]
[accounts.a]
venue = "binance_usdm"
[accounts.a.paper]
USDT = "1000"
[strategies.quoter]
use = "{folder}/v1.py"
instruments = ["binance_usdm:BTC-USDT-PERP"]
accounts = ["a"]
"""
HANGING = s.TEXT + "\nwhile True:\n    pass\n"


@pytest.fixture
def place(tmp_path):
    """A run's directory and a matrix with one quoted instrument."""
    (tmp_path / "v1.py").write_text(s.TEXT)
    file = tmp_path / "config.toml"
    file.write_text(CONFIG.format(folder=tmp_path))
    table = Instruments([
        Instrument(
            key=KEY, venue="binance_usdm", symbol="BTCUSDT", base="BTC", quote="USDT",
            settle="USDT", contract=words.LINEAR, price_scale=2, qty_scale=3,
            tick_size=Decimal("0.01"), lot_size=Decimal("0.001"), qty_max=Decimal(100),
            price_max=Decimal(1_000_000),
        )
    ])  # fmt: skip
    run = RunDirectory.create(tmp_path / "runs", "swap", load_config(file).dump())
    run.save_instruments(table)
    with Matrix.create(tmp_path / "matrix", table, Geometry(depth=4, ring_slots=64)) as matrix:
        top_publish(matrix.map, 0, 1, 1, 6_000_000, 10, 6_000_100, 10, 0)
        yield run, matrix, tmp_path
        matrix.unlink()


def tried(place, text):
    run, matrix, folder = place
    file = folder / "v2.py"
    file.write_text(text)
    check(run, matrix, "quoter", file)


@pytest.mark.parametrize("text", [s.TEXT, s.DOUBLE, s.OTHER_STATE], ids=["same", "other", "wider"])
def test_a_version_that_may_run_passes(place, text):
    tried(place, text)


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("SyntaxError", "def f(:\n"),
        ("never acts", s.changed(("def on_", "def off_"))),
        ("takes 4 arguments", s.changed(("def on_event(event, view", "def on_event(view"))),
        ("no migrate", s.UNMIGRATED),
        ("lacks PARAMS", s.changed(("PARAMS = ", "PARAMETERS = "), ("PARAMS)", "PARAMETERS)"))),
        ("the matrix holds 4", s.changed(("NEEDS = Needs(", "NEEDS = Needs(depth=5, "))),
        ("compiled, its new version plain", s.changed(("COMPILED = True", "COMPILED = False"))),
        ("returned an error code 3 times when tried", s.FAILING),
        ("returned an error code 3 times when tried", s.WILD),
        ("does not compile", s.changed((s.TOP, s.TOP + '    state = "x" + 1\n'))),
    ],
)
def test_a_version_that_may_not_run_is_refused_by_what_is_wrong(place, why, text):
    with pytest.raises(AlephError, match=why):
        tried(place, text)


def test_a_plain_python_version_is_tried_too(place):
    run, _, folder = place
    plain = s.changed(("COMPILED = True", "COMPILED = False"))
    (folder / "v1.py").write_text(plain)
    tried(place, plain)
    with pytest.raises(PluginError, match="on_event raised ZeroDivisionError"):
        tried(place, plain.replace(s.TOP, s.TOP + "    1 // 0\n"))
    assert run.path.is_dir()


def beside(place, text, seconds):
    run, matrix, folder = place
    file = folder / "v2.py"
    file.write_text(text)
    return asyncio.run(check_beside(run, str(matrix.path), "quoter", file, seconds))


def test_a_version_that_hangs_is_killed_and_one_that_crashes_is_a_refusal(place):
    with pytest.raises(PluginError, match="not compiled and tried within 6 s"):
        beside(place, HANGING, 6)
    with pytest.raises(PluginError, match="signal SIGSEGV"):
        beside(place, "import ctypes\nctypes.string_at(1)\n", 120)
    with pytest.raises(PluginError, match="exit code 7"):
        beside(place, "import os\nos._exit(7)\n", 120)


def test_a_process_that_says_nonsense_is_a_refusal(place, monkeypatch):
    monkeypatch.setattr(swap_beside, "MODULE", "this")
    with pytest.raises(PluginError, match="ended with exit code 0"):
        beside(place, s.TEXT, 60)
