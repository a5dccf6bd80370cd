"""The files of a backtest's run directory, as columns: what is missing is named, nothing is fatal.

orders.parquet fills.parquet   fields of `analysis.story`, and instrument_key
funding.parquet                instrument ts received: what funding paid us, money of 10^-8
market/<k>.parquet             ts_ns ts_venue_ns bid bid_qty ask ask_qty known: every touch
signals/<k>.parquet            ts_ns and a float64 column a signal
sheets.json                    {instrument key: tear sheet}

Fills have the venue's time, so what is held against them goes by that clock too: touches, equity.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from alephtx.analysis.equity_curve import equity_curve, period_ns
from alephtx.analysis.story import Fill, OrderLine, Story
from alephtx.analysis.tables import Column, Fills, Quotes
from alephtx.core.errors import JournalError
from alephtx.core.instruments import Instruments
from alephtx.core.words import VERDICT_NAMES
from alephtx.engine.rundir import RunDirectory
from alephtx.matrix.journal_read import read
from alephtx.serve.report.read import config_of, instruments_of, json_of, names_of

TOUCH = ("ts_ns", "bid", "bid_qty", "ask", "ask_qty")
ON_THE_VENUES_CLOCK = ("ts_venue_ns", "known")
"""Columns that runs of earlier versions lack."""
FUNDING = ("instrument", "ts", "received")

Columns = dict[str, Column]
Curves = dict[str, tuple[Column, Column]]
"""By currency: (ts int64 ns, equity float64)."""


class Backtest(msgspec.Struct):
    """What a report of a backtest is made of. sheets: decoded JSON, null for what is not known."""

    path: Path
    identity: str
    summary: dict[str, Any]
    config: str
    parsed: dict[str, Any]
    instruments: Instruments
    sheets: dict[str, Any]
    orders: Columns
    fills: Columns
    funding: Columns
    notes: list[str]

    def market(self, k: int) -> Columns | None:
        """Return the touch of an instrument; None where the run has none of it."""
        path = self.path / "market" / f"{k}.parquet"
        found = columns_of(path, (*TOUCH, *ON_THE_VENUES_CLOCK))
        if found is None and (found := columns_of(path, TOUCH)) is not None:
            self.notes.append(
                f"{path.name} is of an earlier version: its prices stand when we heard them, "
                "fills when the venue made them"
            )
            found["ts_venue_ns"] = found["ts_ns"]
            found["known"] = np.ones(len(found["ts_ns"]), np.int8)
        return found

    def signals(self, k: int) -> Columns | None:
        """Return ts_ns and every signal of an instrument; None where the run has none of it."""
        return columns_of(self.path / "signals" / f"{k}.parquet")

    def fills_in(self, k: int) -> Columns:
        """Return the fills in an instrument, by time."""
        rows = np.flatnonzero(self.fills["instrument"] == k)
        rows = rows[np.argsort(self.fills["ts"][rows], kind="stable")]
        return {name: column[rows] for name, column in self.fills.items()}

    def funding_in(self, k: int) -> tuple[Column, Column]:
        """Return (ts, money of 10^-8 received) of the funding of an instrument, by time."""
        paid = self.funding
        rows = np.flatnonzero(paid["instrument"] == k)
        rows = rows[np.lexsort((paid["received"][rows], paid["ts"][rows]))]
        return paid["ts"][rows], paid["received"][rows]

    def strategies(self) -> list[str]:
        """Return the strategies' names: their place is their number."""
        return names_of(self.parsed, "strategies")


def is_backtest(run: RunDirectory) -> bool:
    """Tell whether a run directory is a backtest's, by its summary."""
    summary = run.read_as(run.summary, Any)
    return isinstance(summary, dict) and summary.get("mode") == "backtest"


def read_backtest(run: RunDirectory) -> Backtest:
    """Read all but market and signals, which are read an instrument at a time."""
    notes: list[str] = []
    config, parsed = config_of(run.config, notes)
    instruments = instruments_of(run, notes)
    summary = json_of(run.summary, dict, notes, "the summary: the backtest did not end")
    sheets = json_of(run.path / "sheets.json", dict, notes, "tear sheets, so all that is measured")
    tables = []
    for name, kind in (("orders", OrderLine), ("fills", Fill)):
        fields = msgspec.structs.fields(kind)
        wanted = tuple(field.name for field in fields)
        found = columns_of(run.path / f"{name}.parquet", wanted, notes)
        tables.append(found or {field: np.zeros(0, np.int64) for field in wanted})
    return Backtest(
        run.path, run.id, summary, config, parsed, instruments, sheets, tables[0], tables[1],
        _funding(run, summary, notes), notes,
    )  # fmt: skip


def _funding(run: RunDirectory, summary: dict[str, Any], notes: list[str]) -> Columns:
    """Return what funding paid; a run that paid some and lacks the file is noted."""
    found = columns_of(run.path / "funding.parquet", FUNDING)
    if found is None:
        found = {name: np.zeros(0, np.int64) for name in FUNDING}
        if summary.get("funding"):
            notes.append("funding.parquet is missing: funding is not in the equity")
    return found


def columns_of(
    path: Path, wanted: tuple[str, ...] | None = None, notes: list[str] | None = None
) -> Columns | None:
    """Return a Parquet file's columns of numbers; None, and a note, where that cannot be."""
    notes = [] if notes is None else notes
    try:
        table = parquet.ParquetFile(path).read(columns=None if wanted is None else list(wanted))
    except FileNotFoundError:
        notes.append(f"{path.name} is missing")
        return None
    except (OSError, pa.ArrowException) as error:
        notes.append(f"{path.name} cannot be read: {error}")
        return None
    missing = set(wanted or ("ts_ns",)) - set(table.column_names)
    if missing:
        notes.append(f"{path.name} lacks {', '.join(sorted(missing))}")
        return None
    found = {name: table[name].to_numpy() for name in table.column_names}
    odd = [name for name in wanted or ("ts_ns",) if found[name].dtype.kind not in "iu"]
    if odd:
        notes.append(f"{path.name} cannot be used: {', '.join(odd)} must be whole numbers")
        return None
    return {name: c for name, c in found.items() if c.dtype.kind in "iuf"}


def quotes_from(market: Columns) -> Quotes:
    """Return the touch as quotes on the venue's clock; a side without size says nothing."""
    known = (market["known"] != 0) & (market["bid_qty"] > 0) & (market["ask_qty"] > 0)
    ts = np.maximum.accumulate(market["ts_venue_ns"])
    return Quotes(ts, market["bid"], market["ask"], known)


def settled_fills(backtest: Backtest, k: int) -> tuple[Fills, int]:
    """Return an instrument's fills with fees in its settle currency, and how many could not be.

    A fee in the base currency is valued at the fill's price; any other is left out, and counted.
    """
    rows, instrument = backtest.fills_in(k), backtest.instruments[k]
    names = backtest.instruments.currencies
    paid = [names[c] if 0 <= c < len(names) else "?" for c in rows["fee_currency"].tolist()]
    settles = np.array([one == instrument.settle for one in paid], bool)
    base = np.array([one == instrument.base for one in paid], bool) & ~settles
    price = rows["price"] * 10.0**-instrument.price_scale
    fee = np.where(settles, rows["fee"], 0)
    fee = np.where(base, np.rint(rows["fee"] * price).astype(np.int64), fee)
    left = int((~settles & ~base & (rows["fee"] != 0)).sum())
    rows = {**rows, "fee": fee}
    return Fills(*(rows[name] for name in Fills._fields)), left


def span_of(backtest: Backtest) -> tuple[int, int]:
    """Return the first and the last moment of the market's data, ns; (0, 0) without any."""
    bounds = []
    for k in range(len(backtest.instruments)):
        path = backtest.path / "market" / f"{k}.parquet"
        found = columns_of(path, ("ts_venue_ns",)) or columns_of(path, ("ts_ns",)) or {}
        bounds += [(int(ts[0]), int(ts.max())) for ts in found.values() if len(ts)]
    return (min(b for b, _ in bounds), max(e for _, e in bounds)) if bounds else (0, 0)


def equity_of(backtest: Backtest) -> Curves:
    """Return equity over time by the currency it settles in; instruments share the moments.

    The same periods, fees and funding as the tear sheets': of one instrument the same curve.
    Instruments without market data are left out, with a note where they were traded.
    """
    begin, end = span_of(backtest)
    step = period_ns(begin, end)
    found: Curves = {}
    for k, instrument in enumerate(backtest.instruments):
        fills, left = settled_fills(backtest, k)
        if left:
            backtest.notes.append(
                f"{left:,} fees of {instrument.key} are not in the equity: paid in neither "
                f"{instrument.settle} nor {instrument.base}"
            )
        market = backtest.market(k)
        if market is None or not len(market["ts_ns"]):
            traded = f"; its {len(fills.ts):,} fills are not in the equity" if len(fills.ts) else ""
            backtest.notes.append(f"no market data of {instrument.key}{traded}")
            continue
        quotes = _until(quotes_from(market), begin, end)
        ts, equity = equity_curve(
            instrument, fills, quotes, step_ns=step, funding=backtest.funding_in(k)
        )
        before = found.get(instrument.settle)
        total = equity if before is None else before[1] + equity
        found[instrument.settle] = (ts, total)
    return found


def _until(quotes: Quotes, begin: int, end: int) -> Quotes:
    """Return quotes that say nothing more, from one moment to another."""
    edge = [int(quotes.bid[0])], [int(quotes.bid[-1])]
    return Quotes(
        np.concatenate([[begin], quotes.ts, [end]]),
        np.concatenate([edge[0], quotes.bid, edge[1]]),
        np.concatenate([edge[0], quotes.ask, edge[1]]),
        np.concatenate([[False], quotes.known, [False]]),
    )


def remarks(summary: dict[str, Any], name: str) -> list[str]:
    """Return the lines of a summary's alarms or notes."""
    lines = summary.get(name)
    return [str(line) for line in lines] if isinstance(lines, list) else []


def denied_by(backtest: Backtest) -> dict[str, int]:
    """Return how many intents every rule denied: as the summary says, else as the journal does."""
    counters = backtest.summary.get("counters")
    for place in (backtest.summary, counters if isinstance(counters, dict) else {}):
        stated = place.get("denied_by")
        if isinstance(stated, dict):
            return {str(name): n for name, n in stated.items() if isinstance(n, int) and n}
    story = Story(len(backtest.instruments))
    try:
        for record in read(backtest.path / "journal"):
            story.apply(record.kind, record.payload, record.ts)
    except (JournalError, OSError) as error:
        backtest.notes.append(f"denials are not complete: {error}")
    found: Counter[str] = Counter()
    for (_, verdict), count in story.denied.items():
        found[VERDICT_NAMES.get(verdict, str(verdict))] += count
    return dict(found)


def part(sheet: Any, path: str) -> Any:
    """Return what a tear sheet says at a dotted path; None for what it does not say."""
    for name in path.split("."):
        sheet = sheet.get(name) if isinstance(sheet, dict) else None
    return sheet


def figure(sheet: Any, path: str) -> float | None:
    """Return a number of a tear sheet, None where it is not known."""
    found = part(sheet, path)
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    try:
        number = float(found)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def rows_of(sheet: Any, name: str) -> list[dict[str, Any]]:
    """Return a tear sheet's list of rows, e.g. its horizons."""
    found = part(sheet, name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
