"""A WebSocket served by a compiled loop, against servers that behave and servers that do not."""

import asyncio
import os
import random
import socket
import struct

import aiohttp
import pytest
import uvloop
from aiohttp import web

from alephtx.core.errors import TransportError
from alephtx.core.ports import Link
from alephtx.net import link_words as w
from alephtx.net import loop_link
from alephtx.net.backoff import Backoff
from alephtx.net.loop_link import connect_loop
from alephtx.net.session import LinkRunner
from alephtx.net.wake import Wake
from alephtx.net.websocket import ABNORMAL, Closed
from tests.net.links import BROKEN
from tests.net.pump import CLOCK, Got, Pump, descriptors, opened
from tests.net.servers import frame, raw_server, until

SECOND = 1_000_000_000


@pytest.mark.kernel
async def test_messages_arrive_whole_and_stamped_by_the_kernel():
    async def serve(peer):
        await peer.send(frame(b"one"), frame(b"two", 2), frame(b"x" * 70_000))
        assert await peer.receive() == (1, b"hello")
        await peer.send(frame(b"last"))
        await peer.receive()

    got = Got()
    async with raw_server(serve) as base, Pump() as pump:
        before = CLOCK.now()
        link = await opened(pump, base, got)
        link.send(b"hello")
        await until(lambda: len(got) == 4)
        assert got.payloads == [b"one", b"two", b"x" * 70_000, b"last"]
        assert all(before <= ts <= CLOCK.now() for _, ts in got)
        assert (link.messages, link.bytes_in) == (4, 70_010)
        assert before - CLOCK.offset_ns <= link.last_ns <= CLOCK.monotonic()
        assert link._words[w.MSG_STAMPED] == 1
        assert not link.is_closed
        closed = await link.close()
        assert (closed, link.is_closed) == (Closed(1000, "", by_peer=False), True)


async def test_what_comes_with_the_handshake_is_not_lost():
    """The answer's head and two frames in one write: the frames are the loop's."""

    async def serve(peer):
        head = peer.writer.transport
        assert head.get_write_buffer_size() == 0
        await peer.send(frame(b"early"), frame(b"half")[:3])
        await asyncio.sleep(0.05)
        await peer.send(frame(b"half")[3:])
        await peer.receive()

    got = Got()
    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, got)
        await until(lambda: len(got) == 2)
        assert got.payloads == [b"early", b"half"]
        await link.close()


async def test_fragments_are_joined_and_pings_answered():
    async def serve(peer):
        await peer.send(
            frame(b"a", fin=False), frame(b"p", 9), frame(b"b", 0, fin=False), frame(b"c", 0)
        )
        assert await peer.receive() == (10, b"p")
        assert await peer.receive() == (9, b"ours")
        await peer.send(frame(b"done"))
        await peer.receive()

    got = Got()
    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, got)
        await until(lambda: got)
        link.ping(b"ours")
        await until(lambda: len(got) == 2)
        assert got.payloads == [b"abc", b"done"]


@pytest.mark.parametrize(("data", "rule"), BROKEN)
async def test_broken_rule_closes_with_1002(data, rule):
    seen = []

    async def serve(peer):
        await peer.send(frame(b"fine"), data)
        seen.append(await peer.receive())

    got = Got()
    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, got)
        closed = await asyncio.wait_for(link.wait_closed(), 5)
        assert closed == Closed(1002, w.RULES[rule], by_peer=False)
        await until(lambda: seen)
        assert seen == [(8, struct.pack(">H", 1002))]
        assert got.payloads == [b"fine"]


@pytest.mark.parametrize(
    "frames",
    [
        [frame(b"z" * 100, fin=False), frame(b"z" * 100, 0)],
        [b"\x81\x7f" + struct.pack(">Q", 1 << 40)],
        [frame(b"z" * 151)],
    ],
)
async def test_message_above_the_bound_closes_with_1009(frames):
    seen = []

    async def serve(peer):
        await peer.send(*frames)
        seen.append(await peer.receive())

    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, Got(), message_max=150)
        closed = await asyncio.wait_for(link.wait_closed(), 5)
        assert closed == Closed(1009, "a message above 150 bytes", by_peer=False)
        await until(lambda: seen)
        assert seen == [(8, struct.pack(">H", 1009))]


async def test_close_code_and_reason_of_the_server_are_kept_and_answered():
    answers = []

    async def serve(peer):
        await peer.send(frame(b"bye"), frame(struct.pack(">H", 4001) + b"kicked", 8))
        answers.append(await peer.receive())

    got = Got()
    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, got)
        assert await link.wait_closed() == Closed(4001, "kicked", by_peer=True)
        assert got.payloads == [b"bye"], "what came before the end is delivered before it"
        await until(lambda: answers)
        assert answers == [(8, struct.pack(">H", 1000))]
        with pytest.raises(TransportError) as caught:
            link.send(b"late")
        assert not caught.value.sent


async def test_our_close_is_said_and_the_peers_answer_is_the_end():
    async def serve(peer):
        said = await peer.receive()
        await peer.send(frame(said[1], said[0]))

    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, Got())
        await until(lambda: loop_link._state(link.address) == w.LIVE)
        assert await link.close(1001) == Closed(1001, "", by_peer=True)
        assert await link.close() == Closed(1001, "", by_peer=True)


async def test_close_of_a_deaf_server_is_bounded():
    async def serve(peer):
        await asyncio.sleep(30)

    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, Got())
        await until(lambda: loop_link._state(link.address) == w.LIVE)
        closed = await asyncio.wait_for(link.close(timeout_ns=SECOND // 10), 5)
        assert closed == Closed(1000, "", by_peer=False)


async def test_link_that_no_loop_has_seen_is_closed_with_a_goodbye():
    seen = []

    async def serve(peer):
        seen.append(await peer.receive())

    wake = Wake()
    async with raw_server(serve) as base:
        link = await connect_loop(base, Got(), clock=CLOCK, wake=wake)
        assert await asyncio.wait_for(link.close(1001), 5) == Closed(1001, "", by_peer=False)
        await until(lambda: seen)
        assert seen == [(8, struct.pack(">H", 1001))]
    wake.close()


async def test_cuts_are_1006():
    async def cut(peer):
        await peer.send(frame(b"x"))
        peer.writer.transport.abort()

    async def half_close(peer):
        await peer.send(frame(b"x"), b"\x81\x05hal")
        peer.writer.write_eof()
        await peer.reader.read()

    for serve in (cut, half_close):
        async with raw_server(serve) as base, Pump() as pump:
            link = await opened(pump, base, Got())
            closed = await asyncio.wait_for(link.wait_closed(), 5)
            assert (closed.code, closed.by_peer) == (ABNORMAL, True)


async def test_abort_is_quick_and_ours():
    async def serve(peer):
        await peer.receive()

    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, Got())
        await until(lambda: loop_link._state(link.address) == w.LIVE)
        link.abort()
        assert link.is_closed
        closed = await asyncio.wait_for(link.wait_closed(), 5)
        assert closed == Closed(ABNORMAL, "the connection was cut", by_peer=False)


async def test_loop_that_does_not_answer_costs_no_wait_and_no_crash(monkeypatch):
    monkeypatch.setattr(loop_link, "ASK_S", 0.05)

    async def serve(peer):
        await peer.receive()

    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, Got())
        await until(lambda: loop_link._state(link.address) == w.LIVE)
        pump.stop_asked = True
        pump.thread.join()
        link._words[w.STATE] = w.LIVE  # as if the thread hung
        link._finishing = None
        link.abort()
        closed = await asyncio.wait_for(link.wait_closed(), 5)
        assert closed == Closed(ABNORMAL, "its loop did not give it back", by_peer=False)
        assert link in loop_link._held, "the loop may still touch it"
        link.take()
        await asyncio.wait_for(link._released, 5)
        assert link not in loop_link._held


async def test_error_in_the_callback_closes_and_is_raised():
    def broken(payload, ts_recv):
        raise RuntimeError("bug")

    async def serve(peer):
        await peer.send(frame(b"x"), frame(b"y"))
        await peer.receive()

    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, broken)
        with pytest.raises(RuntimeError, match="bug"):
            await asyncio.wait_for(link.wait_closed(), 5)


async def test_send_queue_is_bounded_where_the_peer_does_not_read():
    async def serve(peer):
        peer.writer.transport.pause_reading()
        await asyncio.sleep(30)

    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, Got())

        async def flood():
            for _ in range(4000):
                link.send(b"y" * (1 << 13))
                await asyncio.sleep(0)

        with pytest.raises(TransportError, match="wait to be sent") as caught:
            await flood()
        assert not caught.value.sent
        with pytest.raises(TransportError, match="sends at most"):
            link.send(b"y" * (1 << 20))
        link.abort()
        await link.wait_closed()


async def test_frames_through_a_narrow_slow_pipe_arrive_in_order():
    """A tiny buffer and frames larger than it: partial writes, nothing lost and nothing torn."""
    sent = [b"%d:" % n * (n * 37 % 4000) for n in range(150)]
    got = []

    async def serve(peer):
        while len(got) < len(sent):
            got.append((await peer.receive())[1])
            if len(got) % 50 == 0:
                await asyncio.sleep(0.01)

    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, Got())
        link._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        for payload in sent:
            while True:
                try:
                    link.send(payload)
                    break
                except TransportError:
                    await asyncio.sleep(0.001)
        await until(lambda: len(got) == len(sent), 60)
        assert got == sent


async def test_burst_larger_than_every_buffer_arrives_whole():
    """Ten megabytes while the main thread sleeps: the loop waits, the peer waits, all comes."""
    sent = [os.urandom(1000) * (1 + n % 60) for n in range(340)]

    async def serve(peer):
        for payload in sent:
            await peer.send(frame(payload))
        await peer.receive()

    got = Got()
    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, got, message_max=1 << 16)
        await until(lambda: len(got) == len(sent), 60)
        assert got.payloads == sent
        await link.close()


async def test_ten_megabytes_of_garbage_end_with_a_code():
    garbage = random.Random(7).randbytes(10 << 20)

    async def serve(peer):
        await peer.send(b"\x81\xfe" + garbage)

    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, Got())
        assert (await asyncio.wait_for(link.wait_closed(), 5)).code == 1002


async def test_paused_reading_delivers_nothing_until_resumed():
    release = asyncio.Event()

    async def serve(peer):
        await release.wait()
        await peer.send(frame(b"x"))
        await peer.receive()

    got = Got()
    async with raw_server(serve) as base, Pump() as pump:
        link = await opened(pump, base, got)
        link.pause_reading()
        release.set()
        await asyncio.sleep(0.05)
        assert not got
        link.resume_reading()
        await until(lambda: got)


async def test_loop_that_ends_says_goodbye_to_everybody():
    seen = []

    async def serve(peer):
        seen.append(await peer.receive())

    async with raw_server(serve) as base:
        async with Pump() as pump:
            links = [await opened(pump, base, Got()) for _ in range(3)]
            await until(lambda: all(loop_link._state(k.address) == w.LIVE for k in links))
        await until(lambda: len(seen) == 3)
        assert {await link.wait_closed() for link in links} == {
            Closed(ABNORMAL, "the loop ended", by_peer=False)
        }
        assert seen == [(8, struct.pack(">H", 1001))] * 3


async def test_nothing_is_left_behind():
    """Connections that ended in every way leave no descriptor, no task and no link."""

    async def serve(peer):
        await peer.send(frame(b"x"))
        said = await peer.receive()
        if said[1] == b"cut":
            peer.writer.transport.abort()
        elif said[1] == b"hostile":
            await peer.send(b"\xff\xff")

    async def scene(base):
        async with Pump() as pump:
            for order in (b"cut", b"hostile", b"answer", b""):
                got = Got()
                link = await opened(pump, base, got)
                await until(lambda got=got: got)
                if order:
                    link.send(order)
                    await link.wait_closed()
                else:
                    link.abort()
                await asyncio.wait_for(link._released, 5)
        with pytest.raises(TransportError):
            await connect_loop("ws://127.0.0.1:1", Got(), clock=CLOCK, wake=pump.wake)

    async with raw_server(serve) as base:
        await scene(base)
        await asyncio.sleep(0.05)
        before = descriptors()
        for _ in range(3):
            await scene(base)
        await until(lambda: descriptors() <= before)
        assert not loop_link._held
    assert len(asyncio.all_tasks()) == 1


# -- with others ---------------------------------------------------------------------------------


async def echo(request):
    """An independent server: aiohttp's, which checks what it reads."""
    ws = web.WebSocketResponse(autoping=True)
    await ws.prepare(request)
    await ws.ping(b"are you there")
    async for message in ws:
        if message.type is aiohttp.WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


async def test_independent_server_echoes_every_length():
    app = web.Application()
    app.router.add_get("/ws", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    sizes = [0, 1, 7, 125, 126, 127, 1000, 65_535, 65_536, 100_000]
    got = Got()
    async with Pump() as pump:
        link = await opened(pump, f"ws://127.0.0.1:{port}", got, queue_max=1 << 20)
        for size in sizes:
            link.send(b"t" * size)
            link.send(os.urandom(size), binary=True)
        await until(lambda: len(got) == 2 * len(sizes))
        assert [len(payload) for payload in got.payloads] == [n for n in sizes for _ in "tb"]
        assert await link.close(1001) == Closed(1000, "", by_peer=True)
    await runner.cleanup()


async def test_link_runner_keeps_a_loops_link_as_it_does_any_other():
    seen, log = [], []

    async def serve(peer):
        seen.append([(await peer.receive())[1] for _ in range(2)])
        await peer.send(frame(b"data"), frame(struct.pack(">H", 1012) + b"restart", 8))

    async with raw_server(serve) as base, Pump() as pump:
        source = random.Random(1)
        runner = LinkRunner(
            Link(name="m", role="market", path="/ws", frames=(b"s1", b"s2"), frames_per_s=1000),
            base,
            on_frame=lambda payload, ts: log.append(("frame", payload)),
            on_up=lambda: log.append(("up",)),
            on_down=lambda reason: log.append(("down", reason)),
            clock=CLOCK,
            source=source,
            backoff=Backoff(source, base_ns=5_000_000, cap_ns=20_000_000),
            connect=pump.connect,
        )
        task = asyncio.create_task(runner.run())
        await until(lambda: runner.counts.connects >= 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert seen[0] == [b"s1", b"s2"] == seen[1]
        assert [entry[0] for entry in log][:6] == ["up", "frame", "down"] * 2
        assert log[2] == ("down", "the venue closed: 1012 restart")


def test_link_works_on_uvloop():
    async def serve(peer):
        await peer.send(frame(b"a", fin=False), frame(b"b", 0))
        await peer.receive()

    async def scene():
        got = Got()
        async with raw_server(serve) as base, Pump() as pump:
            link = await opened(pump, base, got)
            await until(lambda: got)
            await link.close()
        return got.payloads

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scene()) == [b"ab"]
