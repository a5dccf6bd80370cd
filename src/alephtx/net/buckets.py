"""Rate limits as token buckets, with a share that only cancels may use.

All arithmetic is in integers, so that nothing is lost to rounding. What the venue says of its own
count (`learn`) wins whenever it is worse than ours. The levels are words that a kernel works on, so
that the compiled loop and the main thread take from the same budget: who finds the other at it
waits some tens of nanoseconds, or, in the loop, lets the main thread do it (`BUSY`).
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from alephtx.core.atomics import compare_exchange, pause, store_release
from alephtx.core.clock import Clock
from alephtx.core.errors import ConfigError
from alephtx.core.kernel import Int, kernel
from alephtx.core.ports import Bucket

RESERVE_FRAC = 0.1

Weights = Iterable[tuple[str, int]]
Rows = np.ndarray[Any, Any]

# Words of a level. A token is worth TOKEN units, RATE of which come back every ns.
FULL, FILLED, RESERVE, TOKEN, RATE, UPDATED, PERIOD = range(7)
LEVEL_WORDS = 8
# Words of `held`: nothing may be sent before; the lock, and where it is.
HELD_UNTIL, LOCK, LOCK_AT = 0, 1, 2
BUSY = -1
UNITS_MAX = 1 << 61


@kernel
def _refill(levels: Rows, k: Int, now_ns: Int) -> None:
    """Give a level what came back since it was last looked at."""
    passed = min(max(0, now_ns - levels[k, UPDATED]), levels[k, PERIOD])
    levels[k, FILLED] = min(levels[k, FULL], levels[k, FILLED] + passed * levels[k, RATE])
    levels[k, UPDATED] = now_ns


@kernel
def _taken(levels: Rows, held: Rows, wanted: Rows, n: Int, cancel: Int, now_ns: Int) -> int:
    wait: Any = max(0, held[HELD_UNTIL] - now_ns)
    for j in range(n):
        k, cost = wanted[j, 0], wanted[j, 1]
        _refill(levels, k, now_ns)
        floor = 0 if cancel else levels[k, RESERVE]
        missing = cost * levels[k, TOKEN] + floor - levels[k, FILLED]
        if missing > 0:
            wait = max(wait, (missing + levels[k, RATE] - 1) // levels[k, RATE])
    if wait > 0:
        return wait
    for j in range(n):
        levels[wanted[j, 0], FILLED] -= wanted[j, 1] * levels[wanted[j, 0], TOKEN]
    return 0


@kernel
def buckets_take(
    levels: Rows, held: Rows, wanted: Rows, n: Int, cancel: Int, now_ns: Int, tries: Int
) -> int:
    """Take n weights, or none and return the ns to wait; 0 = taken, BUSY = the other is at it.

    levels: int64 (B, LEVEL_WORDS). held: int64 (4,). wanted: int64 (>= n, 2), pairs of level and
    cost. tries: how often to look whether the other thread is done. About 20 ns.
    """
    while compare_exchange(held[LOCK_AT], 0, 1) != 0:
        tries -= 1
        if tries <= 0:
            return BUSY
        pause()
    wait = _taken(levels, held, wanted, n, cancel, now_ns)
    store_release(held[LOCK_AT], 0)
    return wait


@kernel
def _lower(levels: Rows, held: Rows, k: Int, left: Int, now_ns: Int) -> int:
    """Refill a level and let it hold at most so many units."""
    while compare_exchange(held[LOCK_AT], 0, 1) != 0:
        pause()
    _refill(levels, k, now_ns)
    levels[k, FILLED] = min(levels[k, FILLED], left)
    store_release(held[LOCK_AT], 0)
    return 0


def _level(bucket: Bucket, now_ns: int, reserve_frac: float) -> list[int]:
    """Return the words of a full level."""
    if bucket.capacity <= 0 or bucket.period_ns <= 0:
        raise ConfigError(
            f"bucket {bucket.name}: capacity {bucket.capacity} and period {bucket.period_ns} ns"
            " must be positive"
        )
    shared = math.gcd(bucket.capacity, bucket.period_ns)
    token, rate = bucket.period_ns // shared, bucket.capacity // shared
    full = bucket.capacity * token
    if full > UNITS_MAX:
        raise ConfigError(
            f"bucket {bucket.name}: {bucket.capacity} in {bucket.period_ns} ns cannot be counted"
            " in 64 bits",
            remedy="state capacity and period with a common factor",
        )
    reserve = int(bucket.capacity * reserve_frac) * token
    return [full, full, reserve, token, rate, now_ns, bucket.period_ns, 0]


class Buckets:
    """All rate limits of one venue for one address or account."""

    def __init__(
        self, buckets: Iterable[Bucket], clock: Clock, reserve_frac: float = RESERVE_FRAC
    ) -> None:
        if not 0 <= reserve_frac < 1:
            raise ConfigError(f"the cancels' share {reserve_frac} is outside 0..1")
        self._clock = clock
        now_ns = clock.monotonic()
        kept = tuple(buckets)
        self._buckets = {bucket.name: (k, bucket) for k, bucket in enumerate(kept)}
        rows = [_level(bucket, now_ns, reserve_frac) for bucket in kept]
        self.levels: Rows = np.array(rows or [[0] * LEVEL_WORDS], np.int64)
        self.held: Rows = np.zeros(4, np.int64)
        self.held[LOCK_AT] = self.held.ctypes.data + 8 * LOCK

    def wanted(self, weights: Weights) -> list[tuple[int, int]]:
        """Return (level, cost) pairs; ConfigError for a charge that can never be paid."""
        return [(self._checked(name, cost), cost) for name, cost in weights]

    def _checked(self, name: str, cost: int) -> int:
        if name not in self._buckets:
            known = ", ".join(sorted(self._buckets)) or "none"
            raise ConfigError(f"a request is charged to bucket {name!r}", remedy=f"known: {known}")
        k, bucket = self._buckets[name]
        level = self.levels[k]
        if cost < 0 or cost * int(level[TOKEN]) > int(level[FULL] - level[RESERVE]):
            raise ConfigError(
                f"a weight of {cost} never fits bucket {name} of {bucket.capacity} tokens"
            )
        return k

    def try_take(self, weights: Weights, *, cancel: bool = False) -> int:
        """Take all the weights, or none and return the ns to wait; 0 = taken."""
        pairs = self.wanted(weights)
        rows = np.array(pairs or [(0, 0)], np.int64)
        now_ns = self._clock.monotonic()
        while True:
            wait_ns = buckets_take(
                self.levels, self.held, rows, len(pairs), int(cancel), now_ns, 1_000
            )
            if wait_ns != BUSY:
                return int(wait_ns)

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
        for name, count in used.items():
            if name in self._buckets:
                k, bucket = self._buckets[name]
                left = max(0, bucket.capacity - count) * int(self.levels[k, TOKEN])
                _lower(self.levels, self.held, k, left, self._clock.monotonic())

    def hold(self, duration_ns: int) -> None:
        """Send nothing at all, cancels neither, for that long: the venue said so."""
        until_ns = self._clock.monotonic() + duration_ns
        self.held[HELD_UNTIL] = max(int(self.held[HELD_UNTIL]), until_ns)

    @property
    def held_ns(self) -> int:
        """Return for how long nothing may be sent any more, 0 when that is over."""
        return max(0, int(self.held[HELD_UNTIL]) - self._clock.monotonic())

    def left(self, name: str) -> int:
        """Return the whole tokens left in a bucket, the cancels' share included."""
        k = self._checked(name, 0)
        _lower(self.levels, self.held, k, int(self.levels[k, FULL]), self._clock.monotonic())
        return int(self.levels[k, FILLED] // self.levels[k, TOKEN])
