"""What `alephtx backtest` says where something went wrong, and that no run is lost."""

import errno
import json
import os
import shutil
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pyarrow import parquet

from alephtx.cli import CONFIG, INTERRUPTED, OK, main
from alephtx.core import words
from alephtx.core.kernel import JIT
from alephtx.core.records import EVENT
from alephtx.engine.rundir import RunDirectory
from alephtx.store.ticks import write_ticks
from tests.engine.bottling import KEY, config_text, events, tape_file
from tests.serve.pages import Page
from tests.terminal import interrupt_at, on_terminal

GOLDEN = Path(__file__).parent / "golden"
PLAIN = """
import numpy as np
from alephtx.core.view import Needs
COMPILED = False
NEEDS = Needs()
PARAMS = STATE = np.dtype([("x", "i8")])
def config_to_params(section, instruments):
    return np.zeros(1, PARAMS)
"""
FAILS = f"""{PLAIN}
def price_of(book):
    return book["nowhere"]
def on_event(event, view, params, state, intents):
    price_of({{}})
    return 0
"""
"""Fails at line 11: price_of is the strategy's own innermost frame."""
GOES_ON = f"""{PLAIN}
def on_event(event, view, params, state, intents):
    if state[0]["x"] == 0:
        print("it goes", flush=True)
    state[0]["x"] = 1
    sum(range(1_000))
    return 0
"""

on_a_terminal = pytest.mark.skipif(not JIT, reason="long uncompiled")


def write_config(folder, text, strategy=""):
    """Write c.toml; strategy: a file of Python instead of the market maker."""
    if strategy:
        (folder / "own.py").write_text(strategy)
        text = text.replace('use = "market_maker"', 'use = "./own.py"').split("half_spread")[0]
    (folder / "c.toml").write_text(text)
    return folder / "c.toml"


def latest(folder):
    return RunDirectory((folder / "runs" / "latest").resolve())


def notes_of(folder):
    return latest(folder).read_json(latest(folder).summary)["notes"]


# -- a strategy that fails -------------------------------------------------------------------


def test_a_strategy_that_fails_is_told_before_all_else(tmp_path, capsys):
    tape_file(tmp_path, 3_000)
    assert main(["backtest", str(write_config(tmp_path, config_text(), FAILS))]) == CONFIG
    at = f"{tmp_path / 'own.py'}:11"
    _, *told = capsys.readouterr().out.splitlines()
    alarm = f"! strategy maker stopped: on_event raised KeyError('nowhere') at {at}"
    assert " ".join(told).startswith(alarm)
    run = latest(tmp_path)
    summary = run.read_json(run.summary)
    assert summary["counters"]["strategy_errors"] == 1
    notes = Page(run.report.read_text()).all("section", class_="notes")[0][2]
    assert notes.startswith("strategy maker stopped")
    assert at in notes


def test_a_compiled_strategy_that_counts_wrongly_is_told_too(tmp_path, capsys):
    tape_file(tmp_path, 3_000)
    wrong = PLAIN.replace("False", "True") + (
        "def on_event(event, view, params, state, intents):\n    return -1\n"
    )
    assert main(["backtest", str(write_config(tmp_path, config_text(), wrong))]) == CONFIG
    assert "! a compiled hook returned a wrong count of intents" in capsys.readouterr().out


# -- what nobody stated ----------------------------------------------------------------------


def test_fees_that_nobody_stated_are_noted(tmp_path, capsys):
    rows, instrument = events(3_000)
    free = msgspec.structs.replace(instrument, maker_fee=Decimal(0), taker_fee=Decimal(0))
    write_ticks(tmp_path / "market.ticks", free, rows)
    told = f"fees of {KEY} are not known: counted as 0; state maker_fee_bps"
    stated = 'maker_fee_bps = "0"\ntaker_fee_bps = "0"'
    for fees, said in (
        ("", told), ('maker_fee_bps = "0"', f"taker {told[:-13]}taker_fee_bps"), (stated, ""),
    ):  # fmt: skip
        assert main(["backtest", str(write_config(tmp_path, config_text(fees=fees)))]) == OK
        assert [note[: len(said)] for note in notes_of(tmp_path)] == ([said] if said else [])
        out = capsys.readouterr().out
        assert ("not known" in out) is bool(said)
        assert ("not known" in latest(tmp_path).report.read_text()) is bool(said)


def test_a_future_that_its_file_alone_speaks_for_is_noted(tmp_path):
    """As `data import` makes ES futures: one point of one contract is not one dollar."""
    rows, instrument = events(3_000)
    future = msgspec.structs.replace(
        instrument, key="synthetic:BTCUSDT", qty_scale=0, qty_max=Decimal(0),
        price_max=Decimal(0), lot_size=Decimal(1), contract=words.LINEAR,
    )  # fmt: skip
    text = config_text().replace(KEY, future.key).replace('"0.05"', '"5"').replace('"0.5"', '"50"')
    for value, told in ((Decimal(1), True), (Decimal(50), False)):
        one = msgspec.structs.replace(future, contract_value=value)
        write_ticks(tmp_path / "market.ticks", one, rows)
        assert main(["backtest", str(write_config(tmp_path, text)), "--json"]) == OK
        said = "contract value of synthetic:BTCUSDT is not known: counted as 1"
        assert any(note.startswith(said) for note in notes_of(tmp_path)) is told


@pytest.mark.parametrize(
    ("side", "levels", "said"),
    [(0, 5, "says which side took"), (0, 0, "backtest.depth_levels makes them up"), (1, 5, "")],
)
def test_trades_that_make_no_market_are_noted(tmp_path, side, levels, said):
    _, instrument = events(10)
    rows = np.zeros(500, EVENT)
    rows["ts_event"] = rows["ts_recv"] = 1_700_000_000 * 10**9 + np.arange(500) * 10**8
    rows["kind"], rows["flags"], rows["side"] = words.TRADE, words.LAST_IN_MESSAGE, side
    rows["price"], rows["qty"], rows["seq"] = 500_000 + np.arange(500) % 7, 10, np.arange(500)
    write_ticks(tmp_path / "market.ticks", instrument, rows)
    text = config_text().replace("[backtest]\n", f"[backtest]\ndepth_levels = {levels}\n")
    assert main(["backtest", str(write_config(tmp_path, text)), "--json"]) == OK
    assert [said in note for note in notes_of(tmp_path)] == ([True] if said else [])


# -- no run is lost --------------------------------------------------------------------------


def test_a_run_in_another_currency_at_a_venue_with_ways_of_its_own_is_written(tmp_path):
    rows, instrument = events(3_000)
    yen = msgspec.structs.replace(instrument, quote="JPY", settle="JPY")
    away = msgspec.structs.replace(yen, venue="afar", key="afar:BTC-JPY-PERP")
    write_ticks(tmp_path / "market.ticks", yen, rows)
    write_ticks(tmp_path / "away.ticks", away, rows)
    tapes = f'tapes = {{ "{KEY}" = "market.ticks", "{away.key}" = "away.ticks" }}'
    text = config_text(f'{tapes}\nsignals = ["microprice", "vamp"]')
    text = text.replace("[risk]", '[risk]\nrates = { JPY = "0.009" }')
    text += f"""
[backtest.venues.afar.entry]
kind = "constant"
delay_ns = 9_000_000
[venues.afar]
symbols = ["BTCUSDT"]
[accounts.far]
venue = "afar"
[strategies.there]
use = "market_maker"
instruments = ["{away.key}"]
accounts = ["far"]
half_spread_ticks = 2
qty_base = "0.05"
inventory_max_base = "0.5"
"""
    assert main(["backtest", str(write_config(tmp_path, text)), "--json"]) == OK
    sheets = latest(tmp_path).read_json(latest(tmp_path).path / "sheets.json")
    assert {key: sheet["currency"] for key, sheet in sheets.items()} == {
        KEY: "JPY", away.key: "JPY"
    }  # fmt: skip


def test_a_disk_that_fills_up_while_it_is_measured_costs_no_run(tmp_path, capsys, monkeypatch):
    tape_file(tmp_path, 3_000)
    write = parquet.write_table

    def full(table, where, **named):
        if "market" in str(Path(where).parent.name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(table, where, **named)

    monkeypatch.setattr(parquet, "write_table", full)
    assert main(["backtest", str(write_config(tmp_path, config_text()))]) == CONFIG
    run = latest(tmp_path)
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert f"{run.path} is kept, though not all of it was written" in said
    monkeypatch.undo()
    assert main(["report", str(run.path)]) == OK
    assert "tear sheets" in Page(run.report.read_text()).notes()


def test_a_mistake_of_ours_after_the_run_keeps_its_journal(tmp_path, capsys, monkeypatch):
    tape_file(tmp_path, 3_000)

    def broken(*_):
        raise AssertionError("a bug")

    monkeypatch.setattr("alephtx.engine.bottled.Story", broken)
    assert main(["backtest", str(write_config(tmp_path, config_text()))]) == 1
    (run,) = (tmp_path / "runs").glob("2*")
    assert f"alephtx: {run} is kept, with its journal" in capsys.readouterr().err
    assert list((run / "journal").iterdir())


# -- Ctrl-C ----------------------------------------------------------------------------------


@on_a_terminal
def test_an_interrupted_backtest_says_so_and_leaves_nothing(tmp_path):
    tape_file(tmp_path, 100_000)
    write_config(tmp_path, config_text(), GOES_ON)
    code, shown = on_terminal(
        "backtest", "c.toml", folder=tmp_path, hands=interrupt_at("it goes")
    )  # fmt: skip
    assert code == INTERRUPTED
    assert "alephtx: interrupted; the run was discarded" in shown
    assert "Traceback" not in shown
    assert not list((tmp_path / "runs").glob("2*"))


@on_a_terminal
@pytest.mark.parametrize(
    ("words_of", "said"),
    [(("backtest", "c.toml"), "nothing was run"), (("diff", "run"), "the replays were discarded")],
)
def test_so_does_one_that_still_compiles(tmp_path, words_of, said):
    shutil.copytree(GOLDEN / "sessions" / "maker", tmp_path / "run")
    tape_file(tmp_path, 100)
    write_config(tmp_path, config_text())
    code, shown = on_terminal(
        *words_of, folder=tmp_path, hands=interrupt_at("compiling kernels"),
        ALEPHTX_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip
    assert code == INTERRUPTED
    assert f"alephtx: interrupted; {said}" in shown
    assert "Traceback" not in shown


def test_what_is_told_is_in_the_summary_as_json(tmp_path, capsys):
    tape_file(tmp_path, 3_000)
    assert main(["backtest", str(write_config(tmp_path, config_text(), FAILS)), "--json"]) == CONFIG
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(summary["alarms"]) == 1
    assert summary["notes"] == []
