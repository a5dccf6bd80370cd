"""The feeder with the real Binance codecs against the Binance twins replaying recorded days.

Every SEQ message that the feeder applies is remembered with the levels the matrix showed after it;
the twin is asked for its own book, and where the two name the same update id they must be equal,
level by level. Tops are held against the venue's own bookTicker at rest.
"""

import asyncio
import random
from collections import OrderedDict
from contextlib import asynccontextmanager
from decimal import Decimal

import aiohttp
import msgspec
import numpy as np
import pytest

from alephtx.core.clock import MachineClock
from alephtx.core.config_schema import VenueConfig
from alephtx.core.instruments import Instruments
from alephtx.core.plugins import find
from alephtx.core.ports import Endpoints, What
from alephtx.core.records import TOP_ROW
from alephtx.core.words import STALE
from alephtx.feed.endpoints import endpoints_of
from alephtx.feed.feeder import Feeder, FeederOptions
from alephtx.matrix.layout import Geometry
from alephtx.matrix.levels import levels_read
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_read
from alephtx.net.http import HttpClient
from alephtx.twins.main import make_server
from alephtx.twins.options import TwinOptions
from tests.net.servers import until

pytestmark = pytest.mark.flow

MS = 1_000_000
DEPTH = 20
SYMBOLS = ("BTCUSDT", "ETHUSDT")
REST = {"binance_spot": "/api/v3", "binance_usdm": "/fapi/v1"}
OPTIONS = FeederOptions(
    stale_ns=20_000 * MS, clock_ns=1_000 * MS, backoff_base_ns=20 * MS, backoff_cap_ns=200 * MS
)


class Seen(OrderedDict):
    """update id -> levels, the last few thousand."""

    def add(self, key, value):
        self[key] = value
        if len(self) > 5000:
            self.popitem(last=False)


class Watched:
    """One venue's feeder, and what the matrix showed after every book message."""

    def __init__(self, feeder, matrix):
        self.feeder, self.matrix = feeder, matrix
        self.seen = {i: Seen() for i in feeder.outlet.instruments}
        self._levels = np.zeros((2, DEPTH, 2), np.int64)
        self._take_in = feeder.outlet.take_in
        self._frame_in = feeder.outlet.frame_in
        feeder.outlet.take_in, feeder.outlet.frame_in = self.take_in, self.frame_in

    def frame_in(self, link, frame, ts_recv):
        left = self._frame_in(link, frame, ts_recv)
        if left >= 0 and self.feeder.outlet.frame_count:
            self.note(self.feeder.outlet.frame_rows)
        return left

    def take_in(self, link, rows, n):
        left = self._take_in(link, rows, n)
        self.note(rows)
        return left

    def note(self, rows):
        i = int(rows[0]["instrument"])
        seq = int(levels_read(self.matrix.map, i, self._levels))
        self.seen[i].add(seq, [[tuple(map(int, level)) for level in side] for side in self._levels])

    def flags(self, i):
        out = np.zeros(1, TOP_ROW)
        assert top_read(self.matrix.map, i, out) == 0
        return int(out[0]["aux"]) & 0xFF

    def top(self, i):
        out = np.zeros(1, TOP_ROW)
        assert top_read(self.matrix.map, i, out) == 0
        return [int(out[0][name]) for name in ("bid", "bid_qty", "ask", "ask_qty")]


async def fetch_table(names, addresses):
    table = Instruments()
    for name in names:
        venue = find("venues", name)()
        async with HttpClient(addresses[name].http) as http:
            _, _, body = await http.fetch(venue.request(What.INSTRUMENTS, 0)[0])
        for instrument in venue.parse_instruments(body, SYMBOLS):
            table.add(instrument)
    return table


@asynccontextmanager
async def feeding(tmp_path, names, *, feeder=OPTIONS, **options):
    """Yield (server, {venue: Watched}, {venue: base URL}) with everything running."""
    server = make_server(TwinOptions(venues=names, **options))
    async with server:
        addresses = {}
        for name in names:
            where = f"127.0.0.1:{server.ports[name]}"
            section = VenueConfig(symbols=SYMBOLS, http=f"http://{where}", market=f"ws://{where}")
            addresses[name] = endpoints_of(find("venues", name)(), section)
        table = await fetch_table(names, addresses)
        matrix = Matrix.create(tmp_path / "matrix", table, Geometry(instruments_max=8, depth=DEPTH))
        watched, tasks = {}, []
        try:
            for index, name in enumerate(names):
                made = Feeder(
                    find("venues", name)().bind(matrix.instruments, None, 0), matrix, index,
                    MachineClock(matrix.clock_offset_ns), addresses[name],
                    source=random.Random(3), options=feeder,
                )  # fmt: skip
                watched[name] = Watched(made, matrix)
                tasks.append(asyncio.create_task(made.run()))
            yield server, watched, {name: addresses[name].http for name in names}
            server.check()
            assert not any(task.done() for task in tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            matrix.unlink()
            matrix.close()


async def compare(session, watched, bases):
    """Ask every twin for every book; return how many were found under the same id, all equal."""
    equal = 0
    for name, view in watched.items():
        for i in view.seen:
            instrument = view.feeder.codec.instruments[i]
            url = f"{bases[name]}{REST[name]}/depth?symbol={instrument.symbol}&limit={DEPTH}"
            async with session.get(url) as answer:
                book = msgspec.json.decode(await answer.read())
            await asyncio.sleep(0.03)  # what the twin has published arrives
            shown = view.seen[i].get(book["lastUpdateId"])
            if shown is None:
                continue
            truth = [
                [
                    (instrument.price_ticks(Decimal(p)), instrument.qty_lots(Decimal(q)))
                    for p, q in book[side]
                ]
                for side in ("bids", "asks")
            ]
            assert shown == truth, (name, instrument.symbol, book["lastUpdateId"])
            equal += 1
    return equal


async def live(watched):
    for view in watched.values():
        await until(lambda v=view: all(v.flags(i) == 0 for i in v.seen), seconds=15)


async def fault(session, base, **body):
    async with session.post(f"{base}/_twin/fault", json=body) as answer:
        assert answer.status == 200, await answer.text()


async def test_books_equal_the_twins_at_sampled_ids_also_after_faults(tmp_path):
    names = ("binance_spot", "binance_usdm")
    async with (
        feeding(tmp_path, names, speed=4.0) as (_, watched, bases),
        aiohttp.ClientSession() as session,
    ):
        await live(watched)
        equal = 0
        for _ in range(12):
            equal += await compare(session, watched, bases)
        assert equal >= 30
        assert all(view.feeder.counts.gaps == 0 for view in watched.values())
        for kind in ("gap", "reorder", "duplicate"):
            for base in bases.values():
                await fault(session, base, kind=kind, count=2, match="depthUpdate")
        for view in watched.values():
            await until(lambda v=view: v.feeder.counts.gaps >= 1, seconds=8)
        for base in bases.values():
            await fault(session, base, kind="5xx", target="http", count=1, match="depth")
            await fault(session, base, kind="disconnect")
        for view in watched.values():
            await until(lambda v=view: v.feeder.counts.link_losses >= 1, seconds=8)
        await live(watched)
        equal = 0
        for _ in range(6):
            equal += await compare(session, watched, bases)
        assert equal >= 12
        for view in watched.values():
            assert view.feeder.counts.not_understood == 0
            assert view.feeder.codec.counters["malformed"] == 0
            assert abs(view.feeder.clock_watch.offset.offset_ns) < 100 * MS


async def test_tops_at_rest_are_the_venues_own(tmp_path):
    """A recording that ended: nothing moves, so matrix and bookTicker must agree."""
    names = ("binance_spot",)
    async with (
        feeding(tmp_path, names, speed=60.0, loop=False) as (server, watched, bases),
        aiohttp.ClientSession() as session,
    ):
        view = watched["binance_spot"]
        (twin,) = server.twins
        await asyncio.wait_for(twin.replay.finished.wait(), 100)
        await asyncio.sleep(0.2)
        await live(watched)
        assert await compare(session, watched, bases) == 2
        for i in view.seen:
            instrument = view.feeder.codec.instruments[i]
            url = f"{bases['binance_spot']}/api/v3/ticker/bookTicker?symbol={instrument.symbol}"
            async with session.get(url) as answer:
                said = msgspec.json.decode(await answer.read())
            assert view.top(i) == [
                instrument.price_ticks(Decimal(said["bidPrice"])),
                instrument.qty_lots(Decimal(said["bidQty"])),
                instrument.price_ticks(Decimal(said["askPrice"])),
                instrument.qty_lots(Decimal(said["askQty"])),
            ]


async def test_late_data_is_flagged_and_a_clock_that_is_set_is_found_out(tmp_path):
    names = ("binance_usdm",)
    options = msgspec.structs.replace(OPTIONS, stale_ns=1_000 * MS, clock_ns=60_000 * MS)
    async with (
        feeding(tmp_path, names, feeder=options) as (server, watched, bases),
        aiohttp.ClientSession() as session,
    ):
        view = watched["binance_usdm"]
        late = lambda: view.feeder.outlet.counters()["late"]  # noqa: E731
        measured = lambda: view.feeder.clock_watch.offset  # noqa: E731
        stale = lambda: all(view.flags(i) & STALE for i in view.seen)  # noqa: E731
        await live(watched)
        await until(lambda: measured().error_ns < 250 * MS, seconds=30)
        assert late() == 0
        slow = {"kind": "slow", "target": "market", "duration_ms": 2_500, "delay_ms": 1_800}
        await fault(session, bases["binance_usdm"], **slow)
        await until(lambda: late() > 5, seconds=8)
        assert stale()
        await live(watched)
        (twin,) = server.twins
        twin.skew_ms = -5_000
        await until(lambda: abs(measured().offset_ns + 5_000 * MS) < 250 * MS, seconds=30)
        await live(watched)
        twin.skew_ms = 5_000
        await until(lambda: abs(measured().offset_ns - 5_000 * MS) < 250 * MS, seconds=30)
        await live(watched)
        assert view.feeder.clock_watch.venue.steps == 2


def test_addresses_of_a_twin_need_no_environment():
    section = VenueConfig(symbols=SYMBOLS, http="http://127.0.0.1:1", market="ws://127.0.0.1:1")
    assert endpoints_of(find("venues", "binance_spot")(), section) == Endpoints(
        http="http://127.0.0.1:1", market="ws://127.0.0.1:1", private=""
    )
