"""A backtest as a run: its directory, its journal, and the files that reports are made of.

    summary = run_backtest(config, RunDirectory.create(Path("runs"), "quant", config.dump()))

Beside what every run keeps (`engine.rundir`): orders.parquet and fills.parquet (the fields of
`analysis.story`, and instrument_key), market/<k>.parquet (every change of instrument k's touch, as
we heard it), signals/<k>.parquet (the config's signals, once a second), sheets.json (tear sheets).
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from alephtx.analysis.story import Fill, OrderLine, Story
from alephtx.analysis.tables import fills_of, funding_of, orders_of, quotes_of
from alephtx.core.config_schema import Config
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Rows
from alephtx.engine.assemble import Engine
from alephtx.engine.backtest import Backtest, Lane
from alephtx.engine.market import Market, load_market
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.status import (
    counters_of,
    denied_by,
    ledger_of,
    leg_alarms,
    strategies_of,
    strategy_alarms,
)
from alephtx.engine.touches import all_touches
from alephtx.ledger.book import Ledger
from alephtx.matrix.journal import Journal, JournalHeader, read

if TYPE_CHECKING:
    from alephtx.analysis.tearsheet import TearSheet

SECOND = 1_000_000_000
SEGMENT_BYTES = 16 << 20
"""Of a backtest's journal: most runs are small, and a segment is preallocated."""

PERIODS_MAX = 100_000
"""Of a tear sheet's returns: a day has 86,400 seconds, and years of them would fill the memory."""

REMEMBERED = 1_024
"""Ended orders that a late report may be about: one lane has room for more than it needs."""

Progress = Callable[[int, int], None]
"""Called with the rows done and the rows there are."""


def run_backtest(
    config: Config,
    directory: RunDirectory,
    progress: Progress | None = None,
    told: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run a config's [backtest] into a fresh run directory; returns its summary.

    told: hears in a line what the run came to as soon as it has, before it is measured and written.
    Errors leave the directory without summary.json: the run did not end.
    """
    market = load_market(config)
    directory.save_instruments(market.instruments)
    header = JournalHeader(
        node=config.node.name,
        engine=config.node.engine,
        instruments=market.instruments.to_json(),
        accounts=msgspec.json.encode(list(config.accounts)),
    )
    with Journal.open(
        directory.journal, header=header, segment_bytes=SEGMENT_BYTES, background=False
    ) as journal:
        test = Backtest(
            [config], market.instruments, market.tapes, venue=market.venue, journal=journal,
            start_ns=market.start_ns, remembered=REMEMBERED,
        )  # fmt: skip
        total = sum(len(tape.rows) for tape in market.tapes)
        begun = time.perf_counter()
        test.run(None if progress is None else lambda rows: progress(rows, total))
        took_s = time.perf_counter() - begun
    engine = _engine(config, test.lanes[0])
    if told is not None:
        told(_first_word(test, engine, took_s))
    story, ledger = Story(len(market.instruments)), Ledger(market.instruments)
    for record in read(directory.journal):
        story.apply(record.kind, record.payload, record.ts)
    ledger.fold(read(directory.journal))
    _write_orders(directory, story, market.instruments)
    plan = config.backtest
    names = plan.signals if plan is not None else ("microprice",)
    sheets = _write_market(directory, story, market, names)
    directory.write_json(directory.path / "sheets.json", sheets)
    summary = _summary(config, directory, test, engine, ledger)
    summary.update(took_s=took_s, rows_per_s=test.rows / took_s if took_s else 0.0)
    directory.write_json(directory.summary, summary)
    return summary


def _first_word(test: Backtest, engine: Engine, took_s: float) -> str:
    counted = counters_of(engine)
    return (
        f"{test.rows:,} rows in {took_s:.2f} s: {counted['orders']:,} orders and cancels, "
        f"{counted['fills']:,} fills, {counted['denied']:,} denied"
    )


def _engine(config: Config, lane: Lane) -> Engine:
    rings, stages = lane.rings
    return Engine(
        ctx=lane.ctx, rings=rings, strategies=lane.strategies, stages=stages,
        account_names=list(config.accounts),
    )  # fmt: skip


def _summary(
    config: Config, directory: RunDirectory, test: Backtest, engine: Engine, ledger: Ledger
) -> dict[str, Any]:
    """Return what summary.json says; names as in other runs' where they mean the same."""
    counters, money = counters_of(engine), ledger_of(ledger, engine, test.instruments)
    return {
        "run": directory.id,
        "mode": "backtest",
        "rows": test.rows,
        "span_ns": test.ended_ns - test.started_ns,
        "digest": test.state_hashes()[0],
        "intents": counters["intents"],
        "denied": counters["denied"],
        "denied_by": denied_by(engine.ctx.counters),
        "orders": counters["orders"],
        "fills": counters["fills"],
        "pnl": {"realized": money["realized"], "unrealized": money["unrealized"]},
        "fees": money["fees"],
        "funding": money["funding"],
        "positions": money["positions"],
        "counters": counters,
        "strategies": strategies_of(engine, test.instruments),
        "alarms": [*test.alarms, *strategy_alarms(engine), *leg_alarms(engine, test.instruments)],
        "report": str(directory.report),
    }


def _write_orders(directory: RunDirectory, story: Story, instruments: Instruments) -> None:
    tables: tuple[tuple[str, Any, list[Any]], ...] = (
        ("orders", OrderLine, list(story.orders.values())),
        ("fills", Fill, story.fills),
    )
    for name, kind, lines in tables:
        columns: dict[str, Any] = {
            field.name: np.array([getattr(line, field.name) for line in lines], np.int64)
            for field in msgspec.structs.fields(kind)
        }
        columns["instrument_key"] = _keys(instruments, [line.instrument for line in lines])
        _write_table(directory, f"{name}.parquet", columns)


def _keys(instruments: Instruments, places: list[int]) -> Any:
    """Return the keys of the instruments at these places of the table, as Arrow's dictionary."""
    import pyarrow as pa

    keys = [instrument.key.encode() for instrument in instruments]
    ends = np.cumsum([0, *map(len, keys)], dtype=np.int32)
    named = pa.StringArray.from_buffers(len(keys), pa.py_buffer(ends), pa.py_buffer(b"".join(keys)))
    return pa.DictionaryArray.from_arrays(_column(np.array(places, np.int32)), named)


def _write_market(
    directory: RunDirectory, story: Story, market: Market, signals: tuple[str, ...]
) -> dict[str, "TearSheet"]:
    """Write every instrument's touches and signals; returns the tear sheets."""
    from alephtx.analysis.tearsheet import (  # loads statistics: not before the run
        Options,
        Run,
        tear_sheet,
    )

    sheets = {}
    for name in ("market", "signals"):
        (directory.path / name).mkdir(exist_ok=True)
    heard = all_touches(market.instruments, market.tapes, market.venue)
    kept = _signals(market, signals)
    for k, tops in enumerate(heard):
        columns = {name: tops[name] for name in ("bid", "bid_qty", "ask", "ask_qty")}
        _write_table(directory, f"market/{k}.parquet", {"ts_ns": tops["ts_recv"], **columns})
        fair = _microprice(tops)
        if not kept:
            sampled = _each_second(tops["ts_recv"])
            columns = {"ts_ns": tops["ts_recv"][sampled], "microprice": fair[sampled]}
        _write_table(directory, f"signals/{k}.parquet", kept[k] if kept else columns)
        instrument, fills = market.instruments[k], fills_of(story.fills, k)
        sheets[instrument.key] = tear_sheet(
            Run(
                instrument, fills, orders_of(story.orders.values(), fills, k), quotes_of(tops),
                funding=funding_of(story.funding, k), vamp=fair,
            ),
            Options(step_ns=_step_ns(tops["ts_recv"])),
        )  # fmt: skip
    return sheets


def _signals(market: Market, names: tuple[str, ...]) -> list[dict[str, Rows]]:
    """Return the signals of each instrument; none where the touches alone make them."""
    if names == ("microprice",):
        return []
    from alephtx.engine.signal_record import record_signals

    return record_signals(market.instruments, market.tapes, market.venue, names)


def _step_ns(ts: Rows) -> int:
    """Return the period of returns: a second, or more of them where the run is longer."""
    span = int(ts[-1]) - int(ts[0]) if len(ts) else 0
    return max(1, -(-span // (PERIODS_MAX * SECOND))) * SECOND


def _microprice(tops: Rows) -> Rows:
    """Return VAMP of the best level in ticks, NaN without two sides; see `signals.microprice`."""
    bid_qty, ask_qty = tops["bid_qty"].astype(float), tops["ask_qty"].astype(float)
    both = (bid_qty > 0) & (ask_qty > 0)
    total = np.where(both, bid_qty + ask_qty, 1.0)
    return np.where(both, (tops["bid"] * ask_qty + tops["ask"] * bid_qty) / total, np.nan)


def _each_second(ts: Rows) -> Rows:
    """Return the places of the last touch of every second of a rising clock."""
    return np.flatnonzero(np.diff(ts // SECOND, append=-1)) if len(ts) else np.zeros(0, np.int64)


def _write_table(directory: RunDirectory, name: str, columns: dict[str, Any]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    whole = directory.path / name
    draft = whole.with_suffix(".part")
    table = pa.Table.from_arrays(list(map(_column, columns.values())), names=list(columns))
    parquet.write_table(table, draft, compression="zstd")
    draft.replace(whole)


def _column(column: Any) -> Any:
    """Return an array for Arrow. Given NumPy's, Arrow would import pandas to ask whether it is."""
    import pyarrow as pa

    if not isinstance(column, np.ndarray):
        return column
    plain = np.ascontiguousarray(column)
    kind = pa.from_numpy_dtype(plain.dtype)
    return pa.Array.from_buffers(kind, len(plain), [None, pa.py_buffer(plain)])
