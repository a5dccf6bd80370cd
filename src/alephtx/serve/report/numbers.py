"""Numbers as a reader wants them: money exact, counts grouped, durations in their own unit."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from alephtx.serve.report.html import Html, Part, tag

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def exact(amount: Decimal) -> str:
    """Return an amount with every digit it has."""
    if not amount:
        return "0"
    return format(amount.normalize(), "f")


def signed(amount: Decimal) -> Html:
    """Return an exact amount that is coloured by its sign."""
    return tag("span", exact(amount), class_="up" if amount > 0 else "down" if amount < 0 else None)


def amounts(by_currency: Mapping[str, Decimal]) -> Part:
    """Return money of several currencies, one a line."""
    rows = [(c, a) for c, a in sorted(by_currency.items()) if a]
    return [tag("div", exact(a), " ", tag("small", c)) for c, a in rows] or "0"


def grouped(value: Any) -> str:
    """Return a count; - for what is none."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else "-"


def percent(share: Decimal | float | None) -> str:
    """Return a share in percent; - for None."""
    return "-" if share is None else f"{float(share) * 100:.1f} %"


def bps(value: float) -> str:
    """Return basis points; - for NaN."""
    return "-" if math.isnan(value) else f"{value:+.2f}"


def duration(ns: Any) -> str:
    """Return ns in the unit that suits it; - for what is no duration."""
    if isinstance(ns, bool) or not isinstance(ns, int | float) or ns < 0:
        return "-"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}" if ns < 1000 * size else f"{ns / size:,.0f} {unit}"
    return f"{ns:.0f} ns"


def span(ns: int) -> str:
    """Return how long a run was."""
    if ns < 0:
        return "-"
    hours, rest = divmod(ns // 1_000_000_000, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{ns / 1e9:.1f} s"


def moment(ns: int) -> str:
    """Return a time in UTC, to the second; - for 0 and for what no calendar holds."""
    if not 0 < ns < 1 << 62:
        return "-"
    return f"{EPOCH + timedelta(seconds=ns // 1_000_000_000):%Y-%m-%d %H:%M:%S}"


def clock(ns: int) -> str:
    """Return the time of day in UTC, to the millisecond."""
    if not 0 < ns < 1 << 62:
        return "-"
    return f"{EPOCH + timedelta(milliseconds=ns // 1_000_000):%H:%M:%S.%f}"[:-3]


def joined(parts: Iterable[str]) -> str:
    """Return words with commas, - for none."""
    return ", ".join(parts) or "-"
