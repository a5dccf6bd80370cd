"""One story of a two-legged trade, told by a list of choices, and what must hold in it."""

from collections.abc import Callable, Sequence
from typing import Any

from alephtx.core import words
from alephtx.engine import context as c
from alephtx.testing.legs.world import (
    CANCEL_FATES,
    DEADLINE_MS,
    DELAYS_MS,
    EVENTS,
    FATES,
    LOTS,
    MS,
    PERP,
    PERP_LOT_E8,
    SPOT,
    SPOT_LOT_E8,
    TICK_NS,
    Choices,
    LegsWorld,
    Order,
)

END_NS = 4 * DEADLINE_MS * MS
LAST_NS = (DEADLINE_MS + 100) * MS
SLACK_NS = 2 * TICK_NS
SENDING = 3  # the strategy's manner that goes on
LOT_E8 = (SPOT_LOT_E8, PERP_LOT_E8)


class Story:
    """Plays one list of choices. violations: what did not hold, empty on a good build."""

    def __init__(self, world: LegsWorld, numbers: Sequence[int]) -> None:
        self.world, self.choices = world, Choices(numbers)
        self.orders: dict[int, Order] = {}
        self.violations: list[str] = []
        self.log: list[str] = []
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = 0
        self._stale = [False, False]
        self._thin = False
        self._ended_halted = False
        self._open_since = 0
        self.net = 0

    # -- telling it --------------------------------------------------------------------------

    def play(self) -> list[str]:
        """Play to the end; returns what did not hold."""
        world = self.world
        world.fresh()
        state = world.engine.strategies[0].state[0]
        state["lots"] = LOTS
        state["manner"] = self.choices.of(5)
        state["tif"] = (words.IOC, words.GTC)[self.choices.of(2)]
        self._plan_event()
        self._plan_event()
        begun = world.now
        while world.now - begun < END_NS:
            if world.now - begun == END_NS - LAST_NS:
                world.command(c.COMMAND_DISABLE, 0)  # what is open now is nobody's
            while self._due and self._due[0][0] <= world.now:
                self._due.pop(0)[2]()
            for i in (SPOT, PERP):
                world.top(i, flags=words.STALE if self._stale[i] else 0)
            net, shut = self.net, world.lane[c.L_STAGE] in (c.LANE_CLOSING, c.LANE_BROKEN)
            for intent in world.tick():
                self._sent(intent, net, shut=shut)
            self._watch()
            if self._told_all():
                break
        self._judge()
        return self.violations

    def _told_all(self) -> bool:
        """Tell whether nothing can happen any more."""
        if self._due or not self.orders or not all(order.over for order in self.orders.values()):
            return False
        busy = self.world.engine.strategies[0].state[0]["manner"] == SENDING
        return bool(self.world.lane[c.L_STAGE] in (c.LANE_REST, c.LANE_BROKEN)) and not busy

    def _later(self, delay_ns: int, what: Callable[[], None]) -> None:
        self._serial += 1
        self._due.append((self.world.now + delay_ns, self._serial, what))
        self._due.sort(key=lambda entry: entry[:2])

    def _delay(self) -> int:
        return DELAYS_MS[self.choices.of(len(DELAYS_MS))] * MS

    def _say(self, text: str) -> None:
        self.log.append(f"{self.world.now // MS % 100_000}: {text}")

    # -- what else happens -------------------------------------------------------------------

    def _plan_event(self) -> None:
        event = EVENTS[self.choices.of(len(EVENTS))]
        if event == "nothing":
            return
        begin, length = self._delay(), (100, 300, 700, 1500)[self.choices.of(4)] * MS
        self._later(begin, lambda: self._begin(event))
        self._later(begin + length, lambda: self._end(event))

    def _begin(self, event: str) -> None:
        self._say(f"{event} begins")
        world = self.world
        if event in ("spot stale", "perp stale"):
            self._stale[PERP if event == "perp stale" else SPOT] = True
        elif event in ("spot cut off", "perp cut off"):
            world.update(PERP if event == "perp cut off" else SPOT, kind=words.RESYNC_BEGIN)
        elif event == "disabled":
            world.command(c.COMMAND_DISABLE, 0)
        elif event == "halted":
            world.command(c.COMMAND_HALT)
        elif event == "thin":
            self._thin = True
        elif event == "larger minimum":
            world.ctx.instruments["qty_min"] = (50, 1)

    def _end(self, event: str) -> None:
        self._say(f"{event} ends")
        world = self.world
        if event in ("spot stale", "perp stale"):
            self._stale[PERP if event == "perp stale" else SPOT] = False
        elif event in ("spot cut off", "perp cut off"):
            world.update(PERP if event == "perp cut off" else SPOT, kind=words.RESYNC_END)
        elif event == "halted":
            world.command(c.COMMAND_RESUME)
        elif event == "thin":
            self._thin = False

    # -- orders ------------------------------------------------------------------------------

    def _sent(self, intent: Any, net: int, *, shut: bool) -> None:
        """Give an intent that left its fate. net, shut: how the lane stood before this tick."""
        if intent["op"] == words.CANCEL:
            self._cancel(int(intent["target_order_id"]))
            return
        order = Order(
            int(intent["order_id"]), int(intent["instrument"]), int(intent["side"]),
            int(intent["qty"]), ioc=bool(intent["tif"] == words.IOC),
            guards=bool(intent["group_id"] == words.LEG_GROUP and intent["flags"] & words.HEDGE),
        )  # fmt: skip
        self._say(f"{'guard' if order.guards else 'strategy'} {order}")
        if order.guards:
            self._check_guards(order, net)
        elif shut and self.world.lane[c.L_STAGE] in (c.LANE_CLOSING, c.LANE_BROKEN):
            self._violate("the strategy sends into a lane that is being closed")
        self.orders[order.order_id] = order
        self._fate(order)

    def _check_guards(self, order: Order, net: int) -> None:
        """Hold the guard to its word: one order, only towards flat, when all else is proven."""
        size = order.lots * LOT_E8[order.instrument]
        if order.side * net >= 0 or size > abs(net):
            self._violate(f"the guard sends {order} at a net of {net}")
        unproven = [o.order_id for o in self.orders.values() if not o.over or o.told < o.done]
        if unproven:
            self._violate(f"the guard sends while {unproven} may still fill")
        if self._stale[order.instrument]:
            self._violate("the guard trades on a stale book")
        if not order.ioc:
            self._violate("the guard's order may rest")

    def _fate(self, order: Order) -> None:
        name = FATES[self.choices.of(len(FATES))]
        if self._thin and name == "filled":
            name = "partly, gone"
        delay, more = self._delay(), self._delay()
        part = max(1, order.lots // 3)
        tell = self.world.update
        say = {"order_id": order.order_id}
        self._say(f"order {order.order_id % 1000}: {name} after {delay // MS} ms")
        if name in ("filled", "acked, filled"):
            if name == "acked, filled":
                self._later(0, lambda: tell(order.instrument, kind=words.ACK, **say))
            self._later(delay, lambda: self._fill(order, order.lots))
        elif name == "partly, rest":
            self._later(delay, lambda: self._fill(order, part))
            self._later(delay + more, lambda: self._fill(order, order.lots - part))
        elif name == "partly, gone":
            self._later(delay, lambda: self._fill(order, part))
            self._later(delay + more, lambda: self._ends(order, words.EXPIRE))
        elif name == "refused":
            self._later(delay, lambda: self._ends(order, words.REJECT))
        elif name == "rests":
            self._later(delay, lambda: tell(order.instrument, kind=words.ACK, **say))
            if order.ioc:
                self._later(delay + more, lambda: self._ends(order, words.EXPIRE))
        elif name in ("lost, filled", "lost, never came"):
            self._later(delay, lambda: tell(order.instrument, kind=words.AMBIGUOUS, **say))
            if name == "lost, filled":
                self._later(delay + more, lambda: self._fill(order, order.lots))
            else:
                self._later(delay + more, lambda: self._ends(order, words.NOT_FOUND))
        elif name == "late fill after its end":
            self._later(delay, lambda: self._late(order, part, more))
        else:  # silent: sent, and nothing is heard of it for as long as the story lasts
            self._later(delay, lambda: tell(order.instrument, kind=words.AMBIGUOUS, **say))

    def _fill(self, order: Order, lots: int) -> None:
        lots = min(lots, order.lots - order.done)
        if order.over or lots <= 0:
            return
        self.world.fill(order, lots)
        order.told = order.done
        self.net += order.side * lots * LOT_E8[order.instrument]
        order.over = order.done >= order.lots

    def _ends(self, order: Order, kind: int) -> None:
        if order.over:
            return
        order.over = True
        extra = {"cum_qty": order.done} if kind == words.EXPIRE else {}
        self.world.update(order.instrument, kind=kind, order_id=order.order_id, **extra)

    def _late(self, order: Order, lots: int, delay: int) -> None:
        """End an order whose fill is told only later; the end says how much was filled."""
        if order.over:
            return
        order.over, order.done = True, order.done + lots
        self.world.update(
            order.instrument, kind=words.EXPIRE, order_id=order.order_id, cum_qty=order.done
        )

        def told() -> None:
            order.done -= lots
            self.world.fill(order, lots)
            order.told = order.done
            self.net += order.side * lots * LOT_E8[order.instrument]

        self._later(delay, told)

    def _cancel(self, order_id: int) -> None:
        order = self.orders[order_id]
        name = CANCEL_FATES[self.choices.of(len(CANCEL_FATES))]
        delay = self._delay()
        self._say(f"cancel {order_id % 1000}: {name} after {delay // MS} ms")
        if name == "gone":
            self._later(delay, lambda: self._ends(order, words.CANCEL_ACK))
        elif name == "filled meanwhile":
            self._later(delay, lambda: self._fill(order, order.lots))
        elif name == "refused":
            say = {"kind": words.CANCEL_REJECT, "order_id": order_id}
            self._later(delay, lambda: self.world.update(order.instrument, **say))

    # -- what must hold ----------------------------------------------------------------------

    def _violate(self, what: str) -> None:
        self.violations.append(what)
        self._say(f"VIOLATED {what}")

    def _dust(self) -> bool:
        """Tell whether the legs are even but for less than any venue takes."""
        least = int(self.world.ctx.instruments[SPOT]["qty_min"]) * SPOT_LOT_E8
        # 5 dollars at 60,000 is more than eight lots of spot.
        return abs(self.net) < max(least, 9 * SPOT_LOT_E8)

    def _watch(self) -> None:
        """After every tick: nothing stays open beyond its deadline unless it is halted and told."""
        world, lane = self.world, self.world.lane
        if world.restless:
            self._violate("the step finds no rest")
        if int(lane[c.L_NET]) != self.net:
            self._violate(f"the lane counts {int(lane[c.L_NET])}, the fills say {self.net}")
        if self._dust():
            self._open_since = 0
            return
        self._open_since = self._open_since or world.now
        late = world.now - self._open_since > DEADLINE_MS * MS + SLACK_NS
        if late and lane[c.L_STAGE] != c.LANE_BROKEN:
            self._violate(f"a leg of {self.net} is open for {DEADLINE_MS} ms, and nobody is halted")
            self._open_since = world.now

    def _judge(self) -> None:
        world, lane = self.world, self.world.lane
        broken = lane[c.L_STAGE] == c.LANE_BROKEN
        if broken:
            if world.ctx.strategies[0, c.S_ENABLED]:
                self._violate("the lane is broken and its strategy goes on")
            if not world.alarms() or not world.ctx.counters[c.C_LEG_HALTS]:
                self._violate("the lane is broken and nobody is told")
        elif not self._dust():
            self._violate(f"it ends with {self.net} open, and nobody is halted")

    @property
    def outcome(self) -> str:
        """Name how it ended."""
        if self.world.lane[c.L_STAGE] == c.LANE_BROKEN:
            return "halted"
        held = self.world.ctx.positions[0]["qty"]
        return "hedged" if held[PERP] else "flat"
