"""One venue's market data, from its links into the matrix.

A frame goes: link, `codec.decode`, `intake.take_in` (join, book, ring, top, levels), done; about
ten microseconds after its bytes were read. Around that: subscriptions, gaps and snapshots, flags
when anything is in doubt, the heartbeat, counters, a recording on request. Whatever a venue sends,
the feeder goes on; only our own errors end it, and the supervisor starts it again.
"""

import asyncio
import os
import random
from functools import partial
from typing import Any

import msgspec

from alephtx.core.clock import Clock
from alephtx.core.errors import VenueError
from alephtx.core.histogram import summary
from alephtx.core.log import logger
from alephtx.core.ports import Batch, Codec, Endpoints, JoinRule, Request, Rows
from alephtx.feed import intake as columns
from alephtx.feed.join import GAP
from alephtx.feed.lane import Lane
from alephtx.feed.outlet import STALE_NS, Outlet
from alephtx.feed.record import Recorder
from alephtx.feed.resync import Resyncs
from alephtx.matrix import writers
from alephtx.matrix.shm import Matrix
from alephtx.net import websocket
from alephtx.net.backoff import Backoff
from alephtx.net.buckets import Buckets
from alephtx.net.clocksync import Offset
from alephtx.net.clockwatch import ClockWatch
from alephtx.net.http import HttpClient
from alephtx.net.session import LinkRunner

SECOND = 1_000_000_000
MS = 1_000_000
SHOWN_BYTES = 120
LATENCY_NS = 500 * MS
"""How often the latency's quantiles are worked out; a fifth of a millisecond each time."""
WARM_FRAME = b'{"result":null,"id":1}'  # the answer to a subscription, in many dialects


class FeederOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a feeder behaves; all times in ns.

    stale_ns: an instrument whose last book or top message is of so long ago is flagged, by when it
    came and, where the venue's clock is measured, by when it was made. crossed_max_ns: a
    book that stays crossed for so long is fetched anew. beat_ns: period of heartbeat and checks.
    clock_ns: period of TIME requests, 0 = none. spin: never sleep in the poll of sockets.
    """

    stale_ns: int = STALE_NS
    crossed_max_ns: int = 2 * SECOND
    beat_ns: int = 20 * MS
    clock_ns: int = 60 * SECOND
    backoff_base_ns: int = 200 * MS
    backoff_cap_ns: int = 30 * SECOND
    first_delta_ns: int = 300 * MS
    connect_timeout_ns: int = 10 * SECOND
    reserve_frac: float = 0.5
    spin: bool = False


class FeederCounts(msgspec.Struct):
    """What a feeder lived through, besides the counters of its intake, links and resyncs."""

    frames: int = 0
    bytes_in: int = 0
    events: int = 0
    not_understood: int = 0
    gaps: int = 0
    errors: int = 0
    link_losses: int = 0


class Feeder:
    """Feeds one venue into the matrix until cancelled.

    venue: index of the venue in the matrix. source: randomness for jitter. record_to: where raw
    frames are kept. latency: the histogram to count wire to matrix in. lane: how a compiled loop
    receives the links' messages, where that is not done here. `run` raises only what is our own
    fault.
    """

    def __init__(
        self,
        codec: Codec,
        matrix: Matrix,
        venue: int,
        clock: Clock,
        endpoints: Endpoints,
        *,
        source: random.Random,
        record_to: Recorder | None = None,
        options: FeederOptions | None = None,
        latency: Rows | None = None,
        lane: Lane | None = None,
    ) -> None:
        self.codec = codec
        self.name = codec.spec.name
        self.options = options or FeederOptions()
        self.clock = clock
        self.counts = FeederCounts()
        self._latency_due = 0
        self._matrix = matrix
        self._source = source
        self._endpoints = endpoints
        self._recorder = record_to
        self._log = logger("feed", venue=self.name)
        self.writer = writers.claim(
            matrix.map, writers.name_hash(f"feeder:{self.name}"), os.getpid()
        )
        if self.writer < 0:
            raise VenueError("the matrix has no room for another writer", venue=self.name)
        self.outlet = Outlet(
            matrix, codec.spec, venue, self.writer, clock, latency,
            links=len(codec.links("market")), stale_ns=self.options.stale_ns,
            baton=lane.baton if lane else None,
            stage=codec.market_stage() if hasattr(codec, "market_stage") else None,
        )  # fmt: skip
        self.lane = lane
        if lane is not None:
            lane.bind(self.outlet, self.options.beat_ns, self.options.crossed_max_ns)
        self.http = HttpClient(endpoints.http, venue=self.name)
        self.buckets = Buckets(codec.spec.buckets, clock, self.options.reserve_frac)
        self.resyncs = Resyncs(
            codec,
            self.outlet,
            self.http,
            self.buckets,
            clock,
            source,
            backoff_base_ns=self.options.backoff_base_ns,
            backoff_cap_ns=self.options.backoff_cap_ns,
            first_delta_ns=self.options.first_delta_ns,
            record=self._record_snapshot,
            settle=self.attend if lane is not None else None,
        )
        self.clock_watch = ClockWatch(
            codec, self._fetch, clock,
            who="feed", period_ns=self.options.clock_ns, measured=self._clock_measured,
        )  # fmt: skip
        self._odd = 0  # late and early messages that have been looked into
        self._batch = Batch()
        self._scans = hasattr(codec, "market_stage")
        self._warm()
        self._by_snapshot = codec.spec.join != JoinRule.FULL
        self._down = set(self.outlet.instruments)
        self._up: set[int] = set()
        self.links = self._make_links()

    def _warm(self) -> None:
        """Let the codec compile or load its kernels before any link is open."""
        try:
            self.codec.decode("market", WARM_FRAME, 0, self._batch)
        except VenueError as error:
            self._log.debug("warm_frame_refused", reason=str(error))

    def _make_links(self) -> list[LinkRunner]:
        options = self.options
        runners = []
        for number, link in enumerate(self.codec.links("market")):
            runners.append(
                LinkRunner(
                    link,
                    self._endpoints.market,
                    on_frame=partial(self._on_frame, number),
                    on_up=partial(self._on_up, number),
                    on_down=partial(self._on_down, number),
                    clock=self.clock,
                    source=self._source,
                    backoff=Backoff(self._source, options.backoff_base_ns, options.backoff_cap_ns),
                    connect_timeout_ns=options.connect_timeout_ns,
                    connect=self.lane.connector(number) if self.lane else websocket.connect,
                )
            )
        return runners

    async def run(self) -> None:
        """Feed until cancelled; whatever the way out, every instrument is left flagged."""
        for i in self.outlet.instruments:
            self.outlet.gap(i, stale=True)
        self._log.info("feeder_started", links=len(self.links), instruments=len(self._down))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._look_after())
                group.create_task(self.clock_watch.run())
                for runner in self.links:
                    group.create_task(runner.run())
                if self.options.spin:
                    self._spin(asyncio.get_running_loop())
        finally:
            self.options = msgspec.structs.replace(self.options, spin=False)
            await self.resyncs.close()
            await self.http.close()
            if self.lane is not None:  # a link that was not given back may still bring something
                self.lane.baton.halt()
            for i in self.outlet.instruments:
                self.outlet.gap(i, stale=True)
            if self._recorder is not None:
                self._recorder.close()
            self._log.info("feeder_stopped", **self.report())

    def _spin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.options.spin:
            loop.call_soon(self._spin, loop)

    # The way of a frame.

    def _on_frame(self, link: int, payload: bytes, ts_recv: int) -> None:
        counts, batch = self.counts, self._batch
        counts.frames += 1
        counts.bytes_in += len(payload)
        if self._scans and self._take_frame(link, payload, ts_recv):
            return
        batch.clear()
        try:
            understood = self.codec.decode("market", payload, ts_recv, batch) >= 0
        except Exception as error:  # noqa: BLE001 - no frame may end the feed
            understood = False
            self._log.every(5).error("frame_broke_decoder", error=repr(error))
        if self._recorder is not None:
            self._recorder.write(ts_recv, payload, self._channel(batch if understood else None))
        if not understood:
            counts.not_understood += 1
            self._log.every(5).warning(
                "frame_not_understood",
                link=self.codec.links("market")[link].name,
                bytes=len(payload),
                text=payload[:SHOWN_BYTES].decode("utf-8", "replace"),
            )
            return
        if batch.event_count:
            counts.events += batch.event_count
            left = self.outlet.take_in(link, batch.events, batch.event_count)
            if left:
                self._think(left, batch.events)
        if batch.controls:
            self._obey(link, batch)

    def _take_frame(self, link: int, payload: bytes, ts_recv: int) -> bool:
        """Take in what the venue's scanner reads, nearly every frame; False: it is for `decode`."""
        outlet = self.outlet
        left = outlet.frame_in(link, payload, ts_recv)
        if left < 0:
            return False
        count, rows = outlet.frame_count, outlet.frame_rows
        self.counts.events += count
        if self._recorder is not None:
            self._recorder.write(ts_recv, payload, self._channel_of(rows, count))
        if left:
            self._think(outlet.left_over(left, link, rows, count), rows)
        return True

    def attend(self) -> None:
        """Do what the engine's loop left to us; called when it says so."""
        if self.lane is not None:
            self.lane.attend(self._think)

    def _think(self, left: list[list[int]], rows: Rows) -> None:
        """Act on the messages that the join would not apply."""
        for start, end, verdict, i in left:
            if verdict == GAP:
                self.counts.gaps += 1
                self._log.every(1).warning(
                    "sequence_broke",
                    instrument=self.codec.instruments[i].key,
                    first=int(rows[start]["price"]),
                    last=int(rows[start]["seq"]),
                )
                self._restart(i)
            if self._by_snapshot:
                self.resyncs.hold(i, rows[start:end])
                if i in self._down:  # its deltas flow, so its link is open
                    self._down.discard(i)
                    self.resyncs.start(i)

    def _restart(self, i: int) -> None:
        """Show that an instrument's book is lost and begin to bring it back."""
        self.outlet.gap(i, stale=False)
        if self._by_snapshot:
            self.resyncs.start(i)

    def _obey(self, link: int, batch: Batch) -> None:
        """Do what the decoder says besides rows."""
        for control in batch.controls:
            match control.kind:
                case "send":
                    self.links[link].queue(control.value)
                case "reconnect":
                    self.links[link].drop("the venue asked for a new connection")
                case "limits":
                    self.buckets.learn(control.value)
                case "error":
                    self.counts.errors += 1
                    self._log.every(5).error("venue_complained", said=str(control.value))
                case other:
                    self._log.debug("control_ignored", kind=other)

    # Links.

    def _on_up(self, link: int) -> None:
        self._up.add(link)
        self._log.info("link_opened", link=link, open=len(self._up), of=len(self.links))
        # A snapshot before its deltas flow would only be refused. Which link carries what, only
        # frames tell: instruments that stay quiet are asked for when every link is open.
        if len(self._up) == len(self.links):
            for i in sorted(self._down):
                if self._by_snapshot:
                    self.resyncs.start(i)
            self._down.clear()

    def _on_down(self, link: int, reason: str) -> None:
        if link in self._up:
            self._up.discard(link)
            self.counts.link_losses += 1
            self._log.warning("link_lost", link=link, reason=reason)
        else:
            self._log.every(5).warning("link_not_opened", link=link, reason=reason)
        self.outlet.forget_link(link)
        for i in self.outlet.instruments:
            if self.outlet.intake.link_of[i] in (link, -1):
                self.resyncs.stop(i)
                if i not in self._down:
                    self.outlet.gap(i, stale=True)
                    self._down.add(i)

    # Beside the frames.

    async def _look_after(self) -> None:
        """Beat, flag, count; ends the feeder when a task of ours broke."""
        options = self.options
        while True:
            lane = self.lane  # where a loop receives, it beats, too
            for i in lane.crossed() if lane else self.outlet.look_after(options.crossed_max_ns):
                self._log.warning("book_stayed_crossed", instrument=self.codec.instruments[i].key)
                if i not in self._down:
                    self._restart(i)
            self._count()
            self._mind_lateness()
            if self.clock.monotonic() >= self._latency_due:
                self._latency_due = self.clock.monotonic() + LATENCY_NS
                self._count_latency()
            if self.resyncs.crash is not None:
                raise self.resyncs.crash
            await self.clock.sleep(options.beat_ns)

    async def _fetch(self, request: Request) -> tuple[int, Any, bytes]:
        await self.buckets.take(request.weights)
        return await self.http.fetch(request)

    def _clock_measured(self, offset: Offset) -> None:
        self.outlet.measured(offset.offset_ns, offset.error_ns)

    def _mind_lateness(self) -> None:
        """Say when messages come late, and let the venue's clock be measured: it may be that."""
        late = self.outlet.counter(columns.LATE)
        if (odd := late + self.outlet.counter(columns.EARLY)) == self._odd:
            return
        self._odd = odd
        self._log.every(5).warning(
            "messages_late_or_early",
            late=late,
            early=odd - late,
            venue_ahead_ms=self.clock_watch.offset.offset_ns // MS,
        )
        self.clock_watch.doubt()

    def _count(self) -> None:
        """Copy the counters to where other processes read them."""
        words = writers.counters(self._matrix.map, self.writer)
        words[writers.FRAMES] = self.counts.frames + (self.lane.frames if self.lane else 0)
        words[writers.EVENTS] = self.counts.events + (self.lane.events if self.lane else 0)
        words[writers.GAPS] = self.counts.gaps
        words[writers.RESYNCS] = self.resyncs.snapshots
        words[writers.RECONNECTS] = self.counts.link_losses
        words[writers.NOT_UNDERSTOOD] = self.counts.not_understood
        words[writers.STALE_TURNS] = self.outlet.counter(columns.STALE_TURNS)
        words[writers.ERRORS] = self.counts.errors + self.resyncs.failures
        words[writers.BYTES] = self.counts.bytes_in + (self.lane.bytes_in if self.lane else 0)
        if self._recorder is not None:
            words[writers.DROPS] = self._recorder.dropped

    def _count_latency(self) -> None:
        words = writers.counters(self._matrix.map, self.writer)
        latency = summary(self.outlet.intake.latency)
        words[writers.LATENCY_P50], words[writers.LATENCY_P99] = latency["p50"], latency["p99"]
        words[writers.LATENCY_MOST], words[writers.LATENCY_COUNT] = (
            latency["most"],
            latency["count"],
        )

    # Recording and reporting.

    def _channel(self, batch: Batch | None) -> str:
        """Return the symbol a frame belongs to, "other" where it has none."""
        return self._channel_of(batch.events, batch.event_count) if batch is not None else "other"

    def _channel_of(self, rows: Rows, count: int) -> str:
        return self.codec.instruments[int(rows[0]["instrument"])].symbol if count else "other"

    def _record_snapshot(self, ts_recv: int, body: bytes, i: int) -> None:
        if self._recorder is not None:
            self._recorder.write(ts_recv, body, self.codec.instruments[i].symbol)

    def report(self) -> dict[str, int]:
        """Return counters and the latency from wire to matrix, flat."""
        latency = {f"wire_to_matrix_{k}": v for k, v in summary(self.outlet.intake.latency).items()}
        links: dict[str, int] = {}
        for runner in self.links:
            for name, value in msgspec.structs.asdict(runner.counts).items():
                links[f"link_{name}"] = links.get(f"link_{name}", 0) + value
        counts = msgspec.structs.asdict(self.counts)
        if self.lane is not None:
            counts["frames"] += self.lane.frames
            counts["bytes_in"] += self.lane.bytes_in
            counts["events"] += self.lane.events
        return {
            **counts,
            **self.outlet.counters(),
            **links,
            "snapshots": self.resyncs.snapshots,
            "snapshots_refused": self.resyncs.refused,
            "snapshot_failures": self.resyncs.failures,
            "venue_clock_offset_ns": self.clock_watch.offset.offset_ns,
            **latency,
        }
