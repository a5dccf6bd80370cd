"""A small file of every format, with what is in it: built by hand from the formats' descriptions.

Each builder writes a file and returns a `Case`. rows: (kind, side, price, qty, ts_event) of what
must come out in order, prices and quantities as decimal text, times in ns after `start`.
"""

import struct
import zipfile
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from alephtx.core import words as w
from alephtx.store.reading import Options

MS, SECOND = 1_000_000, 1_000_000_000
DAY = int(datetime(2024, 1, 31, tzinfo=UTC).timestamp()) * SECOND
DAY_NS = 86_400 * SECOND
NEW_YORK = DAY + 5 * 3600 * SECOND


class Case(NamedTuple):
    path: object
    format: str
    key: str
    start: int
    rows: list
    options: Options = Options()
    text: bool = True


def binance_trades_spot(folder):
    path = folder / "BTCUSDT-trades-2024-01-31.csv"
    stamp = DAY // MS
    path.write_text(
        f"1,61800.10000000,0.00500000,309.0,{stamp},True,True\n"
        f"2,61800.20000000,0.10000000,6180.02,{stamp + 5},False,True\n"
    )
    return Case(path, "binance_dump", "binance_spot:BTCUSDT", DAY, [
        (w.TRADE, -1, "61800.1", "0.005", 0), (w.TRADE, 1, "61800.2", "0.1", 5 * MS),
    ])  # fmt: skip


def binance_trades_spot_zip(folder):
    """Spot files of 2025 on: microseconds, zipped."""
    path = folder / "BTCUSDT-trades-2025-01-31.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-trades-2025-01-31.csv",
                         "1,0.10,5,0.5,1738281600000123,False,True\n")  # fmt: skip
    return Case(path, "binance_dump", "binance_spot:BTCUSDT", 1738281600000000000,
                [(w.TRADE, 1, "0.1", "5", 123_000)], text=False)  # fmt: skip


def binance_agg_trades(folder):
    path = folder / "BTCUSD_PERP-aggTrades-2024-01-31.csv"
    stamp = DAY // MS
    path.write_text(
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
        f"100,50000.5,10,200,201,{stamp},true\n101,50000.0,20,202,204,{stamp + 1},false\n"
    )
    return Case(path, "binance_dump", "binance_coinm:BTCUSD_PERP", DAY, [
        (w.TRADE, -1, "50000.5", "10", 0), (w.TRADE, 1, "50000", "20", MS),
    ])  # fmt: skip


def binance_book_ticker(folder):
    path = folder / "BTCUSDT-bookTicker-2024-01-31.csv"
    stamp = DAY // MS
    path.write_text(
        "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,"
        f"event_time\n1,49999.9,1.5,50000.1,2,{stamp},{stamp + 2}\n"
    )
    return Case(path, "binance_dump", "binance_usdm:BTCUSDT", DAY, [
        (w.TOP, 1, "49999.9", "1.5", 0), (w.TOP, -1, "50000.1", "2", 0),
    ])  # fmt: skip


def binance_depth(folder):
    path = folder / "BTCUSDT_T_DEPTH_2024-01-31_depth_update.csv"
    stamp = DAY // MS
    path.write_text(
        "symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty,pu\n"
        f"BTCUSDT,{stamp},1,10,b,snap,10.5,1.25,0\nBTCUSDT,{stamp},1,10,a,snap,10.6,2,0\n"
        f"BTCUSDT,{stamp + 1},11,12,a,set,10.6,0,10\n"
        f"BTCUSDT,{stamp + 2},20,21,b,set,10.4,1,19\n"
    )
    return Case(path, "binance_dump", "binance_usdm:BTCUSDT", DAY, [
        (w.CLEAR, 0, "0", "0", 0), (w.DELTA, 1, "10.5", "1.25", 0), (w.DELTA, -1, "10.6", "2", 0),
        (w.DELTA, -1, "10.6", "0", MS), (w.GAP, 0, "0", "0", 2 * MS),
        (w.DELTA, 1, "10.4", "1", 2 * MS),
    ])  # fmt: skip


def tardis_book(folder):
    path = folder / "deribit_incremental_book_L2_2024-01-31_X.csv"
    us = DAY // 1_000
    head = "deribit,BTC-PERPETUAL"
    path.write_text(
        "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n"
        f"{head},{us},{us + 9},true,bid,100.5,10\n{head},{us},{us + 9},true,ask,101,20\n"
        f"{head},{us + 1},{us + 10},false,bid,100.5,0\n{head},{us + 1},{us + 10},false,bid,100,5\n"
        f"{head},{us + 2},{us + 30},true,bid,99,1\n"
    )
    return Case(path, "tardis", "deribit:BTC-PERPETUAL", DAY, [
        (w.CLEAR, 0, "0", "0", 0), (w.DELTA, 1, "100.5", "10", 0), (w.DELTA, -1, "101", "20", 0),
        (w.DELTA, 1, "100.5", "0", 1_000), (w.DELTA, 1, "100", "5", 1_000),
        (w.GAP, 0, "0", "0", 2_000), (w.CLEAR, 0, "0", "0", 2_000), (w.DELTA, 1, "99", "1", 2_000),
    ])  # fmt: skip


def tardis_trades(folder):
    path = folder / "trades.csv"
    us = DAY // 1_000
    path.write_text(
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        f"bitmex,XBTUSD,{us},{us + 9},a-1,sell,8000.5,100\n"
        f"bitmex,XBTUSD,{us + 1},{us + 9},a-2,unknown,8001,7\n"
    )
    return Case(path, "tardis", "bitmex:XBTUSD", DAY, [
        (w.TRADE, -1, "8000.5", "100", 0), (w.TRADE, 0, "8001", "7", 1_000),
    ])  # fmt: skip


def tardis_quotes(folder):
    path = folder / "quotes.csv"
    us = DAY // 1_000
    path.write_text(
        "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n"
        f"bitmex,XBTUSD,{us},{us + 9},10,8000.5,8000,20\n"
        f"bitmex,XBTUSD,{us + 1},{us + 9},,,7999,1\n"
    )
    return Case(path, "tardis", "bitmex:XBTUSD", DAY, [
        (w.TOP, 1, "8000", "20", 0), (w.TOP, -1, "8000.5", "10", 0),
        (w.TOP, 1, "7999", "1", 1_000), (w.TOP, -1, "0", "0", 1_000),
    ])  # fmt: skip


def tardis_snapshots(folder):
    path = folder / "snapshots.csv"
    us = DAY // 1_000
    path.write_text(
        "exchange,symbol,timestamp,local_timestamp,asks[0].price,asks[0].amount,bids[0].price,"
        "bids[0].amount,asks[1].price,asks[1].amount,bids[1].price,bids[1].amount\n"
        f"x,AB,{us},{us + 9},11,1,10,2,12,3,9,4\nx,AB,{us + 1},{us + 9},11,1,10,5,,,9,4\n"
    )
    return Case(path, "tardis", "x:AB", DAY, [
        (w.CLEAR, 0, "0", "0", 0), (w.DELTA, 1, "10", "2", 0), (w.DELTA, 1, "9", "4", 0),
        (w.DELTA, -1, "11", "1", 0), (w.DELTA, -1, "12", "3", 0),
        (w.DELTA, 1, "10", "5", 1_000), (w.DELTA, -1, "12", "0", 1_000),
    ])  # fmt: skip


def bybit_contract(folder):
    path = folder / "BTCUSDT2024-01-31.csv"
    second = DAY // SECOND
    path.write_text(
        "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,"
        f"foreignNotional\n{second}.5000,BTCUSDT,Sell,0.020,42500.20,MinusTick,m,8.5e+11,0.02,850\n"
        f"{second}.1000,BTCUSDT,Buy,0.010,42500.10,PlusTick,m,4.25001e+11,0.010,425.001\n"
    )
    return Case(path, "bybit_dump", "bybit:BTCUSDT", DAY, [
        (w.TRADE, 1, "42500.1", "0.01", 100 * MS), (w.TRADE, -1, "42500.2", "0.02", 500 * MS),
    ])  # fmt: skip


def bybit_spot(folder):
    path = folder / "BTCUSDT-2024-01-31.csv"
    ms = DAY // MS
    path.write_text(f"id,timestamp,price,volume,side,rpi\n1,{ms},106453.8,0.003718,sell,0\n"
                    f"2,{ms + 7},106456.9,0.000500,buy,0\n")  # fmt: skip
    return Case(path, "bybit_dump", "bybit_spot:BTCUSDT", DAY, [
        (w.TRADE, -1, "106453.8", "0.003718", 0), (w.TRADE, 1, "106456.9", "0.0005", 7 * MS),
    ])  # fmt: skip


def lobster(folder):
    path = folder / "AAPL_2024-01-31_34200000_57600000_message_10.csv"
    path.write_text(
        "34200.000000001,1,11,100,1859400,1\n34200.1,1,12,50,1859500,-1\n"
        "34200.2,2,11,30,1859400,1\n34200.3,4,12,20,1859500,-1\n34200.4,5,0,7,1859450,-1\n"
        "34200.5,3,11,70,1859400,1\n34200.6,4,99,5,1859600,-1\n34200.7,7,0,0,-1,-1\n"
    )
    at = 34_200 * SECOND
    tenth = SECOND // 10
    return Case(path, "lobster", "nasdaq:AAPL", NEW_YORK, [
        (w.ORDER_ADD, 1, "185.94", "100", at + 1), (w.ORDER_ADD, -1, "185.95", "50", at + tenth),
        (w.ORDER_CHANGE, 1, "185.94", "70", at + 2 * tenth),
        (w.TRADE, 1, "185.95", "20", at + 3 * tenth),
        (w.ORDER_FILL, -1, "185.95", "20", at + 3 * tenth),
        (w.TRADE, 1, "185.945", "7", at + 4 * tenth),
        (w.ORDER_DELETE, 1, "185.94", "70", at + 5 * tenth),
        (w.TRADE, 1, "185.96", "5", at + 6 * tenth), (w.STATUS, 0, "0.0002", "0", at + 7 * tenth),
    ])  # fmt: skip


def itch_message(kind, locate, ns, body):
    head = kind.encode() + struct.pack(">HH", locate, 0) + ns.to_bytes(6, "big")
    return struct.pack(">H", len(head + body)) + head + body


def itch_messages():
    """One message of every kind that makes a row, of stock 7, and some of stock 8."""
    at = 34_200 * SECOND
    m = itch_message
    stock, other = b"AAPL    ", b"MSFT    "

    def add(kind, locate, n, ref, side, shares, name, price, tail=b""):
        body = struct.pack(">QcI8sI", ref, side, shares, name, price) + tail
        return m(kind, locate, at + n, body)

    return [
        m("S", 0, at, b"O"),
        m("R", 7, at, stock + bytes(20)),
        m("R", 8, at, other + bytes(20)),
        add("A", 7, 1, 11, b"B", 100, stock, 1_859_400),
        add("A", 8, 1, 1_000, b"B", 5, other, 4_000_000),
        add("F", 7, 2, 12, b"S", 50, stock, 1_859_500, b"MPID"),
        m("E", 7, at + 3, struct.pack(">QIQ", 12, 20, 1)),
        m("C", 7, at + 4, struct.pack(">QIQcI", 12, 10, 2, b"Y", 1_859_600)),
        m("C", 7, at + 5, struct.pack(">QIQcI", 12, 5, 3, b"N", 1_859_600)),
        m("X", 7, at + 6, struct.pack(">QI", 11, 40)),
        m("U", 7, at + 7, struct.pack(">QQII", 11, 13, 30, 1_859_300)),
        m("D", 7, at + 8, struct.pack(">Q", 13)),
        m("P", 7, at + 9, struct.pack(">QcI8sIQ", 0, b"B", 9, stock, 1_859_450, 4)),
        m("Q", 7, at + 10, struct.pack(">Q8sIQc", 1_000, stock, 1_859_450, 5, b"O")),
        m("H", 7, at + 11, stock + b"H" + b" " + b"T1  "),
        m("S", 0, at + 12, b"C"),
    ]


ITCH_ROWS = [
    (w.ORDER_ADD, 1, "185.94", "100", 1), (w.ORDER_ADD, -1, "185.95", "50", 2),
    (w.TRADE, 1, "185.95", "20", 3), (w.ORDER_FILL, -1, "185.95", "20", 3),
    (w.TRADE, 1, "185.96", "10", 4), (w.ORDER_FILL, -1, "185.96", "10", 4),
    (w.ORDER_FILL, -1, "185.96", "5", 5), (w.ORDER_CHANGE, 1, "185.94", "60", 6),
    (w.ORDER_DELETE, 1, "185.94", "60", 7), (w.ORDER_ADD, 1, "185.93", "30", 7),
    (w.ORDER_DELETE, 1, "185.93", "30", 8), (w.TRADE, 0, "185.945", "9", 9),
    (w.TRADE, 0, "185.945", "1000", 10), (w.STATUS, 0, "0.0002", "0", 11),
]  # fmt: skip


def itch(folder):
    path = folder / "01312024.NASDAQ_ITCH50"
    path.write_bytes(b"".join(itch_messages()))
    return Case(path, "itch", "nasdaq:AAPL", NEW_YORK + 34_200 * SECOND, ITCH_ROWS,
                Options(symbol="AAPL"), text=False)  # fmt: skip


def dbn_record(key, action, side, price, size, event, flags, sequence):
    """One MboMsg of version 1 to 3, 56 bytes."""
    head = struct.pack("<BBHIQ", 14, 160, 1, 5, event)
    body = struct.pack("<QqIBBccQiI", key, price, size, flags, 0, action, side, event + 9, 0,
                       sequence)  # fmt: skip
    return head + body


def databento(folder):
    import databento_dbn as dbn

    path = folder / "x.mbo.dbn"
    metadata = dbn.Metadata(
        dataset="GLBX.MDP3", start=DAY, stype_in=dbn.SType.RAW_SYMBOL,
        stype_out=dbn.SType.INSTRUMENT_ID, schema=dbn.Schema.MBO, symbols=["ESH4"], partial=[],
        not_found=[], mappings=[], end=DAY + SECOND, limit=None, ts_out=False,
    )  # fmt: skip
    last, snap, tick = 128, 32, 250_000_000
    records = [
        (1, b"A", b"B", 4799 * SECOND, 3, 0, snap),
        (2, b"A", b"A", 4800 * SECOND, 4, 0, snap | last),
        (3, b"A", b"A", 4800 * SECOND + tick, 1, 5, last),
        (0, b"T", b"B", 4800 * SECOND, 2, 6, 0), (2, b"F", b"A", 4800 * SECOND, 2, 6, 0),
        (2, b"C", b"A", 4800 * SECOND, 2, 6, last), (1, b"M", b"B", 4799 * SECOND, 1, 7, last),
        (3, b"C", b"A", 4800 * SECOND + tick, 1, 8, last), (0, b"R", b"N", 0, 0, 9, last),
    ]  # fmt: skip
    path.write_bytes(metadata.encode() + b"".join(
        dbn_record(key, action, side, price, size, DAY + event, flags, n)
        for n, (key, action, side, price, size, event, flags) in enumerate(records)
    ))  # fmt: skip
    return Case(path, "databento", "glbx:5", DAY, [
        (w.CLEAR, 0, "0", "0", 0), (w.ORDER_ADD, 1, "4799", "3", 0),
        (w.ORDER_ADD, -1, "4800", "4", 0),
        (w.ORDER_ADD, -1, "4800.25", "1", 5), (w.TRADE, 1, "4800", "2", 6),
        (w.ORDER_FILL, -1, "4800", "2", 6), (w.ORDER_CHANGE, 1, "4799", "1", 7),
        (w.ORDER_DELETE, -1, "4800.25", "1", 8), (w.CLEAR, 0, "0", "0", 9),
    ], text=False)  # fmt: skip


BITSTAMP = [
    (w.ORDER_ADD, 1, "236.47", "2", 0), (w.ORDER_FILL, 1, "236.47", "0.21144331", 5 * MS),
    (w.ORDER_ADD, -1, "237", "1", 6 * MS), (w.ORDER_DELETE, -1, "237", "1", 7 * MS),
    (w.ORDER_FILL, 1, "236.47", "1.78855669", 8 * MS),
]  # fmt: skip


def bitstamp_csv(folder):
    path = folder / "orders.csv"
    ms = DAY // MS
    path.write_text(
        "id,timestamp,exchange.timestamp,price,volume,action,direction\n"
        f"1,{ms},{ms},236.47,200000000,created,bid\n"
        f"1,{ms + 5},{ms},236.47,178855669,changed,bid\n"
        f"2,{ms + 6},{ms},237.00,100000000,created,ask\n"
        f"2,{ms + 7},{ms},237.00,100000000,deleted,ask\n1,{ms + 8},{ms},236.47,0,deleted,bid\n"
    )
    return Case(path, "bitstamp", "bitstamp:BTCUSD", DAY, BITSTAMP)


def bitstamp_log(folder):
    path = folder / "a.log"
    ms = DAY // MS

    def line(after, event, key, price, amount, side):
        return (f'{ms + after} order_{event} {{"price": "{price}", "amount": "{amount}", '
                f'"datetime": "1", "id": {key}, "order_type": {side}}}\n')  # fmt: skip

    path.write_text(
        line(0, "created", 1, "236.47", "2.00000000", 0)
        + f'{ms + 1} order_book {{"bids": [["236.47", "2"]], "asks": []}}\n'
        + line(5, "changed", 1, "236.47", "1.78855669", 0)
        + line(6, "created", 2, "237.00", "1.00000000", 1)
        + line(7, "deleted", 2, "237.00", "1.00000000", 1)
        + line(8, "deleted", 1, "236.47", "0.00000000", 0)
        + f'{ms + 9} trade {{"price": 236.47, "amount": 1.7885566900000001, "id": 8}}\n'
    )
    return Case(path, "bitstamp", "bitstamp:BTCUSD", DAY,
                [*BITSTAMP, (w.TRADE, 0, "236.47", "1.78855669", 9 * MS)])  # fmt: skip


def zipped(folder, name, inside, text):
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(inside, text)
    return folder / name


def lean_minute_quotes(folder):
    path = zipped(folder, "crypto_bybit_btcusdt_20240131_quote.zip",
                  "20240131_btcusdt_minute_quote.csv",
                  "0,1,9,0.5,17205.01,0.00531,2,9,1,17206.77,0.00416\n"
                  "60000,1,9,0.5,17221.63,0.003284,,,,,")  # fmt: skip
    minute = 60 * SECOND
    return Case(path, "lean", "bybit_spot:BTCUSDT", DAY, [
        (w.TOP, 1, "17205.01", "0.00531", minute), (w.TOP, -1, "17206.77", "0.00416", minute),
        (w.TOP, 1, "17221.63", "0.003284", 2 * minute), (w.TOP, -1, "0", "0", 2 * minute),
    ], text=False)  # fmt: skip


def lean_minute_trades(folder):
    path = zipped(folder, "cryptofuture_dydx_btcusd_20240131_trade.zip",
                  "20240131_btcusd_minute_trade_perp.csv",
                  "0,87489,87496,87463,87488,1.9414")  # fmt: skip
    at = 60 * SECOND
    return Case(path, "lean", "dydx:BTCUSD", DAY, [
        (w.BAR, 0, "87489", "0", at), (w.BAR, 0, "87496", "0", at), (w.BAR, 0, "87463", "0", at),
        (w.BAR, 0, "87488", "1.9414", at),
    ], text=False)  # fmt: skip


def lean_tick_quotes(folder):
    path = zipped(folder, "aig_20240131_quote.zip", "20240131_aig_Quote_Tick.csv",
                  "14400152,0,0,494100,300,Q,1,0\n14400547,491800,300,0,0,P,1,0")  # fmt: skip
    return Case(path, "lean", "us_equity:AIG", NEW_YORK, [
        (w.TOP, 1, "0", "0", 14400152 * MS), (w.TOP, -1, "49.41", "300", 14400152 * MS),
        (w.TOP, 1, "49.18", "300", 14400547 * MS), (w.TOP, -1, "49.41", "300", 14400547 * MS),
    ], text=False)  # fmt: skip


def lean_tick_trades(folder):
    path = zipped(folder, "aig_20240131_trade.zip", "20240131_aig_Trade_Tick.csv",
                  "14400688,491800,300,P,2000,0")  # fmt: skip
    return Case(path, "lean", "us_equity:AIG", NEW_YORK,
                [(w.TRADE, 0, "49.18", "300", 14400688 * MS)], text=False)  # fmt: skip


def parquet(path, **columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, write_page_checksum=True)
    return path


def lob_books(folder):
    ms = DAY // MS
    path = parquet(
        folder / "books.parquet", ts_ms=[ms + 140, ms + 260], exch_ts_ms=[ms, ms + 120],
        venue=["Binance"] * 2, market_type=["fut"] * 2, symbol=["BTCUSDT"] * 2,
        bids_px=[[10.5, 10.4], [10.5]], bids_qty=[[1.0, 0.001], [1.0]],
        asks_px=[[10.6], [10.6, 10.7]], asks_qty=[[2.0], [2.0, 3.0]],
    )  # fmt: skip
    return Case(path, "lob_parquet", "binance_usdm:BTCUSDT", DAY, [
        (w.CLEAR, 0, "0", "0", 0), (w.DELTA, 1, "10.5", "1", 0), (w.DELTA, 1, "10.4", "0.001", 0),
        (w.DELTA, -1, "10.6", "2", 0), (w.DELTA, 1, "10.4", "0", 120 * MS),
        (w.DELTA, -1, "10.7", "3", 120 * MS),
    ], text=False)  # fmt: skip


def lob_trades(folder):
    ms = DAY // MS
    path = parquet(
        folder / "trades.parquet", ts_ms=[ms + 140, ms + 140], exch_ts_ms=[ms, ms + 1],
        venue=["Binance"] * 2, market_type=["spot"] * 2, symbol=["BTCUSDT"] * 2,
        price=[68424.82, 68424.8], qty=[8e-05, 0.5], side=["buy", "sell"],
    )  # fmt: skip
    return Case(path, "lob_parquet", "binance_spot:BTCUSDT", DAY, [
        (w.TRADE, 1, "68424.82", "0.00008", 0), (w.TRADE, -1, "68424.8", "0.5", MS),
    ], text=False)  # fmt: skip


def polymarket(folder):
    us = np.array([DAY // 1000 + 7, DAY // 1000, DAY // 1000 + 9], "datetime64[us]")
    path = parquet(folder / "quotes.parquet", ts=us, slug=["a", "a", "a"], bid=[0.03, 0.02, None],
                   ask=[0.5, 0.51, 0.5], segment=np.array([1, 1, 2], np.int32))  # fmt: skip
    return Case(path, "polymarket", "polymarket:a", DAY, [
        (w.TOP, 1, "0.02", "1", 0), (w.TOP, -1, "0.51", "1", 0), (w.TOP, 1, "0.03", "1", 7_000),
        (w.TOP, -1, "0.5", "1", 7_000), (w.GAP, 0, "0", "0", 9_000), (w.TOP, 1, "0", "0", 9_000),
        (w.TOP, -1, "0.5", "1", 9_000),
    ], text=False)  # fmt: skip


def columns_csv(folder):
    path = folder / "my.csv"
    path.write_text("when,px,n\n2024-01-31 00:00:00,681008.0,1\n2024-01-31T00:00:01.5Z,681047,2\n")
    options = Options(venue="x", symbol="AB", columns={"time": "when", "price": "px", "qty": "n"})
    return Case(path, "columns", "x:AB", DAY, [
        (w.TRADE, 0, "681008", "1", 0), (w.TRADE, 0, "681047", "2", 1_500 * MS),
    ], options)  # fmt: skip


def columns_levels(folder):
    path = folder / "levels.csv"
    ms = DAY // MS
    path.write_text(
        f"t,local,p,q,s,l,snap\n{ms},{ms + 1},10,1,bid,0,true\n{ms},{ms + 1},11,1,ask,0,true\n"
        f"{ms + 2},{ms + 3},11,0,ask,0,false\n"
    )
    names = {"time": "t", "recv": "local", "price": "p", "qty": "q", "side": "s", "level": "l",
             "is_snapshot": "snap"}  # fmt: skip
    return Case(path, "columns", "x:AB", DAY, [
        (w.CLEAR, 0, "0", "0", 0), (w.DELTA, 1, "10", "1", 0), (w.DELTA, -1, "11", "1", 0),
        (w.DELTA, -1, "11", "0", 2 * MS),
    ], Options(venue="x", symbol="AB", columns=names))  # fmt: skip


def columns_parquet(folder):
    path = parquet(folder / "q.parquet", ts=np.array([DAY, DAY + SECOND], "datetime64[ns]"),
                   bid=[1.5, 1.25], ask=[1.75, None], bid_size=[3.0, 4.0],
                   ask_size=[5.0, None])  # fmt: skip
    return Case(path, "columns", "x:AB", DAY, [
        (w.TOP, 1, "1.5", "3", 0), (w.TOP, -1, "1.75", "5", 0), (w.TOP, 1, "1.25", "4", SECOND),
        (w.TOP, -1, "0", "0", SECOND),
    ], Options(venue="x", symbol="AB"), text=False)  # fmt: skip


def columns_bars(folder):
    path = folder / "bars.csv"
    path.write_text(
        "Date,Open,High,Low,price of close,Volume\n2024-01-31,10,12.5,9,11,7\n"
        "2024-02-01,11,11,11,11,\n"
    )
    names = {"time": "Date", "open": "Open", "high": "High", "low": "Low",
             "close": "price of close", "volume": "Volume"}  # fmt: skip
    one, two = DAY_NS, 2 * DAY_NS
    return Case(path, "columns", "x:AB", DAY, [
        (w.BAR, 0, "10", "0", one), (w.BAR, 0, "12.5", "0", one), (w.BAR, 0, "9", "0", one),
        (w.BAR, 0, "11", "7", one), (w.BAR, 0, "11", "0", two), (w.BAR, 0, "11", "0", two),
        (w.BAR, 0, "11", "0", two), (w.BAR, 0, "11", "0", two),
    ], Options(venue="x", symbol="AB", stamp="start", period_ns=DAY_NS, columns=names))  # fmt: skip


BUILDERS = [
    binance_trades_spot, binance_trades_spot_zip, binance_agg_trades, binance_book_ticker,
    binance_depth, tardis_book, tardis_trades, tardis_quotes, tardis_snapshots, bybit_contract,
    bybit_spot, lobster, itch, databento, bitstamp_csv, bitstamp_log, lean_minute_quotes,
    lean_minute_trades, lean_tick_quotes, lean_tick_trades, lob_books, lob_trades, polymarket,
    columns_csv, columns_levels, columns_parquet, columns_bars,
]  # fmt: skip
