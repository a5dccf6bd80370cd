"""Importers on the whole real files, where they lie beside the project."""

import lzma
from collections import Counter

import numpy as np
import pytest

from alephtx.core import words
from alephtx.store.reading import Options
from tests.store.market import SHARED
from tests.store.test_raw import book_of, imported

pytestmark = pytest.mark.skipif(SHARED is None, reason="the real files are not here")


def sole(path, options=None, name=""):
    told, sinks = imported(path, options, name)
    assert (told.damaged, len(sinks)) == (0, 1)
    return told.streams[0].report, next(iter(sinks.values()))


def test_databento_orders_make_the_book_and_cross_only_before_the_open():
    report, sink = sole(SHARED / "cme_mbo" / "esh4-glbx-mdp3-20231225.mbo.dbn.zst")
    assert sink.instrument.key == "glbx:ESH4"
    assert report.unknown_orders == report.bad_rows == 0
    assert (report.snapshots, report.kinds["trade"], report.crossed) == (1, 2_973, 891)
    late = sink.rows[sink.rows["ts_event"] >= 1_703_545_200_000_000_000]  # 23:00 UTC
    first = next(k for k, row in enumerate(late) if row["kind"] == words.TRADE)
    assert first < 50


def test_bitstamp_log_and_csv_tell_the_same_orders():
    folder = SHARED / "l3_bitstamp_20150501"
    log, from_log = sole(folder / "2015-05-01.log.xz")
    csv, from_csv = sole(folder / "orders.csv.xz")
    orders = from_log.rows[from_log.rows["kind"] != words.TRADE]
    names = ["ts_recv", "price", "kind", "side"]
    assert orders[names].tolist() == from_csv.rows[names].tolist()
    # The makers of the CSV file cut 10^-8 off some amounts that their floats did not hold.
    assert np.abs(orders["qty"] - from_csv.rows["qty"]).max() == 1
    text = lzma.decompress((folder / "2015-05-01.log.xz").read_bytes())
    counted = Counter(line.split(b" ")[1] for line in text.splitlines())
    assert log.kinds["order_add"] == counted[b"order_created"] == 24_894
    assert log.kinds["trade"] == counted[b"trade"]
    assert csv.rows == log.rows - log.kinds["trade"]


def test_lobster_orders_agree_with_its_book():
    """The touch after the last message, as far as the messages built it.

    A file of ten levels tells nothing of what happens to an order beyond them.
    """
    folder = SHARED / "l3_equity"
    report, sink = sole(folder / "lobster_AAPL_20120621_message_10_first998.csv")
    assert (report.crossed, report.unknown_orders) == (0, 0)
    assert report.kinds["order_add"] == 471
    resting = {}
    for row in sink.rows:
        kind, key = int(row["kind"]), int(row["seq"])
        if kind == words.ORDER_ADD:
            resting[key] = [int(row["side"]), int(row["price"]), int(row["qty"])]
        elif kind == words.ORDER_CHANGE:
            resting[key][2] = int(row["qty"])
        elif kind == words.ORDER_FILL:
            resting[key][2] -= int(row["qty"])
        elif kind == words.ORDER_DELETE:
            del resting[key]
    ours = Counter()
    for side, price, qty in resting.values():
        ours[side, price] += qty
    last = (folder / "lobster_AAPL_20120621_orderbook_10_first998.csv").read_text().split()[-1]
    fields = [int(field) for field in last.split(",")]
    book = {(-1, fields[k]): fields[k + 1] for k in range(0, 40, 4)}
    book |= {(1, fields[k]): fields[k + 1] for k in range(2, 40, 4)}
    for (side, price), qty in ours.items():
        inside = price <= fields[8] if side < 0 else price >= fields[10]  # the best three
        if qty and inside:
            assert book.get((side, price), 0) >= qty


@pytest.mark.parametrize("market", ["fut", "spot"])
def test_snapshots_as_changes_end_in_the_last_snapshot(market):
    import pyarrow.parquet as pq

    path = SHARED / "lob_binance_20260216" / f"lobdeep_btc_{market}_2026-02-16_04.parquet"
    report, sink = sole(path)
    assert (report.gaps, report.crossed, report.snapshots) == (0, 0, 1)
    table = pq.read_table(path)
    last = table.slice(table.num_rows - 1).to_pylist()[0]
    scale, lots = sink.instrument.price_scale, sink.instrument.qty_scale
    expected = {
        side: {
            round(price * 10**scale): round(qty * 10**lots)
            for price, qty in zip(last[f"{word}_px"], last[f"{word}_qty"], strict=True)
        }
        for side, word in ((1, "bids"), (-1, "asks"))
    }
    assert book_of(sink.rows) == expected
    assert len(sink.rows) < 0.05 * 2_000 * table.num_rows


def test_trades_in_parquet_are_exact():
    import pyarrow.parquet as pq

    path = SHARED / "lob_binance_20260216" / "trades_btc_spot_2026-02-16_04.parquet"
    _, sink = sole(path)
    table = pq.read_table(path)
    prices = sink.rows["price"] / 10**sink.instrument.price_scale
    assert prices.tolist() == table["price"].to_pylist()
    assert sink.instrument.price_scale == 2


def test_consolidated_quotes_are_crossed_and_locked_as_known():
    """0.02 % crossed and 2.6 % locked, says who made the files."""
    report, _ = sole(SHARED / "ticks_us_equity" / "aig_20131007_quote.zip")
    assert round(100 * report.crossed / report.messages, 2) == 0.02
    assert round(100 * report.locked / report.messages, 1) == 2.6


@pytest.mark.parametrize("kind", ["quote", "trade"])
def test_every_lean_minute_file_reads(kind):
    for path in sorted((SHARED / "minute_crypto").glob(f"*_{kind}.zip")):
        report, sink = sole(path)
        assert 0 < report.messages <= 1_440
        assert report.clocks.event_back == 0
        assert np.all(sink.rows["kind"] == (words.TOP if kind == "quote" else words.BAR))


def test_trades_without_sizes_read_by_named_columns():
    options = Options(venue="bitflyer", symbol="BTCJPY", columns={"time": "date", "price": "last"})
    path = SHARED / "trades_btcjpy_20180812" / "bitflyerJPY_2018-08-12_small.csv.gz"
    report, sink = sole(path, options, "columns")
    assert report.rows > 17_000
    assert sink.instrument.price_scale == 0


def test_one_polymarket_market_reads_in_order():
    slug = "aachc-fifa-wc-2026-07-19-esp-gs-fwcalegri"
    path = SHARED / "prediction_polymarket" / "quotes_2026-07-12.parquet"
    report, sink = sole(path, Options(only=(slug,)))
    assert report.messages == 703
    assert report.clocks.event_back == 0
    assert sink.rows["price"].max() <= 10_000
