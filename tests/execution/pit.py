"""A venue of one account for the killer: the toy's dialect, and a book of orders behind it.

What a test sets goes wrong goes wrong; time passes only where somebody sleeps or a request travels.
"""

import asyncio
import json
from decimal import Decimal

import msgspec

from alephtx.core import words
from alephtx.core.clock import ManualClock
from alephtx.core.identity import first_order_id
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.ports import What
from alephtx.execution.killing import AccountKill
from alephtx.execution.open_orders import OpenOrder
from tests.execution.toy import ENGINE, ToyCodec, says

D = Decimal
LINEAR, SPOT, OTHER = 0, 1, 2
STRANGER = first_order_id(ENGINE + 1, 1) + 1


def instruments():
    """A perp and a spot of the toy's, priced in steps of 5 ticks, and one of another venue."""

    def made(key, contract, venue="toy"):
        return Instrument(
            key=f"{venue}:{key}", venue=venue, symbol=key, base="BTC", quote="USDT", settle="USDT",
            contract=contract, price_scale=2, qty_scale=3, tick_size=D("0.05"), lot_size=D("0.002"),
            qty_min=D("0.010"), qty_max=D("1"), notional_min=D(5),
        )  # fmt: skip

    return Instruments(
        [made("PERP", words.LINEAR), made("SPOT", words.SPOT), made("PERP", words.LINEAR, "else")]
    )


class PitCodec(ToyCodec):
    """The toy's dialect, and books."""

    def __init__(self, *, bulk=False):
        super().__init__("http")
        self.spec = msgspec.structs.replace(self.spec, bulk_cancel=bulk)
        self.instruments, self.timers, self.refused = instruments(), True, {}

    def request(self, what, now_ns, **args):
        """Timers are by instrument; everything else names none."""
        if what is not What.DEADMAN:
            return super().request(what, now_ns, **args)
        timer = args.get("instrument", -1) if self.timers else -1
        (made,) = super().request(what, now_ns, **args)
        return [msgspec.structs.replace(made, instrument=timer)]

    def reply(self, request, status, headers, body, out):
        if refused := self.refused.get(request.what):
            raise refused.pop(0)
        super().reply(request, status, headers, body, out)
        for fields in json.loads(body).get("events", ()):
            for name, value in fields.items():
                out.events[out.event_count][name] = value
            out.event_count += 1


class Pit:
    """The venue's side. open: order id -> instrument; strangers: venue's id -> instrument.

    errors: by What, a list of errors to raise instead of answering (None: answer); refused: of
    those that an answer carries. ahead_ns: its clock against ours. pauses: answers take a turn.
    stuck: ids that no cancel takes. taken_ns: what a request takes.
    """

    def __init__(self, *, exclusive=False, bulk=False, known=()):
        self.clock, self.codec = ManualClock(), PitCodec(bulk=bulk)
        self.clock.advance(1_000_000_000)
        self.open, self.strangers, self.stuck, self.errors = {}, {}, set(), {}
        self.known, self.asked, self.waits, self.taken_ns = list(known), [], [], 1_000_000
        self.refused, self.ahead_ns, self.pauses = self.codec.refused, 0, False
        self.book, self.answers = {words.BUY: 10_000, words.SELL: 10_005}, []
        self.kill = AccountKill(
            "main", self.codec, self._fetch, self.clock, lambda: list(self.known), engine=ENGINE,
            exclusive=exclusive,
        )  # fmt: skip
        sleep = self.clock.sleep

        async def noted(duration_ns):
            self.waits.append(duration_ns)
            await sleep(duration_ns)

        self.clock.sleep = noted

    def ours(self, order_id, instrument=LINEAR, *, age_ns=60_000_000_000, proven=True):
        """Journal an order of ours, without resting it."""
        ts = self.clock.now() - age_ns
        self.known.append(OpenOrder(order_id, 0, instrument, ts, proven=proven))

    def requests(self, what):
        """The arguments of what was asked, with the instrument that the request names."""
        return [args for kind, args in self.asked if kind is what]

    async def _fetch(self, request):
        args = {} if request.what is What.INTENT else json.loads(request.body)
        self.kill.leaving(request)
        self.asked.append((request.what, args))
        self.clock.advance(self.taken_ns)
        queue = self.errors.get(request.what, [])
        if queue and (error := queue.pop(0)) is not None:
            raise error
        if self.pauses:
            await asyncio.sleep(0)
        if request.what is What.TIME:
            now_ms = (self.clock.now() + self.ahead_ns) // 1_000_000
            return 200, {}, says(controls=[["time", now_ms, ""]])
        return 200, {}, self._answer(request, args)

    def _answer(self, request, args):
        if request.what is What.CANCEL_OURS:
            for order_id in set(args["order_ids"]) - self.stuck:
                self.open.pop(order_id, None)
        elif request.what is What.CANCEL_ALL:
            i = args["instrument"]
            self.open = {k: v for k, v in self.open.items() if v != i or k in self.stuck}
            named = set(args["venue_order_ids"]) if not self.codec.spec.bulk_cancel else None
            self.strangers = {
                k: v for k, v in self.strangers.items()
                if v != i or k in self.stuck or (named is not None and k not in named)
            }  # fmt: skip
        elif request.what is What.ORDERS:
            mine = [
                {"kind": words.ORDER_STATE, "order_id": order_id, "instrument": i}
                for order_id, i in self.open.items()
            ]
            theirs = [
                {"kind": words.ORDER_STATE, "order_id": STRANGER if k % 2 else 0,
                 "instrument": v, "venue_order_id": k}
                for k, v in self.strangers.items()
            ]  # fmt: skip
            return says(*mine, *theirs)
        elif request.what is What.SNAPSHOT:
            events = [
                {"kind": words.DELTA, "side": side, "price": price - side * away, "qty": 7}
                for side, price in self.book.items() for away in (20, 0, 5) if price
            ]  # fmt: skip
            events += [{"kind": words.DELTA, "side": side, "price": 9_000 + 2_000 * (side > 0)}
                       for side in (1, -1)]  # fmt: skip
            return json.dumps({"rows": [], "controls": [], "error": "", "events": events}).encode()
        elif self.answers:
            return self.answers.pop(0)
        return says()
