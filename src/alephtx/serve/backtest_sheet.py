"""The tear sheets of several instruments side by side: a figure a row, the same in every view."""

from decimal import Decimal, InvalidOperation
from typing import Any

from alephtx.serve.backtest_read import figure, part, rows_of
from alephtx.serve.report.numbers import duration, exact

CAUSES = ("spread", "adverse", "inventory", "unattributed", "fees", "funding", "total")
"""Of `analysis.attribution`; total = the others with fees taken off."""
HORIZONS_S = (5, 30, 60)


def _plain(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _share(value: float) -> str:
    return f"{value * 100:.1f} %"


def _signed(value: float) -> str:
    return f"{value:+,.2f}"


METRICS = (
    ("edge at the fill, bps", "edge.all", _signed),
    ("edge of maker fills, bps", "edge.maker", _signed),
    ("edge of taker fills, bps", "edge.taker", _signed),
    ("orders", "activity.orders", _count),
    ("fills", "activity.fills", _count),
    ("cancelled", "activity.cancelled", _count),
    ("rejected", "activity.rejected", _count),
    ("filled of what was ordered", "activity.fill_ratio", _share),
    ("orders with a fill", "activity.hit_ratio", _share),
    ("orders a fill", "activity.order_to_trade", _plain),
    ("maker share", "activity.maker_share", _share),
    ("wait in the queue, median", "queue.median", duration),
    ("position, mean, lots", "inventory.mean", _plain),
    ("position, longest, lots", "inventory.longest", _count),
    ("position, shortest, lots", "inventory.shortest", _count),
    ("time flat", "inventory.flat_share", _share),
    ("a lot held for", "inventory.holding_ns", duration),
    ("implementation shortfall, bps", "costs.shortfall", _signed),
    ("of it against the mid at arrival", "costs.trading", _signed),
    ("of it what was not filled", "costs.opportunity", _signed),
    ("of it fees", "costs.fees", _signed),
    ("against the VWAP, bps", "costs.vwap_bps", _signed),
    ("Sharpe, a period", "returns.sharpe", _plain),
    ("Sharpe, a year", "returns.sharpe_yearly", _plain),
    ("probability that Sharpe > 0", "returns.probabilistic", _share),
    ("deflated Sharpe", "returns.deflated", _share),
    ("Sortino, a year", "returns.sortino_yearly", _plain),
    ("Calmar", "returns.calmar", _plain),
    ("deepest drawdown", "returns.drawdown", _plain),
    ("longest under water", "returns.drawdown_ns", duration),
    ("periods", "returns.periods", _count),
)


def metric_rows(sheets: dict[str, Any]) -> list[list[str]]:
    """Return rows of text: the figure's name, then its value in every sheet, - for unknown."""
    rows = [["currency", *(str(part(sheet, "currency") or "-") for sheet in sheets.values())]]
    rows.append(["turnover", *(money(part(sheet, "turnover")) for sheet in sheets.values())])
    for name, path, shown in METRICS:
        values = [figure(sheet, path) for sheet in sheets.values()]
        rows.append([name, *("-" if value is None else shown(value) for value in values)])
    return rows


def traded(sheets: dict[str, Any]) -> dict[str, Any]:
    """Return the sheets of instruments with fills."""
    return {key: sheet for key, sheet in sheets.items() if figure(sheet, "activity.fills")}


def amount(value: Any) -> Decimal | None:
    """Return money that was written as text; None for what is none."""
    if not isinstance(value, str | int):
        return None
    try:
        found = Decimal(value)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def money(value: Any) -> str:
    """Return money to its last digit; - for what is none."""
    found = amount(value)
    return "-" if found is None else exact(found)


def cause(sheet: Any, name: str) -> Decimal | None:
    """Return a part of the P&L as it counts towards the total: fees are taken off."""
    found = amount(part(sheet, f"attribution.{name}"))
    return -found if found is not None and name == "fees" else found


def band(row: dict[str, Any]) -> str:
    """Return a markout with its band: +1.20 (+0.40 .. +2.10)."""
    middle, low, high = (figure(row, name) for name in ("markout", "low", "high"))
    if middle is None:
        return "-"
    if low is None or high is None:
        return f"{middle:+.2f}"
    return f"{middle:+.2f} ({low:+.2f} .. {high:+.2f})"


def aligned_what(sheet: Any) -> str:
    """Return which price the alignment is of; sheets of earlier versions had the microprice."""
    levels = int(figure(sheet, "vamp_levels") or 1)
    return f"VAMP of {levels} levels" if levels > 1 else "microprice"


def alignments(sheet: Any) -> list[tuple[int, str, dict[str, Any]]]:
    """Return (seconds, r with its interval, the row) of every horizon that has one."""
    made = []
    for after, row in zip(HORIZONS_S, rows_of(sheet, "alignment"), strict=False):
        r, low, high = (figure(row, name) for name in ("r", "low", "high"))
        known = r is not None and low is not None and high is not None
        made.append((after, f"{r:+.2f} ({low:+.2f} .. {high:+.2f})" if known else "-", row))
    return made
