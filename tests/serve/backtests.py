"""Run directories of backtests for the tests of their report, made by analysis' own functions."""

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from alephtx.analysis.story import Fill, OrderLine
from alephtx.analysis.tables import Quotes, fills_of, orders_of
from alephtx.analysis.tearsheet import Options, Run, tear_sheet
from alephtx.core import words
from alephtx.engine.rundir import RunDirectory
from tests.serve.runs import CONFIG, INSTRUMENTS, PERP, SECOND, SPOT, START

DRAWS = 50


def market_of(rows, seconds, seed=5, at=618_000):
    """Return a touch that wanders, heard as soon as the venue says it."""
    random = np.random.default_rng(seed)
    ts = START + np.sort(random.integers(0, seconds * SECOND, rows))
    bid = at + np.cumsum(random.integers(-3, 4, rows))
    return {
        "ts_ns": ts, "ts_venue_ns": ts, "known": np.ones(rows, np.int8),
        "bid": bid, "bid_qty": random.integers(1, 90, rows),
        "ask": bid + random.integers(1, 6, rows), "ask_qty": random.integers(1, 90, rows),
    }  # fmt: skip


def orders_on(market, count, instrument=PERP, edge=2, seed=6, strategy=1):
    """Return orders at the touch, three in four of them filled, and their fills."""
    random = np.random.default_rng(seed)
    places = np.sort(random.integers(0, len(market["ts_ns"]), count))
    currency = INSTRUMENTS.currencies.index("USDT")
    orders, fills = [], []
    for n, k in enumerate(places.tolist()):
        ts, side = int(market["ts_ns"][k]), 1 if random.random() < 0.5 else -1
        price = int(market["bid" if side > 0 else "ask"][k]) - side * edge
        order = OrderLine(
            order_id=1000 + n, strategy=strategy, account=0, instrument=instrument, side=side,
            type=words.LIMIT, tif=words.GTC, flags=0, price=price, qty=10, group_id=0,
            ts_intent=ts, ts_sent=ts + int(random.lognormal(8, 0.5)),
            ts_ack=ts + int(random.lognormal(15, 0.4)), status=words.NEW,
        )  # fmt: skip
        after = order.ts_ack + int(random.lognormal(18, 1))
        if n % 4:
            order.filled, order.value, order.fills = 10, 10 * price, 1
            order.status, order.ts_end = words.FILLED, after
            liquidity = words.TAKER if n % 5 == 0 else words.MAKER
            fills.append(
                Fill(
                    ts=after, order_id=order.order_id, account=0, instrument=instrument,
                    strategy=strategy, side=side, price=price, qty=10, fee=6_180_000,
                    fee_currency=currency, liquidity=liquidity, trade_id=n + 1,
                )
            )  # fmt: skip
        else:
            order.ts_cancel, order.ts_end = after, after + 3_000_000
            order.status = words.CANCELED
        orders.append(order)
    return orders, sorted(fills, key=lambda fill: fill.ts)


def save(path, columns):
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(pa.table(columns), path)


def save_rows(path, rows, kind, table):
    names = [field.name for field in msgspec.structs.fields(kind)]
    columns = {n: np.array([getattr(row, n) for row in rows], np.int64) for n in names}
    columns["instrument_key"] = [table[row.instrument].key for row in rows]
    save(path, columns)


def write_backtest(
    base, markets, orders, fills, *, signals=None, sheets=None, summary=None, table=INSTRUMENTS,
    config=CONFIG, name="20231114-221320-demo-00aa",
):  # fmt: skip
    """Write a run directory. markets, signals: {instrument: columns}; sheets None: measured."""
    run = RunDirectory(base / name)
    run.journal.mkdir(parents=True)
    run.config.write_text(config)
    run.instruments.write_bytes(table.to_json())
    save_rows(run.path / "orders.parquet", orders, OrderLine, table)
    save_rows(run.path / "fills.parquet", fills, Fill, table)
    for k, columns in markets.items():
        save(run.path / "market" / f"{k}.parquet", columns)
    for k, columns in (signals or {}).items():
        save(run.path / "signals" / f"{k}.parquet", columns)
    if sheets is None:
        sheets = {table[k].key: sheet_of(table[k], k, m, orders, fills) for k, m in markets.items()}
    (run.path / "sheets.json").write_bytes(msgspec.json.encode(sheets))
    rows = sum(len(market["ts_ns"]) for market in markets.values())
    told = {
        "mode": "backtest", "rows": rows, "span_ns": 60 * SECOND, "took_s": 1.5,
        "rows_per_s": rows / 1.5, "digest": "ab12cd34ef56ab12", "counters": {"fills": len(fills)},
        "denied_by": {"notional": 7, "order_rate": 3}, **(summary or {}),
    }  # fmt: skip
    run.summary.write_bytes(msgspec.json.encode(told))
    return run


def sheet_of(instrument, k, market, orders, fills):
    mine = fills_of(fills, k)
    known = np.ones(len(market["ts_ns"]), bool)
    quotes = Quotes(market["ts_ns"], market["bid"], market["ask"], known)
    return tear_sheet(
        Run(instrument, mine, orders_of(orders, mine, k), quotes), Options(draws=DRAWS)
    )


def signals_of(seconds, seed=9):
    random = np.random.default_rng(seed)
    ts = START + np.arange(seconds) * SECOND
    blind = np.full(seconds, np.nan)
    return {"ts_ns": ts, "obi_5": random.normal(0, 1, seconds).cumsum(), "vamp": blind}


def busy_backtest(base, *, rows=20_000, seconds=600, count=400, edge=2, seed=6, **options):
    """Write a maker's backtest on the perpetual beside a spot that was only watched."""
    markets = {PERP: market_of(rows, seconds), SPOT: market_of(rows // 4, seconds, 8, 6_180_000)}
    orders, fills = orders_on(markets[PERP], count, edge=edge, seed=seed)
    end = START + (seconds + 60) * SECOND
    fills = [fill for fill in fills if fill.ts < end]
    return write_backtest(
        base, markets, orders, fills, signals={PERP: signals_of(seconds)}, **options
    )
