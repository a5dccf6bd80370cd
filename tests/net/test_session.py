"""The link runner: what it survives, and what it tells."""

import asyncio
import random
import struct
from itertools import pairwise

import pytest

from alephtx.core.clock import MachineClock
from alephtx.core.errors import TransportError, VenueError
from alephtx.core.ports import Link
from alephtx.net.backoff import Backoff
from alephtx.net.session import LinkRunner
from tests.net.servers import frame, raw_server, until

CLOCK = MachineClock()
MS = 1_000_000


class Scene:
    """A runner with its callbacks recorded."""

    def __init__(self, base, make=None, **link):
        self.log = []
        fields = {"name": "m", "role": "market", "path": "/ws", "frames_per_s": 1000, **link}
        source = random.Random(1)
        self.runner = LinkRunner(
            make or Link(**fields),
            base,
            on_frame=lambda payload, ts: self.log.append(("frame", payload)),
            on_up=lambda: self.log.append(("up",)),
            on_down=lambda reason: self.log.append(("down", reason)),
            clock=CLOCK,
            source=source,
            backoff=Backoff(source, base_ns=5 * MS, cap_ns=20 * MS),
            connect_timeout_ns=300 * MS,
        )

    async def __aenter__(self):
        self.task = asyncio.create_task(self.runner.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def kinds(self):
        return [entry[0] for entry in self.log]


async def test_link_reconnects_and_subscribes_again_after_a_close():
    seen = []

    async def serve(peer):
        seen.append((peer.path, [(await peer.receive())[1] for _ in range(2)]))
        await peer.send(frame(b"data"), frame(struct.pack(">H", 1012) + b"restart", 8))

    async with raw_server(serve) as base, Scene(base, frames=(b"s1", b"s2")) as scene:
        await until(lambda: scene.runner.counts.connects >= 3)
        assert seen[0] == ("/ws", [b"s1", b"s2"]) == seen[1]
        assert scene.kinds()[:6] == ["up", "frame", "down"] * 2
        assert scene.log[2] == ("down", "the venue closed: 1012 restart")


async def test_silence_is_noticed_and_the_link_reopened():
    async def serve(peer):
        await peer.send(frame(b"x"))
        await asyncio.sleep(30)

    async with raw_server(serve) as base, Scene(base, stall_ns=60 * MS) as scene:
        await until(lambda: scene.runner.counts.stalls >= 2)
        assert ("down", "nothing came for 0.06 s") in scene.log


async def test_ping_frames_alone_keep_a_link_alive():
    async def serve(peer):
        for _ in range(20):
            await peer.send(frame(b"", 9))
            await asyncio.sleep(0.01)
        await asyncio.sleep(30)

    async with raw_server(serve) as base, Scene(base, stall_ns=80 * MS) as scene:
        await asyncio.sleep(0.18)
        assert scene.runner.counts.stalls == 0
        await until(lambda: scene.runner.counts.stalls == 1)


async def test_lifetime_ends_with_a_planned_reopening():
    async def serve(peer):
        await peer.receive()

    async with raw_server(serve) as base, Scene(base, lifetime_ns=60 * MS) as scene:
        await until(lambda: scene.runner.counts.connects >= 3)
        assert ("down", "its lifetime is over") in scene.log
        assert scene.runner.counts.failures == 0


async def test_text_ping_is_sent_when_due():
    pings = []

    async def serve(peer):
        while True:
            pings.append((await peer.receive())[1])

    async with (
        raw_server(serve) as base,
        Scene(base, ping=b'{"method":"ping"}', ping_every_ns=15 * MS) as scene,
    ):
        await until(lambda: len(pings) >= 3)
        assert set(pings) == {b'{"method":"ping"}'}
        assert scene.runner.counts.connects == 1


async def test_frames_are_paced():
    times = []

    async def serve(peer):
        while True:
            await peer.receive()
            times.append(asyncio.get_running_loop().time())

    frames = tuple(str(n).encode() for n in range(5))
    async with raw_server(serve) as base, Scene(base, frames=frames, frames_per_s=50) as scene:
        await until(lambda: len(times) == 5)
        scene.runner.queue(b"later")
        await until(lambda: len(times) == 6)
        gaps = [b - a for a, b in pairwise(times)]
        assert min(gaps) > 0.012
        assert sum(gaps) > 0.08


async def test_refused_connections_back_off_until_a_server_comes():
    async with raw_server(lambda peer: asyncio.sleep(0)) as base:
        port = int(base.rpartition(":")[2])
    async with Scene(base) as scene:
        await until(lambda: scene.runner.counts.failures >= 3)
        assert scene.kinds()[:3] == ["down", "down", "down"]
        with pytest.raises(TransportError) as caught:
            scene.runner.send(b"x")
        assert not caught.value.sent
        scene.runner.queue(b"lost")

        async def greet(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", port)
        await until(lambda: any("503" in entry[1] for entry in scene.log))
        server.close()
        await server.wait_closed()
        assert scene.runner.counts.unsent == 2


async def test_link_is_made_anew_for_every_connection():
    made = []

    async def make():
        made.append(len(made))
        if len(made) == 2:
            raise VenueError("login failed")
        return Link(name="p", role="private", path=f"/key{len(made)}")

    paths = []

    async def serve(peer):
        paths.append(peer.path)
        peer.writer.transport.abort()

    async with raw_server(serve) as base, Scene(base, make) as scene:
        await until(lambda: len(paths) >= 2)
        assert paths[:2] == ["/key1", "/key3"]
        assert ("down", "login failed") in scene.log


async def test_drop_reopens_and_send_passes_the_queue():
    got = []

    async def serve(peer):
        while True:
            got.append((await peer.receive())[1])

    async with raw_server(serve) as base, Scene(base) as scene:
        await until(lambda: scene.kinds() == ["up"])
        assert scene.runner.is_up
        scene.runner.send(b"order")
        await until(lambda: got == [b"order"])
        await asyncio.sleep(0.02)
        scene.runner.drop("the venue asked")
        await until(lambda: scene.runner.counts.connects == 2)
        assert scene.log[1] == ("down", "the venue asked")


async def test_cancel_says_goodbye_and_leaves_nothing():
    seen = []

    async def serve(peer):
        seen.append(await peer.receive())

    async with raw_server(serve) as base:
        async with Scene(base) as scene:
            await until(lambda: scene.kinds() == ["up"])
        assert scene.log[-1] == ("down", "cancelled")
        await until(lambda: seen)
    assert seen[0] == (8, struct.pack(">H", 1001))
    assert len(asyncio.all_tasks()) == 1


async def test_bug_in_a_callback_ends_the_runner():
    async def serve(peer):
        await peer.send(frame(b"x"))
        await peer.receive()

    async with raw_server(serve) as base:
        scene = Scene(base)
        scene.runner._on_frame = lambda payload, ts: 1 / 0
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(scene.runner.run(), 3)
