"""A venue that floods: recorded depth messages on many WebSockets, at a set pace, lean.

Frames are rendered once; what a message says anew is copied into place: its ids. `u` is the time of
sending (monotonic ns + 10^15, so that it always has 16 digits), `U` and `pu` are the `u` before, so
every message has its place and its age. Snapshots are asked for over the same port; they show the
first recorded one under the newest `u`, which is right as soon as all messages went round once.

    python flood.py FILE        FILE: a snapshot, then frames, one a line

Lines on stdin, one of JSON on stdout for each: `pace RATE SECONDS`, `burst RATE SECONDS`, `end`.
"""

import base64
import hashlib
import json
import re
import select
import socket
import struct
import sys
import threading
import time

import numpy as np

from alephtx.core.kernel import Int, kernel

ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
STAMP_BASE = 10**15
DIGITS = 16
TICK_NS = 2_000_000
IDS = re.compile(rb'"U":\d+,"u":\d+,"pu":\d+')
BLANK = f'"U":{STAMP_BASE},"u":{STAMP_BASE},"pu":{STAMP_BASE}'.encode()
U_AT, LAST_AT, PU_AT = 4, 4 + DIGITS + 5, 4 + DIGITS + 5 + DIGITS + 6
BUFFER = 1 << 22


def framed(raw: bytes, symbol: bytes) -> tuple[bytes, int]:
    """Return a message of a symbol as a WebSocket frame, and where its ids are."""
    text = IDS.sub(BLANK, raw.replace(b"BTCUSDT", symbol).replace(b"btcusdt", symbol.lower()))
    head = struct.pack(">BBH", 0x81, 126, len(text))
    return head + text, len(head) + text.index(BLANK)


@kernel
def put_number(out: np.ndarray, at: Int, value: Int) -> None:
    """Write 16 digits."""
    for k in range(DIGITS):
        out[at + DIGITS - 1 - k] = 48 + value % 10
        value //= 10


@kernel
def render(frames: np.ndarray, starts: np.ndarray, ids: np.ndarray, first: Int, n: Int,
           out: np.ndarray, stamp: Int, last: Int) -> int:  # fmt: skip
    """Copy n frames from number `first` on into out with their ids; returns the bytes."""
    at, many = 0, len(ids)
    for k in range(n):
        frame = (first + k) % many
        begin, end = starts[frame], starts[frame + 1]
        for b in range(end - begin):
            out[at + b] = frames[begin + b]
        place = at + ids[frame]
        put_number(out, place + U_AT, last)
        put_number(out, place + LAST_AT, stamp + k)
        put_number(out, place + PU_AT, last)
        last = stamp + k
        at += end - begin
    return at


class Link:
    """One WebSocket that we flood."""

    def __init__(self, connection: socket.socket, number: int, lines: list[bytes]) -> None:
        self.connection, self.number, self.sent = connection, number, 0
        made = [framed(line, symbol_of(number)) for line in lines]
        self.frames = np.frombuffer(b"".join(text for text, _ in made), np.uint8)
        self.starts = np.cumsum([0, *(len(text) for text, _ in made)])
        self.ids = np.array([at for _, at in made], np.int64)
        self.out, self.last = np.zeros(BUFFER, np.uint8), STAMP_BASE
        self.ready = memoryview(b"")
        connection.setblocking(False)

    def push(self, wanted: int) -> int:
        """Send what waits, then up to so many messages more; returns how many were taken up."""
        taken = 0
        while True:
            while self.ready:
                try:
                    self.ready = self.ready[self.connection.send(self.ready):]
                except BlockingIOError:
                    return taken
            if taken == wanted:
                return taken
            n = min(wanted - taken, 64)
            stamp = max(time.monotonic_ns() + STAMP_BASE, self.last + 1)
            size = render(self.frames, self.starts, self.ids, self.sent, n, self.out, stamp,
                          self.last)  # fmt: skip
            self.ready = memoryview(self.out)[:size]
            self.last, self.sent, taken = stamp + n - 1, self.sent + n, taken + n


def symbol_of(number: int) -> bytes:
    """Return the symbol of a link."""
    return f"S{number:02}USDT".encode()


class Flood:
    """The server: threads answer questions, one loop floods."""

    def __init__(self, lines: list[bytes]) -> None:
        self.snapshot, *self.lines = lines
        self.links: dict[int, Link] = {}
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        """Take connections."""
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        """Answer questions, or become a link."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seen = b""
        while True:
            while b"\r\n\r\n" not in seen:
                more = connection.recv(65536)
                if not more:
                    return
                seen += more
            head, _, seen = seen.partition(b"\r\n\r\n")
            key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
            if key:
                made = base64.b64encode(hashlib.sha1(key[1] + ACCEPT).digest())
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                    b"Upgrade\r\nSec-WebSocket-Accept: " + made + b"\r\n\r\n"
                )
                number = int(re.search(rb"/link(\d+)", head)[1])
                self.links[number] = Link(connection, number, self.lines)
                return
            number = int(re.search(rb"symbol=S(\d+)USDT", head)[1])
            last = self.links[number].last if number in self.links else STAMP_BASE
            body = re.sub(rb'"lastUpdateId":\d+', b'"lastUpdateId":%d' % last, self.snapshot)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                b"%d\r\n\r\n" % len(body) + body
            )

    def flood(self, rate: float, seconds: float) -> dict[str, object]:
        """Offer so many messages a second, evenly over the links; returns what was sent."""
        links = list(self.links.values())
        before = sum(link.sent for link in links)
        begun = time.monotonic_ns()
        whole = round(rate * seconds)
        due, owed, late = begun, dict.fromkeys(links, 0), 0
        offered = 0
        while offered < whole or any(owed.values()) or any(link.ready for link in links):
            now = time.monotonic_ns()
            target = min(whole, int((now - begun) * rate / 1e9))
            for _ in range(target - offered):
                owed[links[offered % len(links)]] += 1
                offered += 1
            for link in links:
                owed[link] -= link.push(owed[link])
            due = max(due + TICK_NS, now)
            if offered < whole:
                time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
            elif any(link.ready for link in links):
                select.select([], [link.connection for link in links if link.ready], [], 0.01)
            late = max(late, time.monotonic_ns() - due)
        took = (time.monotonic_ns() - begun) / 1e9
        sent = sum(link.sent for link in links) - before
        return {"sent": sent, "seconds": took, "late_ms": late / 1e6}


def main() -> None:
    """Serve until told to end."""
    with open(sys.argv[1], "rb") as file:  # noqa: PTH123
        flood = Flood(file.read().splitlines())
    spare = np.zeros(64, np.uint8)
    render(spare, np.zeros(2, np.int64), np.zeros(1, np.int64), 0, 0, spare, 0, 0)
    print(json.dumps({"port": flood.listener.getsockname()[1]}), flush=True)  # noqa: T201
    for line in sys.stdin:
        what, *numbers = line.split()
        if what == "end":
            return
        told = flood.flood(*map(float, numbers))
        told["links"] = {str(n): [link.sent, link.last] for n, link in flood.links.items()}
        print(json.dumps(told), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
