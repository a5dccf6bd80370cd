"""What may go wrong in a world, first part: network, the venue's machines, the host.

A fault is a coroutine of the world and a source of its own, so that leaving one out of a plan
changes nothing about the others: that is what shrinking needs. Every fault ends by itself.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from alephtx.twins.faults import Fault as TwinFault

if TYPE_CHECKING:
    from alephtx.testing.world.world import World

MS = 1_000_000
Act = Callable[["World", random.Random], Awaitable[None]]

CATALOGUE: dict[str, tuple[int, Act]] = {}
"""Name -> (weight, what it does). Seeds draw from it: what is added goes into `wide.WIDE`."""


def fault(weight: int) -> Callable[[Act], Act]:
    """Enter a fault into the catalogue."""

    def enter(act: Act) -> Act:
        CATALOGUE[act.__name__] = (weight, act)
        return act

    return enter


def _link(world: "World", source: random.Random) -> Any:
    """Choose the way of one process to one venue."""
    links = world.network.links
    return links[source.choice(sorted(links))]


def a_twin(world: "World", source: random.Random) -> Any:
    """Choose a venue."""
    return world.twins[source.choice(sorted(world.twins))]


async def a_while(source: random.Random, least_ms: int, most_ms: int) -> None:
    """Wait for a time between two."""
    await asyncio.sleep(source.randrange(least_ms, most_ms) / 1000)


# -- the network ---------------------------------------------------------------------------------


@fault(3)
async def reset(world: "World", source: random.Random) -> None:
    """Every connection of a way is reset."""
    for end in sorted(_link(world, source).ends, key=lambda e: e.outward):
        end.reset()


@fault(2)
async def refuse(world: "World", source: random.Random) -> None:
    """Connections are reset and new ones refused for a while."""
    link = _link(world, source)
    link.refuse = True
    for end in list(link.ends):
        end.reset()
    await a_while(source, 100, 5_000)
    link.heal()


@fault(2)
async def half_open(world: "World", source: random.Random) -> None:
    """Bytes vanish both ways and nobody is told, then the connection is reset."""
    link = _link(world, source)
    link.dropped = 3
    await a_while(source, 500, 12_000)
    link.heal()


@fault(2)
async def asymmetric_loss(world: "World", source: random.Random) -> None:
    """Bytes vanish one way only, then the connection is reset."""
    link = _link(world, source)
    link.dropped = source.choice((1, 2))
    await a_while(source, 200, 6_000)
    link.heal()


@fault(2)
async def stall(world: "World", source: random.Random) -> None:
    """Bytes are held, one way or both, and arrive late."""
    link = _link(world, source)
    link.stalled = source.choice((1, 2, 3))
    await a_while(source, 50, 8_000)
    link.heal()


@fault(1)
async def partition(world: "World", source: random.Random) -> None:
    """The engine reaches nobody for a while."""
    links = [link for (owner, _), link in world.network.links.items() if owner == "engine"]
    for link in links:
        link.stalled = 3
    await a_while(source, 200, 10_000)
    for link in links:
        link.heal()


@fault(1)
async def trickle(world: "World", source: random.Random) -> None:
    """A few bytes at a time."""
    link = _link(world, source)
    link.trickle = source.choice((7, 64, 300))
    await a_while(source, 200, 3_000)
    link.heal()


@fault(2)
async def latency_step(world: "World", source: random.Random) -> None:
    """A way becomes slow for some seconds."""
    link = _link(world, source)
    link.delay_ns = source.randrange(20, 900) * MS
    link.jitter_ns = link.delay_ns // 2
    await a_while(source, 500, 8_000)
    link.heal()


@fault(1)
async def latency_spike(world: "World", source: random.Random) -> None:
    """Everything is late for a moment."""
    links = list(world.network.links.values())
    for link in links:
        link.delay_ns = 1_500 * MS
    await a_while(source, 10, 200)
    for link in links:
        link.heal()


# -- the venue -----------------------------------------------------------------------------------


def _order(world: "World", source: random.Random, kind: str, targets: tuple[str, ...]) -> None:
    target = source.choice(targets)
    ordered = TwinFault(
        kind=kind, target=target, count=source.randrange(1, 6),
        duration_ms=source.randrange(100, 4_000), delay_ms=source.randrange(5, 400),
        status=source.choice((500, 502, 503, 504)),
    )  # fmt: skip
    world.note(f"{kind} {target} x{ordered.count}")
    a_twin(world, source).faults.order(ordered)


@fault(3)
async def disconnect(world: "World", source: random.Random) -> None:
    """The venue cuts the links of one kind."""
    a_twin(world, source).disconnect(source.choice(("market", "private", "trade")), abort=True)


@fault(2)
async def frames_lost(world: "World", source: random.Random) -> None:
    """The venue's server loses some frames; on the private stream that is a lost report."""
    _order(world, source, "gap", ("market", "private", "trade"))


@fault(2)
async def frames_twice(world: "World", source: random.Random) -> None:
    """Some frames come twice: duplicate reports."""
    _order(world, source, "duplicate", ("market", "private", "trade"))


@fault(2)
async def frames_swapped(world: "World", source: random.Random) -> None:
    """Some frames come in the wrong order: late and reordered reports."""
    _order(world, source, "reorder", ("market", "private", "trade"))


@fault(1)
async def venue_slow(world: "World", source: random.Random) -> None:
    """Answers and frames are late."""
    _order(world, source, "slow", ("market", "private", "trade", "http"))


@fault(1)
async def venue_silent(world: "World", source: random.Random) -> None:
    """Nothing comes for a while, links stay open."""
    _order(world, source, "stall", ("market", "private", "trade", "http"))


@fault(2)
async def rate_limited(world: "World", source: random.Random) -> None:
    """The venue answers 429."""
    _order(world, source, "429", ("http", "trade"))


@fault(1)
async def banned(world: "World", source: random.Random) -> None:
    """The venue answers 418."""
    _order(world, source, "418", ("http",))


@fault(2)
async def venue_error(world: "World", source: random.Random) -> None:
    """The venue answers 5xx."""
    _order(world, source, "5xx", ("http", "trade"))


@fault(4)
async def ambiguous(world: "World", source: random.Random) -> None:
    """Orders are accepted and the answer is lost."""
    _order(world, source, "ambiguous", ("http", "trade"))


@fault(1)
async def venue_clock(world: "World", source: random.Random) -> None:
    """The venue's clock is off by up to five seconds for a while."""
    twin = a_twin(world, source)
    twin.skew_ms = source.randrange(-5_000, 5_000)
    await a_while(source, 500, 8_000)
    twin.skew_ms = 0


@fault(1)
async def funding(world: "World", source: random.Random) -> None:
    """Perpetual positions pay or receive; once in a world, no venue does it every second."""
    if world.funded:
        return
    world.funded = True
    world.twins["binance_usdm"].settle_funding("BTCUSDT", source.choice(("0.0001", "-0.0003")))


@fault(1)
async def cancelled_by_venue(world: "World", source: random.Random) -> None:
    """The venue takes our orders off its book."""
    exchange = a_twin(world, source).exchange
    for account in exchange.accounts:
        exchange.cancel_all(account, reason="venue")


@fault(1)
async def market_jump(world: "World", source: random.Random) -> None:
    """The price moves by several percent at once."""
    market = world.markets["binance_usdm"].underlying
    market.middle = market.middle * source.randrange(95, 106) // 100


# -- the host ------------------------------------------------------------------------------------


@fault(4)
async def engine_killed(world: "World", source: random.Random) -> None:
    """Kill -9 of the engine, wherever it stands."""
    world.kill_engine()


@fault(1)
async def engine_killed_twice(world: "World", source: random.Random) -> None:
    """A second kill -9 while the next engine recovers."""
    world.kill_engine()
    await a_while(source, 300, 1_500)
    world.kill_engine()


@fault(2)
async def feeder_killed(world: "World", source: random.Random) -> None:
    """Kill -9 of a feeder; another takes its venue."""
    venue = source.choice(sorted(world.feeders))
    world.feeders[venue].kill()
    await a_while(source, 300, 2_000)
    world.start_feeder(venue)


@fault(2)
async def engine_stopped(world: "World", source: random.Random) -> None:
    """SIGSTOP of the engine, and SIGCONT a good while later."""
    process = world.engine_process
    if process is None or not process.alive:
        return
    wait_ms = source.choice((200, 1_000, 5_000, 20_000))
    process.stop()
    await asyncio.sleep(wait_ms / 1000)
    process.go_on()
