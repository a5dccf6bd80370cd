"""What may go wrong in a world, second part: people, the venue's rules and words, the disk.

Unlike those of the first part these leave something to be seen to: each says in `world.trouble`
while what we believe and what is true may differ, and waits until it is over.
"""

import asyncio
import contextlib
import errno
import os
import random
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from unittest import mock

from alephtx.core import words
from alephtx.core.errors import JournalError
from alephtx.engine.session import Session
from alephtx.execution.standing import DIFFERENT, FORCED, FOREIGN
from alephtx.matrix import journal as journal_module
from alephtx.matrix.journal_append import J_ADDRESS, J_END
from alephtx.testing.world.faults import Act, a_twin, a_while
from alephtx.twins.exchange import Refused
from alephtx.twins.faults import Fault as TwinFault
from alephtx.twins.orders import TwinOrder

if TYPE_CHECKING:
    from alephtx.testing.world.world import World

WIDE: dict[str, tuple[int, Act]] = {}
"""Name -> (weight, what it does)."""

NOTICED_S = 20.0
HALT_CODE = 7


def alone_in(catalogue: dict[str, tuple[int, Act]]) -> Callable[[int], Callable[[Act], Act]]:
    """Return what enters faults into a catalogue that change something and put it back."""

    def fault(weight: int) -> Callable[[Act], Act]:
        def enter(act: Act) -> Act:
            async def alone(world: "World", source: random.Random) -> None:
                """What changes something and puts it back does so one at a time."""
                if act.__name__ in world.under_way:
                    return
                world.under_way.add(act.__name__)
                try:
                    await act(world, source)
                finally:
                    world.under_way.remove(act.__name__)

            catalogue[act.__name__] = (weight, alone)
            return act

        return enter

    return fault


fault = alone_in(WIDE)


@contextlib.asynccontextmanager
async def trouble(world: "World") -> AsyncIterator[None]:
    """Tell the checks that our books and the venue's may differ for now."""
    world.trouble += 1
    try:
        yield
    finally:
        world.trouble -= 1


# -- people --------------------------------------------------------------------------------------


@fault(3)
async def halted(world: "World", source: random.Random) -> None:
    """A person halts, and lifts it later; half of the time just as an order is on its way."""
    if source.random() < 0.5:
        await _order_on_its_way(world)
    if world.is_halted:
        return
    world.halt(HALT_CODE)
    await a_while(source, 300, 8_000)
    world.halt(0)


async def _order_on_its_way(world: "World") -> None:
    """Wait until an order has passed the gate, and stop the process right there for a moment."""
    seen = asyncio.Event()
    stopped: list[Any] = []

    def stop() -> None:
        process = world.engine_process
        if not seen.is_set() and process is not None and process.alive and not process.stopped:
            process.stop()
            stopped.append(process)
            seen.set()

    world.on_intent.append(stop)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await seen.wait()
    world.on_intent.remove(stop)
    for process in stopped:
        asyncio.get_running_loop().call_later(0.05, process.go_on)


def _lots(twin: Any, size: str) -> int:
    market = twin.exchange.market("BTCUSDT")
    return int(Decimal(size).scaleb(market.qty_scale))


def _by_hand(world: "World", twin: Any, client_id: str, side: int, lots: int) -> Any:
    """Let somebody else take from the book on our account."""
    exchange = twin.exchange
    order = TwinOrder(
        order_id=0, client_id=client_id, account=exchange.accounts[0],
        market=exchange.market("BTCUSDT"), side=side, type=words.MARKET, tif=words.IOC, price=0,
        qty=lots, extra={"type": "MARKET", "tif": "GTC", "stp": "NONE"},
    )  # fmt: skip
    with contextlib.suppress(Refused):
        world.foreign.add(client_id)
        return exchange.place(order)
    return None


async def _person_looks(
    world: "World", twin: Any, reasons: tuple[str, ...], source: random.Random
) -> None:
    """Wait until the account is closed for one of the reasons; lift it after a while."""
    k = list(world.twins.values()).index(twin)
    if not await _noticed(world, k, reasons):
        return
    noticed = world.loop.now_ns
    await asyncio.sleep(0.5)  # what had left already
    since = world.loop.now_ns
    await a_while(source, 500, 12_000)
    if not any(noticed <= to <= since for _, to in world.halts):  # somebody else opened it already
        world.closed.append((k, since, world.loop.now_ns))
    while world.is_halted:
        await asyncio.sleep(0.1)
    world.halt(HALT_CODE)
    await asyncio.sleep(1)
    world.halt(0)
    await _booked(world, twin)


async def _booked(world: "World", twin: Any) -> None:
    """Wait until our ledger has what somebody else did; a violation when it never does."""
    k = list(world.twins.values()).index(twin)
    quiet = 0.0
    while not world.checker.agrees(k):
        quiet = quiet + 0.25 if world.checker.connected() else 0.0
        await asyncio.sleep(0.25)
        if quiet > NOTICED_S:
            world.violate(f"what others did on account {k} is not booked")
            return


async def _noticed(world: "World", k: int, reasons: tuple[str, ...]) -> bool:
    """Wait until the engine has closed an account for a reason; a violation when it never does."""
    quiet = 0.0
    while quiet < NOTICED_S:
        if not world.standing(k).keys().isdisjoint(reasons):
            return True
        if quiet % 5 == 0:
            world.audit(k)  # it is due every minute, and a world is one
        quiet = quiet + 0.25 if world.checker.connected() else 0.0
        await asyncio.sleep(0.25)
    world.violate(f"nobody noticed on account {k}: {', '.join(reasons)}")
    return False


@fault(2)
async def manual_order(world: "World", source: random.Random) -> None:
    """Somebody trades on our account by hand."""
    twin = a_twin(world, source)
    lots = _lots(twin, source.choice(("0.002", "0.01")))
    async with trouble(world):
        order = _by_hand(world, twin, f"web_{world.loop.now_ns}", source.choice((1, -1)), lots)
        if order is not None and order.filled:
            await _person_looks(world, twin, (FOREIGN,), source)


@fault(2)
async def liquidation(world: "World", source: random.Random) -> None:
    """The venue closes a position of ours by force."""
    twin = world.twins["binance_usdm"]
    held = twin.exchange.accounts[0].position("BTCUSDT").qty
    if not held:
        return
    async with trouble(world):
        client_id = f"autoclose-{world.loop.now_ns}"
        order = _by_hand(world, twin, client_id, -1 if held > 0 else 1, abs(held))
        if order is not None and order.filled:
            # Trades that are asked for after a restart do not say whose order it was.
            await _person_looks(world, twin, (FORCED, FOREIGN), source)


@fault(2)
async def balance_drift(world: "World", source: random.Random) -> None:
    """Money comes or goes and nobody is told; it is put right later."""
    twin = a_twin(world, source)
    k = list(world.twins.values()).index(twin)
    account = twin.exchange.accounts[0]
    amount = Decimal(source.choice(("-3.25", "0.00000001", "150")))
    async with trouble(world):
        account.add("USDT", amount)
        await _noticed(world, k, (DIFFERENT,))
        await a_while(source, 500, 4_000)
        account.add("USDT", -amount)
        world.checker.moved(twin)
        world.audit(k)
        await asyncio.sleep(3)


@fault(2)
async def money_moves(world: "World", source: random.Random) -> None:
    """Somebody deposits or withdraws, or a rebate comes; perhaps the stream does not say so."""
    twin = world.twins["binance_usdm"]
    kind = source.choice(("TRANSFER", "COMMISSION_REBATE", "INSURANCE_CLEAR", "NEW_KIND"))
    amount = Decimal(source.choice(("250", "-120.5", "0.00000001")))
    told = source.random() < 0.6
    async with trouble(world):  # a fill after it may be booked before it
        twin.exchange.move(twin.exchange.accounts[0], "USDT", amount, kind, told=told)
        world.checker.moved(twin)
        if not told:
            world.audit(list(world.twins).index("binance_usdm"))
        await asyncio.sleep(3)  # until what was before it no longer counts
        await _booked(world, twin)


# -- the venue's rules ---------------------------------------------------------------------------


@fault(2)
async def filter_change(world: "World", source: random.Random) -> None:
    """A filter is another one for a while: tick, lot or least value."""
    market = a_twin(world, source).exchange.market("BTCUSDT")
    name, by = source.choice((("tick", 100), ("lot", 10), ("notional_min", 1_000)))
    before = getattr(market, name)
    setattr(market, name, before * by)
    await a_while(source, 300, 6_000)
    setattr(market, name, before)


@fault(2)
async def trading_halt(world: "World", source: random.Random) -> None:
    """The venue stops a symbol: no news, no new orders; sometimes it cancels what is open."""
    twin = a_twin(world, source)
    market = twin.exchange.market("BTCUSDT")
    market.trading = False
    if source.random() < 0.5:
        twin.exchange.cancel_all(twin.exchange.accounts[0], reason="venue")
    await a_while(source, 500, 8_000)
    market.trading = True


@fault(2)
async def maintenance(world: "World", source: random.Random) -> None:
    """The venue is away: links are cut and nobody gets in."""
    venue = source.choice(sorted(world.twins))
    links = [way for (_, port), way in world.network.links.items() if port == world.port_of(venue)]
    for way in links:
        way.refuse = True
        for end in list(way.ends):
            end.reset()
    await a_while(source, 1_000, 8_000)
    for way in links:
        way.heal()


@fault(2)
async def key_refused(world: "World", source: random.Random) -> None:
    """The venue does not know our key for a while."""
    exchange = a_twin(world, source).exchange
    async with trouble(world):
        keys = dict(exchange.by_key)
        exchange.by_key.clear()
        await a_while(source, 300, 5_000)
        exchange.by_key.update(keys)
        await asyncio.sleep(3)


@fault(1)
async def listen_key_expired(world: "World", source: random.Random) -> None:
    """The private stream's key ends before its time."""
    twin = world.twins["binance_usdm"]
    for key in list(twin.listen_keys):
        twin.expire_key(key)


# -- the venue's words ---------------------------------------------------------------------------


@fault(3)
async def mangled_frames(world: "World", source: random.Random) -> None:
    """Frames with fields too many, too few, or of another type; or half a frame."""
    how = source.choice(("extra", "extra", "missing", "type", "cut"))
    target = source.choice(("market", "market", "private", "trade"))
    order = TwinFault(kind="mangle", target=target, count=source.randrange(1, 6), how=how)
    a_twin(world, source).faults.order(order)


@fault(2)
async def crossed_book(world: "World", source: random.Random) -> None:
    """The venue's own book is crossed for a while."""
    market = world.markets[source.choice(sorted(world.markets))]
    market.crossed = source.randrange(1, 4)
    await a_while(source, 100, 4_000)
    market.crossed = 0


@fault(2)
async def sequence_reset(world: "World", source: random.Random) -> None:
    """The venue counts its book's changes from the start again, with or without cutting links."""
    venue = source.choice(sorted(world.twins))
    twin = world.twins[venue]
    cut = source.random() < 0.5
    world.markets[venue].update_id = source.randrange(1, 500)
    twin.prime("BTCUSDT", world.markets[venue].snapshot())
    if cut:
        twin.disconnect("market", abort=True)
    async with trouble(world):
        await asyncio.sleep(1)  # a sequence that goes back is believed at the eighth message


# -- the host ------------------------------------------------------------------------------------


@fault(1)
async def engine_stopped_long(world: "World", source: random.Random) -> None:
    """SIGSTOP of the engine for a minute: every link is long dead when it goes on."""
    process = world.engine_process
    if process is None or not process.alive:
        return
    process.stop()
    await asyncio.sleep(min(60.0, max(1.0, world.seconds - world.loop.now_ns / 1e9)))
    process.go_on()


@fault(2)
async def disk_full(world: "World", source: random.Random) -> None:
    """There is no room for the journal's next segment, just when it is needed."""

    def no_room(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with mock.patch.object(journal_module, "Segment", no_room):
        _fill(world.sessions[-1])
        await a_while(source, 200, 4_000)


def _fill(session: Session) -> None:
    """Let a journal's segment be as good as full."""
    journal = getattr(session, "journal", None)
    if journal is not None and journal._segment is not None:  # noqa: SLF001
        journal.map[J_END] = min(journal.map[J_END], journal.map[J_ADDRESS] + 4_096)


@fault(1)
async def sync_fails(world: "World", source: random.Random) -> None:
    """The disk does not take what a starting engine writes first."""

    def broken(*_: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with mock.patch.object(os, "fdatasync", broken):
        world.kill_engine()
        await a_while(source, 400, 3_000)


@fault(1)
async def started_twice(world: "World", source: random.Random) -> None:
    """Somebody starts a second engine for the same run; the first one's lock refuses it."""
    first = world.sessions[-1]
    process = world.engine_process
    journal = getattr(first, "journal", None)
    if process is None or not process.alive or journal is None or journal.halted:
        return
    second = Session(world.config, world.run_directory, world.matrix, world.instruments, first.host)
    try:
        second.open()
    except (JournalError, OSError):  # the latter: no descriptors
        return
    world.violate("a second engine opened the journal of the first")
