"""What a twin process is asked to simulate."""

from decimal import Decimal

import msgspec


class TwinOptions(msgspec.Struct, kw_only=True, frozen=True):
    """What to simulate.

    ports: venue -> port, any free one where absent. start_at_ns: wall time of the first line, 0 for
    at once. speed: n-fold, 0 without pacing. fees: venue -> (maker, taker) fractions. skew_ms: the
    venues' clocks against ours. funding_every_s: settle funding that often, 0 only on command.
    """

    venues: tuple[str, ...]
    ports: dict[str, int] = {}
    start_at_ns: int = 0
    speed: float = 1.0
    loop: bool = True
    fees: dict[str, tuple[Decimal, Decimal]] = {}
    skew_ms: int = 0
    seed: int = 0
    funding_every_s: int = 0
    ports_file: str = ""

    def fees_of(self, venue: str, maker: str, taker: str) -> tuple[Decimal, Decimal]:
        """Return a venue's (maker, taker) fees, the venue's ordinary ones where none are given."""
        return self.fees.get(venue, (Decimal(maker), Decimal(taker)))
