"""A toy venue for the gateway: JSON both ways, answers set by the test, time moved by the clock.

The codec is a whole one, as small as a codec can be. The wire keeps what was sent and answers from
`World.answers`; whatever is not set is answered with nothing.
"""

import asyncio
import json
from decimal import Decimal

import numpy as np

from alephtx.core import errors, words
from alephtx.core.clock import ManualClock
from alephtx.core.identity import first_order_id
from alephtx.core.ports import (
    Balance,
    Control,
    Endpoints,
    Holding,
    JoinRule,
    Link,
    Request,
    VenueSpec,
    What,
)
from alephtx.core.records import INTENT
from alephtx.execution.gateway import Gateway

ENGINE = 3
FIRST = first_order_id(ENGINE, 1)
TIMEOUT_NS = 20_000_000
SECOND = 1_000_000_000


def oid(n=1):
    """The id of our n-th order."""
    return FIRST + n


def says(*rows, controls=(), error=""):
    """A message of the toy venue: rows, controls (kind, value, key), or a refusal."""
    return json.dumps({"rows": rows, "controls": controls, "error": error}).encode()


def row(kind, n=1, *, venue_order_id=0, **fields):
    order_id = oid(n) if n else 0
    return {"kind": kind, "order_id": order_id, "venue_order_id": venue_order_id, **fields}


def missing():
    return says({"kind": words.NOT_FOUND})


def balances(total="100"):
    return says(controls=[["balances", [["USDT", total, total]], ""]])


WHOLE = {"side": words.BUY, "price": 100, "qty": 1, "trade_id": 1}
"""What a fill says where a test does not."""


class ToyCodec:
    """The toy's dialect. unspeakable: prices it cannot express. stamps: times of what it signed."""

    def __init__(self, transport, *, login=False):
        self.spec = VenueSpec(
            name="toy", join=JoinRule.FULL, buckets=(), signer="hmac", transport=transport,
            endpoints={"twin": Endpoints(http="", market="", private="", trade="")},
        )  # fmt: skip
        self.instruments = None
        self.login = login
        self.confirms = True
        self.tells_time = False
        self.unspeakable = set()
        self.stamps = []

    def links(self, role, login=""):
        if role == "private":
            frames = (b"subscribe",) if self.confirms else ()
            return [Link(name="p", role=role, path=f"/{login}", frames=frames)]
        if role == "trade" and self.spec.transport == "trade":
            return [Link(name="t", role=role, path="/")]
        return []

    def request(self, what, now_ns, **args):
        if what in (What.LOGIN, What.KEEPALIVE) and not self.login:
            return []
        if what is What.TIME and not self.tells_time:
            return []
        body = json.dumps(args).encode()
        return [Request(what=what, path=f"/{what.value}", body=body)]

    def reply(self, request, status, headers, body, out):
        self._read(json.loads(body), out)

    def decode(self, channel, frame, ts_recv, out):
        try:
            said = json.loads(bytes(frame))
        except ValueError:
            return -1
        self._read(said, out)
        return 1

    def _read(self, said, out):
        if said["error"]:
            name, _, reason = said["error"].partition(":")
            error = getattr(errors, name)("the toy says no", code=-7)
            error.reason = int(reason or 0)
            raise error
        for fields in said["rows"]:
            out.add_update(**((WHOLE if fields["kind"] == words.FILL else {}) | fields))
        for kind, value, key in said["controls"]:
            content = value
            if kind == "balances":
                content = [Balance(c, Decimal(total), Decimal(free)) for c, total, free in value]
            elif kind == "positions":
                content = [Holding(i, lots, Decimal(entry)) for i, lots, entry in value]
            elif kind == "error":
                name, wait_ns = value if isinstance(value, list) else (value, 0)
                content = getattr(errors, name)("the toy says no", code=-8)
                content.wait_ns = wait_ns
            elif kind == "send":
                content = value.encode()
            out.controls.append(Control(kind, content, key))

    def encode(self, intents, now_ns, nonce):
        self.stamps.append(now_ns)
        if any(int(intent["price"]) in self.unspeakable for intent in intents):
            raise errors.OrderRejected("a price that the toy has no word for")
        return [self._request(intent, nonce) for intent in intents]

    def _request(self, intent, nonce):
        placing = intent["op"] == words.PLACE
        order_id = int(intent["order_id" if placing else "target_order_id"])
        return Request(
            what=What.INTENT, transport=self.spec.transport, method="POST", path="/intent",
            key=f"{'p' if placing else 'c'}{order_id - FIRST}", order_ids=(order_id,),
            instrument=int(intent["instrument"]), op=int(intent["op"]), timeout_ns=TIMEOUT_NS,
            body=f"{'place' if placing else 'cancel'} {order_id - FIRST}".encode(),
        )  # fmt: skip


class ToyWire:
    """Keeps what was sent; answers what the test set."""

    def __init__(self):
        self.asked, self.sent, self.opened, self.dropped = [], [], {}, []
        self.answers = {What.BALANCES: balances()}
        self.up = True
        self.used = {}
        self.held = []
        self.budget = asyncio.Event()
        self.budget.set()
        self.closed = False

    async def take(self, request, *, urgent):
        if not urgent:
            await self.budget.wait()

    async def fetch(self, request):
        """Answer with what was set: bytes, an error, a function, or a list of them, last stays."""
        self.asked.append(request)
        if request.what == What.INTENT:
            self.sent.append(request.body.decode())
        answer = self.answers.get(request.what, says())
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        await asyncio.sleep(0)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return 200, {}, answer

    def send(self, role, frame):
        if self.up:
            self.sent.append(frame.decode())
        return self.up

    def learn(self, used):
        self.used.update(used)

    def hold(self, duration_ns):
        self.held.append(duration_ns)

    def open(self, role, links):
        self.opened[role] = links

    def drop(self, role, reason):
        self.dropped.append((role, reason))

    async def close(self):
        self.closed = True

    def whats(self):
        return [request.what for request in self.asked]


class World:
    """A gateway at the toy venue. ring: the rows that reached the account's ring."""

    def __init__(self, transport="http", *, login=False, room=1 << 30, exclusive=False):
        self.clock = ManualClock()
        self.codec = ToyCodec(transport, login=login)
        self.wire = ToyWire()
        self.ring, self.room, self.failures, self.sent_ids = [], room, [], []
        self.gateway = Gateway(
            0, self.codec, self.wire, self.clock, self._push, traded=[0], engine=ENGINE,
            exclusive=exclusive, on_failed=self.failures.append,
            on_sent=lambda op, order_id, ns: self.sent_ids.append((op, order_id - FIRST)),
        )  # fmt: skip

    def _push(self, pushed):
        if len(self.ring) >= self.room:
            return False
        self.ring.append(pushed[0].copy())
        return True

    def kinds(self, n=None):
        """Kinds of the rows in the ring, of our n-th order where it is given."""
        return [int(r["kind"]) for r in self.ring if n is None or r["order_id"] == oid(n)]

    async def until(self, condition, turns=100_000):
        """Let everything run until the condition holds; time passes as the clock is slept on."""
        for _ in range(turns):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError(f"it never came to it; ring {self.kinds()}, sent {self.wire.sent}")

    async def passes(self, duration_ns):
        """Let so much of the toy's time pass."""
        end = self.clock.now() + duration_ns
        await self.until(lambda: self.clock.now() >= end)

    async def up(self):
        """Open every link and wait until the account is open for new risk."""
        await self.gateway.start()
        await self.connect()

    async def connect(self):
        for role in list(self.wire.opened):
            for link in self.wire.opened[role]:
                if callable(link):
                    await link()
            self.gateway.on_up(role)
        self.frame(says(controls=[["subscribed", None, ""]]))
        await self.until(self.gateway.ready.is_set)

    def frame(self, frame, role="private"):
        self.gateway.on_frame(role, frame, self.clock.now())

    def place(self, *numbers, **fields):
        self._submit(words.PLACE, "order_id", numbers, fields)

    def cancel(self, *numbers):
        self._submit(words.CANCEL, "target_order_id", numbers, {})

    def amend(self, *numbers):
        self._submit(words.AMEND, "target_order_id", numbers, {})

    def _submit(self, op, name, numbers, fields):
        rows = np.zeros(len(numbers), INTENT)
        rows["op"], rows[name] = op, [oid(n) for n in numbers]
        for field, value in fields.items():
            rows[field] = value
        self.gateway.submit(rows)
