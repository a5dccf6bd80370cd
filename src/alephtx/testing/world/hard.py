"""What may go wrong in a world, third part: damaged files, no descriptors, lost pools, wrong words.

Drawn apart from the other two, so that seeds keep what they had.
"""

import asyncio
import errno
import os
import random
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec

from alephtx.core.risk_schema import Risk
from alephtx.core.secrets import Secret
from alephtx.engine.limit_commands import Answer
from alephtx.matrix.journal_format import GRAIN, RECORD_HEADER
from alephtx.matrix.journal_read import list_segments, read_header, walk_segment
from alephtx.risk.changes import Change, private_key, public_text, sign, value_of
from alephtx.testing.world.faults import Act, a_while
from alephtx.testing.world.pool import PoolHost
from alephtx.testing.world.wide import alone_in

if TYPE_CHECKING:
    from alephtx.testing.world.world import World

HARD: dict[str, tuple[int, Act]] = {}
"""Name -> (weight, what it does)."""

POOLS: set[str] = set()
"""Of these, what only worlds with shared limits have."""

OFFICER = private_key(Secret("5a" * 32))
STRANGER = private_key(Secret("a5" * 32))
OFFICERS = {"ann": public_text(OFFICER)}
ANSWER_NS = 15_000_000_000

fault = alone_in(HARD)


async def _files_work(world: "World") -> None:
    """Wait until whoever plays a person can open and write files again."""
    while not world.under_way.isdisjoint({"files_refused", "descriptors_exhausted"}):
        await asyncio.sleep(0.25)


# -- the journal ---------------------------------------------------------------------------------


def _last_segment(world: "World") -> tuple[Path, int, int]:
    """Return the journal's last segment, where its records begin and where they end."""
    path = list_segments(world.run_directory.journal)[-1]
    header = read_header(path)
    return path, header.header_bytes, walk_segment(path, header, repair=False).end


@fault(3)
async def journal_torn(world: "World", source: random.Random) -> None:
    """The engine is killed in the middle of a record: junk follows the last whole one."""
    while "journal_flipped" in world.under_way:
        await asyncio.sleep(0.25)
    await _files_work(world)
    if not world.kill_engine():
        return
    path, _, end = _last_segment(world)
    with path.open("r+b") as file:
        file.seek(end)
        file.write(source.randbytes(min(source.randrange(1, 400), path.stat().st_size - end)))


@fault(3)
async def journal_flipped(world: "World", source: random.Random) -> None:
    """A bit of an old record flips: no engine may start on it, until a person restores it."""
    await _files_work(world)
    if not world.kill_engine():
        return
    path, start, end = _last_segment(world)
    data = path.read_bytes()
    records = []
    while start < end:
        records.append(start)
        size = int.from_bytes(data[start : start + 4], "little")
        start += -(-(RECORD_HEADER + size) // GRAIN) * GRAIN
    if len(records) < 2:
        return
    at = source.choice(records[:-1]) + source.randrange(RECORD_HEADER)
    whole = data[at]
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([whole ^ (1 << source.randrange(8))]))
    lives = len(world.sessions)
    until = world.loop.now_ns + source.randrange(500, 4_000) * 1_000_000
    while world.loop.now_ns < until:
        await asyncio.sleep(0.05)
        if world.steppers:
            world.violate(f"an engine runs on a damaged journal (byte {at} of {path.name})")
            return
    if len(world.sessions) == lives:
        world.violate("nobody tried to start the engine")
    await _files_work(world)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([whole]))


# -- the host ------------------------------------------------------------------------------------


@fault(3)
async def descriptors_exhausted(world: "World", source: random.Random) -> None:
    """No file and no socket can be opened by anybody; half of the time an engine starts in it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(2)
    os.close(spare)  # the lowest that is free
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, before[1]))
    try:
        if source.random() < 0.5:
            world.kill_engine()
        await a_while(source, 300, 5_000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@fault(3)
async def files_refused(world: "World", source: random.Random) -> None:
    """The disk takes no new file: status, halts, answers; what is open already goes on."""

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = len(world.fell)
    with mock.patch.object(Path, "write_bytes", full):
        await a_while(source, 300, 12_000)
    if fell := [fault for fault in world.fell[before:] if os.strerror(errno.ENOSPC) in fault]:
        world.violate(f"an engine ended for a file that is only looked at: {fell}")


# -- people --------------------------------------------------------------------------------------


def _change(world: "World", source: random.Random, **other: str) -> Change:
    desk = world.sessions[-1].limits
    said: dict[str, Any] = {
        "run": desk.run, "who": "ann", "action": "set", "limit": "notional_max",
        "old": value_of(desk.risk, "notional_max", ""), "new": "1", "reason": "a world",
        "nonce": f"{source.getrandbits(128):032x}",
    }  # fmt: skip
    return Change(when_ns=world.clock.now(), **(said | other))


def _but_the_pace(risk: Risk) -> Risk:
    """Return limits without the one that `limits_changed` may change meanwhile."""
    return msgspec.structs.replace(risk, orders_per_s=1)


@fault(3)
async def wrong_limits(world: "World", source: random.Random) -> None:
    """Commands that nobody may give: unsigned, another's, old, for another run, cut, junk."""
    await _files_work(world)
    if not world.steppers:
        return
    desk = world.sessions[-1].limits
    right = msgspec.json.encode(sign(_change(world, source), OFFICER))
    wrong = [
        right[: source.randrange(len(right))],
        source.randbytes(200),
        msgspec.json.encode(sign(_change(world, source), STRANGER)),
        msgspec.json.encode(sign(_change(world, source, who="bob"), STRANGER)),
        msgspec.json.encode(sign(_change(world, source, old="999"), OFFICER)),
        msgspec.json.encode(sign(_change(world, source, run="another"), OFFICER)),
        msgspec.json.encode(sign(_change(world, source, new="-5"), OFFICER)),
    ]
    before = _but_the_pace(desk.risk)
    for k, raw in enumerate(wrong):
        (desk.paths.inbox / f"{source.getrandbits(64):x}-{k}.json").write_bytes(raw)
    await asyncio.sleep(ANSWER_NS / 1e9)
    if world.steppers and _but_the_pace(world.sessions[-1].limits.risk) != before:
        world.violate("a command that nobody may give changed the limits")


@fault(2)
async def limits_changed(world: "World", source: random.Random) -> None:
    """An officer changes a limit, perhaps just before the engine dies: all of it or nothing."""
    await _files_work(world)
    if not world.steppers:
        return
    desk = world.sessions[-1].limits
    old = value_of(desk.risk, "orders_per_s", "")
    new = "15" if old == "30" else "30"
    change = _change(world, source, limit="orders_per_s", old=old, new=new)
    name = f"{change.nonce}.json"
    (desk.paths.inbox / name).write_bytes(msgspec.json.encode(sign(change, OFFICER)))
    if source.random() < 0.5:
        await asyncio.sleep(source.randrange(1_500) / 1000)
        world.kill_engine()
    file = desk.paths.done / name
    until = world.loop.now_ns + ANSWER_NS
    while world.loop.now_ns < until and not (file.exists() and world.steppers):
        await asyncio.sleep(0.25)
    await _files_work(world)
    if not file.exists():
        return  # it died before it answered, and may have died before it kept the change
    accepted = msgspec.json.decode(file.read_bytes(), type=Answer).accepted
    now = value_of(world.sessions[-1].limits.risk, "orders_per_s", "")
    if world.steppers and now != (change.new if accepted else change.old):
        world.violate(f"orders_per_s is {now}, the answer to {change} was {accepted}")


# -- the pool of shared limits -------------------------------------------------------------------


def pool_fault(act: Callable[["World", PoolHost, random.Random], Awaitable[None]]) -> Act:
    """Enter a fault of the pool, which does nothing where no Redis is installed."""

    async def with_pool(world: "World", source: random.Random) -> None:
        await _files_work(world)
        if world.pool is not None:
            await act(world, world.pool, source)

    with_pool.__name__ = act.__name__
    POOLS.add(act.__name__)
    return fault(1)(with_pool)


@pool_fault
async def pool_lost(world: "World", pool: PoolHost, source: random.Random) -> None:
    """Redis is away for a while, refused or silent."""
    ways, silent = pool.ways(), source.random() < 0.5
    for way in ways:
        way.dropped, way.refuse = 3 * silent, not silent
    if not silent:
        pool.cut()
    await a_while(source, 300, 12_000)
    for way in ways:
        way.heal()


@pool_fault
async def pool_slow(world: "World", pool: PoolHost, source: random.Random) -> None:
    """Answers of Redis are late, some too late."""
    ways = pool.ways()
    for way in ways:
        way.delay_ns = source.randrange(100, 1_500) * 1_000_000
    await a_while(source, 300, 8_000)
    for way in ways:
        way.heal()


@pool_fault
async def pool_forgot(world: "World", pool: PoolHost, source: random.Random) -> None:
    """Redis is killed, and another that knows nothing, or an old copy, takes its place."""
    copy = pool.born(copied=source.random() < 0.5)
    await a_while(source, 100, 3_000)  # a copy is older than what it replaces
    pool.here.end()
    pool.here = copy
    pool.cut()


@pool_fault
async def pool_split(world: "World", pool: PoolHost, source: random.Random) -> None:
    """Two servers answer for a while: we reach a fresh copy, the other engine the old one."""
    pool.there, pool.here = pool.here, pool.born(copied=True)
    pool.cut()
    await a_while(source, 500, 8_000)
    pool.there.end()
    pool.there = None
    pool.cut()
