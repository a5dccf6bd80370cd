"""A backtest as a run: its directory, its journal, and the files that reports are made of.

    summary = run_backtest(config, RunDirectory.create(Path("runs"), "quant", config.dump()))

Beside what every run keeps (`engine.rundir`): orders.parquet, fills.parquet (the fields of
`analysis.story`, and instrument_key) and funding.parquet, market/<k>.parquet (every change of
instrument k's touch, when the venue said it and when we heard), signals/<k>.parquet (the config's
signals, once a second), sheets.json (tear sheets).
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from alephtx.analysis.story import Story
from alephtx.core.config_schema import Config
from alephtx.engine.assemble import Engine
from alephtx.engine.backtest import Backtest, Lane
from alephtx.engine.backtest_notes import notes_of
from alephtx.engine.market import load_market
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.status import (
    counters_of,
    denied_by,
    ledger_of,
    leg_alarms,
    strategies_of,
    strategy_alarms,
)
from alephtx.ledger.book import Ledger
from alephtx.matrix.journal import Journal, JournalHeader, read

SEGMENT_BYTES = 16 << 20
"""Of a backtest's journal: most runs are small, and a segment is preallocated."""

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
    Errors leave the directory without summary.json: the run did not end. What fails when that is
    there costs measurements, not the run.
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
    # Loads statistics and Arrow: not before the run.
    from alephtx.engine.measured import measure
    from alephtx.engine.run_tables import write_story

    write_story(directory, story, market.instruments)
    summary = _summary(config, directory, test, engine, ledger)
    summary.update(
        notes=notes_of(config, market, test.seen), took_s=took_s,
        rows_per_s=test.rows / took_s if took_s else 0.0,
    )  # fmt: skip
    directory.write_json(directory.summary, summary)
    plan = config.backtest
    names = plan.signals if plan is not None else ("microprice",)
    sheets = measure(directory, story, market, test.seen, names)
    directory.write_json(directory.path / "sheets.json", sheets)
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
        "alarms": [
            *test.alarms,
            *_wrong_counts(counters["strategy_errors"] - len(test.alarms)),
            *strategy_alarms(engine),
            *leg_alarms(engine, test.instruments),
        ],
        "report": str(directory.report),
    }


def _wrong_counts(times: int) -> list[str]:
    """Return an alarm where compiled strategies, which raise nothing, went wrong."""
    said = f"a compiled hook returned a wrong count of intents {times:,} times, which were dropped"
    return [said] if times > 0 else []
