"""What of the yardstick and of the exchange must not cost Python's time: sockets, stamps, waiting.

Written apart from the product's own sockets on purpose: a yardstick that shares the code that it
measures would hide that code's faults. Functions of libc and libssl are declared by name.
"""

import ctypes

import numpy as np
from llvmlite import binding as llvm
from numba import njit, types

MSG_DONTWAIT = 0x40
MSG_NOSIGNAL = 0x4000
REALTIME = 0  # what kernels stamp packets by
DONE, TIMED_OUT, CLOSED = 0, 1, -1
T0, T1, HAVE = 0, 1, 2
"""Words of `out`: when the tick left, when the order was there, bytes in the buffer."""


def _load_libssl() -> bool:
    """Make libssl's functions known by name; without it the names stand for what is never called.

    The one that Python's own `ssl` uses: an SSLContext of the standard library belongs to it.
    """
    try:
        llvm.load_library_permanently("libssl.so.3")
    except RuntimeError:
        libc = ctypes.CDLL(None)
        nothing = ctypes.cast(libc.recv, ctypes.c_void_p).value
        for name in ("SSL_read", "SSL_write"):
            llvm.add_symbol(name, nothing)
        return False
    return True


HAS_TLS = _load_libssl()
_bytes = types.int64(types.int32, types.int64, types.int64, types.int32)
recv = types.ExternalFunction("recv", _bytes)
send = types.ExternalFunction("send", _bytes)
_secret = types.int32(types.int64, types.int64, types.int32)
ssl_read = types.ExternalFunction("SSL_read", _secret)
ssl_write = types.ExternalFunction("SSL_write", _secret)
poll = types.ExternalFunction("poll", types.int32(types.int64, types.int64, types.int32))
clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.int64))


@njit(nogil=True, cache=True)
def wall_ns(time, time_at):
    """Return the wall clock in ns. time: int64 (2,) scratch, and its address."""
    clock_gettime(REALTIME, time_at)
    return time[0] * 1_000_000_000 + time[1]


@njit(nogil=True, cache=True)
def take(fd, ssl, at, n):
    """Read what is there: bytes, 0 at the end of the stream, negative when nothing is there."""
    if ssl != 0:
        return np.int64(ssl_read(ssl, at, n))
    return recv(fd, at, n, MSG_DONTWAIT)


@njit(nogil=True, cache=True)
def give(fd, ssl, at, n):
    """Write n bytes, waiting for room; False when the peer is gone."""
    sent = 0
    for _ in range(10_000_000):
        if ssl != 0:
            m = np.int64(ssl_write(ssl, at + sent, n - sent))
        else:
            m = send(fd, at + sent, n - sent, MSG_NOSIGNAL)
        if m > 0:
            sent += m
        if sent == n:
            return True
    return False


@njit(nogil=True, cache=True)
def frame_size(buf, n):
    """Return how long the first WebSocket frame of n bytes is, 0 while its head is incomplete."""
    if n < 2:
        return 0
    length, head = np.int64(buf[1] & 0x7F), 2
    if length == 126:
        if n < 4:
            return 0
        length, head = np.int64(buf[2]) << 8 | np.int64(buf[3]), 4
    elif length == 127:
        if n < 10:
            return 0
        length, head = 0, 10
        for k in range(2, 10):
            length = length << 8 | np.int64(buf[k])
    if buf[1] & 0x80:
        head += 4
    return head + length


@njit(nogil=True, cache=True)
def send_tick(fd, ssl, at, n, start_ns, out, time, time_at):
    """Wait for the time, stamp, send. Returns DONE or CLOSED."""
    while wall_ns(time, time_at) < start_ns:
        pass
    out[T0] = wall_ns(time, time_at)
    return DONE if give(fd, ssl, at, n) else CLOSED


@njit(nogil=True, cache=True)
def send_and_sleep(fd, at, n, polled, polled_n, timeout_ms, out, time, time_at):
    """Stamp, send, and sleep until one of the polled sockets has something; as `send_tick`.

    At once, without a word of Python between: who waits for this core has it. polled: the address
    of pollfd rows.
    """
    out[T0] = wall_ns(time, time_at)
    if not give(fd, 0, at, n):
        return CLOSED
    poll(polled, polled_n, timeout_ms)
    return DONE


@njit(nogil=True, cache=True)
def await_frame(fd, ssl, buf, buf_at, timeout_ns, out, time, time_at):
    """Poll until the buffer holds a whole frame, and stamp that moment.

    out[HAVE]: bytes that are in the buffer, before and after. Returns DONE, TIMED_OUT or CLOSED.
    """
    begun = wall_ns(time, time_at)
    have = out[HAVE]
    while True:
        size = frame_size(buf, have)
        if size != 0 and size <= have:
            return DONE
        n = take(fd, ssl, buf_at + have, buf.size - have)
        now = wall_ns(time, time_at)
        if n > 0:
            have += n
            out[T1] = now
            out[HAVE] = have
        elif n == 0 and ssl == 0:
            return CLOSED
        elif now - begun > timeout_ns:
            return TIMED_OUT


@njit(nogil=True, cache=True)
def echo(market_fd, market_ssl, trade_fd, trade_ssl, buf, buf_at, frame_at, frame_n):
    """Answer whatever comes on one socket by the same frame on another, until the peer goes.

    Does nothing else: no look at what came. The yardstick of a path that does all it must.
    """
    answered = 0
    while True:
        n = take(market_fd, market_ssl, buf_at, buf.size)
        if n > 0:
            if not give(trade_fd, trade_ssl, frame_at, frame_n):
                return answered
            answered += 1
        elif n == 0 and market_ssl == 0:
            return answered
