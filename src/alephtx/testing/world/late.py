"""What may go wrong in a world, fourth part: time itself. A seed has one at most.

Data that comes late without being silent, and a venue's clock that is set while everybody works.
"""

import asyncio
import random
from typing import TYPE_CHECKING

from alephtx.testing.world.faults import MS, Act, a_twin, a_while
from alephtx.testing.world.wide import alone_in

if TYPE_CHECKING:
    from alephtx.testing.world.world import World

LATE: dict[str, tuple[int, Act]] = {}
"""Name -> (weight, what it does)."""

fault = alone_in(LATE)


@fault(2)
async def feed_late(world: "World", source: random.Random) -> None:
    """A venue's market data comes seconds late, every message of it, and goes on coming."""
    venue = source.choice(sorted(world.feeders))
    link = world.network.links[f"feeder:{venue}", world.port_of(venue)]
    link.delay_ns = source.randrange(1_000, 8_000) * MS
    link.jitter_ns = source.choice((0, 300 * MS))
    await a_while(source, 2_000, 20_000)
    link.heal()


@fault(2)
async def feeder_stopped(world: "World", source: random.Random) -> None:
    """SIGSTOP of a feeder; after SIGCONT it reads what had piled up, seconds old."""
    process = world.feeders[source.choice(sorted(world.feeders))]
    if not process.alive:
        return
    process.stop()
    await asyncio.sleep(source.choice((0.3, 1.0, 4.0, 15.0)))
    process.go_on()


@fault(2)
async def clock_set(world: "World", source: random.Random) -> None:
    """A venue sets its clock by seconds, and sets it back a good while later."""
    twin = a_twin(world, source)
    twin.skew_ms = source.choice((-1, 1)) * source.randrange(300, 9_000)
    await a_while(source, 5_000, 30_000)
    twin.skew_ms = 0


@fault(1)
async def clock_set_late_feed(world: "World", source: random.Random) -> None:
    """A venue's clock goes ahead while its data comes late: the one hides the other for a while."""
    venue = source.choice(sorted(world.feeders))
    twin = world.twins[venue]
    link = world.network.links[f"feeder:{venue}", world.port_of(venue)]
    link.delay_ns = source.randrange(3_000, 6_000) * MS
    twin.skew_ms = source.randrange(300, 9_000)
    await a_while(source, 3_000, 15_000)
    link.heal()
    twin.skew_ms = 0
