"""Keep Python's collector away from the moments that count.

Looking through a large heap stops every thread that runs Python for 100 ms and more, at a moment of
Python's choosing. What lives when a process has started lives for ever, so it is frozen: never
looked at again. What comes later is freed by its reference counts; the collector is only for
cycles, which errors and cancelled tasks leave. So it runs when there may be enough of them, at a
calm moment, and in the thread that calls this: never in the loop's.
"""

import gc
from collections.abc import Callable

from alephtx.core.clock import Clock

LOOK_NS = 60_000_000_000
GROWN = 20_000
"""Containers made and not freed since the last collection; fewer are not worth one, which takes a
millisecond for so many (docs/host.md)."""

PATIENCE_NS, CALM_POLL_NS = 10_000_000_000, 10_000_000


def hold() -> None:
    """Collect once, freeze what lives, and switch the collector off; after a process's start."""
    gc.collect()
    gc.freeze()
    gc.disable()


def grown() -> int:
    """Return how many containers were made and not freed since the last collection."""
    return gc.get_count()[0]


def collect_if_grown() -> bool:
    """Collect where it is worth it; tells whether."""
    if grown() < GROWN:
        return False
    gc.collect()
    return True


async def keep(clock: Clock, calm: Callable[[], bool] = lambda: True) -> None:
    """Look once a minute, for ever, whether there is garbage; collect at the next calm moment.

    calm: whether nothing is under way that a millisecond would hurt. One that does not come within
    PATIENCE_NS is not waited for: memory is finite.
    """
    while True:
        await clock.sleep(LOOK_NS)
        given_up = clock.monotonic() + PATIENCE_NS
        while grown() >= GROWN and not calm() and clock.monotonic() < given_up:
            await clock.sleep(CALM_POLL_NS)
        collect_if_grown()
