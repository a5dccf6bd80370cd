"""Orders that act some time after they came: a venue's speed bump.

`Venue.activation_ns` is how long. The venue acknowledges such an order when it comes and looks at
it as at any other; then it waits apart from the book (`sim.stops`) and can be cancelled there, but
not amended. When the time is over it enters the book, after all rows of that time; what the venue
refuses then ends it: EXPIRE with the reason. `activation_of` says whose orders wait: those of "all"
or of "takers", which are market orders and those that would trade when they come (Eurex's passive
liquidity protection, Polymarket's delay on sports). An amend acts at once, and so does a stop that
has triggered.
"""

from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.words import GTD, MARKET, POST_ONLY, REASON_OTHER, REJECT, REJECTED
from alephtx.sim.bottle import (
    I1,
    I2,
    K_NOW,
    M_ACTIVATION_NS,
    M_ACTIVATION_OF,
    ODD_BLIND,
    OF_TAKERS,
    T_ODD,
    Z_CLOCK,
    Z_STREAMS,
    Z_TERMS,
    Rows,
)
from alephtx.sim.lane import say
from alephtx.sim.levels import NO_LEVEL
from alephtx.sim.state import Exchange, best_shown, side_index
from alephtx.sim.stops import has_room, keep_waiting


@kernel
def acts_later(z: Rows, j: Int, x: Exchange, order: Rows) -> bool:
    """Let an order that a venue takes, SIM_ORDER (1,), wait where it must; say whether it does.

    One for which there is no room is refused, as a stop is.
    """
    i = order[0]["instrument"]
    terms = field(z, Z_TERMS, I2)[i]
    if terms[M_ACTIVATION_NS] == 0:
        return False
    if order[0]["qty"] <= 0 or (order[0]["type"] != MARKET and order[0]["price"] <= 0):
        return False  # of no sense, as the matching engine will say
    if terms[M_ACTIVATION_OF] == OF_TAKERS and not _would_trade(z, x, i, order):
        return False
    if not has_room(z, j, i):
        say(z, j, order, REJECT, REJECTED, REASON_OTHER)
        return True
    until = order[0]["expires_ns"] if order[0]["tif"] == GTD else 0
    at = field(z, Z_CLOCK, I1)[K_NOW] + terms[M_ACTIVATION_NS]
    keep_waiting(z, j, order, -at, until)
    return True


@kernel
def _would_trade(z: Rows, x: Exchange, i: Int, order: Rows) -> bool:
    """Say whether an order meets somebody else's now; behind a gap nobody knows of any."""
    if order[0]["type"] == MARKET:
        return True
    blind = field(z, Z_STREAMS, I2)[i, T_ODD] & ODD_BLIND
    if blind != 0 or order[0]["flags"] & POST_ONLY != 0:
        return False
    best = best_shown(x, i, side_index(-order[0]["side"]))
    return bool(best != NO_LEVEL and best >= -order[0]["side"] * order[0]["price"])
