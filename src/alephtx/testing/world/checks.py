"""What must hold in a world, whatever happens: looked at on the way and at the end.

The venue's own journal is the truth. Nothing here uses what it checks: positions and money are
added up anew from our journal's rows and from the twin's.
"""

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from alephtx.core import identity, words
from alephtx.core.records import INTENT, UPDATE
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import UPDATE as UPDATE_RECORD
from alephtx.matrix.journal import read
from alephtx.testing.world.pool import TOTAL_CENTS

if TYPE_CHECKING:
    from alephtx.testing.world.world import World

SECOND = 1_000_000_000
CATCH_UP_NS = 2 * SECOND
MS = 1_000_000
STALE_NS = 3_700 * MS
"""The feeder's limit, its beat, and how long an engine takes a feeder for alive that is not."""
MEASURED_NS = 8 * SECOND
"""A clock that was set is known after so long: its refusals are looked into every five."""
CANCELS_MAX = 12
SHOWN, MINDED = 128, 48  # touches kept of a venue; looks at its clock, 12 s


class Checker:
    """Watches one world and puts what is broken into its violations."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self._states: dict[str, list[tuple[int, dict[str, Decimal]]]] = {}
        self._calm_since = 0
        self._agreed_ns: dict[str, int] = defaultdict(int)
        self._told: set[str] = set()
        self._touches: dict[str, deque[tuple[int, Decimal, Decimal]]] = {}

        self._frozen_ns = -SECOND
        self._skews: list[int] = []
        self._unsteady_ns = 0
        self._steady: list[int] = []  # moments, a quarter of a second apart
        self._clocks: dict[str, deque[tuple[int, int, int]]] = {}

    def touched(self, venue: str, bid: Decimal, ask: Decimal) -> None:
        """Keep the touch a venue shows from now on."""
        kept = self._touches.setdefault(venue, deque(maxlen=SHOWN))
        kept.append((self.world.loop.now_ns, bid, ask))

    # -- on the way ------------------------------------------------------------------------

    async def watch(self) -> None:
        """Look four times a second."""
        world = self.world
        for twin in world.twins.values():
            self._states[twin.name] = []
            twin.exchange.listeners.append(lambda report, twin=twin: self.moved(twin))
            self.moved(twin)
        while True:
            await asyncio.sleep(0.25)
            self._no_future()
            self._books_are_right()
            self._shared_is_within()
            self._nothing_old_is_tradable()
            self._note_steady()
            if self._is_calm():
                self._same_account()
                self._same_touch()
                self._nothing_open_while_halted()

    def moved(self, twin: Any) -> None:
        """Keep what an account was at each of its changes."""
        (account,) = twin.exchange.accounts
        self._states[twin.name].append((self.world.loop.now_ns, dict(account.total)))

    def _no_future(self) -> None:
        """No strategy may see what has not happened yet."""
        now = self.world.clock.now()
        for stepper in self.world.steppers:
            newest = int(stepper.ctx.top["ts_recv"].max())
            if newest > now:
                self.world.violate(f"a strategy sees {newest - now} ns into the future")

    def _books_are_right(self) -> None:
        """Nothing that happens outside makes an accounting error; none may be seen, ever."""
        session = self.world.sessions[-1]
        troubles = session.watch.troubles if hasattr(session, "watch") else {}
        for what in troubles.keys() - self._told:
            self._told.add(what)
            self.world.violate(f"accounting error: {what}: {troubles[what]}")

    def _shared_is_within(self) -> None:
        """What two engines may use together is never more than the whole."""
        world = self.world
        if world.pool is None or not world.steppers:
            return
        ours, theirs = world.sessions[-1].shares.limit, world.pool.other_cents
        if ours + theirs > TOTAL_CENTS:
            world.violate(f"shares of {ours} and {theirs} cents exceed the whole, {TOTAL_CENTS}")

    def _is_calm(self) -> bool:
        """Tell whether both sides are connected and agreed, and have been for a while."""
        now = self.world.loop.now_ns
        if self.world.trouble or not self.connected():
            self._calm_since = now
        return now - self._calm_since >= CATCH_UP_NS + SECOND

    def _note_steady(self) -> None:
        """Keep the moments at which all was well and no clock was set shortly before."""
        now = self.world.loop.now_ns
        skews = [twin.skew_ms for twin in self.world.twins.values()]
        if skews != self._skews or not self.connected():
            self._skews, self._unsteady_ns = skews, now
        elif now - self._unsteady_ns >= MEASURED_NS:
            self._steady.append(now)

    def connected(self) -> bool:
        """Tell whether both sides are connected and agreed at this moment."""
        world = self.world
        session = world.sessions[-1] if world.sessions else None
        process = world.engine_process
        return bool(
            session is not None and process is not None and process.alive and not process.stopped
            and world.steppers and session.gateways
            and all(g.ready.is_set() and not any(o.doubt for o in g.live.values())
                    for g in session.gateways)
            and all(link.calm for link in world.network.links.values())
            and all(twin.faults.quiet for twin in world.twins.values())
        )  # fmt: skip

    def _same_account(self) -> None:
        """Our ledger is what the venue's account was just now; it may differ for two seconds.

        A lost report may be told after a later one, so that for a moment our account is one that
        the venue's never was: what counts is how long it takes.
        """
        now = self.world.loop.now_ns
        for k, venue in enumerate(self.world.twins):
            if self.agrees(k):
                self._agreed_ns[venue] = now
            elif now - max(self._agreed_ns[venue], self._calm_since) > CATCH_UP_NS:
                ours, theirs = self._ours(k), self._states[venue][-1][1]
                self.world.violate(f"account of {venue} is {ours} with us, {theirs} there, for 2 s")

    def _ours(self, k: int) -> dict[str, Decimal]:
        balances = self.world.sessions[-1].ledger.balances(k)
        return {name: total for name, total in balances.items() if total}

    def agrees(self, k: int) -> bool:
        """Tell whether our ledger is what an account was at a moment of the last half second."""
        ours = self._ours(k)
        states = self._recent(list(self.world.twins)[k])
        return any(ours == {n: t for n, t in state.items() if t} for state in states)

    def _same_touch(self) -> None:
        """Every tradable top in the matrix is what its venue showed in the last two seconds."""
        for instrument, ours in self._tradable():
            if ours[0] >= ours[1]:
                self.world.violate(f"{instrument.key} is tradable at a crossed {ours}")
            if list(ours) not in self._shown(instrument.venue, CATCH_UP_NS):
                there = self._touches[instrument.venue][-1][1:]
                self.world.violate(f"{instrument.key} is {ours} with us, {there} there")

    def _tradable(self) -> Iterator[tuple[Any, list[Decimal]]]:
        """Yield instruments and touches that strategies may trade on, as the engine sees them."""
        for stepper in self.world.steppers[-1:]:
            if stepper.process is not None and stepper.process.stopped:
                self._frozen_ns = self.world.loop.now_ns
            if self.world.loop.now_ns - self._frozen_ns < SECOND:  # it sees what it saw then
                continue
            for i, instrument in enumerate(self.world.instruments):
                top = stepper.ctx.top[i]
                if not int(top["aux"]) & words.UNTRADEABLE_MASK:
                    sides = ("bid", "ask")
                    yield instrument, [instrument.price_decimal(int(top[side])) for side in sides]

    def _shown(self, venue: str, within_ns: int) -> list[list[Decimal]]:
        """Return what a venue showed since so long ago, what stood then included."""
        shown, since = self._touches[venue], self.world.loop.now_ns - within_ns
        first = max((k for k, (at, *_) in enumerate(shown) if at <= since), default=0)
        return [touch for _, *touch in list(shown)[first:]]

    def _nothing_old_is_tradable(self) -> None:
        """No tradable top is of longer ago than allowed and than our clocks can tell, ever."""
        world = self.world
        for venue, feeder in world.feeding.items():
            offset = feeder.clock_watch.offset
            kept = self._clocks.setdefault(venue, deque(maxlen=MINDED))
            kept.append((world.twins[venue].skew_ms * MS, offset.offset_ns, offset.error_ns))
        for instrument, ours in self._tradable():
            clocks = self._clocks[instrument.venue]
            ahead = max(skew for skew, _, _ in clocks) - min(measured for _, measured, _ in clocks)
            allowed = STALE_NS + max(0, ahead) + max(error for _, _, error in clocks)
            if list(ours) not in self._shown(instrument.venue, allowed):
                world.violate(f"{instrument.key} is {ours}, which is more than {allowed} ns old")

    def _nothing_open_while_halted(self) -> None:
        """A halt that stands for four calm seconds has every order cancelled."""
        world = self.world
        if not world.is_halted or world.loop.now_ns - world.halts[-1][0] < 4 * SECOND:
            return
        for venue, twin in world.twins.items():
            there = twin.exchange.open_orders.values()
            ours = sum(bool(identity.from_text(order.client_id)) for order in there)
            if ours:
                world.violate(f"{venue} has {ours} orders of ours 4 s after a halt")

    def _recent(self, venue: str) -> list[dict[str, Decimal]]:
        since = self.world.loop.now_ns - SECOND // 2
        states = self._states[venue]
        first = max((k for k, (at, _) in enumerate(states) if at <= since), default=0)
        return [state for _, state in states[first:]]

    # -- at the end ------------------------------------------------------------------------

    def judge(self) -> None:
        """Hold our journal against the venues'."""
        world = self.world
        if not world.exit_codes or world.exit_codes[-1] != 0:
            world.violate(f"the engine ended with {world.exit_codes[-1:]}")
        session = world.sessions[-1]
        if not session.gateways:
            return
        for name, differences in session.reconciled.items():
            if differences:
                world.violate(f"account {name} is not reconciled: {differences}")
        if not session.reconciled:
            world.violate("nothing was reconciled")
        session.ledger.check()
        self._read_journal()
        for k, venue in enumerate(world.twins):
            self._hold_against(k, venue)
        self._positions(session)
        self._within_limits()
        self._closed_is_closed()
        self._cancels_are_few()

    def _read_journal(self) -> None:
        violate = self.world.violate
        self.intents: dict[int, tuple[int, Any]] = {}
        self.fills: dict[tuple[int, int, int], Any] = {}
        self.sent: list[tuple[int, int]] = []
        self.refused: list[Any] = []
        self.cancels: dict[int, list[int]] = {}
        last = 0
        for record in read(self.world.run_directory.journal):
            if last and record.seq != last + 1:
                violate(f"journal record {record.seq} follows {last}")
            last = record.seq
            if record.kind == INTENT_RECORD:
                row = np.frombuffer(record.payload, INTENT, count=1)[0].copy()
                if row["op"] == words.CANCEL:
                    self.cancels.setdefault(int(row["target_order_id"]), []).append(record.ts)
                if row["op"] != words.PLACE:
                    continue
                order_id = int(row["order_id"])
                if order_id in self.intents:
                    violate(f"order id {order_id} was given twice")
                self.intents[order_id] = (record.ts, row)
            elif record.kind == UPDATE_RECORD:
                row = np.frombuffer(record.payload, UPDATE, count=1)[0].copy()
                if row["kind"] == words.SENT:
                    self.sent.append((int(row["ts_recv"]), int(row["order_id"])))
                elif row["kind"] == words.CANCEL_REJECT:
                    self.refused.append(row)
                elif row["kind"] == words.FILL:
                    key = (int(row["account"]), int(row["instrument"]), int(row["trade_id"]))
                    self.fills.setdefault(key, row)

    def _hold_against(self, k: int, venue: str) -> None:
        """Compare one venue's journal with ours."""
        world, violate = self.world, self.world.violate
        exchange = world.twins[venue].exchange
        instrument = next(i for i, x in enumerate(world.instruments) if x.venue == venue)
        accepted: Counter[str] = Counter()
        sold: Counter[int] = Counter()
        trades = set()
        for row in exchange.journal:
            if row["kind"] == "FUNDING":
                continue
            order_id = identity.from_text(row["client_id"])
            ours = self.intents.get(order_id)
            if row["client_id"] in world.foreign:
                if row["kind"] == "FILL":
                    trades.add(row["trade_id"])
                continue
            if ours is None:
                violate(f"{venue} has {row} and our journal no intent of it")
                continue
            if row["kind"] == "ACCEPTED":
                accepted[row["client_id"]] += 1
                if ours[1]["verdict"] != words.PASS:
                    violate(f"{venue} took order {order_id} that our gate had denied")
                if accepted[row["client_id"]] > 1:
                    violate(f"{venue} took order {order_id} twice")
            elif row["kind"] == "FILL":
                sold[order_id] += row["qty"]
                trades.add(row["trade_id"])
                mine = self.fills.get((k, instrument, row["trade_id"]))
                if mine is None:
                    violate(f"{venue}: fill {row['trade_id']} of order {order_id} is not with us")
                elif mine["order_id"] != order_id:
                    said = f"fill {row['trade_id']} of order {order_id} is booked to"
                    violate(f"{venue}: {said} {int(mine['order_id'])}")
        scale = 10 ** (exchange.markets[0].qty_scale - world.instruments[instrument].qty_scale)
        for order_id, qty in sold.items():
            if qty > int(self.intents[order_id][1]["qty"]) * scale:
                violate(f"order {order_id} was filled by more than its quantity")
        for key in self.fills:
            if key[0] == k and key[2] not in trades:
                violate(f"fill {key[2]} of {venue} is with us and not there")
        (account,) = exchange.accounts
        if left := exchange.open_of(account):
            violate(f"{venue} still has orders {[o.client_id for o in left]}")

    def _closed_is_closed(self) -> None:
        """No new order leaves while a halt stands, or passes the gate to a closed account."""
        world = self.world
        start = world.clock.offset_ns
        for ts, order_id in self.sent:
            if any(since < ts - start < to for since, to in world.halts):
                world.violate(f"order {order_id} left at {(ts - start) / SECOND:.3f} s, in a halt")
        lifted = [to for _, to in world.halts]
        for account, since, until in world.closed:
            to = min([until, *(at for at in lifted if at > since)])
            for order_id, (ts, row) in self.intents.items():
                if (
                    row["account"] == account
                    and row["verdict"] == words.PASS
                    and (since < ts - start < to)
                ):
                    world.violate(f"order {order_id} passed the gate to closed account {account}")

    def _cancels_are_few(self) -> None:
        """No cancel is asked for over and over, and none refused for a clock that can be known."""
        for order_id, stamps in self.cancels.items():
            for first, last in zip(stamps, stamps[CANCELS_MAX:], strict=False):
                if last - first < SECOND:
                    self.world.violate(
                        f"order {order_id} was cancelled {CANCELS_MAX} times a second"
                    )
                    return
        for row in self.refused:
            at = int(row["ts_recv"]) - self.world.clock.offset_ns
            if row["reason"] == words.REASON_CLOCK and self._was_steady(at):
                self.world.violate(f"a cancel of {int(row['order_id'])} was refused for our clock")

    def _was_steady(self, at_ns: int) -> bool:
        """Tell whether the looks before and after a moment found that all had been well."""
        k = bisect_left(self._steady, at_ns)
        around = self._steady[max(0, k - 1) : k + 1]
        return len(around) == 2 and around[1] - around[0] < SECOND // 2

    def _within_limits(self) -> None:
        """No fill may bring an account beyond the gate's limit, with room for the price's way."""
        world = self.world
        limit = world.config.risk.position_notional_max * Decimal("1.15")
        held: Counter[tuple[int, int]] = Counter()
        for (account, i, _), row in self.fills.items():
            order = self.intents.get(int(row["order_id"]))
            if row["flags"] & words.FOREIGN:
                held[account, i] += int(row["side"]) * int(row["qty"])
            if order is None:
                continue
            held[account, i] += int(order[1]["side"]) * int(row["qty"])
            instrument = world.instruments[i]
            size = instrument.qty_decimal(abs(held[account, i]))
            value = size * instrument.price_decimal(int(row["price"]))
            if value > limit:
                world.violate(f"position {account}/{i} is worth {value}, the limit is {limit}")
                return

    def _positions(self, session: Any) -> None:
        """A position is the sum of its fills."""
        sums: Counter[tuple[int, int]] = Counter()
        for (account, instrument, _), row in self.fills.items():
            order = self.intents.get(int(row["order_id"]))
            if row["flags"] & words.FOREIGN:
                sums[account, instrument] += int(row["side"]) * int(row["qty"])
            elif order is not None:
                sums[account, instrument] += int(order[1]["side"]) * int(row["qty"])
        held = session.ctx.account_positions["qty"]
        for account in range(held.shape[0]):
            for instrument in range(held.shape[1]):
                ours = int(held[account, instrument])
                if ours != sums[account, instrument]:
                    self.world.violate(
                        f"position {account}/{instrument} is {ours}, its fills make "
                        f"{sums[account, instrument]}"
                    )
