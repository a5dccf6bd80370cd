"""Frames out: what a naive parser reads is what was sent, whatever the socket takes at a time."""

import ctypes
import errno
import socket
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.kernel import kernel
from alephtx.net import link_words as w
from alephtx.net.frames import link_poll
from alephtx.net.link_words import LinkMemory
from alephtx.net.sending import (
    GONE,
    NO_ROOM,
    REFUSED,
    SENT,
    link_flush,
    link_send,
    link_serve,
    mask_bytes,
    next_key,
    say_close,
)
from tests.net.links import Bench, unmasked

pytestmark = pytest.mark.kernel


def sent(bench, payload, opcode=1):
    held = ctypes.create_string_buffer(payload, max(1, len(payload)))
    return link_send(bench.address, ctypes.addressof(held), len(payload), opcode)


@given(st.binary(max_size=300), st.integers(0, (1 << 32) - 1), st.integers(0, 7))
def test_mask_is_the_xor_of_the_rfc(payload, key, shift):
    source, target = np.zeros(512, np.uint8), np.zeros(512, np.uint8)
    source[shift : shift + len(payload)] = np.frombuffer(payload, np.uint8)
    mask_bytes(target.ctypes.data + 3, source.ctypes.data + shift, len(payload), key)
    four = struct.pack("<I", key)
    expected = bytes(b ^ four[i % 4] for i, b in enumerate(payload))
    assert target[3 : 3 + len(payload)].tobytes() == expected
    assert not target[:3].any()
    assert not target[3 + len(payload) :].any()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 4000, 65535, 65536])
def test_frame_of_any_length_is_read_back(size):
    with Bench(backlog_max=1 << 17) as bench:
        link_poll(bench.address)
        payload = bytes(n * 7 & 0xFF for n in range(size))
        bench.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        assert sent(bench, payload, 2) == SENT
        assert link_flush(bench.address) == 0
        assert bench.received() == [(2, payload)]
        assert bench.words[w.FRAMES_OUT] == 1
        assert bench.words[w.BYTES_OUT] == size + (6 if size < 126 else 8 if size < 65536 else 14)


@kernel
def keys(link, out, n):
    for k in range(n):
        out[k] = next_key(link)
    return 0


def test_keys_differ_and_are_those_of_the_published_generator():
    with Bench() as bench:
        x, y, z, last = (int(bench.words[w.KEY + k]) for k in range(4))
        out = np.zeros(1000, np.int64)
        keys(bench.address, out, 1000)
        for key in out.tolist():
            t = (x ^ x << 11) & 0xFFFFFFFF
            x, y, z = y, z, last
            last = last ^ last >> 19 ^ t ^ t >> 8
            assert key == last
        assert len(set(out.tolist())) == 1000
    seeds = [LinkMemory(message_max=1, backlog_max=1).words[w.KEY : w.KEY + 4] for _ in "ab"]
    assert seeds[0].tolist() != seeds[1].tolist()


def test_partial_writes_lose_and_reorder_nothing():
    with Bench(backlog_max=1 << 16) as bench:
        bench.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        link_poll(bench.address)
        bench.peer.setblocking(False)
        expected, data, refused = [], b"", 0
        for n in range(400):
            payload = b"%d " % n * (n % 200)
            while sent(bench, payload) == NO_ROOM:
                refused += 1
                data += bench.peer.recv(1500)
                link_flush(bench.address)
            expected.append((1, payload))
        while True:
            left = link_flush(bench.address)
            try:
                data += bench.peer.recv(1 << 16)
            except BlockingIOError:
                if left == 0:
                    break
        assert refused, "the socket never pushed back; nothing was tested"
        assert unmasked(data) == expected


def test_backlog_is_bounded_and_a_frame_above_it_refused():
    with Bench(backlog_max=1000) as bench:
        link_poll(bench.address)
        bench.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        assert sent(bench, b"x" * 993) == REFUSED
        count = 0
        while sent(bench, b"x" * 492) == SENT:
            count += 1
            assert count < 1000
        waiting = int(bench.words[w.TX_END] - bench.words[w.TX_AT])
        assert 500 < waiting <= 1000
        assert sent(bench, b"ping", 9) == SENT, "controls have a reserve"
        assert link_flush(bench.address) == waiting + 10


def test_what_python_queued_is_sent_in_order_and_stops_where_there_is_no_room():
    with Bench(backlog_max=1000) as bench:
        link_poll(bench.address)
        for n in range(3):
            bench.from_python.push(b"%d" % n, 1)
        bench.from_python.push(b"x" * 2000, 1)
        bench.from_python.push(b"hello", 9)
        assert link_serve(bench.address) == 5
        assert link_serve(bench.address) == 0
        assert bench.received() == [(1, b"0"), (1, b"1"), (1, b"2"), (9, b"hello")]
        bench.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        for _ in range(200):
            bench.from_python.push(b"y" * 500, 1)
        total = 0
        while link_serve(bench.address) > 0:
            pass
        assert len(bench.from_python) > 0
        for _ in range(1000):
            total += len(bench.received_bytes())
            link_flush(bench.address)
            link_serve(bench.address)
        assert total == 200 * 508


def test_nothing_follows_a_close_frame():
    with Bench() as bench:
        link_poll(bench.address)
        bench.from_python.push(struct.pack(">H", 1000), 8)
        bench.from_python.push(b"late", 1)
        assert link_serve(bench.address) == 2
        assert sent(bench, b"later") == REFUSED
        assert say_close(bench.address, 1001) == REFUSED
        assert bench.received() == [(8, b"\x03\xe8")]


def test_close_said_by_the_owner_of_a_parked_link():
    with Bench() as bench:
        bench.fed(b"\x83\x00")
        assert say_close(bench.address, 1002) == 0
        assert bench.received() == [(8, struct.pack(">H", 1002))]


def test_peer_that_is_gone_parks_the_link():
    with Bench() as bench:
        link_poll(bench.address)
        bench.peer.close()
        assert sent(bench, b"x") == GONE
        assert bench.parked() == (w.FAILED, 1006, errno.EPIPE)
        assert sent(bench, b"x") == link_flush(bench.address) == link_serve(bench.address) == GONE


def test_link_that_the_loop_has_not_taken_up_sends_nothing():
    with Bench() as bench:
        assert sent(bench, b"x") == link_flush(bench.address) == link_serve(bench.address) == GONE
        assert bench.received() == []
