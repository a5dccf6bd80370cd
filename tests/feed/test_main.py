"""The feeder as a process: started from a config, stopped by signals, killed, orphaned, misled."""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from alephtx.core.config_schema import VenueConfig
from alephtx.core.errors import ConfigError
from alephtx.core.histogram import latency_path, read_histogram, summary
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Endpoints, JoinRule, VenueSpec
from alephtx.core.words import STALE
from alephtx.feed.endpoints import endpoints_of
from alephtx.feed.main import FAILED, OK, UNUSABLE
from alephtx.feed.record import read_recording
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.matrix.writers import find_writer, last_beat, venue_epoch
from tests.feed.scene import DEPTH, Scene
from tests.feed.toy_venue import ToyVenue, instrument
from tests.net.servers import until

ROOT = Path(__file__).parent.parent.parent
PLUGIN = """
from tests.feed.toy_venue import ToyCodec, spec
from alephtx.core.ports import JoinRule

class PLUGIN:
    spec = spec(JoinRule.SPOT)
    def request(self, what, now_ns): return []
    def parse_instruments(self, body, symbols): return []
    def bind(self, instruments, signer, account): return ToyCodec(JoinRule.SPOT, instruments)
"""
CHILD = """
import sys
from alephtx.core.config import load_config
from alephtx.feed.main import run_feeder
sys.exit(run_feeder(load_config(sys.argv[1]), *sys.argv[2:]))
"""
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
print(child.pid, flush=True)
time.sleep(60)
"""


class World(Scene):
    """The scene of a feeder in another process."""

    def __init__(self, folder, venue, matrix):
        super().__init__(venue, matrix, None)
        self.folder = folder
        self.config = folder / "config.toml"
        self.children = []

    def write_config(self, http, market):
        (self.folder / "plugins" / "venues").mkdir(parents=True)
        (self.folder / "plugins" / "venues" / "toy.py").write_text(PLUGIN)
        self.config.write_text(
            f'[node]\nplugins = "plugins"\n[risk]\nstale_ms = 60000\n[venues.toy]\n'
            f'symbols = ["AAA"]\nhttp = "{http}"\nmarket = "{market}"\nrecord = true\n'
        )

    def change_config(self, before, after):
        text = self.config.read_text()
        assert before in text
        self.config.write_text(text.replace(before, after))

    async def start(self, *arguments, code=CHILD):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, *map(str, arguments), env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.children.append(child)
        return child

    async def feed(self):
        return await self.start(self.config, "toy", self.matrix.path, self.folder / "run")


@asynccontextmanager
async def world_in(tmp_path):
    matrix = Matrix.create(
        tmp_path / "matrix",
        Instruments([instrument("AAA")]),
        Geometry(instruments_max=4, depth=DEPTH),
    )
    try:
        async with ToyVenue(JoinRule.SPOT, ["AAA"]) as venue:
            venue.change("AAA", [(99, 5)], [(101, 4)])
            world = World(tmp_path, venue, matrix)
            world.write_config(venue.endpoints.http, venue.endpoints.market)
            try:
                yield world
            finally:
                for child in world.children:
                    if child.returncode is None:
                        child.kill()
                    await child.communicate()
    finally:
        matrix.unlink()
        matrix.close()


async def live(world):
    await until(world.equal, seconds=40)


async def test_process_feeds_records_and_stops_cleanly(tmp_path):
    async with world_in(tmp_path) as world:
        child = await world.feed()
        await live(world)
        await world.venue.send(world.venue.change("AAA", [(98, 2)]))
        await live(world)
        writer = find_writer(world.matrix.map, "feeder:toy")
        assert last_beat(world.matrix.map, writer) > 0
        child.send_signal(signal.SIGTERM)
        _, said = await child.communicate()
        assert child.returncode == OK
        assert world.flags() & STALE
        assert b"feeder_stopped" in said
        assert b"Traceback" not in said
    assert summary(read_histogram(latency_path(tmp_path / "run", "toy")))["count"] >= 1
    rows = [row for path in (tmp_path / "run/recordings").iterdir() for row in read_recording(path)]
    assert any(b'"d": "AAA"' in frame for _, frame in rows)
    assert any(b'"id": 101' in frame for _, frame in rows)


async def test_killed_process_is_followed_by_one_of_a_higher_epoch(tmp_path):
    async with world_in(tmp_path) as world:
        first = await world.feed()
        await live(world)
        before = venue_epoch(world.matrix.map, 0)
        first.kill()
        await first.wait()
        await world.feed()
        await until(lambda: venue_epoch(world.matrix.map, 0) == before + 1, seconds=40)
        await live(world)


async def test_second_feeder_of_a_venue_is_refused_in_one_line_and_harms_nothing(tmp_path):
    async with world_in(tmp_path) as world:
        first = await world.feed()
        await live(world)
        shown = latency_path(tmp_path / "run", "toy")
        counted = summary(read_histogram(shown))["count"]
        second = await world.feed()
        out, said = await second.communicate()
        assert (second.returncode, out, said.count(b"\n")) == (FAILED, b"", 1)
        assert b"toy already has a living feeder" in said
        await world.venue.send(world.venue.change("AAA", [(98, 2)]))
        await live(world)
        assert first.returncode is None
        assert summary(read_histogram(shown))["count"] > counted
        assert [path.name for path in shown.parent.iterdir()] == [shown.name]


async def test_orphan_ends_itself(tmp_path):
    async with world_in(tmp_path) as world:
        parent = await world.start(
            CHILD, world.config, "toy", world.matrix.path, world.folder / "run", code=PARENT
        )
        orphan = int(await parent.stdout.readline())
        await live(world)
        parent.kill()
        await until(lambda: ended(orphan), seconds=10)
        assert world.flags() & STALE


def ended(pid):
    """Tell whether a process is over, whoever has to take note of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("wait", ['wait = "spin"', 'feeder_wait = "sleep"'])
async def test_venue_without_a_scanner_is_fed_by_asyncio_whatever_waits(tmp_path, wait):
    async with world_in(tmp_path) as world:
        world.change_config("[node]\n", f"[node]\n{wait}\n")
        world.change_config("record = true", "record = false")
        child = await world.feed()
        await live(world)
        await world.venue.send(world.venue.change("AAA", [(98, 2)]))
        await until(lambda: world.levels() == world.expected())  # flagged: the toy's clock is off
        child.send_signal(signal.SIGTERM)
        _, said = await child.communicate()
        assert child.returncode == OK
        assert world.flags() & STALE
        assert b"thread_stopped" not in said
        assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("venue", "matrix", "code", "words"),
    [
        ("toy", "nowhere", FAILED, b"there is no matrix"),
        ("nope", "matrix", UNUSABLE, b"no [venues.nope]"),
    ],
)
async def test_errors_of_the_known_kinds_are_one_line(tmp_path, venue, matrix, code, words):
    async with world_in(tmp_path) as world:
        child = await world.start(world.config, venue, tmp_path / matrix)
        out, said = await child.communicate()
        assert child.returncode == code
        assert (out, said.count(b"\n")) == (b"", 1)
        assert words in said


def test_addresses_of_the_config_win_over_the_environments():
    class Venue:
        spec = VenueSpec(
            name="v", join=JoinRule.SPOT, buckets=(), signer="", transport="http",
            endpoints={"testnet": Endpoints(http="h", market="m", private="p", trade="t")},
        )  # fmt: skip

    section = VenueConfig(symbols=("A",), environment="testnet", market="mine")
    assert endpoints_of(Venue(), section) == Endpoints(
        http="h", market="mine", private="p", trade="t"
    )
    with pytest.raises(ConfigError, match="no addresses of its own"):
        endpoints_of(Venue(), VenueConfig(symbols=("A",), http="only"))
    twin = VenueConfig(symbols=("A",), http="h", market="m")
    assert endpoints_of(Venue(), twin) == Endpoints(http="h", market="m", private="", trade="")
