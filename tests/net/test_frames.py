"""Frames in: a naive parser says what should come of any bytes, cut anywhere."""

import ctypes
import errno
import os
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.net import link_words as w
from alephtx.net.frames import NOTHING, link_hand, link_next, link_poll, link_round, link_rounds
from alephtx.net.sending import GONE, end_link
from tests.net.links import BROKEN, Bench, naive
from tests.net.servers import frame

pytestmark = pytest.mark.kernel

PAYLOADS = st.binary(max_size=300)
CONTROLS = st.builds(frame, st.binary(max_size=125), st.sampled_from((9, 10)))


@st.composite
def messages(draw):
    """One message in one or more frames, with control frames between its parts."""
    payload, opcode = draw(PAYLOADS), draw(st.sampled_from((1, 2)))
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
    bounds = [0, *cuts, len(payload)]
    data = b""
    for k in range(len(bounds) - 1):
        last = k == len(bounds) - 2
        data += frame(payload[bounds[k] : bounds[k + 1]], 0 if k else opcode, fin=last)
        if not last:
            data += draw(st.one_of(st.just(b""), CONTROLS))
    return data


STREAMS = st.lists(st.one_of(messages(), CONTROLS), max_size=6).map(b"".join)


@given(STREAMS, st.data())
def test_valid_stream_cut_anywhere_is_what_the_naive_parser_says(data, drawn):
    cuts = sorted(drawn.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    expected, pongs, _ = naive(data, 1 << 16)
    with Bench() as bench:
        assert bench.fed(data, cuts) == expected
        assert bench.received() == [(10, ping) for ping in pongs]
        assert bench.words[w.MESSAGES] == len(expected)
        assert bench.words[w.BYTES_IN] == sum(len(payload) for _, payload in expected)
        assert bench.parked() is None


def test_stream_cut_at_every_byte_is_the_same_stream():
    data = (
        frame(b"one") + frame(b"a" * 130, 2, fin=False) + frame(b"ping", 9) + frame(b"b" * 7, 0)
        + frame(b"") + frame(b"z" * 300)
    )  # fmt: skip
    expected = [(1, b"one"), (2, b"a" * 130 + b"b" * 7), (1, b""), (1, b"z" * 300)]
    with Bench() as bench:
        for cut in range(len(data)):
            assert bench.fed(data, [cut]) == expected
        assert bench.fed(data, range(1, len(data))) == expected


def overwritten(data, edits):
    changed = bytearray(data)
    for place, value in edits:
        if changed:
            changed[place % len(changed)] = value
    return bytes(changed)


EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=4)


@given(st.one_of(st.binary(max_size=400), st.builds(overwritten, STREAMS, EDITS)), st.data())
def test_any_bytes_cut_anywhere_end_as_the_naive_parser_says(data, drawn):
    cuts = sorted(drawn.draw(st.lists(st.integers(0, len(data)), max_size=4)))
    expected, pongs, why = naive(data, 500)
    with Bench(message_max=500) as bench:
        assert bench.fed(data, cuts) == expected
        parked = bench.parked()
        assert (parked[0] if parked else None) == why
        assert bench.received() == [(10, ping) for ping in pongs]


@pytest.mark.parametrize(("data", "rule"), BROKEN)
def test_rule_that_a_peer_breaks_is_named(data, rule):
    with Bench() as bench:
        assert bench.fed(frame(b"before") + data) == [(1, b"before")]
        assert bench.parked() == (w.PROTOCOL, 1002, rule)
        assert rule in w.RULES
        assert link_poll(bench.address) == link_next(bench.address) == GONE


@pytest.mark.parametrize(
    "data",
    [
        frame(b"z" * 501),
        frame(b"z" * 300, fin=False) + frame(b"z" * 201, 0),
        b"\x81\x7f" + struct.pack(">Q", 1 << 40),
        b"\x81\x7f" + struct.pack(">Q", (1 << 63) - 1),
        frame(b"z" * 300, fin=False) + b"\x80\x7f" + struct.pack(">Q", (1 << 63) - 1),
    ],
)
def test_message_above_the_bound_parks_before_it_is_read(data):
    with Bench(message_max=500) as bench:
        assert bench.fed(frame(b"z" * 500) + data) == [(1, b"z" * 500)]
        assert bench.parked()[:2] == (w.TOO_BIG, 1009)
        assert bench.parked()[2] > 500


def test_close_frame_gives_code_and_reason():
    with Bench() as bench:
        bench.fed(frame(struct.pack(">H", 4001) + b"kicked", 8) + frame(b"late"))
        assert bench.parked() == (w.BY_PEER, 4001, 8)
        at, size = int(bench.words[w.MSG_AT]), int(bench.words[w.MSG_SIZE])
        assert ctypes.string_at(at, size)[2:] == b"kicked"
        os.eventfd_read(bench.wake.fd)
    with Bench() as bench:
        bench.fed(frame(b"", 8))
        assert bench.parked() == (w.BY_PEER, 1005, 0)


def test_end_and_errors_of_the_socket_park():
    with Bench() as bench:
        bench.peer.sendall(frame(b"last") + b"\x81\x05hal")
        bench.peer.close()
        assert link_poll(bench.address) > 0
        assert bench.shown() == ([(1, b"last")], NOTHING)
        assert link_poll(bench.address) == GONE
        assert bench.parked() == (w.END, 1006, 0)
    with Bench() as bench:
        bench.words[w.FD] = -1
        assert link_poll(bench.address) == GONE
        assert bench.parked() == (w.FAILED, 1006, errno.EBADF)


def test_messages_that_came_before_the_end_are_shown_before_it():
    with Bench() as bench:
        bench.peer.sendall(frame(b"1") + frame(b"2"))
        bench.peer.close()
        link_poll(bench.address)
        assert link_next(bench.address) == 1
        assert link_poll(bench.address) > 0  # does not look whether the peer is still there
        assert bench.shown() == ([(1, b"2")], NOTHING)
        assert link_poll(bench.address) == GONE


def test_messages_as_large_as_allowed_pass_in_any_pieces():
    """The receive buffer is filled, moved down and filled again; joined parts move with it."""
    size = 40_000
    with Bench(message_max=size) as bench:
        whole, half = os.urandom(size), os.urandom(size // 2)
        data = frame(whole) + frame(half, fin=False) + frame(b"p" * 125, 9) + frame(half, 0)
        expected = [(1, whole), (1, half + half)]
        for step in (1000, 7919, 16384, 65536):
            cuts = range(step, 5 * len(data), step)
            assert bench.fed(data * 5, cuts) == expected * 5
        assert bench.parked() is None
        assert len(bench.received()) == 20


def test_buffer_filled_to_its_last_byte_is_read_no_further():
    """Behind it lies the guard page: a read past the end would end this process."""
    with Bench(message_max=10_000) as bench:
        assert bench.words[w.RX_SIZE] == 1 << 14
        data = (frame(b"q" * 1000) * 20)[: 1 << 14]
        bench.peer.sendall(data)
        link_poll(bench.address)
        while link_poll(bench.address) > 0 and bench.words[w.RX_END] < 1 << 14:
            bench.words[w.MORE] = 0
        found, _ = bench.shown()
        assert found == [(1, b"q" * 1000)] * ((1 << 14) // 1004)


def test_bytes_behind_the_handshake_are_there_when_the_loop_takes_the_link_up():
    with Bench() as bench:
        data = frame(b"early") + b"\x81"
        ctypes.memmove(int(bench.words[w.RX]), data, len(data))
        bench.words[w.RX_END] = len(data)
        assert link_poll(bench.address) == len(data)
        assert bench.shown()[0] == [(1, b"early")]
        assert bench.fed(b"\x04rest") == [(1, b"rest")]


def test_stamp_is_our_clock_when_it_was_read():
    with Bench() as bench:
        offset = int(bench.words[w.OFFSET])
        bench.fed(b"")
        before = time.monotonic_ns()
        bench.fed(frame(b"x"))
        after = time.monotonic_ns()
        assert before <= bench.words[w.MSG_TS] - offset <= after
        assert before <= bench.words[w.LAST_NS] <= after


def test_pings_whose_answers_nobody_reads_park_the_link():
    with Bench(backlog_max=100) as bench:
        bench.ours.setsockopt(1, 7, 1)  # SOL_SOCKET, SO_SNDBUF: the least there is
        pings = frame(b"p" * 125, 9) * 100
        for _ in range(100):
            bench.fed(pings)
            if bench.parked():
                break
        assert bench.parked() == (w.FLOOD, 1006, 0)


def test_message_that_python_has_no_room_for_is_held_and_in_order():
    with Bench(ring=1 << 10, message_max=400) as bench:
        sent = [b"%03d" % n * 100 for n in range(9)]
        bench.peer.sendall(b"".join(map(frame, sent)))
        got = []
        for _ in range(40):
            link_round(bench.address, 64)
            if bench.words[w.HELD]:
                assert link_poll(bench.address) == 0
                assert link_next(bench.address) == NOTHING
            while (record := bench.to_python.pop()) is not None:
                got.append(record)
        assert [payload for *_, payload in got] == sent
        assert {kind for kind, *_ in got} == {1}
        assert all(ts > 1_600_000_000_000_000_000 for _, ts, _, _ in got)


def test_main_thread_is_woken_once_however_much_there_is():
    with Bench() as bench:
        bench.fed(b"")
        bench.peer.sendall(frame(b"a") * 5)
        link_round(bench.address, 64)
        assert os.eventfd_read(bench.wake.fd) == 1
        bench.wake.taken()
        link_round(bench.address, 64)
        with pytest.raises(BlockingIOError):
            os.eventfd_read(bench.wake.fd)
        bench.peer.sendall(frame(b"b"))
        link_round(bench.address, 64)
        assert os.eventfd_read(bench.wake.fd) == 1


def test_paused_link_reads_nothing_until_it_may():
    with Bench() as bench:
        bench.fed(b"")
        bench.words[w.PAUSED] = 1
        bench.peer.sendall(frame(b"x"))
        assert link_poll(bench.address) == 0
        bench.words[w.PAUSED] = 0
        assert link_poll(bench.address) == 3
        assert bench.shown()[0] == [(1, b"x")]


def test_link_asked_for_is_given_back_and_left_alone():
    with Bench() as bench:
        bench.fed(frame(b"x"))
        bench.words[w.STATE] = w.ASKED
        assert link_next(bench.address) == GONE
        assert link_poll(bench.address) == GONE
        assert bench.parked() == (w.BY_US, 1006, 0)
        bench.words[w.REASON] = 0
        assert link_poll(bench.address) == link_next(bench.address) == GONE
        assert link_round(bench.address, 1) == 0
        assert bench.words[w.REASON] == 0


def test_loop_that_ends_gives_every_link_back():
    with Bench() as seen, Bench() as unseen:
        seen.fed(b"")
        assert link_poll(seen.address) == 0
        links = [seen.address, 0, unseen.address]
        table = (ctypes.c_int64 * 3)(*links)
        end_link(seen.address)
        end_link(unseen.address)
        assert seen.parked() == (w.LOOP_ENDED, 1006, 0)
        assert unseen.words[w.STATE] == w.NEW
        assert link_rounds(ctypes.addressof(table), 3, 2) == 0
        assert unseen.words[w.STATE] == w.LIVE


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(1, 5))
def test_rounds_hand_all_messages_of_all_links_to_python(count, links):
    benches = [Bench() for _ in range(links)]
    try:
        table = (ctypes.c_int64 * links)(*(bench.address for bench in benches))
        for k, bench in enumerate(benches):
            bench.peer.sendall(b"".join(frame(b"%d %d" % (k, n)) for n in range(count)))
        link_rounds(ctypes.addressof(table), links, 4)
        for k, bench in enumerate(benches):
            got = [bench.to_python.pop()[3] for _ in range(count)]
            assert got == [b"%d %d" % (k, n) for n in range(count)]
            assert bench.to_python.pop() is None
    finally:
        for bench in benches:
            bench.__exit__()


def test_hand_shows_kind_stamp_and_payload():
    with Bench() as bench:
        bench.fed(b"")
        bench.peer.sendall(frame(b"bin", 2))
        link_poll(bench.address)
        assert link_next(bench.address) == 3
        assert link_hand(bench.address) == 1
        ts = int(bench.words[w.MSG_TS])
        assert bench.to_python.pop() == (2, ts, 0, b"bin")
