"""What a run is measured by: costs against the tape's own trades, amends, and one clock for all."""

import msgspec
import numpy as np
import pytest
from pyarrow import parquet

from alephtx.cli import CONFIG, OK, main
from alephtx.core.words import LAST_IN_MESSAGE, TICK_LOCAL, TRADE
from alephtx.engine.measured import trades_of
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.tapes import Tape
from alephtx.serve.backtest_charts import charts_of
from alephtx.serve.backtest_compare import compare
from alephtx.serve.backtest_read import equity_of, quotes_from, read_backtest
from alephtx.store.ticks import write_ticks
from tests.engine.bottling import KEY, config_text, events, tape_file
from tests.serve.pages import Page

ROWS = 30_000
LATE = """
[backtest.feed]
kind = "constant"
delay_ns = 2_000_000_000
"""
AMENDER = """
import numpy as np
from alephtx.core import words as w
from alephtx.core.view import Needs
COMPILED = False
NEEDS = Needs()
PARAMS = STATE = np.dtype([("n", "i8")])
def config_to_params(section, instruments):
    return np.zeros(1, PARAMS)
def on_event(event, view, params, state, intents):
    state[0]["n"] += 1
    n, top, row = int(state[0]["n"]), view.top[0], intents[0]
    row["instrument"], row["type"], row["tif"], row["side"] = 0, w.LIMIT, w.GTC, 1
    if n in (100, 200):  # one that rests far away, one that takes
        row["op"], row["qty"] = w.PLACE, 50
        row["price"] = top["bid"] - 500 if n == 100 else top["ask"] + 20
        return 1
    if n in (300, 400, 500, 600):
        row["op"], row["target_order_id"] = w.AMEND, view.orders[0]["order_id"]
        row["price"], row["qty"] = top["bid"] - 500, 50
        return 1
    return 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("measured")
    tape_file(made, ROWS)
    return made


def run_of(folder, text, name):
    (folder / f"{name}.toml").write_text(text)
    assert main(["backtest", str(folder / f"{name}.toml")]) == OK
    return RunDirectory((folder / "runs" / "latest").resolve())


@pytest.fixture(scope="module")
def ran(folder):
    return run_of(folder, config_text(), "maker")


@pytest.fixture(scope="module")
def late(folder):
    return run_of(folder, config_text() + LATE, "late")


def sheet_of(run):
    return run.read_json(run.path / "sheets.json")[KEY]


# -- costs -----------------------------------------------------------------------------------


def test_orders_are_held_against_the_public_trades_of_their_time(ran):
    rows, _ = events(ROWS)
    trades = rows[rows["kind"] == TRADE]
    end = int(rows["ts_event"][-1])
    orders = parquet.read_table(ran.path / "orders.parquet").to_pylist()
    bps, lots = [], []
    for order in orders:
        over = order["ts_end"] or end
        near = trades[(trades["ts_event"] >= order["ts_intent"]) & (trades["ts_event"] <= over)]
        if order["filled"] and len(near):
            vwap = float((near["price"] * near["qty"]).sum()) / float(near["qty"].sum())
            paid = order["value"] / order["filled"]
            bps.append(order["side"] * (paid - vwap) / vwap * 1e4)
            lots.append(order["filled"])
    costs = sheet_of(ran)["costs"]
    assert costs["vwap_count"] == len(bps) > 20
    assert costs["vwap_bps"] == pytest.approx(np.average(bps, weights=lots))


def test_trades_come_in_parts_of_the_venues_clock(monkeypatch):
    rows, _ = events(2_000)
    rows["flags"][::3] |= TICK_LOCAL  # said again, for our side only
    monkeypatch.setattr("alephtx.engine.measured.PART_ROWS", 300)
    parts = list(trades_of(Tape(rows, base=7, unit=2, qty_unit=5)))
    assert len(parts) == 7
    wanted = rows[(rows["kind"] == TRADE) & (rows["flags"] & TICK_LOCAL == 0)]
    ts, price, qty = (np.concatenate(column) for column in zip(*parts, strict=True))
    assert ts.tolist() == wanted["ts_event"].tolist()
    assert price.tolist() == (7 + 2 * wanted["price"]).tolist()
    assert qty.tolist() == (5 * wanted["qty"]).tolist()


def test_amends_count_in_the_order_to_trade_ratio(folder):
    (folder / "amender.py").write_text(AMENDER)
    text = config_text().replace('"market_maker"', '"./amender.py"').split("half_spread")[0]
    run = run_of(folder, text, "amender")
    activity, counters = sheet_of(run)["activity"], run.read_json(run.summary)["counters"]
    assert (counters["denied"], counters["strategy_errors"], counters["orders"]) == (0, 0, 6)
    assert activity["orders"] == 2
    assert activity["order_to_trade"] == (2 + 4) / activity["fills"]


def test_costs_and_alignment_are_shown_where_the_other_figures_are(folder, ran, capsys):
    page = Page(ran.report.read_text())
    sheet = sheet_of(ran)
    assert sheet["vamp_levels"] == 5
    rows = {row[0]: row[1] for row in page.rows("sheet")}
    for name, path in (("of it against the mid at arrival", "trading"),
                       ("against the VWAP, bps", "vwap_bps")):  # fmt: skip
        assert rows[name] == f"{sheet['costs'][path]:+,.2f}"
    aligned = [row for row in page.rows("markouts") if row[1] == "VAMP of 5 levels"]
    five = sheet["alignment"][0]
    said = f"{five['r']:+.2f} ({five['low']:+.2f} .. {five['high']:+.2f})"
    assert [row[2] for row in aligned] == ["5 s", "30 s", "60 s"]
    assert aligned[0][3:] == [said, str(five["count"]), str(five["yes"])]
    assert main(["backtest", str(folder / "maker.toml"), "--no-report"]) == OK
    told = capsys.readouterr().out
    assert f"VAMP of 5  5 s {said}" in told
    assert f"against VWAP {sheet['costs']['vwap_bps']:+.2f} bps" in told


def test_of_best_prices_alone_the_alignment_is_the_microprices(folder, tmp_path):
    run = run_of(folder, config_text(), "maker")
    market = parquet.read_table(run.path / "market" / "0.parquet").to_pydict()
    touch = [market[name] for name in ("ts_venue_ns", "bid", "bid_qty", "ask", "ask_qty")]
    rows, instrument = events(2 * len(touch[0]))
    rows[:] = np.zeros((), rows.dtype)
    for k, (ts, *sides) in enumerate(zip(*touch, strict=True)):
        for s in range(2):
            row = rows[2 * k + s]
            row["ts_event"] = row["ts_recv"] = ts
            row["kind"], row["side"], row["seq"] = 8, 1 - 2 * s, k
            row["price"], row["qty"] = sides[2 * s], sides[2 * s + 1]
            row["flags"] = LAST_IN_MESSAGE if s else 0
    write_ticks(tmp_path / "market.ticks", instrument, rows)
    tops = run_of(tmp_path, config_text(), "tops")
    assert sheet_of(tops)["vamp_levels"] == 1


# -- one clock -------------------------------------------------------------------------------


def test_a_late_feed_moves_neither_prices_nor_signals_nor_equity_off_the_fills(late):
    backtest = read_backtest(late)
    market, sheet = backtest.market(0), sheet_of(late)
    assert (market["ts_ns"] - market["ts_venue_ns"] >= 2 * 10**9).all()
    charts = charts_of(backtest, equity_of(backtest))
    (prices,), (equity,) = charts["prices"], charts["equity"]
    assert prices["ts"][0] == pytest.approx(int(market["ts_venue_ns"][0]) / 1e9, abs=1e-3)
    assert min(equity["drawdown"]) == pytest.approx(sheet["returns"]["drawdown"])
    quotes = quotes_from(market)
    (signal,) = prices["signals"]
    at = np.searchsorted(quotes.ts, np.array(signal["ts"]) * 1e9 + 1e3, side="right") - 1
    inside = (quotes.bid[at] - 1 <= signal["v"]) & (signal["v"] <= quotes.ask[at] + 1)
    assert inside.mean() > 0.95
    found, _ = compare([late, late])
    assert found.drawdown == {"USDT": [sheet["returns"]["drawdown"]] * 2}
    assert found.ratios[0][0].first == sheet["returns"]["sharpe"]


# -- clocks that differ ----------------------------------------------------------------------


def test_clocks_that_differ_are_mended_by_what_the_error_says(folder, tmp_path, capsys):
    rows, instrument = events(3_000)
    lacks = np.full(3_000, 1_500_000)
    lacks[1_700] = 3_400_001
    rows["ts_recv"] = np.minimum.accumulate((rows["ts_event"] - lacks)[::-1])[::-1]
    write_ticks(tmp_path / "market.ticks", instrument, rows)
    (tmp_path / "c.toml").write_text(config_text())
    assert main(["backtest", str(tmp_path / "c.toml")]) == CONFIG
    (line,) = capsys.readouterr().err.splitlines()
    most = int((rows["ts_event"] - rows["ts_recv"]).max())
    assert f"{KEY}: row 0 would be heard 1,500,000 ns before it was sent" in line
    assert f"of all rows one {most:,} ns" in line
    needed = -(-most // 1_000_000) * 1_000_000
    assert line.endswith(
        f'set kind = "recorded" and delay_ns = {needed:_} in [backtest.feed]'
    )  # fmt: skip
    mended = f'{config_text()}[backtest.feed]\nkind = "recorded"\ndelay_ns = {needed:_}\n'
    run_of(tmp_path, mended, "mended")


@pytest.mark.parametrize("own", [False, True])
def test_one_remedy_mends_all_tapes_that_are_heard_alike(tmp_path, capsys, own):
    rows, instrument = events(1_000)
    other = msgspec.structs.replace(instrument, key="synthetic:ETH-USDT-PERP", symbol="ETHUSDT")
    for one, lack in ((instrument, 1_500_000), (other, 7_200_000)):
        rows["ts_recv"] = rows["ts_event"] - lack
        write_ticks(tmp_path / f"{one.symbol}.ticks", one, rows)
    tapes = f'tapes = {{ "{KEY}" = "BTCUSDT.ticks", "{other.key}" = "ETHUSDT.ticks" }}'
    text = config_text(tapes)
    text += (
        text[text.index("[strategies.maker]") :].replace("maker]", "other]").replace("BTC", "ETH")
    )
    place = "backtest.venues.synthetic.feed" if own else "backtest.feed"
    stated = f'[{place}]\nkind = "recorded"\ndelay_ns = {{}}\n'
    (tmp_path / "c.toml").write_text(text + stated.format(500_000))
    assert main(["backtest", str(tmp_path / "c.toml")]) == CONFIG
    (line,) = capsys.readouterr().err.splitlines()
    assert "row 0 would be heard 1,000,000 ns before it was sent" in line
    assert line.endswith(f"and delay_ns = 8_000_000 in [{place}]")
    run_of(tmp_path, text + stated.format(8_000_000), "mended")
