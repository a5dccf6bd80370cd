"""A feeder's process whose thread receives in compiled code, against the venues' twins.

The twins run here, the feeder in a process of its own, and what it writes is read from the matrix
as an engine reads it. Every book it showed is remembered by the venue's sequence; the twin is asked
for its own, and where the two name the same sequence they must be equal, level by level.
"""

import asyncio
import os
import re
import signal
import sys
from collections import OrderedDict
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import aiohttp
import msgspec
import numpy as np
import pytest

from alephtx.core.config_schema import VenueConfig
from alephtx.core.instruments import Instruments
from alephtx.core.plugins import find
from alephtx.core.ports import What
from alephtx.core.records import TOP_ROW
from alephtx.core.words import STALE
from alephtx.engine.warm import DIRECT, ensure_warm
from alephtx.feed.endpoints import endpoints_of
from alephtx.feed.main import BUG, OK
from alephtx.feed.record import read_recording
from alephtx.matrix import writers
from alephtx.matrix.layout import Geometry
from alephtx.matrix.levels import levels_read
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_read
from alephtx.net.http import HttpClient
from alephtx.twins.main import make_server
from alephtx.twins.options import TwinOptions
from tests.feed.test_main import CHILD, PARENT, ended
from tests.net.servers import until

pytestmark = pytest.mark.flow

ROOT = Path(__file__).parent.parent.parent
DEPTH = 20
USDM, HYPERLIQUID = "binance_usdm", "hyperliquid"
SYMBOLS = {USDM: ("BTCUSDT", "ETHUSDT"), HYPERLIQUID: ("BTC",)}
SPEED = {USDM: 2.0, HYPERLIQUID: 20.0}
BOOK_FRAME = {USDM: "depthUpdate", HYPERLIQUID: "l2Book"}
SPIN, SLEEP = 'wait = "spin"', 'feeder_wait = "sleep"'
BROKEN = """
from alephtx.feed.feeder import Feeder
def broken(self, i):
    raise RuntimeError("a fault of ours")
Feeder._restart = broken
"""
KEPT_BACK = """
import time
from alephtx.feed.spinner import Spinner
from alephtx.net.loop_link import LoopLink
async def close(self, *given, **named):
    pass
stop = Spinner.stop
def late(self):
    time.sleep(0.5)
    stop(self)
LoopLink.close, Spinner.stop = close, late
"""
KEPT = 5000


class World:
    """A venue's twin, a matrix, and the feeders that are started over them."""

    def __init__(self, folder, venue, matrix, base, session):
        self.folder, self.venue, self.matrix, self.base = folder, venue, matrix, base
        self.session = session
        self.config = folder / "config.toml"
        self.indices = range(len(matrix.instruments))
        self.seen = {i: OrderedDict() for i in self.indices}
        self.children = []
        self._levels = np.zeros((2, DEPTH, 2), np.int64)
        self._top = np.zeros(1, TOP_ROW)

    async def start(self, code, *more):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, *more, str(self.config), self.venue,
            str(self.matrix.path), str(self.folder / "run"),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.children.append(child)
        return child

    async def watch(self):
        """Remember what the matrix shows; messages come some ms after each other."""
        while True:
            for i in self.indices:
                seq = int(levels_read(self.matrix.map, i, self._levels))
                if seq > 0 and seq not in self.seen[i]:
                    self.seen[i][seq] = [
                        [tuple(map(int, level)) for level in side if level[1]]
                        for side in self._levels
                    ]
                    if len(self.seen[i]) > KEPT:
                        self.seen[i].popitem(last=False)
            await asyncio.sleep(0.001)

    def flags(self, i):
        assert top_read(self.matrix.map, i, self._top) == 0
        return int(self._top[0]["aux"]) & 0xFF

    async def live(self, seconds=40):
        await until(lambda: all(self.flags(i) == 0 for i in self.indices), seconds)

    def all_stale(self):
        return all(self.flags(i) & STALE for i in self.indices)

    def counter(self, word):
        writer = writers.find_writer(self.matrix.map, f"feeder:{self.venue}")
        return 0 if writer < 0 else int(writers.counters(self.matrix.map, writer)[word])

    async def truth(self, symbol):
        """Return (sequence, sides of (price, size) texts) of the twin's book."""
        if self.venue == HYPERLIQUID:
            asked = self.session.post(f"{self.base}/info", json={"type": "l2Book", "coin": symbol})
        else:
            asked = self.session.get(f"{self.base}/fapi/v1/depth?symbol={symbol}&limit={DEPTH}")
        async with asked as answer:
            book = msgspec.json.decode(await answer.read())
        if self.venue == HYPERLIQUID:
            sides = [[(row["px"], row["sz"]) for row in side] for side in book["levels"]]
            return book["time"], sides
        return book["lastUpdateId"], [book["bids"], book["asks"]]

    async def equal(self, wanted, seconds=10):
        """Wait until so many of the twin's books were found in the matrix, all of them equal."""
        loop = asyncio.get_running_loop()
        end, found = loop.time() + seconds, {i: set() for i in self.indices}
        while any(len(sequences) < wanted for sequences in found.values()):
            assert loop.time() < end, f"books found: {found}"
            for i in self.indices:
                instrument = self.matrix.instruments[i]
                seq, sides = await self.truth(instrument.symbol)
                await asyncio.sleep(0.03)  # what the twin has published arrives
                if (shown := self.seen[i].get(seq)) is None:
                    continue
                expected = [
                    [
                        (instrument.price_ticks(Decimal(p)), instrument.qty_lots(Decimal(q)))
                        for p, q in side[:DEPTH]
                    ]
                    for side in sides
                ]
                assert shown == expected, (instrument.key, seq)
                found[i].add(seq)

    async def fault(self, **body):
        async with self.session.post(f"{self.base}/_twin/fault", json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def cut(self):
        """Cut the links until one was lost that asyncio, which may be slow, knew to be open."""
        for _ in range(20):
            await self.fault(kind="disconnect")
            for _ in range(100):
                if self.counter(writers.RECONNECTS):
                    return
                await asyncio.sleep(0.02)
        raise AssertionError("no link was lost")

    async def end(self, child, *, seconds=6):
        """Have a feeder stop; return its log."""
        child.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(child.communicate(), seconds)
        assert child.returncode == OK, said.decode()
        assert b"Traceback" not in said, said.decode()
        assert self.all_stale()
        return said.decode()


@pytest.fixture(scope="module")
def compiled(warm):
    """Compile what a feeder's thread runs, too."""
    ensure_warm(lambda line: None, DIRECT)


@asynccontextmanager
async def world_of(tmp_path, venue, wait, *, record=False):
    server = make_server(TwinOptions(venues=(venue,), speed=SPEED[venue]))
    async with server, aiohttp.ClientSession() as session:
        where = f"127.0.0.1:{server.ports[venue]}"
        section = VenueConfig(
            symbols=SYMBOLS[venue], http=f"http://{where}", market=f"ws://{where}"
        )
        plugin = find("venues", venue)()
        table = Instruments()
        async with HttpClient(endpoints_of(plugin, section).http) as http:
            _, _, body = await http.fetch(plugin.request(What.INSTRUMENTS, 0)[0])
        for instrument in plugin.parse_instruments(body, SYMBOLS[venue]):
            table.add(instrument)
        matrix = Matrix.create(tmp_path / "matrix", table, Geometry(instruments_max=4, depth=DEPTH))
        world = World(tmp_path, venue, matrix, section.http, session)
        world.config.write_text(
            f"[node]\n{wait}\n[risk]\nstale_ms = 20000\n[venues.{venue}]\n"
            f"symbols = {list(SYMBOLS[venue])}\nrecord = {str(record).lower()}\n"
            f'http = "{section.http}"\nmarket = "{section.market}"\n'
        )
        watching = asyncio.create_task(world.watch())
        try:
            yield world
            server.check()
            assert not watching.done(), watching
        finally:
            watching.cancel()
            for child in world.children:
                if child.returncode is None:
                    child.kill()
                    await child.communicate()
            matrix.unlink()
            matrix.close()


def told(said, event):
    """Return the numbers of a log line."""
    (line,) = (line for line in said.splitlines() if f" {event} " in line)
    return {name: int(value) for name, value in re.findall(r"(\w+)=(-?\d+)\b", line)}


@pytest.mark.parametrize(
    ("venue", "wait"), [(USDM, SPIN), (HYPERLIQUID, SPIN), (USDM, SLEEP)], ids=str
)
async def test_books_that_a_thread_received_equal_the_twins_also_after_faults(
    compiled, tmp_path, venue, wait
):
    async with world_of(tmp_path, venue, wait) as world:
        child = await world.start(CHILD)
        await world.live()
        await world.equal(4)
        assert world.counter(writers.GAPS) == 0
        snapshots = world.counter(writers.RESYNCS)
        await world.fault(kind="gap", count=1, match=BOOK_FRAME[venue])
        if venue == USDM:
            await until(lambda: world.counter(writers.GAPS) >= 1)
            await until(lambda: world.counter(writers.RESYNCS) > snapshots)
        await world.live()
        await world.equal(2)
        await world.cut()
        await world.live()
        await world.equal(2)
        await until(lambda: world.counter(writers.FRAMES) > 100, seconds=20)
        frames = world.counter(writers.FRAMES)
        lost = world.counter(writers.GAPS) - (1 if venue == USDM else 0)
        assert lost == 0, "a message was lost between the two threads"
        said = await world.end(child)
    whole, thread = told(said, "feeder_stopped"), told(said, "thread_stopped")
    assert thread["messages"] > 50
    assert thread["declined"] < thread["messages"] / 2, "most of it was left to Python"
    assert whole["frames"] - thread["messages"] <= thread["declined"], "frames came past the thread"
    assert whole["not_understood"] == 0
    assert 100 < frames <= whole["frames"]


async def test_successor_of_a_killed_feeder_takes_over_and_ends_with_its_parent(compiled, tmp_path):
    async with world_of(tmp_path, USDM, SPIN) as world:
        first = await world.start(CHILD)
        await world.live()
        before = writers.venue_epoch(world.matrix.map, 0)
        first.kill()
        await first.wait()
        parent = await world.start(PARENT, CHILD)
        orphan = int(await parent.stdout.readline())
        await until(lambda: writers.venue_epoch(world.matrix.map, 0) == before + 1, seconds=40)
        await world.live()
        await world.equal(2)
        parent.kill()
        await until(lambda: ended(orphan), seconds=6)
        assert world.all_stale()


async def test_fault_of_ours_ends_the_process_instead_of_leaving_it_deaf(compiled, tmp_path):
    async with world_of(tmp_path, USDM, SPIN) as world:
        child = await world.start(BROKEN + CHILD)
        await world.live()
        await world.fault(kind="gap", count=1, match="depthUpdate")
        _, said = await asyncio.wait_for(child.communicate(), 10)
        assert child.returncode == BUG, said.decode()
        for words in (b"feeder_crashed", b"in attend", b"a fault of ours"):
            assert words in said, said.decode()
        assert world.all_stale(), said.decode()


async def test_link_that_the_thread_kept_brings_nothing_after_the_last_flag(compiled, tmp_path):
    async with world_of(tmp_path, HYPERLIQUID, SPIN) as world:
        child = await world.start(KEPT_BACK + CHILD)
        await world.live()
        await world.end(child)


async def test_what_is_recorded_is_received_by_asyncio(compiled, tmp_path):
    async with world_of(tmp_path, USDM, SPIN, record=True) as world:
        child = await world.start(CHILD)
        await world.live()
        await world.equal(2)
        said = await world.end(child)
    assert "thread_stopped" not in said
    rows = [row for path in (tmp_path / "run/recordings").iterdir() for row in read_recording(path)]
    assert told(said, "feeder_stopped")["frames"] <= len(rows)
    assert any(b"depthUpdate" in frame for _, frame in rows)
