"""The arbitrage of the tests: spot against perp, or spot against inverse contracts.

Fees are 4 bps a leg unless said otherwise, so two legs cost 8 bps; the trigger is 2 bps.
"""

from alephtx.core import words as w
from alephtx.strategies import arbitrage as arb
from tests.strategies.world import COIN_KEY, MS, PERP, PERP_KEY, SPOT, SPOT_KEY, World

SECTION = {
    "instruments": [SPOT_KEY, PERP_KEY], "trigger_bps": "2", "unwind_bps": "0", "qty_base": "0.1",
    "position_max_base": "0.2", "cooldown_ms": 50, "leg_deadline_ms": 200, "hedges_max": 2,
    "cross_bps": "5",
}  # fmt: skip
COIN_SECTION = {**SECTION, "instruments": [SPOT_KEY, COIN_KEY], "assume_parity": True}

DEAR = (500_600, 500_601)  # perp 12 bps above spot's 50,000.00 / 50,000.01
FAIR = (500_000, 500_001)


def world(section=None, **more):
    made = World(arb, {**SECTION, **(section or {})}, **more)
    made.wait(1000 * MS)
    made.fresh()
    return made


def opened():
    """A world with both legs out: sell 0.1 perp at 50,060.0, buy 0.1 spot at 50,000.01."""
    made = world()
    assert made.quote(PERP, *DEAR) == 2
    return made, made.order(PERP, w.SELL), made.order(SPOT, w.BUY)
