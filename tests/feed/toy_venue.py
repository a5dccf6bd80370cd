"""A venue of our own invention: a small dialect, its codec, and a server that misbehaves on demand.

Prices and sizes are plain integers on this wire. Frames:
    {"d":"AAA","U":5,"u":7,"p":4,"t":1,"b":[[99,3]],"a":[[101,0]]}   delta (or whole book: "w")
    {"q":"AAA","u":7,"b":[99,3],"a":[101,2]}                         top
    {"x":"AAA","id":1,"p":100,"s":1,"z":2}                           trade
    {"sys":"bye"} {"sys":"say","text":"..."} {"sys":"oops"}          notices
Snapshots: GET /snapshot?s=AAA -> {"id":7,"b":[[99,3]],"a":[[101,2]]}; GET /time -> {"now":ms}.
"""

import asyncio
import json
from collections import deque
from decimal import Decimal

from aiohttp import WSMsgType, web

from alephtx.core import words
from alephtx.core.errors import ProtocolError, Throttled, VenueError
from alephtx.core.instruments import Instrument
from alephtx.core.ports import (
    Bucket,
    Control,
    Endpoints,
    JoinRule,
    Link,
    Request,
    VenueSpec,
    What,
)

MS = 1_000_000


def spec(rule, capacity=10_000):
    return VenueSpec(
        name="toy",
        join=rule,
        endpoints={},
        buckets=(Bucket("w", capacity, 1_000_000_000),),
        signer="",
        transport="http",
    )


def instrument(symbol):
    return Instrument(
        key=f"toy:{symbol}", venue="toy", symbol=symbol, base=symbol, quote="USD", settle="USD",
        contract=words.SPOT, price_scale=0, qty_scale=0, tick_size=Decimal(1), lot_size=Decimal(1),
        price_max=Decimal(10**9), qty_max=Decimal(10**6),
    )  # fmt: skip


class ToyCodec:
    def __init__(self, rule, instruments, *, links=1, capacity=10_000, stall_ns=10**10):
        self.spec = spec(rule, capacity)
        self.instruments = instruments
        self._links = links
        self._stall_ns = stall_ns

    def links(self, role, login=""):
        return [
            Link(
                name=f"toy.{n}", role="market", path=f"/ws/{n}", frames=(b"sub",),
                stall_ns=self._stall_ns, frames_per_s=1000,
            )
            for n in range(self._links)
        ]  # fmt: skip

    def request(self, what, now_ns, **args):
        weights = (("w", 1),)
        if what is What.TIME:
            return [Request(what=what, path="/time", weights=weights)]
        symbol = self.instruments[args["instrument"]].symbol
        return [
            Request(
                what=what, path=f"/snapshot?s={symbol}", weights=weights,
                instrument=args["instrument"], timeout_ns=1_000 * MS,
            )
        ]  # fmt: skip

    def reply(self, request, status, headers, body, out):
        out.controls.append(Control("limits", {"w": 0}))
        if status == 429:
            raise Throttled("slow down", venue="toy", code=429, retryable=True)
        if status != 200:
            raise VenueError(f"HTTP {status}", venue="toy", code=status, retryable=status >= 500)
        try:
            said = json.loads(body)
            if request.what is What.TIME:
                out.controls.append(Control("time", said["now"]))
                return
            i = request.instrument
            self._row(out, i, words.CLEAR, seq=said["id"])
            self._sides(out, i, said, words.SNAPSHOT)
        except (ValueError, KeyError, TypeError) as error:
            raise ProtocolError(f"unreadable: {error!r}", venue="toy", retryable=True) from None

    def decode(self, channel, frame, ts_recv, out):
        try:
            said = json.loads(frame)
        except ValueError:
            return -1
        before = out.event_count
        if not isinstance(said, dict):
            return -1
        if "sys" in said:
            out.controls.append(
                {
                    "bye": Control("reconnect"),
                    "say": Control("send", said.get("text", "").encode()),
                    "oops": Control("error", VenueError("oops")),
                    "limits": Control("limits", {"w": 1}),
                    "else": Control("subscribed"),
                }[said["sys"]]
            )
            return 0
        symbol = said.get("d") or said.get("q") or said.get("x")
        i = self.instruments.find("toy", symbol)
        if i < 0:
            return -1
        stamp = {"ts_event": said.get("t", 0) * MS, "ts_recv": ts_recv}
        if "d" in said:
            self._row(out, i, words.SEQ, price=said["U"], qty=said["p"], seq=said["u"], **stamp)
            if said.get("w"):
                self._row(out, i, words.CLEAR, seq=said["u"], **stamp)
            self._sides(out, i, said, 0, **stamp)
        elif "q" in said:
            for side, (price, qty) in ((words.BUY, said["b"]), (words.SELL, said["a"])):
                self._row(
                    out, i, words.TOP, price=price, qty=qty, seq=said["u"], side=side, **stamp
                )
            out.events[out.event_count - 1]["flags"] |= words.LAST_IN_MESSAGE
        else:
            self._row(
                out, i, words.TRADE, price=said["p"], qty=said["z"], seq=said["id"],
                side=said["s"], flags=words.LAST_IN_MESSAGE, **stamp,
            )  # fmt: skip
        return out.event_count - before

    def _sides(self, out, i, said, flags, **stamp):
        for side, levels in ((words.BUY, said["b"]), (words.SELL, said["a"])):
            for price, qty in levels:
                self._row(
                    out, i, words.DELTA, price=price, qty=qty, side=side, flags=flags, **stamp
                )
        out.events[out.event_count - 1]["flags"] |= words.LAST_IN_MESSAGE

    @staticmethod
    def _row(out, i, kind, **fields):
        blank = {"ts_event": 0, "ts_recv": 0, "seq": 0, "price": 0, "qty": 0, "side": 0, "flags": 0}
        row = out.events[out.event_count]
        for name, value in {**blank, **fields, "instrument": i, "kind": kind}.items():
            row[name] = value
        out.event_count += 1


class ToyVenue:
    """The server: dict books, streams to every socket, snapshots, and faults."""

    def __init__(self, rule, symbols, *, first_id=100):
        self.rule = rule
        self.books = {s: {1: {}, -1: {}} for s in symbols}
        self.ids = dict.fromkeys(symbols, first_id)
        self.sockets = []
        self.heard = []
        self.snapshots = 0
        self.answers = deque()  # (status, headers, body or None) to give before honest snapshots
        self.stale = deque()  # snapshots to give before fresh ones
        self.may_answer = asyncio.Event()  # cleared: snapshots wait
        self.may_answer.set()
        self.accept = True

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/ws/{n}", self._socket)
        app.router.add_get("/snapshot", self._snapshot)
        app.router.add_get("/time", self._time)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_):
        await self.cut()
        await self._runner.cleanup()

    @property
    def endpoints(self):
        return Endpoints(http=f"http://{self.address}", market=f"ws://{self.address}", private="")

    async def cut(self, link=None):
        for number, socket in list(self.sockets):
            if link is None or number == link:
                await socket.close(code=1012)

    async def _socket(self, request):
        if not self.accept:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        entry = (int(request.match_info["n"]), socket)
        self.sockets.append(entry)
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self.heard.append(message.data)
        finally:
            self.sockets.remove(entry)
        return socket

    def picture(self, symbol):
        book = self.books[symbol]
        return {
            "id": self.ids[symbol],
            "b": [[p, q] for p, q in sorted(book[1].items(), reverse=True)],
            "a": [[p, q] for p, q in sorted(book[-1].items())],
        }

    async def _snapshot(self, request):
        self.snapshots += 1
        await self.may_answer.wait()
        if self.answers:
            status, headers, body = self.answers.popleft()
            if body is not None or status != 200:
                return web.Response(status=status, headers=headers, text=body or "")
        if self.stale:
            return web.json_response(self.stale.popleft())
        return web.json_response(self.picture(request.query["s"]))

    async def _time(self, request):
        loop = asyncio.get_running_loop()
        return web.json_response({"now": int(loop.time() * 1000)})

    def change(self, symbol, bids=(), asks=(), *, span=1):
        """Change a book and return the message that says so, not yet sent."""
        book = self.books[symbol]
        for side, levels in ((1, bids), (-1, asks)):
            for price, qty in levels:
                if qty:
                    book[side][price] = qty
                else:
                    book[side].pop(price, None)
        before = self.ids[symbol]
        self.ids[symbol] = before + span
        message = {"d": symbol, "U": before + 1, "u": before + span, "p": before, "t": before}
        if self.rule == JoinRule.FULL:
            picture = self.picture(symbol)
            return {**message, "w": 1, "b": picture["b"], "a": picture["a"]}
        return {**message, "b": list(map(list, bids)), "a": list(map(list, asks))}

    async def send(self, *messages, link=None):
        for message in messages:
            text = message if isinstance(message, str | bytes) else json.dumps(message)
            for number, socket in list(self.sockets):
                if link is None or number == link:
                    await (
                        socket.send_bytes(text)
                        if isinstance(text, bytes)
                        else socket.send_str(text)
                    )
