"""Which order a tick asks for: side and price follow from its best bid, and that from its number.

An order that was made of an older book has another price, and is seen to be wrong. Orders stand
inside the spread, so that IOC never fills; and every buy is below every sell, so that none would
meet one of ours that the venue has not ended yet.
"""

from decimal import Decimal
from typing import NamedTuple

TURN = 16  # so many different bids; even, so that sides take turns
SPREAD = 60  # steps
FAR = 100  # steps: of all other levels from the best ones
ABOVE_BID = {"BUY": 2, "SELL": 2 + TURN + 4}


class Plan(NamedTuple):
    """Prices are counted in steps. first: the lowest bid, even. qty: of every order."""

    first: int
    step: Decimal
    qty: str

    def bid(self, k: int) -> int:
        """Return the best bid after tick k."""
        return self.first + k % TURN

    @property
    def low(self) -> int:
        """The highest of the other bids."""
        return self.first - FAR

    @property
    def high(self) -> int:
        """The lowest of the other asks."""
        return self.first + TURN + SPREAD + FAR

    def order(self, k: int) -> tuple[str, Decimal]:
        """Return side and price of the order that tick k asks for."""
        bid = self.bid(k)
        side = "SELL" if bid % 2 else "BUY"
        return side, (bid + ABOVE_BID[side]) * self.step
