"""Bring books back: buffer deltas, fetch the snapshot, join the two.

One task per instrument that has no book. Deltas that arrive meanwhile are kept (decoded, bounded).
A snapshot is tried against them before anything is shown: if it is older than the oldest delta
kept, or a delta is missing, it is fetched again, paced by the venue's buckets and a jittered
backoff. It never gives up; the instrument stays flagged until it succeeds.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping

from alephtx.core.clock import Clock
from alephtx.core.errors import TransportError, VenueError
from alephtx.core.log import logger
from alephtx.core.ports import Batch, Codec, Request, Rows, What
from alephtx.core.words import CLEAR
from alephtx.feed.join import GAP, join, join_snapshot, make_states
from alephtx.feed.outlet import Outlet
from alephtx.net.backoff import Backoff
from alephtx.net.buckets import Buckets
from alephtx.net.http import HttpClient, wait_asked_ns

SECOND = 1_000_000_000
HELD_ROWS_MAX = 200_000
PARALLEL = 4
FIRST_DELTA_NS = 300_000_000


class Held:
    """The deltas of one instrument that wait for its snapshot, oldest first."""

    def __init__(self) -> None:
        self.messages: deque[Rows] = deque()
        self.rows = 0
        self.arrived = asyncio.Event()

    def add(self, rows: Rows) -> int:
        """Keep a copy of a message; return how many old ones were dropped for it."""
        self.messages.append(rows.copy())
        self.rows += len(rows)
        self.arrived.set()
        dropped = 0
        while self.rows > HELD_ROWS_MAX and len(self.messages) > 1:
            self.rows -= len(self.messages.popleft())
            dropped += 1
        return dropped

    def drop(self, count: int) -> None:
        """Forget the oldest messages."""
        for _ in range(count):
            self.rows -= len(self.messages.popleft())

    def clear(self) -> None:
        """Forget everything."""
        self.messages.clear()
        self.rows = 0
        self.arrived.clear()


class Resyncs:
    """The instruments of one venue that have no book, and the tasks that bring them back.

    record: called with every snapshot that was used: (ts_recv, body, instrument). settle: has what
    a compiled loop left to Python done, see `_seed`. crash: an error that no venue can cause; the
    feeder looks at it and ends.
    """

    def __init__(
        self,
        codec: Codec,
        outlet: Outlet,
        http: HttpClient,
        buckets: Buckets,
        clock: Clock,
        source: random.Random,
        *,
        backoff_base_ns: int = 200_000_000,
        backoff_cap_ns: int = 30 * SECOND,
        first_delta_ns: int = FIRST_DELTA_NS,
        record: Callable[[int, bytes, int], None] | None = None,
        settle: Callable[[], None] | None = None,
    ) -> None:
        self._codec = codec
        self._outlet = outlet
        self._http = http
        self._buckets = buckets
        self._clock = clock
        self._random = source
        self._bounds = backoff_base_ns, backoff_cap_ns
        self._first_delta_ns = first_delta_ns
        self._record = record
        self._settle = settle
        self._held: dict[int, Held] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(PARALLEL)
        self._log = logger("feed", venue=codec.spec.name)
        self.snapshots = 0
        self.refused = 0
        self.failures = 0
        self.overflows = 0
        self.crash: BaseException | None = None

    def hold(self, i: int, rows: Rows) -> None:
        """Keep a message until its instrument has a snapshot."""
        dropped = self._held.setdefault(i, Held()).add(rows)
        if dropped:
            self.overflows += dropped
            self._log.every(5).warning("held_deltas_dropped", instrument=i, dropped=dropped)

    def start(self, i: int) -> None:
        """Begin to bring an instrument back, unless that is under way."""
        task = self._tasks.get(i)
        if task is None or task.done():
            self._tasks[i] = asyncio.create_task(self._resync(i), name=f"resync-{i}")
            self._tasks[i].add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.crash = error

    def stop(self, i: int) -> None:
        """Forget what was under way for an instrument: its link is down."""
        task = self._tasks.pop(i, None)
        if task is not None:
            task.cancel()
        if i in self._held:
            self._held[i].clear()

    @property
    def running(self) -> list[int]:
        """Return the instruments that are being brought back."""
        return [i for i, task in self._tasks.items() if not task.done()]

    async def close(self) -> None:
        """Cancel all tasks and wait for them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _resync(self, i: int) -> None:
        backoff = Backoff(self._random, *self._bounds)
        held = self._held.setdefault(i, Held())
        key = self._codec.instruments[i].key
        started_ns = self._clock.monotonic()
        await self._first_delta(held)
        while True:
            try:
                async with self._slots:
                    asked_ns = self._clock.monotonic()
                    rows, last_update_id, body, ts_recv = await self._snapshot(i)
            except VenueError as error:
                self.failures += 1
                wait_ns = backoff.next() if error.retryable else backoff.cap_ns
                self._log.every(1).warning(
                    "snapshot_failed", instrument=key, reason=str(error), wait_ms=wait_ns // 10**6
                )
                await self._clock.sleep(wait_ns)
                continue
            if self._seed(i, held, rows, last_update_id, self._clock.monotonic() - asked_ns):
                if self._record is not None:
                    self._record(ts_recv, body, i)
                self._log.info(
                    "book_resynced",
                    instrument=key,
                    last_update_id=last_update_id,
                    tries=backoff.tries + 1,
                    took_ms=(self._clock.monotonic() - started_ns) // 10**6,
                )
                return
            self.refused += 1
            await self._clock.sleep(backoff.next())

    async def _first_delta(self, held: Held) -> None:
        """Give the stream a moment: a snapshot newer than the first delta joins at once."""
        try:
            async with asyncio.timeout(self._first_delta_ns / 1e9):
                await held.arrived.wait()
        except TimeoutError:
            return  # a quiet instrument

    async def _snapshot(self, i: int) -> tuple[Rows, int, bytes, int]:
        """Fetch and decode one snapshot: its rows, its id, its text and when it came."""
        requests = self._codec.request(What.SNAPSHOT, self._clock.now(), instrument=i)
        if len(requests) != 1:
            raise VenueError(f"{len(requests)} requests for a snapshot", venue=self._name)
        request = requests[0]
        await self._buckets.take(request.weights)
        status, headers, body = await self._http.fetch(request)
        ts_recv = self._clock.now()
        rows = self._decode(request, status, headers, body, ts_recv)
        if not len(rows) or rows[0]["kind"] != CLEAR:
            raise VenueError("a snapshot without rows", venue=self._name, retryable=True)
        return rows, int(rows[0]["seq"]), body, ts_recv

    @property
    def _name(self) -> str:
        return self._codec.spec.name

    def _decode(
        self,
        request: Request,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        ts_recv: int,
    ) -> Rows:
        if wait_ns := wait_asked_ns(status, headers):
            self._buckets.hold(wait_ns)
        batch = Batch(events=32_768, updates=1)
        try:
            self._codec.reply(request, status, headers, body, batch)
        except VenueError:
            raise
        except Exception as error:  # noqa: BLE001 - no answer of a venue may end the feed
            raise TransportError(
                f"a snapshot broke the decoder: {error!r}", venue=self._name, sent=True
            ) from None
        finally:
            for control in batch.controls:
                if control.kind == "limits":
                    self._buckets.learn(control.value)
        self.snapshots += 1
        rows = batch.events[: batch.event_count]
        rows["ts_recv"] = ts_recv
        return rows

    def _seed(self, i: int, held: Held, rows: Rows, last_update_id: int, age_ns: int) -> bool:
        """Show the snapshot and the held deltas if they join; else keep what may join the next.

        A loop that receives must not come between: a delta that it has left to us and that is not
        held yet would be missing, one that it takes in before those held are would come too early.
        """
        with self._outlet.baton:
            if self._settle is not None:
                self._settle()
            return self._joined(i, held, rows, last_update_id, age_ns)

    def _joined(self, i: int, held: Held, rows: Rows, last_update_id: int, age_ns: int) -> bool:
        trial = make_states(1)
        join_snapshot(trial, 0, last_update_id)
        for number, message in enumerate(held.messages):
            head = message[0]
            said = (int(head[name]) for name in ("price", "qty", "seq", "ts_recv"))
            verdict = join(self._outlet.rule, trial, 0, *said)
            if verdict == GAP:
                # Older deltas can only join a snapshot that the newer ones do not.
                held.drop(number)
                return False
        outlet = self._outlet
        outlet.seed(i, rows, last_update_id, age_ns)
        for message in held.messages:
            outlet.take_in(-1, message, len(message))
        held.clear()
        return True
