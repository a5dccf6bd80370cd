"""Rate limits as token buckets, with a share that only cancels may use.

All arithmetic is in integers of token x period, so that nothing is lost to rounding. What the venue
says of its own count (`learn`) wins whenever it is worse than ours.
"""

from collections.abc import Iterable, Mapping

from alephtx.core.clock import Clock
from alephtx.core.errors import ConfigError
from alephtx.core.ports import Bucket

RESERVE_FRAC = 0.1

Weights = Iterable[tuple[str, int]]


class _Level:
    """One bucket. filled: tokens x period_ns; a token is worth period_ns."""

    __slots__ = ("bucket", "filled", "full", "reserve", "updated_ns")

    def __init__(self, bucket: Bucket, now_ns: int, reserve_frac: float) -> None:
        if bucket.capacity <= 0 or bucket.period_ns <= 0:
            raise ConfigError(
                f"bucket {bucket.name}: capacity {bucket.capacity} and period {bucket.period_ns} ns"
                " must be positive"
            )
        self.bucket = bucket
        self.full = bucket.capacity * bucket.period_ns
        self.filled = self.full
        self.reserve = int(bucket.capacity * reserve_frac) * bucket.period_ns
        self.updated_ns = now_ns

    def refill(self, now_ns: int) -> None:
        passed = max(0, now_ns - self.updated_ns)
        self.filled = min(self.full, self.filled + passed * self.bucket.capacity)
        self.updated_ns = now_ns

    def wait_ns(self, cost: int, floor: int) -> int:
        missing = cost * self.bucket.period_ns + floor - self.filled
        return max(0, -(-missing // self.bucket.capacity))


class Buckets:
    """All rate limits of one venue for one address or account."""

    def __init__(
        self, buckets: Iterable[Bucket], clock: Clock, reserve_frac: float = RESERVE_FRAC
    ) -> None:
        if not 0 <= reserve_frac < 1:
            raise ConfigError(f"the cancels' share {reserve_frac} is outside 0..1")
        self._clock = clock
        now_ns = clock.monotonic()
        self._levels = {b.name: _Level(b, now_ns, reserve_frac) for b in buckets}
        self._held_until_ns = 0

    def _level(self, name: str, cost: int) -> _Level:
        level = self._levels.get(name)
        if level is None:
            known = ", ".join(sorted(self._levels)) or "none"
            raise ConfigError(f"a request is charged to bucket {name!r}", remedy=f"known: {known}")
        if cost < 0 or cost * level.bucket.period_ns > level.full - level.reserve:
            raise ConfigError(
                f"a weight of {cost} never fits bucket {name} of {level.bucket.capacity} tokens"
            )
        return level

    def try_take(self, weights: Weights, *, cancel: bool = False) -> int:
        """Take all the weights, or none and return the ns to wait; 0 = taken."""
        now_ns = self._clock.monotonic()
        wait_ns = self._held_until_ns - now_ns
        wanted = [(self._level(name, cost), cost) for name, cost in weights]
        for level, cost in wanted:
            level.refill(now_ns)
            wait_ns = max(wait_ns, level.wait_ns(cost, 0 if cancel else level.reserve))
        if wait_ns > 0:
            return wait_ns
        for level, cost in wanted:
            level.filled -= cost * level.bucket.period_ns
        return 0

    async def take(self, weights: Weights, *, cancel: bool = False) -> int:
        """Wait until the weights are taken; return the ns waited."""
        wanted = tuple(weights)
        waited_ns = 0
        while wait_ns := self.try_take(wanted, cancel=cancel):
            waited_ns += wait_ns
            await self._clock.sleep(wait_ns)
        return waited_ns

    def learn(self, used: Mapping[str, int]) -> None:
        """Lower our levels to what the venue says is left; names we do not keep are ignored."""
        now_ns = self._clock.monotonic()
        for name, count in used.items():
            level = self._levels.get(name)
            if level is not None:
                level.refill(now_ns)
                left = max(0, level.bucket.capacity - count) * level.bucket.period_ns
                level.filled = min(level.filled, left)

    def hold(self, duration_ns: int) -> None:
        """Send nothing at all, cancels neither, for that long: the venue said so."""
        self._held_until_ns = max(self._held_until_ns, self._clock.monotonic() + duration_ns)

    @property
    def held_ns(self) -> int:
        """Return for how long nothing may be sent any more, 0 when that is over."""
        return max(0, self._held_until_ns - self._clock.monotonic())

    def left(self, name: str) -> int:
        """Return the whole tokens left in a bucket, the cancels' share included."""
        level = self._level(name, 0)
        level.refill(self._clock.monotonic())
        return level.filled // level.bucket.period_ns
