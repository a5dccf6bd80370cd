"""Does a strategy, or the simulated venue, decide by what comes later? Tried, not argued.

    found = peeks(config)            # None, or the first decision that the future changed

A backtest runs once as recorded, then again up to some moments from which on the market is another
(`lab.futures`). What was decided or reported before such a moment must be the same; a difference
is look-ahead. The moments lie right behind decisions, drawn by a seed, so that a strategy which
looks a little ahead is met as well as one that looks far.

A strategy that opens the recording itself is given the changed one where its own keys name the
file; opening the true one in a changed run is a finding by itself. What is not seen: recordings
that are opened neither by a key nor by Python (a library in C), and what is read within the feed's
own delay.
"""

import os
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from alephtx.core.config_schema import Config
from alephtx.core.errors import ConfigError, SimulationError
from alephtx.core.records import INTENT, UPDATE
from alephtx.engine.backtest import Backtest
from alephtx.engine.market import Market, load_market
from alephtx.engine.tapes import Tape
from alephtx.lab.futures import FUTURES, Future, other_future, wide
from alephtx.lab.told import said
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import UPDATE as UPDATE_RECORD
from alephtx.matrix.journal import Journal, JournalHeader, read
from alephtx.sim.bottle import K_NOW
from alephtx.store.ticks import open_ticks, write_ticks

CUTS = 6
SEGMENT_BYTES = 4 << 20
REMEMBERED = 1_024
BATCH_ROWS = 1_024
"""Rows that may run beyond a cut."""


class Peek(msgspec.Struct, frozen=True, kw_only=True):
    """What the future changed.

    kind: decision (a strategy's), report (the venue's), file (opened). at_ns: when (of a file: of
    the first decision, which may have known it); cut_ns: from when on the market was another, and
    `future` how. recorded, otherwise: what was decided then on the recorded market, on the other.
    """

    kind: str
    strategy: str
    at_ns: int
    cut_ns: int
    future: str
    recorded: str
    otherwise: str


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What a check did. repeats: False where the same market twice came to different decisions."""

    decisions: int
    reports: int
    cuts: list[int]
    seed: int
    found: Peek | None
    repeats: bool


class Record(NamedTuple):
    """A decision or a report, as the journal has it."""

    kind: int
    ts: int
    payload: bytes


def peeks(
    config: Config, market: Market | None = None, *, cuts: int = CUTS, seed: int = 1
) -> Peek | None:
    """Return the first decision that what comes after it changes; None: none was found.

    config: with [backtest]; market: what it names, opened already. Costs a run, and half a run for
    each cut. SimulationError where nothing is decided at all.
    """
    return look(config, market, cuts=cuts, seed=seed).found


def look(
    config: Config, market: Market | None = None, *, cuts: int = CUTS, seed: int = 1
) -> Looked:
    """As `peeks`, and say how much was looked at."""
    if cuts < 1:
        raise ConfigError(f"{cuts} cuts: nothing would be looked at", remedy="1 or more")
    market = market or load_market(config)
    real = _run(config, market)
    times = _moments(real, market)
    chosen = random.Random(seed).sample(times, min(cuts, len(times)))  # noqa: S311 - repeatable
    found, repeats, done = None, True, []
    for k, cut in enumerate(chosen):
        done.append(cut)
        found = _look_at(config, market, real, cut, list(FUTURES)[k % len(FUTURES)])
        if found is not None:
            again = _run(config, market, cut)
            repeats = _differs([one for one in real if one.ts < cut], again) is None
            break
    decisions = sum(one.kind == INTENT_RECORD for one in real)
    return Looked(
        decisions=decisions, reports=len(real) - decisions, cuts=done, seed=seed, found=found,
        repeats=repeats,
    )  # fmt: skip


def _moments(real: Sequence[Record], market: Market) -> list[int]:
    """Return the moments right behind decisions, after which there is market yet."""
    end = max((int(t.rows["ts_event"][-1]) for t in market.tapes if len(t.rows)), default=0)
    times = sorted({one.ts + 1 for one in real if one.kind == INTENT_RECORD and one.ts < end})
    if not times:
        raise SimulationError(
            "no strategy decides anything on these tapes before their end: nothing can be compared",
            remedy="give it a market in which it trades",
        )
    return times


def _look_at(
    config: Config, market: Market, real: Sequence[Record], cut: int, future: Future
) -> Peek | None:
    """Run with another future and return the first record before the cut that it changed."""
    told = FUTURES[future]
    tapes = [
        other_future(tape, instrument, cut, future)
        for tape, instrument in zip(market.tapes, market.instruments, strict=True)
    ]
    with tempfile.TemporaryDirectory(prefix="alephtx-peek-") as folder:
        given = _given(config, Path(folder), cut, future)
        with _watching(config) as opened:
            other = _run(given, market._replace(tapes=tapes), cut)
    pair = _differs([one for one in real if one.ts < cut], other)
    if pair is not None:
        names = list(config.strategies)
        first = min((one for one in pair if one is not None), key=lambda one: one.ts)
        row = np.frombuffer(first.payload, INTENT if first.kind == INTENT_RECORD else UPDATE)[0]
        at_once = (one if one is not None and one.ts == first.ts else None for one in pair)
        recorded, otherwise = (said(one, market.instruments) for one in at_once)
        return Peek(
            kind="decision" if first.kind == INTENT_RECORD else "report",
            strategy=names[int(row["strategy"])], at_ns=first.ts, cut_ns=cut, future=told,
            recorded=recorded, otherwise=otherwise,
        )  # fmt: skip
    if opened:
        return Peek(
            kind="file", strategy=", ".join(config.strategies), at_ns=real[0].ts, cut_ns=cut,
            future=told, recorded=f"opens {opened[0]}",
            otherwise="opens the same, not the changed one",
        )  # fmt: skip
    return None


def _differs(
    real: Sequence[Record], other: Sequence[Record]
) -> tuple[Record | None, Record | None] | None:
    """Return the first pair that is not the same; None where all are."""
    for k in range(max(len(real), len(other))):
        one = real[k] if k < len(real) else None
        two = other[k] if k < len(other) else None
        if one != two:
            return one, two
    return None


def _run(config: Config, market: Market, cut: int = 0) -> list[Record]:
    """Run, up to a moment where one is given; return what was decided and reported before it."""
    header = JournalHeader(
        node="peek", engine=config.node.engine, instruments=market.instruments.to_json(),
        accounts=msgspec.json.encode(list(config.accounts)),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="alephtx-peek-") as folder:
        with Journal.open(
            folder, header=header, segment_bytes=SEGMENT_BYTES, background=False
        ) as journal:
            test = Backtest(
                [config], market.instruments, market.tapes, venue=market.venue, journal=journal,
                start_ns=market.start_ns, remembered=REMEMBERED,
            )  # fmt: skip
            if cut:
                _run_until(test, cut)
            else:
                test.run()
        if test.alarms and not cut:
            raise SimulationError(test.alarms[0], remedy="mend it first")
        return [
            Record(one.kind, one.ts, bytes(one.payload))
            for one in read(Path(folder))
            if one.kind in (INTENT_RECORD, UPDATE_RECORD) and (not cut or one.ts < cut)
        ]


def _run_until(test: Backtest, cut: int) -> None:
    """Run to the first row at or behind a moment: all that happens before it has happened then."""
    going = True
    while going and test.bottle.clock[K_NOW] < cut:
        going = test.step(BATCH_ROWS)


# -- strategies that read files ------------------------------------------------------------------


def _given(config: Config, folder: Path, cut: int, future: Future) -> Config:
    """Return the config with changed copies in the place of tapes that own keys name."""
    plan = config.backtest
    changed = {
        os.path.realpath(path): folder / f"{k}-{Path(path).name}"
        for k, path in enumerate(plan.tapes.values() if plan else ())
    }

    def put(value: Any) -> Any:
        if isinstance(value, str) and (copy := changed.get(os.path.realpath(value))):
            if not copy.exists():
                ticks = open_ticks(Path(value))
                tape = Tape(ticks.rows, ticks.price_base, ticks.price_unit, ticks.qty_unit)
                rows = wide(other_future(tape, ticks.instrument, cut, future))
                write_ticks(copy, ticks.instrument, rows)
            return str(copy)
        if isinstance(value, Mapping):
            return {key: put(one) for key, one in value.items()}
        return [put(one) for one in value] if isinstance(value, list | tuple) else value

    strategies = {
        name: msgspec.structs.replace(section, own=put(section.own))
        for name, section in config.strategies.items()
    }
    return msgspec.structs.replace(config, strategies=strategies)


_watches: list[tuple[set[str], str, list[str]]] = []
_hooked: list[bool] = []


@contextmanager
def _watching(config: Config) -> Iterator[list[str]]:
    """Yield a list that fills with the recordings which Python code opens meanwhile."""
    plan, opened = config.backtest, list[str]()
    files = {os.path.realpath(path) for path in plan.tapes.values()} if plan else set()
    folder = os.path.realpath(plan.data) + os.sep if plan else ""
    if not _hooked:  # a hook stays for good
        sys.addaudithook(_note_open)
        _hooked.append(True)
    _watches.append((files, folder, opened))
    try:
        yield opened
    finally:
        _watches.pop()


def _note_open(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _watches or not isinstance(arguments[0], str):
        return
    files, folder, opened = _watches[-1]
    path = os.path.realpath(arguments[0])
    data = path.endswith((".ticks", ".parquet"))
    if path in files or (folder and data and path.startswith(folder)):
        opened.append(path)
