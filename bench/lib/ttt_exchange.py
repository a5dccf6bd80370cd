"""The exchange: sends ticks, stamps, takes orders, answers them; one process, one core.

Started with a core's number; a line of JSON on standard input asks for a session, one on standard
output answers. Two ports a session: the hot one (market streams, trade link; HTTP is passed on to
the twin), and the twin's own.

stamps = "user": this core polls for the order and stamps when it has it. "kernel": the process
sleeps; the stamp is that of the order's last packet. Either way from before the tick's send.
"""

import json
import os
import select
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import ttt_compiled as compiled
from ttt_links import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Gone,
    Link,
    Tls,
    accepted,
    http_size,
    opened,
    server_frame,
)  # fmt: skip
from ttt_side import side_of
from ttt_twin import TwinThread

SOON_NS = 60_000  # the core is awake that long before a tick
WAIT_NS = 5_000_000_000
"""After it an order is missing; so long that none can come later and be taken for the next one."""
SEARCH_S = 60.0
SEARCH_PAUSE_S = SEARCH_WAIT_S = 0.05
ANSWER_S = 2.0


class Session:
    """One client from its first connection to its last; see `run`."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.side = side_of(spec["venue"])
        self.ticks = self.side.ticks(spec["shape"])
        self.twin = TwinThread(self.side, self.ticks.snapshot)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.tls = Tls() if spec["tls"] else None
        self.context: ssl.SSLContext | None = None
        if self.tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.minimum_version = ssl.TLSVersion.TLSv1_3
            self.context.load_cert_chain(spec["cert"], spec["cert_key"])
        self.links: list[Link] = []
        self.market: Link | None = None
        self.trade: Link | None = None
        self.out, self.time = np.zeros(4, np.int64), np.zeros(2, np.int64)
        self.orders: list[tuple[Link, bytes, int]] = []  # what came: link, message, stamp
        self.strays = 0
        self.refused: list[str] = []
        self.wait_ns = int(SEARCH_WAIT_S * 1e9)

    # -- connections -----------------------------------------------------------------------

    def accept(self) -> None:
        """Take a connection up: a WebSocket by path, or HTTP for the twin."""
        sock, _ = self.listener.accept()
        handle = 0
        try:
            if self.tls and self.context:
                handle = self.tls.wrap(sock, self.context, server=True)
            link = Link(sock, self.tls, handle)
            while not (n := http_size(link.buf[: link.have].tobytes())):
                link.read()
        except (Gone, TimeoutError) as error:
            sys.stderr.write(f"a connection was not taken: {error!r}\n")
            sock.close()
            return
        link.stamped = False
        if self.spec["stamps"] == "kernel":
            link.stamp()
        self.links.append(link)
        request = link.buf[:n].tobytes()
        if b"upgrade: websocket" not in request.lower():
            self.serve_http(link)
            return
        link.take(n)
        link.path = request.split(b" ", 2)[1].decode()
        link.send(accepted(request))
        if link.path.partition("?")[0] == self.side.trade_path:
            self.trade = link
        elif self.side.asked_for_ticks(self.ticks, link.path, b""):
            self.market = link

    def lost(self, link: Link) -> None:
        """Forget a connection."""
        link.close()
        self.links.remove(link)
        self.market = None if self.market is link else self.market
        self.trade = None if self.trade is link else self.trade

    # -- what comes ------------------------------------------------------------------------

    def serve(self, timeout_s: float, *, until_order: bool = False) -> None:
        """Serve all connections for so long, or until an order is there."""
        until = time.monotonic() + timeout_s
        while True:
            left = until - time.monotonic()
            self._pass_answers()
            if until_order and self.orders:
                return
            ready, _, _ = select.select(
                [self.listener, *(link.sock for link in self.links)], [], [], max(0.0, left)
            )
            for sock in ready:
                if sock is self.listener:
                    self.accept()
                else:
                    self._serve_one(next(link for link in self.links if link.sock is sock))
            if left <= 0 and not ready:
                return

    def _serve_one(self, link: Link) -> None:
        try:
            link.read(0.0)
            self.take_in(link)
        except TimeoutError:
            pass
        except Gone:
            self.lost(link)

    def take_in(self, link: Link) -> None:
        """Serve the whole messages that a link's buffer holds."""
        if not link.path:
            self.serve_http(link)
            return
        while 0 < (size := int(compiled.frame_size(link.buf, link.have))) <= link.have:
            message = link.take(size)
            opcode, payload = opened(message)
            if opcode == PING:
                link.send_frame(payload, PONG)
            elif opcode == CLOSE:
                raise Gone("closed")
            elif opcode == TEXT:
                self._take_text(link, message, payload)

    def _take_text(self, link: Link, message: bytes, payload: bytes) -> None:
        if self.side.order_word in payload:
            self.trade = link
            self.orders.append((link, message, link.stamp_ns))
        elif link is self.trade:
            self.twin.ask(payload)
        else:
            for reply in self.side.replies(payload):
                link.send_frame(reply)
            if self.side.asked_for_ticks(self.ticks, link.path, payload):
                self.market = link

    def _pass_answers(self) -> None:
        answers = self.twin.caller.answers
        while not answers.empty():
            frame = answers.get()
            if self.trade is not None and frame:
                self.trade.send_frame(frame)

    def serve_http(self, link: Link) -> None:
        """Pass one request on to the twin; an order waits until it was counted."""
        while n := http_size(link.buf[: link.have].tobytes()):
            request = link.take(n)
            if request.startswith(self.side.order_start):
                self.orders.append((link, request, link.stamp_ns))
            else:
                self.pass_on(link, request)

    def pass_on(self, link: Link, request: bytes) -> bytes:
        """Ask the twin over HTTP, and hand its answer back."""
        if link.upstream is None:
            link.upstream = socket.create_connection(("127.0.0.1", self.twin.port))
        link.upstream.sendall(request)
        answer = b""
        while not http_size(answer):
            part = link.upstream.recv(1 << 18)
            if not part:
                raise Gone("the twin hung up")
            answer += part
        link.send(answer)
        return answer

    # -- ticks -----------------------------------------------------------------------------

    def tick(self, due_ns: int) -> tuple[int, int, bytes]:
        """Send a tick and wait for its order: (sent, there, message); b"" where none came."""
        assert self.market is not None
        payload = self.ticks.next(time.time_ns() // 1_000_000)
        frame = np.frombuffer(server_frame(payload), np.uint8)
        self.out[:] = 0
        if self.spec["stamps"] == "user":
            sent = compiled.send_tick(
                self.market.fd, self.market.ssl, frame.ctypes.data, frame.size, due_ns, self.out,
                self.time, self.time.ctypes.data,
            )  # fmt: skip
        else:
            rows = [(link.fd, select.POLLIN, 0) for link in self.links]
            polled = np.array(rows, [("fd", "i4"), ("events", "i2"), ("revents", "i2")])
            sent = compiled.send_and_sleep(
                self.market.fd, frame.ctypes.data, frame.size, polled.ctypes.data, len(polled),
                self.wait_ns // 1_000_000, self.out, self.time, self.time.ctypes.data,
            )  # fmt: skip
        if sent != compiled.DONE:
            raise Gone("the market link")
        if self.spec["stamps"] == "user" and self.trade is not None:
            self._poll()
        else:
            self.serve(self.wait_ns / 1e9, until_order=True)
        if not self.orders:
            return int(self.out[compiled.T0]), 0, b""
        link, message, stamp = self.orders.pop(0)
        self._answer(link, message)
        return int(self.out[compiled.T0]), stamp, message

    def _poll(self) -> None:
        """Poll the trade link, in compiled code, until an order is there."""
        while not self.orders and (link := self.trade) is not None:
            self.out[compiled.HAVE] = link.have
            code = compiled.await_frame(
                link.fd, link.ssl, link.buf, link.buf_at, self.wait_ns, self.out, self.time,
                self.time.ctypes.data,
            )  # fmt: skip
            link.have = int(self.out[compiled.HAVE])
            if code != compiled.DONE:
                return
            link.stamp_ns = int(self.out[compiled.T1])
            self.take_in(link)
            self._pass_answers()

    def _answer(self, link: Link, message: bytes) -> None:
        """Answer an order as the venue does; the private links hear of it from the twin."""
        if not self.spec["answers"]:
            return
        if not link.path:
            answer = self.pass_on(link, message)
        else:
            self.twin.ask(opened(message)[1])
            answer = self.twin.caller.answers.get(timeout=ANSWER_S)
            link.send_frame(answer)
        if not self.side.good(answer):
            self.refused.append(answer[-200:].decode())

    def find(self) -> bool:
        """Send slow ticks until orders come back; False when none does in time."""
        until = time.monotonic() + SEARCH_S
        while time.monotonic() < until:
            self.serve(SEARCH_PAUSE_S)
            self.strays += len(self.orders)
            self._drain()
            if self.market is None:
                continue
            try:
                if self.tick(0)[2]:
                    return True
            except Gone:
                self.market = None
        return False

    def _drain(self) -> None:
        """Answer what came too late or too often."""
        while self.orders:
            link, message, _ = self.orders.pop(0)
            self._answer(link, message)

    def run(self) -> dict[str, Any]:
        """Warm up, measure, check; returns what is told."""
        if not self.find():
            where = f"market link {self.market is not None}, trade link {self.trade is not None}"
            return {"error": f"no order came: {where}, snapshots {self.twin.twin.stats}"}
        spec, pace_ns = self.spec, self.spec["pace_us"] * 1000
        checker = self.side.checker()
        took, missed = [], 0
        self.strays, self.wait_ns = 0, WAIT_NS
        for n in range(-spec["warm"], spec["ticks"]):
            due = time.time_ns() + pace_ns
            self.serve(max(0.0, (pace_ns - SOON_NS) / 1e9))
            if n == 0:
                self.strays, self.refused = 0, []
            self.strays += len(self.orders)
            self._drain()
            sent, there, message = self.tick(due)
            if n < 0:
                continue
            if not message:
                missed += 1
                continue
            took.append(there - sent)
            if spec["check"]:
                checker.check(self.ticks.k, message)
        self.serve(0.05)
        self.strays += len(self.orders)
        self._drain()
        bad = checker.bad + len(self.refused)
        return {"took": took, "missed": missed, "bad": bad, "strays": self.strays,
                "faults": checker.faults[:5] + self.refused[:5]}  # fmt: skip

    def linger(self) -> None:
        """Serve on until the parent speaks, so that a client can end in order."""
        while not select.select([sys.stdin], [], [], 0)[0]:
            self.serve(0.02)
            self._drain()

    def close(self) -> None:
        """Cut everything."""
        for link in self.links:
            link.close()
        self.listener.close()
        self.twin.close()


def hold_core(core: int) -> None:
    """Keep this thread on a core, and whoever else works there away while it polls or stamps.

    A real exchange is another machine: that a client's slower threads share this one's core is no
    latency of theirs. The twin's thread, started later, is an ordinary one. Without the right to do
    so the figures hold, with a longer tail.
    """
    os.sched_setaffinity(0, {core})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        sys.stderr.write("the exchange runs without priority: expect a longer tail\n")


def main() -> None:
    """Serve sessions until standard input ends."""
    hold_core(int(sys.argv[1]))
    while line := sys.stdin.readline():
        session = Session(json.loads(line))
        say({"hot": session.port, "twin": session.twin.port})
        try:
            told = session.run()
        except Gone as error:
            told = {"error": f"a link broke: {error}"}
        Path(session.spec["found"]).write_text(json.dumps(told))
        say({"done": True})
        session.linger()
        sys.stdin.readline()
        session.close()


def say(told: dict[str, Any]) -> None:
    """Answer the parent."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
