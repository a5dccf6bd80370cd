"""The system's calls, compiled and as their twins: the same answers, no wait, no crash."""

import errno
import os
import socket
import time

import numpy as np
import pytest

from alephtx.core import syscalls
from alephtx.core.errors import ConfigError
from alephtx.core.kernel import kernel
from alephtx.core.syscalls import (
    nap,
    poll,
    realtime_ns,
    recv,
    recv_stamped,
    send,
    stamp_of,
    write_word,
)

pytestmark = pytest.mark.kernel


@kernel
def receive(fd, address, size):
    return recv(fd, address, size)


@kernel
def transmit(fd, address, size):
    return send(fd, address, size)


@kernel
def ring_bell(fd, value):
    return write_word(fd, value)


@kernel
def wall():
    return realtime_ns()


@kernel
def doze(duration_ns):
    nap(duration_ns)
    return 1


@kernel
def wait_for(address, count, timeout_ms):
    return poll(address, count, timeout_ms)


def test_nap_lasts_as_long_as_it_says_at_the_least():
    assert doze(0) == 1
    begun = time.monotonic_ns()
    assert doze(3_000_000) == 1
    assert time.monotonic_ns() - begun >= 3_000_000


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    yield left, right
    left.close()
    right.close()


def room(size=64):
    memory = np.zeros(size, np.uint8)
    return memory, memory.ctypes.data


def test_recv_says_bytes_then_try_later_then_the_end(pair):
    left, right = pair
    memory, address = room()
    assert receive(left.fileno(), address, 64) == syscalls.AGAIN
    right.send(b"hello")
    assert receive(left.fileno(), address, 3) == 3
    assert receive(left.fileno(), address + 3, 60) == 2
    assert memory[:6].tobytes() == b"hello\0"
    right.close()
    assert receive(left.fileno(), address, 64) == 0


def test_send_takes_what_fits_and_then_says_try_later(pair):
    left, _ = pair
    left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    _memory, address = room(1 << 20)
    taken = transmit(left.fileno(), address, 1 << 20)
    while taken > 0:
        taken = transmit(left.fileno(), address, 1 << 20)
    assert taken == syscalls.AGAIN


def test_send_to_nobody_is_an_errno_and_no_signal(pair):
    left, right = pair
    _, address = room()
    right.close()
    assert transmit(left.fileno(), address, 8) == -errno.EPIPE


def test_bad_descriptor_is_an_errno():
    _, address = room()
    assert receive(-1, address, 8) == -errno.EBADF
    assert transmit(-1, address, 8) == -errno.EBADF
    assert ring_bell(-1, 1) == -errno.EBADF


def test_word_written_wakes_an_eventfd():
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        assert ring_bell(fd, 3) == 8
        assert ring_bell(fd, 4) == 8
        assert os.eventfd_read(fd) == 7
        assert ring_bell(fd, (1 << 63) - 1) == 8
        assert ring_bell(fd, (1 << 63) - 1) == 8
        assert ring_bell(fd, 5) == syscalls.AGAIN
    finally:
        os.close(fd)


def test_wall_clock_is_the_one_of_the_kernel():
    times = [time.time_ns(), wall(), time.time_ns(), wall()]
    assert times == sorted(times)


def test_stamp_is_the_kernels_and_lies_between_send_and_read():
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
    client.setsockopt(socket.SOL_SOCKET, syscalls.SO_TIMESTAMPNS, 1)
    _memory, address = room()
    block = np.zeros(syscalls.STAMP_WORDS, np.int64)
    assert recv_stamped(client.fileno(), address, 64, block.ctypes.data) == syscalls.AGAIN
    assert stamp_of(block.ctypes.data) == 0
    for _ in range(20):  # the kernel begins to stamp some moments after it was asked
        before = time.time_ns()
        peer.send(b"tick")
        while (got := recv_stamped(client.fileno(), address, 64, block.ctypes.data)) < 0:
            time.sleep(0.001)
        after = time.time_ns()
        stamp = stamp_of(block.ctypes.data)
        if stamp:
            break
    assert got == 4
    assert before <= stamp <= after
    client.setsockopt(socket.SOL_SOCKET, syscalls.SO_TIMESTAMPNS, 0)
    peer.send(b"tock")
    while recv_stamped(client.fileno(), address, 64, block.ctypes.data) < 0:
        time.sleep(0.001)
    assert stamp_of(block.ctypes.data) == 0
    for one in (client, peer, server):
        one.close()


def test_missing_tls_library_names_the_way_out(monkeypatch):
    monkeypatch.setattr(syscalls, "_tls_library", lambda: None)
    with pytest.raises(ConfigError, match='use path = "split"'):
        syscalls.tls_library()
    syscalls._make_known()  # nothing to link with is no reason not to start
    monkeypatch.undo()
    syscalls._make_known()


def test_poll_sleeps_until_there_is_something_to_read_and_no_longer(pair):
    ours, theirs = pair
    words = np.array([ours.fileno() | syscalls.READABLE], np.int64)
    begun = time.monotonic()
    assert wait_for(words.ctypes.data, 1, 20) == 0
    assert time.monotonic() - begun >= 0.019
    theirs.send(b"x")
    assert wait_for(words.ctypes.data, 1, 10_000) == 1
    assert wait_for(words.ctypes.data, 0, 1) == 0
    assert time.monotonic() - begun < 5
