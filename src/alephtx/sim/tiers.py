"""What a position's value asks of its holder: initial and maintenance margin, in tiers.

The base - leverage and maintenance of a margin - holds up to the first tier. In tier k, of values
above its floor, maintenance is value x rate(k) - deduction(k), where deduction(k) = deduction(k-1)
+ floor(k) x (rate(k) - rate(k-1)): no step at a floor. Binance's brackets have it so (`cum`,
"maintenance amount", faq b3c689c1f50a44cabb3a84e663b81d93), and Hyperliquid's margin tables
("maintenance deduction", docs, margin tiers).

The initial fraction is the greater of 1 / leverage set and 1 / leverage of the tier, of the whole
value. A position that grows into a tier of lower leverage than the one set needs more initial
margin: a choice. Binance refuses such an order (-2027); Hyperliquid's pages do not say.
"""

from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.units import CEIL, mul_div_checked
from alephtx.sim.bottle import (
    I2,
    I3,
    M_INITIAL,
    M_MAINTENANCE,
    M_TIERS,
    TIER_ABOVE,
    TIER_DEDUCTION,
    TIER_INITIAL,
    TIER_RATE,
    Z_TERMS,
    Z_TIERS,
    Rows,
)

E8 = 100_000_000


@kernel
def asked_at(z: Rows, i: Int, value: Int) -> tuple[int, int, int]:
    """Return (initial fraction, maintenance rate, deduction) of a position's value, not signed."""
    terms, tiers = field(z, Z_TERMS, I2)[i], field(z, Z_TIERS, I3)[i]
    initial, rate, deduction = terms[M_INITIAL], terms[M_MAINTENANCE], 0
    for k in range(terms[M_TIERS]):
        if value <= tiers[k, TIER_ABOVE]:
            break
        initial = max(terms[M_INITIAL], tiers[k, TIER_INITIAL])
        rate, deduction = tiers[k, TIER_RATE], tiers[k, TIER_DEDUCTION]
    return initial, rate, deduction


@kernel
def margin_of_more(z: Rows, i: Int, before: Int, more: Int) -> int:
    """Return the initial margin that more value asks on top of what there is, neither signed."""
    was, _, _ = asked_at(z, i, before)
    now, _, _ = asked_at(z, i, before + more)
    step = mul_div_checked(before, now - was, E8, CEIL)  # 0 within a tier
    return mul_div_checked(more, now, E8, CEIL) + step
