"""The system's calls from compiled code: sockets, an eventfd, TLS, and bytes at addresses.

Everything that can fail returns a count or a negative errno; nothing blocks and nothing raises
SIGPIPE. Addresses and file descriptors are int64. Every function has a Python twin for an
un-jitted run. The functions are found by name when code is linked, so that it can be kept.

TLS is the system's OpenSSL 3. Its functions are known to compiled code under names of our own, so
that a library that Python brought along is never called with what this one made. They are made
known when this file is imported, because kept code is linked without asking anybody else.
"""

import ctypes
import errno
import os
import select
import socket
import struct
import sys
import time
from functools import cache
from typing import Any, NamedTuple

from llvmlite import binding

from alephtx.core.atomics import load_relaxed, store_relaxed
from alephtx.core.clock import pause_thread
from alephtx.core.errors import ConfigError
from alephtx.core.kernel import JIT, Int, Intrinsic, kernel

AGAIN, INTERRUPTED = -errno.EAGAIN, -errno.EINTR
"""What a call says that had nothing to do; try later."""

TLS_FAILED = -(1 << 20)
"""What `tls_read` and `tls_write` say when TLS itself broke; `tls_error` names it."""

FLAGS = getattr(socket, "MSG_DONTWAIT", 0) | getattr(socket, "MSG_NOSIGNAL", 0)

_SSL_ERROR_SSL, _SSL_WANT_READ, _SSL_WANT_WRITE = 1, 2, 3
_SSL_ERROR_SYSCALL, _SSL_ZERO_RETURN = 5, 6
_TLS_BYTES_MAX = 1 << 30

_libc = ctypes.CDLL(None, use_errno=True)
for _name in ("recv", "send", "recvmsg"):
    getattr(_libc, _name).restype = ctypes.c_ssize_t

READABLE = select.POLLIN << 32
"""With a file descriptor, one word of what `poll` takes: who waits for something to read."""


# -- sockets -------------------------------------------------------------------------------------


def _told(result: int) -> int:
    return int(result) if result >= 0 else -ctypes.get_errno()


def recv(fd: int, address: int, size: int) -> int:
    """Read at most so many bytes without waiting. Returns bytes, 0 at the end, -errno."""
    where, room = ctypes.c_void_p(int(address)), ctypes.c_size_t(int(size))
    return _told(_libc.recv(int(fd), where, room, FLAGS))


def send(fd: int, address: int, size: int) -> int:
    """Write bytes without waiting. Returns how many the kernel took, or -errno."""
    where, room = ctypes.c_void_p(int(address)), ctypes.c_size_t(int(size))
    return _told(_libc.send(int(fd), where, room, FLAGS))


def recvmsg(fd: int, header: int) -> int:
    """Read into what a msghdr at an address describes; as `recv`."""
    return _told(_libc.recvmsg(int(fd), ctypes.c_void_p(int(header)), FLAGS))


def poll(address: int, count: int, timeout_ms: int) -> int:
    """Sleep until one of so many descriptors is ready, at most so long; words: see READABLE.

    Returns how many are, or -errno. A signal ends it early.
    """
    where = ctypes.c_void_p(int(address))
    return _told(_libc.poll(where, ctypes.c_ulong(int(count)), int(timeout_ms)))


def write_word(fd: int, value: int) -> int:
    """Write the eight bytes of a word, as an eventfd wants them. Returns 8 or -errno."""
    try:
        return os.write(int(fd), struct.pack("=q", int(value)))
    except OSError as error:
        return -int(error.errno or 0)


def realtime_ns() -> int:
    """Read CLOCK_REALTIME, in which the kernel stamps what it receives; 22 ns."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


def nap(duration_ns: int) -> None:
    """Sleep this thread for 0 to 999,999,999 ns; a signal ends it early."""
    pause_thread(int(duration_ns))


# -- TLS -----------------------------------------------------------------------------------------


class TlsLibrary(NamedTuple):
    """The system's OpenSSL: libssl and libcrypto, as ctypes loads them."""

    ssl: Any
    crypto: Any


TLS_SYMBOLS = {
    "alephtx_ssl_read": ("ssl", "SSL_read"),
    "alephtx_ssl_write": ("ssl", "SSL_write"),
    "alephtx_ssl_get_error": ("ssl", "SSL_get_error"),
    "alephtx_err_clear": ("crypto", "ERR_clear_error"),
    "alephtx_err_peek": ("crypto", "ERR_peek_error"),
}
"""Names in compiled code -> library and function."""


@cache
def _tls_library() -> TlsLibrary | None:
    mode = getattr(os, "RTLD_DEEPBIND", 0) | os.RTLD_NOW | os.RTLD_LOCAL
    try:
        crypto = ctypes.CDLL("libcrypto.so.3", mode=mode, use_errno=True)
        ssl = ctypes.CDLL("libssl.so.3", mode=mode, use_errno=True)
        for home, name in TLS_SYMBOLS.values():
            getattr({"ssl": ssl, "crypto": crypto}[home], name)
    except (OSError, AttributeError):
        return None
    crypto.ERR_peek_error.restype = ctypes.c_ulong
    crypto.ERR_clear_error.restype = None
    return TlsLibrary(ssl, crypto)


def has_tls() -> bool:
    """Tell whether compiled code can speak TLS on this system."""
    return _tls_library() is not None


def tls_library() -> TlsLibrary:
    """Return the system's OpenSSL 3; ConfigError where there is none."""
    found = _tls_library()
    if found is None:
        raise ConfigError(
            "no libssl.so.3 on this system, which the direct path speaks TLS with",
            remedy='install OpenSSL 3, or use path = "split" for this strategy',
        )
    return found


def _make_known() -> None:
    """Tell the linker where the functions of TLS_SYMBOLS are.

    Where the system has no OpenSSL they are abort(): code that names them can then be linked, and
    nothing calls them, because no TLS connection can be made.
    """
    found = _tls_library()
    for name, (home, function) in TLS_SYMBOLS.items():
        target = getattr(getattr(found, home), function) if found else _libc.abort
        address = ctypes.cast(target, ctypes.c_void_p).value
        if address:
            binding.add_symbol(name, address)


def ssl_read(ssl: int, address: int, size: int) -> int:
    """Call SSL_read; a count, or <= 0: see `ssl_get_error`."""
    return int(
        tls_library().ssl.SSL_read(ctypes.c_void_p(ssl), ctypes.c_void_p(address), int(size))
    )


def ssl_write(ssl: int, address: int, size: int) -> int:
    """Call SSL_write; a count, or <= 0: see `ssl_get_error`."""
    where = ctypes.c_void_p(int(address))
    return int(tls_library().ssl.SSL_write(ctypes.c_void_p(int(ssl)), where, int(size)))


def ssl_get_error(ssl: int, result: int) -> int:
    """Call SSL_get_error."""
    return int(tls_library().ssl.SSL_get_error(ctypes.c_void_p(int(ssl)), int(result)))


def err_clear() -> None:
    """Empty this thread's queue of OpenSSL errors, which ssl_get_error reads."""
    tls_library().crypto.ERR_clear_error()


def err_peek() -> int:
    """Return this thread's oldest OpenSSL error, 0 for none."""
    return int(tls_library().crypto.ERR_peek_error())


def errno_now() -> int:
    """Return this thread's errno."""
    return ctypes.get_errno()


def _code() -> Any:
    from alephtx.core import syscalls_code

    return syscalls_code


ERRNO_HOME = "__error" if sys.platform == "darwin" else "__errno_location"

if JIT:
    _make_known()
    recv = Intrinsic(_code, "recv")  # type: ignore[assignment]
    send = Intrinsic(_code, "send")  # type: ignore[assignment]
    recvmsg = Intrinsic(_code, "recvmsg")  # type: ignore[assignment]
    poll = Intrinsic(_code, "poll")  # type: ignore[assignment]
    write_word = Intrinsic(_code, "write_word")  # type: ignore[assignment]
    realtime_ns = Intrinsic(_code, "realtime_ns")  # type: ignore[assignment]
    nap = Intrinsic(_code, "nap")  # type: ignore[assignment]
    ssl_read = Intrinsic(_code, "ssl_read")  # type: ignore[assignment]
    ssl_write = Intrinsic(_code, "ssl_write")  # type: ignore[assignment]
    ssl_get_error = Intrinsic(_code, "ssl_get_error")  # type: ignore[assignment]
    err_clear = Intrinsic(_code, "err_clear")  # type: ignore[assignment]
    err_peek = Intrinsic(_code, "err_peek")  # type: ignore[assignment]
    errno_now = Intrinsic(_code, "errno_now")  # type: ignore[assignment]


# -- made of these -------------------------------------------------------------------------------

STAMP_WORDS = 17
"""Words of the block that `recv_stamped` works in: a msghdr (7), an iovec (2), control data (8)."""

SO_TIMESTAMPNS = 35
"""Of Linux; Python's socket module does not name it."""

_STAMP_HEAD = socket.SOL_SOCKET | SO_TIMESTAMPNS << 32
_IOVEC, _CONTROL, _CONTROL_BYTES, _STAMP_BYTES = 56, 72, 64, 32


@kernel
def recv_stamped(fd: Int, address: Int, size: Int, block: Int) -> int:
    """Read as `recv` does, with the kernel's stamp of the last byte; see `stamp_of`.

    block: address of STAMP_WORDS words, zero before the first use, which this fills.
    """
    store_relaxed(block + 16, block + _IOVEC)
    store_relaxed(block + 24, 1)
    store_relaxed(block + 32, block + _CONTROL)
    store_relaxed(block + 40, _CONTROL_BYTES)
    store_relaxed(block + _IOVEC, address)
    store_relaxed(block + _IOVEC + 8, size)
    return recvmsg(fd, block)


@kernel
def stamp_of(block: Int) -> int:
    """Return when the last bytes that `recv_stamped` read came, CLOCK_REALTIME ns; 0: unsaid."""
    if load_relaxed(block + 40) < _STAMP_BYTES or load_relaxed(block + _CONTROL + 8) != _STAMP_HEAD:
        return 0
    return load_relaxed(block + _CONTROL + 16) * 1_000_000_000 + load_relaxed(block + _CONTROL + 24)


@kernel
def _tls_refusal(ssl: Int, result: Int) -> int:
    """Return what a failed SSL_read or SSL_write means: 0 the end, AGAIN, -errno, TLS_FAILED."""
    said = ssl_get_error(ssl, result)
    if said == _SSL_WANT_READ or said == _SSL_WANT_WRITE:
        return AGAIN
    if said == _SSL_ZERO_RETURN:
        return 0
    if said == _SSL_ERROR_SYSCALL:
        return -errno_now()  # 0: the peer went without a word
    return TLS_FAILED


@kernel
def tls_read(ssl: Int, address: Int, size: Int) -> int:
    """Read decrypted bytes without waiting: bytes, 0 at the end, AGAIN, -errno, TLS_FAILED."""
    if err_peek():  # what others left would be taken for ours; looking is ten times as cheap
        err_clear()
    got = ssl_read(ssl, address, min(size, _TLS_BYTES_MAX))
    return got if got > 0 else _tls_refusal(ssl, got)


@kernel
def tls_write(ssl: Int, address: Int, size: Int) -> int:
    """Encrypt and write: bytes taken, AGAIN, -errno, TLS_FAILED. Try again with the same bytes."""
    if err_peek():
        err_clear()
    got = ssl_write(ssl, address, min(size, _TLS_BYTES_MAX))
    return got if got > 0 else _tls_refusal(ssl, got)


@kernel
def tls_error() -> int:
    """Return this thread's OpenSSL error and forget it."""
    found = err_peek()
    err_clear()
    return found
