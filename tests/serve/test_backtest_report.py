import base64
import hashlib
import json
from decimal import Decimal

import msgspec
import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.instruments import Instruments
from alephtx.serve import backtest_report, backtest_summary
from alephtx.serve.backtest_charts import charts_of
from alephtx.serve.backtest_read import denied_by, equity_of, read_backtest, settled_fills
from alephtx.serve.report.numbers import exact
from tests.serve.backtests import (
    busy_backtest,
    market_of,
    orders_on,
    save,
    signals_of,
    write_backtest,
)
from tests.serve.pages import Page
from tests.serve.runs import CONFIG, INSTRUMENTS, KEYS, PERP, SECOND, SPOT, START, busy_run

EVIL = '"></script><img src=x onerror=alert(1)><!--<script>&amp;\u2028'


def page_of(run):
    page = Page(backtest_report.write(run).read_text(encoding="utf-8"))
    assert not page.problems
    assert len(page.all("script")) == 3
    assert not page.all("img")
    return page


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    return busy_backtest(tmp_path_factory.mktemp("busy"))


@pytest.fixture(scope="module")
def page(busy):
    return page_of(busy)


def test_report_has_every_part_and_names_the_instrument_without_data(page):
    names = [e[1]["id"] for e in page.all("section") if "id" in e[1]]
    assert names == [e[1]["href"].removeprefix("#") for e in page.all("a")]
    assert page.notes() == f"no market data of {KEYS[2]}"
    tiles = {e[2] for e in page.all("div", class_="tile")}
    assert {"25,000rows", "400orders", "300fills", "ab12cd34digest"} <= tiles


def test_report_reaches_for_nothing_outside_the_file(page):
    for tag, attributes, _ in page.elements:
        assert "src" not in attributes, tag
        assert "style" not in attributes, tag
        assert attributes.get("href", "#").startswith("#"), tag
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0][1]["content"]
    for script in (e[2] for e in page.all("script") if "type" not in e[1]):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")


def test_charts_show_the_touch_the_fills_the_signals_and_the_band(page, busy):
    data = page.data
    perp, spot = data["prices"]
    assert (perp["key"], perp["total"], spot["total"]) == (KEYS[PERP], 300, 0)
    assert len(perp["ts"]) == len(perp["bid"]) == len(perp["ask"]) <= 4_000
    assert all(b < a for b, a in zip(perp["bid"], perp["ask"], strict=True))
    market = read_backtest(busy).market(PERP)
    assert max(perp["ask"]) == pytest.approx(market["ask"].max() / 10)
    assert min(perp["bid"]) == pytest.approx(market["bid"].min() / 10)
    assert {fill[3] for fill in perp["fills"]} == {words.MAKER, words.TAKER}
    assert [one["name"] for one in perp["signals"]] == ["obi_5"]  # vamp is NaN throughout
    assert len(perp["signals"][0]["v"]) == 600
    (curve,) = data["markouts"]
    assert {5.0, 30.0, 60.0} <= set(curve["horizons"])
    band = zip(curve["low"], curve["markout"], curve["high"], strict=True)
    assert all(low <= middle <= high for low, middle, high in band)


def test_equity_ends_at_the_tear_sheets_total_and_inventory_at_its_position(page, busy):
    sheet = msgspec.json.decode((busy.path / "sheets.json").read_bytes())[KEYS[PERP]]
    (equity,) = page.data["equity"]
    assert equity["currency"] == "USDT"
    assert max(equity["drawdown"]) <= 0
    assert min(equity["drawdown"]) == pytest.approx(sheet["returns"]["drawdown"])
    (inventory,) = page.data["inventory"]
    held = float(sheet["attribution"]["position"])
    assert inventory["qty"][-1] == pytest.approx(held)
    total = {row[0]: row[1] for row in page.rows("pnl")}["total"]
    assert total == format(float(sheet["attribution"]["total"]), ".8g")
    assert float(total) == pytest.approx(equity["net"][-1], abs=0.05 + abs(held) * 2)


def test_tables_show_markouts_latencies_metrics_and_denials(page):
    assert page.rows("gate") == [["notional", "7"], ["order_rate", "3"]]
    assert [row[1] for row in page.rows("markouts")] == ["5 s", "30 s", "60 s"]
    latency = {row[0]: row for row in page.rows("latency")}
    assert latency["wish to cancel to end"][1:7] == ["100", *["3 ms"] * 5]
    assert latency["intent to first fill"][1] == "300"
    sheet = {row[0]: row[1:] for row in page.rows("sheet")}
    assert sheet["orders"] == ["400", "0"]
    assert sheet["maker share"] == ["80.0 %", "-"]


def test_journal_is_asked_for_denials_that_the_summary_does_not_name(tmp_path):
    run = busy_backtest(tmp_path, count=8, summary={"denied_by": None})
    assert page_of(run).rows("gate") == [["nothing"]]
    told = busy_run(tmp_path, name="20231114-221322-demo-00cc")  # with a journal, and no denied_by
    assert denied_by(read_backtest(told)) == {"notional": 16}


def test_latency_to_the_first_fill_takes_the_first_of_several(busy):
    backtest = read_backtest(busy)
    known = backtest_report.latencies_of(backtest)["intent to first fill"]
    twice = {n: np.concatenate([c, c]) for n, c in backtest.fills.items()}
    twice["ts"][len(known) :] += SECOND
    backtest.fills = twice
    assert (backtest_report.latencies_of(backtest)["intent to first fill"] == known).all()


def test_empty_backtest_says_so(tmp_path):
    run = write_backtest(tmp_path, {}, [], [], sheets={})
    page = page_of(run)
    assert "there are no fills" in page.notes()
    assert all(f"no market data of {key}" in page.notes() for key in KEYS)
    assert "nothing was traded" in page.section("inventory")
    assert "no tear sheets" in page.section("sheet")
    assert page.data["prices"] == []


def test_fills_without_market_data_are_named_and_still_marked(tmp_path):
    orders, fills = orders_on(market_of(100, 60), 20)
    page = page_of(write_backtest(tmp_path, {}, orders, fills, sheets={}))
    assert f"no market data of {KEYS[PERP]}; its 15 fills are not in the equity" in page.notes()
    assert page.data["prices"][0]["total"] == 15


@pytest.mark.parametrize("name", ["orders.parquet", "fills.parquet", "sheets.json", "summary.json"])
def test_missing_and_damaged_files_are_named(tmp_path, name):
    run = busy_backtest(tmp_path, rows=400, seconds=60, count=8)
    (run.path / name).write_bytes(b"{")
    assert f"{name} cannot be read" in page_of(run).notes()
    (run.path / name).unlink()
    assert f"{name} is missing" in page_of(run).notes()


def test_column_with_holes_is_named_and_not_used(tmp_path):
    run = busy_backtest(tmp_path, rows=400, seconds=60, count=8)
    columns = read_backtest(run).fills
    save(run.path / "fills.parquet", {**columns, "price": [None] * len(columns["ts"])})
    notes = page_of(run).notes()
    assert "fills.parquet cannot be used: price must be whole numbers" in notes
    assert "there are no fills" in notes


def test_damaged_market_data_counts_as_none(tmp_path):
    run = busy_backtest(tmp_path, rows=400, seconds=60, count=8)
    (run.path / "market" / f"{SPOT}.parquet").write_bytes(b"PAR1")
    save(run.path / "market" / f"{PERP}.parquet", {"ts_ns": [1], "bid": [1]})
    notes = page_of(run).notes()
    assert f"no market data of {KEYS[SPOT]}" in notes
    assert f"no market data of {KEYS[PERP]}; its 6 fills" in notes


def test_a_run_of_an_earlier_version_says_that_its_clocks_differ(tmp_path):
    run = busy_backtest(tmp_path, rows=400, seconds=60, count=8, summary={"funding": {"USDT": "1"}})
    path = run.path / "market" / f"{PERP}.parquet"
    market = read_backtest(run).market(PERP)
    save(path, {name: market[name] for name in ("ts_ns", "bid", "bid_qty", "ask", "ask_qty")})
    page = page_of(run)
    assert (
        f"{PERP}.parquet is of an earlier version: its prices stand when we heard" in page.notes()
    )
    assert "funding.parquet is missing: funding is not in the equity" in page.notes()
    assert page.data["prices"][0]["total"] == 6


def test_funding_is_in_the_equity(tmp_path):
    run = busy_backtest(tmp_path, rows=400, seconds=60, count=8)
    before = equity_of(read_backtest(run))["USDT"][1]
    paid = {"instrument": [PERP, SPOT + 5], "ts": [START, START], "received": [250_000_000, 9]}
    save(run.path / "funding.parquet", paid)
    after = equity_of(read_backtest(run))["USDT"][1]
    assert after[-1] - before[-1] == pytest.approx(2.5)


def test_alarms_and_notes_of_the_run_stand_at_the_top(tmp_path):
    told = {"alarms": ["strategy x stopped"], "notes": ["fees of y are not known"]}
    run = busy_backtest(tmp_path, rows=400, seconds=60, count=8, summary=told)
    assert page_of(run).notes().startswith("strategy x stoppedfees of y are not known")


def test_hostile_names_stay_text(tmp_path):
    fields = {
        name: getattr(INSTRUMENTS[PERP], name) for name in INSTRUMENTS[PERP].__struct_fields__
    }
    table = Instruments([msgspec.convert({**fields, "key": f"x:{EVIL}"}, type(INSTRUMENTS[PERP]))])
    market = market_of(500, 60)
    orders, fills = orders_on(market, 40, instrument=0)
    config = CONFIG.replace("[strategies.mm]", f"[strategies.{json.dumps(EVIL)}]")
    signals = {0: {"ts_ns": signals_of(60)["ts_ns"], EVIL: np.ones(60)}}
    page = page_of(
        write_backtest(
            tmp_path, {0: market}, orders, fills, signals=signals, table=table, config=config,
            summary={"digest": EVIL, "denied_by": {EVIL: 1}},
        )
    )  # fmt: skip
    (chart,) = page.data["prices"]
    assert chart["key"] == f"x:{EVIL}"
    assert chart["strategies"][1] == EVIL
    assert chart["signals"][0]["name"] == EVIL
    assert page.rows("gate") == [[EVIL, "1"]]


def test_fee_in_coin_is_valued_at_the_fill_and_a_third_currency_is_counted(busy):
    backtest = read_backtest(busy)
    names = backtest.instruments.currencies
    coin, other = names.index("BTC"), len(names)
    names.append("BNB")
    paid = backtest.fills["fee_currency"]
    backtest.fills["fee_currency"] = np.where(np.arange(len(paid)) == 0, coin, other)
    fills, left = settled_fills(backtest, PERP)
    assert left == len(paid) - 1
    assert fills.fee[0] == round(6_180_000 * int(fills.price[0]) / 10)
    assert not fills.fee[1:].any()


def test_long_backtest_makes_a_small_page_that_keeps_its_extremes(tmp_path):
    rows, trades, seconds = 400_000, 100_000, 40_000
    market = market_of(rows, seconds)
    market["ask"][123_456] = 900_000
    run = write_backtest(tmp_path, {PERP: market, SPOT: market}, [], [], sheets={})
    random = np.random.default_rng(2)
    at = np.sort(random.integers(0, rows, trades))
    zero = np.zeros(trades, np.int64)
    side = random.choice([-1, 1], trades)
    save(run.path / "fills.parquet", {
        "ts": market["ts_ns"][at], "order_id": np.arange(trades), "account": zero,
        "instrument": zero + PERP, "strategy": zero, "side": side, "price": market["bid"][at],
        "qty": zero + 1, "fee": zero, "fee_currency": zero + 1, "liquidity": zero + 1,
        "trade_id": np.arange(trades),
    })  # fmt: skip
    signals = {f"s{k}": random.normal(0, 1e-3, seconds) for k in range(10)}
    for k in (PERP, SPOT):
        save(run.path / "signals" / f"{k}.parquet", {"ts_ns": market["ts_ns"][:seconds], **signals})
    written = backtest_report.write(run)
    assert written.stat().st_size < 3_000_000
    page = Page(written.read_text(encoding="utf-8"))
    perp = page.data["prices"][0]
    assert max(perp["ask"]) == 90_000.0
    assert len(perp["fills"]) <= 5_000
    assert "of 100,000 fills are marked" in page.section("prices")
    assert max(f[1] for f in perp["fills"]) == market["bid"][at].max() / 10
    for chart in [*page.data["equity"], *page.data["prices"], *page.data["inventory"]]:
        assert len(chart["ts"]) <= 4_000
        assert all(len(one["ts"]) <= 4_000 for one in chart.get("signals", ()))


def test_unknown_touch_is_a_gap(tmp_path):
    market = market_of(100, 60)
    market["bid_qty"][40:60] = 0
    run = write_backtest(tmp_path, {PERP: market}, [], [], sheets={})
    backtest = read_backtest(run)
    (chart,) = charts_of(backtest, equity_of(backtest))["prices"]
    assert chart["bid"][40:60] == [None] * 20
    assert None not in chart["bid"][:40]


def test_terminal_summary_says_what_was_earned_and_why(busy):
    summary = msgspec.json.decode(busy.summary.read_bytes())
    sheets = msgspec.json.decode((busy.path / "sheets.json").read_bytes())
    told = backtest_summary.lines(summary, sheets)
    text = "\n".join(told)
    assert "\x1b" not in text
    assert "25,000 rows" in told[0]
    assert KEYS[PERP] in text
    assert KEYS[SPOT] not in text
    spread = Decimal(sheets[KEYS[PERP]]["attribution"]["spread"])
    assert f"spread {exact(spread)} " in text
    assert "5 s " in text
    assert told[-1] == "denied: notional 7, order_rate 3"
    narrow = backtest_summary.lines(summary, sheets, width=60)
    assert max(map(len, narrow)) <= 60
    assert "\x1b[" in "\n".join(backtest_summary.lines(summary, sheets, color=True))


def test_summary_of_a_directory_is_plain_where_there_is_no_terminal(busy, capsys):
    backtest_summary.show(busy)
    told = capsys.readouterr().out.splitlines()
    assert "25,000 rows" in told[0]
    assert told[-1] == str(busy.path)
    assert "\x1b" not in "".join(told)


def test_terminal_summary_of_nothing_says_so_and_steers_no_terminal():
    told = backtest_summary.lines({"digest": "\x1b[2Jx", "rows": 0}, {"a\x1b": {}})
    assert told[-1] == "nothing was traded"
    assert "\x1b" not in "\n".join(told)


def test_start_of_data_is_where_the_header_says(page):
    assert "2023-11-14 22:13:20 to 2023-11-14 22:23:19 UTC" in page.text("header")
