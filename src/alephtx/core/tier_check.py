"""What tiers of a margin cannot be, in words: for configs and for backtests made in Python."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from alephtx.core.backtest_schema import TIERS_MAX
from alephtx.core.units import MAX_VALUE, MONEY_SCALE

LEVERAGE_MOST = Decimal(1_000)
VALUE_MOST = Decimal(MAX_VALUE).scaleb(-MONEY_SCALE)

Tier = tuple[Decimal, Decimal, Decimal]
"""Of a value above, maintenance as a fraction, the highest leverage."""


def tier_faults(
    tiers: Sequence[Tier], maintenance: Decimal, leverage: Decimal
) -> Iterator[tuple[int, str, str, str]]:
    """Yield (tier, its key, what is wrong, remedy) of each mistake, of none if all is well.

    maintenance, leverage: of values below all tiers, and as set.
    """
    if len(tiers) > TIERS_MAX:
        yield TIERS_MAX, "", f"{len(tiers)} tiers", f"at most {TIERS_MAX}"
        return
    floor, rate, most = Decimal(0), maintenance, LEVERAGE_MOST
    for k, (above, asked, highest) in enumerate(tiers):
        faults = list(_alone(above, asked, highest))
        yield from ((k, *fault) for fault in faults)
        if faults:
            return  # nothing can be held against a number that is none
        if above <= floor:
            yield k, "above", f"above {above:f} after {floor:f}", "the lowest tier comes first"
        if asked < rate:
            said = f"maintenance {asked:f} after {rate:f}"
            yield k, "maintenance", said, "a larger value is never asked for less: sort the tiers"
        if highest > most:
            said = f"leverage {highest:f} after {most:f}"
            yield k, "leverage", said, "a larger value has never more leverage: sort the tiers"
        if asked > max(1 / highest, 1 / leverage):
            said = f"maintenance {asked:f} at leverage {min(highest, leverage):f}"
            remedy = "a position that was just opened would be liquidated: lower one of them"
            yield k, "maintenance", said, remedy
        floor, rate, most = above, asked, highest


def _alone(above: Decimal, asked: Decimal, highest: Decimal) -> Iterator[tuple[str, str, str]]:
    """Yield the mistakes of single numbers, NaN among them."""
    if not above.is_finite() or not 0 < above < VALUE_MOST:
        yield "above", f"above {above}", f"a value above 0 and below {VALUE_MOST:,.0f}"
    elif above.normalize().as_tuple().exponent < -MONEY_SCALE:  # type: ignore[operator]
        yield "above", f"above {above:f}", f"at most {MONEY_SCALE} decimals"
    if not asked.is_finite() or not 0 < asked < 1:
        yield "maintenance", f"maintenance {asked}", "a fraction above 0 and below 1"
    if not highest.is_finite() or not 1 <= highest <= LEVERAGE_MOST:
        yield "leverage", f"leverage {highest}", f"1 to {LEVERAGE_MOST:,}"
