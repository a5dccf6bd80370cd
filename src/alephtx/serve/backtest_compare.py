"""Two runs or more against the first: config, counts, P&L by cause, markouts, ratios, drawdown.

Backtests are compared by their tear sheets, other runs by what their journals and samples tell.
"""

import tomllib
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from alephtx.analysis.bootstrap import block_length, stationary_indices
from alephtx.analysis.drawdown import drawdown
from alephtx.analysis.equity_curve import SECOND_NS
from alephtx.analysis.sharpe import sharpe
from alephtx.analysis.tables import Column
from alephtx.core import words
from alephtx.core.errors import ConfigError
from alephtx.core.secrets import scrub
from alephtx.engine.rundir import RunDirectory
from alephtx.serve.backtest_read import (
    Curves,
    equity_of,
    figure,
    is_backtest,
    part,
    read_backtest,
    remarks,
    rows_of,
)
from alephtx.serve.backtest_sheet import CAUSES, cause
from alephtx.serve.report.numbers import exact
from alephtx.serve.report.read import Material, read_run

PERIODS_MAX, PERIODS_MIN = 2_000, 30
"""Of paired returns: for resamples more are merged into longer ones, of fewer nothing is said."""
DRAWS = 1_000


class Side(msgspec.Struct):
    """One run as it is compared. causes: {what: {cause: amount}}, fees as they count, below 0."""

    identity: str
    mode: str
    config: dict[str, str]
    counts: dict[str, int]
    causes: dict[str, dict[str, Decimal]]
    horizons: dict[str, dict[str, dict[str, float | None]]]
    curves: Curves
    notes: list[str]


class Ratio(msgspec.Struct):
    """Sharpe ratios a period over the time that a run shares with the first, in one currency.

    better: the probability that this run's is above the first's; None, with the reason, where that
    cannot be said. periods of step_ns.
    """

    currency: str
    first: float | None
    this: float | None
    better: float | None
    periods: int
    step_ns: int
    reason: str = ""


class Comparison(msgspec.Struct):
    """What differs; lists are in the order of `runs`, None where a run does not say.

    config: keys with different values. ratios: for every run after the first. spans: (begin, end)
    in ns, (0, 0) without market data. drawdown: deepest, by currency, over each whole run.
    """

    runs: list[str]
    modes: list[str]
    spans: list[tuple[int, int]]
    config: dict[str, list[str | None]]
    counts: dict[str, list[int | None]]
    pnl: dict[str, dict[str, list[str | None]]]
    markouts: dict[str, dict[str, list[dict[str, float | None] | None]]]
    ratios: list[list[Ratio]]
    drawdown: dict[str, list[float | None]]
    notes: list[str]


def compare(runs: list[RunDirectory]) -> tuple[Comparison, list[Side]]:
    """Compare runs that ended with the first of them. ConfigError for fewer than two."""
    if len(runs) < 2:
        raise ConfigError("a comparison needs two runs", remedy="alephtx report A B")
    sides = [side_of(run) for run in runs]
    notes = [f"{side.identity}: {note}" for side in sides for note in side.notes]
    spans = [_span(side.curves) for side in sides]
    if len(set(spans)) > 1:
        notes.append("the runs do not cover the same time: counts and P&L are of different spans")
    found = Comparison(
        runs=[side.identity for side in sides],
        modes=[side.mode for side in sides],
        spans=spans,
        config={
            key: values for key, values in _rows([side.config for side in sides]).items()
            if len(set(values)) > 1
        },
        counts=_rows([side.counts for side in sides]),
        pnl={
            name: {
                key: [None if value is None else exact(value) for value in values]
                for key, values in _rows([side.causes.get(name, {}) for side in sides]).items()
                if any(values)
            }
            for name in _names([side.causes for side in sides])
        },
        markouts={
            name: _rows([side.horizons.get(name, {}) for side in sides])
            for name in _names([side.horizons for side in sides])
        },
        ratios=[ratios(sides[0].curves, side.curves) for side in sides[1:]],
        drawdown={
            currency: [_fall(side.curves.get(currency)) for side in sides]
            for currency in _names([side.curves for side in sides])
        },
        notes=list(dict.fromkeys(notes)),
    )  # fmt: skip
    return found, sides


def side_of(run: RunDirectory) -> Side:
    """Read a run of any mode; ConfigError where it did not end."""
    if not run.ended:
        raise ConfigError(f"run {run.id} did not end", remedy="alephtx status shows it")
    if not is_backtest(run):
        return _lived(read_run(run))
    backtest = read_backtest(run)
    curves = equity_of(backtest)
    causes, horizons = {}, {}
    for key, sheet in backtest.sheets.items():
        amounts = {name: cause(sheet, name) for name in CAUSES}
        known = {name: amount for name, amount in amounts.items() if amount is not None}
        if figure(sheet, "activity.fills"):
            causes[f"{key} {part(sheet, 'currency') or ''}"] = known
            horizons[str(key)] = {
                f"{(figure(row, 'horizon_ns') or 0) / 1e9:g} s": {
                    name: figure(row, name) for name in ("markout", "low", "high")
                }
                for row in rows_of(sheet, "horizons")
            }
    status = backtest.orders["status"]
    counts = {
        "orders": len(status),
        "fills": len(backtest.fills["ts"]),
        "maker fills": int((backtest.fills["liquidity"] == words.MAKER).sum()),
        "cancelled": int((status == words.CANCELED).sum()),
        "rejected": int((status == words.REJECTED).sum()),
    }
    rows = backtest.summary.get("rows")
    if isinstance(rows, int):
        counts = {"rows": rows, **counts}
    return Side(
        backtest.identity, "backtest", flat(backtest.parsed), counts, causes, horizons, curves,
        [*remarks(backtest.summary, "alarms"), *remarks(backtest.summary, "notes"),
         *backtest.notes],
    )  # fmt: skip


def _lived(material: Material) -> Side:
    """Return a paper or live run: books and orders of its journal, equity at its samples."""
    story, points = material.story, material.equity.points
    last = material.equity.last()
    causes = {}
    for currency in sorted(last.net()):
        amounts = {
            name: getattr(last, name).get(currency, Decimal(0))
            for name in ("realized", "unrealized", "fees", "funding")
        }
        amounts["fees"] = -amounts["fees"]
        causes[currency] = {**amounts, "total": last.net()[currency]}
    ts = np.array([point.ts for point in points], np.int64)
    curves = {
        currency: (ts, np.array([float(point.net().get(currency, 0)) for point in points]))
        for currency in causes
    }
    status = [order.status for order in story.orders.values()]
    counts = {
        "orders": len(status),
        "fills": len(story.fills),
        "maker fills": sum(fill.liquidity == words.MAKER for fill in story.fills),
        "cancelled": status.count(words.CANCELED),
        "rejected": status.count(words.REJECTED),
    }
    notes = [*material.notes, "no tear sheets: markouts with bands are for backtests"]
    mode = str(material.summary.get("mode") or "?")
    parsed = flat_text(material.config)
    return Side(material.identity, mode, parsed, counts, causes, {}, curves, notes)


def flat_text(config: str) -> dict[str, str]:
    """Return a config's keys with dots between them; none of one that does not parse."""
    try:
        return flat(tomllib.loads(config))
    except tomllib.TOMLDecodeError:
        return {}


def flat(table: dict[str, Any], before: str = "") -> dict[str, str]:
    """Return a table's keys with dots between them, values as JSON without secrets."""
    found: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{key}.")
        else:
            encoded = msgspec.json.encode(value).decode()
            found[f"{before}{key}"] = scrub(encoded)
    return found


def _names(tables: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table))


def _rows(tables: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [table.get(name) for table in tables] for name in _names(tables)}


def _span(curves: Curves) -> tuple[int, int]:
    bounds = [(int(ts[0]), int(ts[-1])) for ts, _ in curves.values() if len(ts)]
    return (min(b for b, _ in bounds), max(e for _, e in bounds)) if bounds else (0, 0)


def _fall(curve: tuple[Column, Column] | None) -> float | None:
    return None if curve is None or not len(curve[0]) else drawdown(curve[1]).most


def ratios(first: Curves, this: Curves) -> list[Ratio]:
    """Return the ratios of every currency that both runs have."""
    return [ratio(c, first[c], this[c]) for c in first if c in this]


def ratio(currency: str, first: tuple[Column, Column], this: tuple[Column, Column]) -> Ratio:
    """Compare two equity curves by their paired gains over the time that they share.

    The periods are those of the coarser curve, as in its tear sheet.
    """
    nothing = Ratio(currency, None, None, None, 0, 0, "the runs share no time")
    if not len(first[0]) or not len(this[0]):
        return nothing
    begin = max(int(first[0][0]), int(this[0][0]))
    end = min(int(first[0][-1]), int(this[0][-1]))
    if end <= begin:
        return nothing
    step = max(_step(first[0]), _step(this[0]))
    grid = np.arange(begin, end + 1, step)
    pair = [np.diff(_at(grid, *curve)) for curve in (first, this)]
    known = ~np.isnan(pair[0]) & ~np.isnan(pair[1])
    a, b = pair[0][known], pair[1][known]
    found = Ratio(currency, _finite(sharpe(a)), _finite(sharpe(b)), None, len(a), step)
    if len(a) < PERIODS_MIN:
        found.reason = f"{len(a)} shared periods prove nothing"
    elif found.first is None or found.this is None:
        found.reason = "a run's equity does not move"
    elif np.array_equal(a, b):
        found.reason = "the runs earned the same at every moment"
    else:
        found.better = probability_better(_merged(a), _merged(b))
        found.reason = "" if found.better is not None else "too few periods in which equity moves"
    return found


def _step(ts: Column) -> int:
    """Return the period of a curve's moments, a second at least; its last may be shorter."""
    return max(SECOND_NS, int(np.median(np.diff(ts)))) if len(ts) > 1 else SECOND_NS


def _merged(gains: Column) -> Column:
    """Return gains of at most PERIODS_MAX periods, several in one; a last one that lacks some goes.

    Resamples of all would take as much memory as a thousand runs.
    """
    each = -(-len(gains) // PERIODS_MAX)
    whole: Column = gains[: len(gains) // each * each].reshape(-1, each).sum(axis=1)
    return whole


def _at(grid: Column, ts: Column, equity: Column) -> Column:
    """Return the equity in force at every moment of a grid that begins at or after ts[0]."""
    found: Column = equity[np.searchsorted(ts, grid, side="right") - 1]
    return found


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def probability_better(first: Column, this: Column, *, seed: int = 1) -> float | None:
    """Return in what share of resamples the second's Sharpe ratio is above the first's.

    first, this: gains of the same periods, float64 (n,), drawn together in blocks (stationary
    bootstrap), so that what both owe to the market cancels. A tie counts half; one more resample is
    taken for a tie, for so few prove no certainty: never 0 or 1. None where in more than one
    resample of ten a ratio has no value.
    """
    rng = np.random.default_rng(seed)
    drawn = stationary_indices(rng, len(first), block_length(len(first)), DRAWS)
    a, b = (_ratios(column[drawn]) for column in (first, this))
    known = ~np.isnan(a) & ~np.isnan(b)
    if known.mean() < 0.9:
        return None
    a, b = a[known], b[known]
    wins = float((b > a).sum() + (b == a).sum() / 2)
    return (wins + 0.5) / (len(a) + 1)


def _ratios(gains: Column) -> Column:
    deviation = gains.std(axis=1, ddof=1)
    flat_ = np.ptp(gains, axis=1) == 0
    found: Column = np.divide(
        gains.mean(axis=1), deviation, out=np.full(len(gains), np.nan), where=~flat_
    )
    return found
