"""The calls of `core.syscalls` as LLVM's instructions; imported when something is compiled."""

import time

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from alephtx.core.syscalls import ERRNO_HOME, FLAGS

_WORD, _HALF, _BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)
_int64 = types.int64


def _half(builder, value):  # type: ignore[no-untyped-def]
    return builder.trunc(value, _HALF)


def _call(builder, name, result, arguments):  # type: ignore[no-untyped-def]
    """Call a C function by name. Addresses go as words, which both ABIs pass like pointers."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, arguments)


def _errno(builder):  # type: ignore[no-untyped-def]
    where = _call(builder, ERRNO_HOME, _HALF.as_pointer(), ())
    return builder.sext(builder.load(where), _WORD)


def _or_errno(builder, result):  # type: ignore[no-untyped-def]
    """Return a call's result, or -errno where it is negative; errno is read only then."""
    out = cgutils.alloca_once(builder, _WORD)
    builder.store(result, out)
    failed = builder.icmp_signed("<", result, ir.Constant(_WORD, 0))
    with builder.if_then(failed, likely=False):
        builder.store(builder.neg(_errno(builder)), out)
    return builder.load(out)


def _transfer(name):  # type: ignore[no-untyped-def]
    def transfer(typingctx, fd, address, size):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            fd, address, size = arguments
            flags = ir.Constant(_HALF, FLAGS)
            given = (_half(builder, fd), address, size, flags)
            return _or_errno(builder, _call(builder, name, _WORD, given))

        return _int64(_int64, _int64, _int64), codegen

    return transfer


def _recvmsg(typingctx, fd, header):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        given = (_half(builder, arguments[0]), arguments[1], ir.Constant(_HALF, FLAGS))
        return _or_errno(builder, _call(builder, "recvmsg", _WORD, given))

    return _int64(_int64, _int64), codegen


def _poll(typingctx, address, count, timeout_ms):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        given = (arguments[0], arguments[1], _half(builder, arguments[2]))
        result = builder.sext(_call(builder, "poll", _HALF, given), _WORD)
        return _or_errno(builder, result)

    return _int64(_int64, _int64, _int64), codegen


def _write_word(typingctx, fd, value):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        slot = cgutils.alloca_once(builder, _WORD)  # in the entry block: docs/decisions/0009
        builder.store(arguments[1], slot)
        where = builder.ptrtoint(slot, _WORD)
        given = (_half(builder, arguments[0]), where, ir.Constant(_WORD, 8))
        return _or_errno(builder, _call(builder, "write", _WORD, given))

    return _int64(_int64, _int64), codegen


def _realtime_ns(typingctx):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        timespec = cgutils.alloca_once(builder, ir.LiteralStructType((_WORD, _WORD)))
        clock = ir.Constant(_HALF, time.CLOCK_REALTIME)
        _call(builder, "clock_gettime", _HALF, (clock, timespec))
        zero, one = ir.Constant(_HALF, 0), ir.Constant(_HALF, 1)
        seconds = builder.load(builder.gep(timespec, (zero, zero), inbounds=True))
        rest = builder.load(builder.gep(timespec, (zero, one), inbounds=True))
        return builder.add(builder.mul(seconds, ir.Constant(_WORD, 1_000_000_000)), rest)

    return _int64(), codegen


def _nap(typingctx, duration_ns):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        timespec = cgutils.alloca_once(builder, ir.LiteralStructType((_WORD, _WORD)))
        zero, one = ir.Constant(_HALF, 0), ir.Constant(_HALF, 1)
        seconds = builder.gep(timespec, (zero, zero), inbounds=True)
        builder.store(ir.Constant(_WORD, 0), seconds)
        builder.store(arguments[0], builder.gep(timespec, (zero, one), inbounds=True))
        nowhere = ir.Constant(timespec.type, None)
        _call(builder, "nanosleep", _HALF, (timespec, nowhere))
        return context.get_dummy_value()

    return types.void(_int64), codegen


def _ssl_transfer(name):  # type: ignore[no-untyped-def]
    def transfer(typingctx, ssl, address, size):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            ssl, address, size = arguments
            given = (ssl, address, _half(builder, size))
            return builder.sext(_call(builder, name, _HALF, given), _WORD)

        return _int64(_int64, _int64, _int64), codegen

    return transfer


def _ssl_get_error(typingctx, ssl, result):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        given = (arguments[0], _half(builder, arguments[1]))
        return builder.sext(_call(builder, "alephtx_ssl_get_error", _HALF, given), _WORD)

    return _int64(_int64, _int64), codegen


def _err_clear(typingctx):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        _call(builder, "alephtx_err_clear", ir.VoidType(), ())
        return context.get_dummy_value()

    return types.void(), codegen


def _err_peek(typingctx):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _call(builder, "alephtx_err_peek", _WORD, ())

    return _int64(), codegen


def _errno_now(typingctx):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _errno(builder)

    return _int64(), codegen


recv = intrinsic(_transfer("recv"))
send = intrinsic(_transfer("send"))
recvmsg = intrinsic(_recvmsg)
poll = intrinsic(_poll)
write_word = intrinsic(_write_word)
realtime_ns = intrinsic(_realtime_ns)
nap = intrinsic(_nap)
ssl_read = intrinsic(_ssl_transfer("alephtx_ssl_read"))
ssl_write = intrinsic(_ssl_transfer("alephtx_ssl_write"))
ssl_get_error = intrinsic(_ssl_get_error)
err_clear = intrinsic(_err_clear)
err_peek = intrinsic(_err_peek)
errno_now = intrinsic(_errno_now)
