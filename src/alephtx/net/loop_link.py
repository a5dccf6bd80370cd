"""A WebSocket that a compiled loop serves, as the main thread sees it.

It has the face of `websocket.WebSocket`, so a `LinkRunner` keeps either kind. The loop reads,
writes and answers pings (`net.frames`); messages that are Python's, and the end, come through
`attend`, which the main thread calls when the engine's `Wake` rang. What is sent from here goes
through a ring to the loop. `net.link_words` says who owns the connection when.

Closing asks the loop to give the connection back and waits for that: only then is anything freed.
A loop that does not answer in time costs the memory of the link, never a crash: the socket is shut
down, which any thread may do, and the rest follows when the loop parks the link after all.
"""

import asyncio
import ctypes
import os
import ssl
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress

from alephtx.core.atomics import compare_exchange, load_acquire
from alephtx.core.clock import Clock
from alephtx.core.errors import TransportError
from alephtx.core.kernel import Int, kernel
from alephtx.core.log import logger
from alephtx.net import link_words as w
from alephtx.net.bytes_ring import HEAD_BYTES, BytesRing
from alephtx.net.dial import Dialled, dial, ready
from alephtx.net.link_words import HEAD_MAX, LinkMemory
from alephtx.net.sending import BINARY, CLOSE, PING, TEXT, end_link, say_close
from alephtx.net.tls import error_text
from alephtx.net.wake import Wake
from alephtx.net.websocket import (
    ABNORMAL,
    CLOSE_TIMEOUT_NS,
    CONNECT_TIMEOUT_NS,
    Closed,
    OnFrame,
)

MESSAGE_MAX = 1 << 20
QUEUE_MAX = 1 << 18
BACKLOG_MAX = 1 << 17
NEAR = 4096
ATTEND_MAX = 512
"""Messages delivered in one go, so that the main thread's other work comes in between."""

ASK_S = 1.0
LINGER_S = 0.2
"""How long the loop may take to give a link back, and a peer to read our goodbye."""

log = logger("net")
_held: "set[LoopLink]" = set()
"""Links whose memory a loop may touch; they outlive whoever forgot them."""


@kernel
def _state(link: Int) -> int:
    return load_acquire(link + 8 * w.STATE)


@kernel
def _change(link: Int, expected: Int, wanted: Int) -> int:
    """Change a link's state if it is as expected; 1 when done."""
    return 1 if compare_exchange(link + 8 * w.STATE, expected, wanted) == expected else 0


class LoopLink:
    """An open client socket, served by a loop that was told its `address`.

    Keep the object while its address is in a loop's list. Not thread-safe; call it from the main
    thread, with its event loop running.
    """

    def __init__(
        self,
        opened: Dialled,
        on_frame: OnFrame,
        *,
        clock: Clock,
        wake: Wake,
        message_max: int = MESSAGE_MAX,
        queue_max: int = QUEUE_MAX,
        backlog_max: int = BACKLOG_MAX,
        on_released: "Callable[[LoopLink], None] | None" = None,
    ) -> None:
        self._socket, self._tls = opened.socket, opened.tls
        self._on_frame, self._wake, self._queue_max = on_frame, wake, queue_max
        self._on_released = on_released
        self._payload_max = min(queue_max, backlog_max - HEAD_MAX)
        self._memory = LinkMemory(message_max=message_max, backlog_max=backlog_max)
        self.address = self._memory.address
        self._to_python = BytesRing(_ring(message_max))
        self._from_python = BytesRing(_ring(queue_max))
        words = self._words = self._memory.words
        words[w.FD], words[w.SSL] = self._socket.fileno(), self._tls.address if self._tls else 0
        words[w.STAMPS], words[w.WAKE] = opened.stamped, wake.address
        words[w.TO_PYTHON] = self._to_python.address
        words[w.FROM_PYTHON] = self._from_python.address
        offset = getattr(clock, "offset_ns", None)
        words[w.OFFSET] = clock.now() - clock.monotonic() if offset is None else offset
        words[w.LAST_NS] = clock.monotonic()
        ctypes.memmove(int(words[w.RX]), opened.early, len(opened.early))
        words[w.RX_END] = len(opened.early)
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Closed] = self._loop.create_future()
        self._released: asyncio.Future[None] = self._loop.create_future()
        self._error: Exception | None = None
        self._said: int | None = None  # the code of our close frame
        self._finishing: asyncio.Task[None] | None = None
        self._guard: asyncio.TimerHandle | None = None
        _held.add(self)

    # -- what websocket.WebSocket has ------------------------------------------------------------

    @property
    def last_ns(self) -> int:
        """Return the monotonic time when bytes last came."""
        return int(self._words[w.LAST_NS])

    @property
    def near(self) -> list[tuple[int, int]]:
        """Return address and bytes of what a message or an order of usual size touches."""
        words = self._words
        return [(self.address, words.nbytes), (int(words[w.RX]), NEAR), (int(words[w.TX]), NEAR)]

    @property
    def messages(self) -> int:
        """Return how many whole messages came."""
        return int(self._words[w.MESSAGES])

    @property
    def bytes_in(self) -> int:
        """Return how many payload bytes came."""
        return int(self._words[w.BYTES_IN])

    @property
    def is_closed(self) -> bool:
        """Tell whether nothing more can be sent."""
        return self._said is not None or _state(self.address) in (w.ASKED, w.PARKED)

    def send(self, payload: bytes, *, binary: bool = False) -> None:
        """Queue one message. TransportError, sent=False, when closed or the queue is full."""
        if self.is_closed:
            raise TransportError("the WebSocket is closed")
        if len(payload) > self._payload_max:
            raise TransportError(
                f"a message of {len(payload)} bytes; the loop sends at most {self._payload_max}",
                retryable=False,
            )
        queued = len(self._from_python)
        fits = queued + HEAD_BYTES + len(payload) <= self._queue_max
        if not fits or not self._from_python.push(payload, BINARY if binary else TEXT):
            raise TransportError(
                f"{queued} bytes wait to be sent; the queue's bound is {self._queue_max}",
                remedy="the peer does not read; the link will be reopened",
            )

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping frame, where there is room for one."""
        if not self.is_closed:
            self._from_python.push(payload[:125], PING)

    def pause_reading(self) -> None:
        """Have the loop stop reading, so that the peer feels our backlog."""
        self._words[w.PAUSED] = 1

    def resume_reading(self) -> None:
        """Have the loop read again."""
        self._words[w.PAUSED] = 0

    async def close(self, code: int = 1000, timeout_ns: int = CLOSE_TIMEOUT_NS) -> Closed:
        """Say goodbye, wait that long for the answer, then cut; safe to repeat.

        Returns when the connection is freed, or its loop did not give it back.
        """
        if not self.is_closed and self._from_python.push(struct.pack(">H", code), CLOSE):
            self._said = code
        if _state(self.address) == w.NEW:  # no loop will answer for it
            self._ask_back()
        try:
            async with asyncio.timeout(timeout_ns / 1e9):
                await asyncio.shield(self._ended)
        except TimeoutError:
            self.abort()
            await asyncio.shield(self._ended)
        await asyncio.wait([self._released], timeout=2 * LINGER_S)
        return await self.wait_closed()

    def abort(self) -> None:
        """Cut the connection now."""
        self._ask_back()

    async def wait_closed(self) -> Closed:
        """Wait for the end; an error in on_frame is raised here."""
        closed = await asyncio.shield(self._ended)
        if self._error is not None:
            raise self._error
        return closed

    # -- what the engine calls -------------------------------------------------------------------

    def attend(self) -> None:
        """Deliver what came and notice the end; for the main thread, after the wake rang."""
        parked = _state(self.address) == w.PARKED  # asked first: what came before it is there now
        for _ in range(ATTEND_MAX):
            record = self._to_python.pop()
            if record is None:
                break
            if self._error is not None:
                continue
            try:
                self._on_frame(record[3], record[1])
            except Exception as error:  # noqa: BLE001 - raised by wait_closed
                self._error = error
                self.abort()
        else:
            self._loop.call_soon(self.attend)
            return
        if parked and self._finishing is None:
            self._finishing = self._loop.create_task(self._finish())

    def take(self) -> None:
        """Take the connection back without asking: only when no loop runs that knows it."""
        end_link(self.address)
        self._ask_back()
        self.attend()

    # -- the end ---------------------------------------------------------------------------------

    def _ask_back(self) -> None:
        """Ask the loop to park the link, or park it where no loop has seen it."""
        if _change(self.address, w.NEW, w.PARKED):
            self._words[w.REASON], self._words[w.CODE] = w.BY_US, ABNORMAL
            self._loop.call_soon(self.attend)
        elif _change(self.address, w.LIVE, w.ASKED):
            self._guard = self._loop.call_later(ASK_S, self._unanswered)

    def _unanswered(self) -> None:
        if _state(self.address) == w.PARKED:
            self.attend()
            return
        log.warning("link_not_given_back", seconds=ASK_S)
        with suppress(OSError):
            self._socket.shutdown(2)
        self._end(Closed(ABNORMAL, "its loop did not give it back", by_peer=False))

    def _end(self, closed: Closed) -> None:
        if not self._ended.done():
            self._ended.set_result(closed)

    async def _finish(self) -> None:
        """Own a parked link: say goodbye where that makes sense, tell the end, free everything."""
        if self._guard is not None:
            self._guard.cancel()
        reason = int(self._words[w.REASON])
        goodbye = {
            w.BY_PEER: 1000, w.PROTOCOL: 1002, w.TOO_BIG: 1009, w.LOOP_ENDED: 1001,
            w.BY_US: self._said or 0, w.FLOOD: 0,
        }.get(reason)  # fmt: skip
        closed = self._closed(reason)
        if goodbye:
            say_close(self.address, goodbye)
        if self._tls is not None and goodbye is not None:
            self._tls.goodbye()
        self._end(closed)
        try:
            if goodbye or self._words[w.CLOSING]:
                await self._linger()
        finally:
            self._release()

    def _closed(self, reason: int) -> Closed:
        """Return the end of a parked link in the words of `websocket.Closed`."""
        detail = int(self._words[w.DETAIL])
        if reason == w.BY_PEER:
            code = int(self._words[w.CODE])
            said = ctypes.string_at(int(self._words[w.MSG_AT]), int(self._words[w.MSG_SIZE]))[2:]
            return Closed(1000 if code == 1005 else code, said.decode(errors="replace"), True)
        if reason == w.PROTOCOL:
            return Closed(1002, w.RULES.get(detail, "a broken rule"), by_peer=False)
        if reason == w.TOO_BIG:
            limit = int(self._words[w.MESSAGE_MAX])
            return Closed(1009, f"a message above {limit} bytes", by_peer=False)
        if self._said is not None:
            return Closed(self._said, "", by_peer=False)
        if reason == w.FAILED:
            return Closed(ABNORMAL, os.strerror(detail), by_peer=True)
        if reason == w.TLS_BROKE:
            return Closed(ABNORMAL, f"TLS failed: {error_text(detail)}", by_peer=True)
        texts = {w.FLOOD: "it pings and reads no answers", w.LOOP_ENDED: "the loop ended"}
        text = texts.get(reason, "the connection was cut")
        return Closed(ABNORMAL, text, by_peer=reason == w.END)

    async def _linger(self) -> None:
        """Let the peer read our goodbye: a socket that is closed with bytes unread resets it."""
        with suppress(OSError, TimeoutError):
            self._socket.shutdown(1)
            async with asyncio.timeout(LINGER_S):
                while True:
                    try:
                        if not self._socket.recv(1 << 16):
                            return
                    except BlockingIOError:
                        await ready(self._socket.fileno())

    def _release(self) -> None:
        if self._tls is not None:
            self._tls.free()
        self._socket.close()
        _held.discard(self)
        if not self._released.done():
            self._released.set_result(None)
        if self._on_released is not None:
            self._on_released(self)


def _ring(payload_max: int) -> int:
    """Return the capacity of a ring that takes payloads up to this size."""
    return max(1 << 12, 1 << (2 * (payload_max + HEAD_BYTES) - 1).bit_length())


async def connect_loop(
    url: str,
    on_frame: OnFrame,
    *,
    clock: Clock,
    wake: Wake,
    headers: Iterable[tuple[str, str]] = (),
    timeout_ns: int = CONNECT_TIMEOUT_NS,
    message_max: int = MESSAGE_MAX,
    queue_max: int = QUEUE_MAX,
    ssl_context: ssl.SSLContext | None = None,
    busy_poll_us: int = 0,
    on_released: Callable[[LoopLink], None] | None = None,
) -> LoopLink:
    """Open a WebSocket for a compiled loop; give the loop its `address` next.

    on_frame(payload, ts_recv) gets what the loop hands to Python, from `attend`. The stamp is the
    kernel's where the connection is plain, and the reading's with TLS. ssl_context: whose
    authorities to trust. TransportError as from `websocket.connect`; ConfigError for a proxy.
    """
    where = url.partition("?")[0]
    try:
        async with asyncio.timeout(timeout_ns / 1e9):
            opened = await dial(
                url, headers=headers, ssl_context=ssl_context, busy_poll_us=busy_poll_us
            )
    except TimeoutError:
        raise TransportError(f"{where}: no WebSocket within {timeout_ns / 1e9:g} s") from None
    except OSError as error:
        text = error.strerror or str(error) or type(error).__name__
        raise TransportError(f"{where}: cannot connect: {text}") from None
    return LoopLink(
        opened,
        on_frame,
        clock=clock,
        wake=wake,
        message_max=message_max,
        queue_max=queue_max,
        on_released=on_released,
    )
