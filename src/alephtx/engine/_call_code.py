"""The calls of `engine._call` as LLVM's instructions; imported when something is compiled."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

_RAW = types.Array(types.uint8, 1, "C")
_WORD = ir.IntType(64)


def _one_row(context, builder, address, size):  # type: ignore[no-untyped-def]
    """Build the array struct of one record at an address; any dtype has the same struct."""
    array = make_array(_RAW)(context, builder)
    populate_array(
        array,
        data=builder.inttoptr(address, array.data.type),
        shape=cgutils.pack_array(builder, [ir.Constant(_WORD, 1)]),
        strides=cgutils.pack_array(builder, [size]),
        itemsize=size,
        meminfo=None,
    )
    return array._getvalue()  # noqa: SLF001 - Numba's own way to read a struct proxy


def _entry(leading: int):  # type: ignore[no-untyped-def]
    """Make the code generator of a call with so many arguments ahead of params and state."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        address, ahead = arguments[0], list(arguments[1 : 1 + leading])
        rows = _two_rows(context, builder, signature.args[1 + leading], arguments[1 + leading])
        values = [*ahead, *rows, *arguments[2 + leading :]]
        kind = ir.FunctionType(_WORD, [value.type for value in values])
        return builder.call(builder.inttoptr(address, kind.as_pointer()), values)

    return codegen


def _two_rows(context, builder, kind, value):  # type: ignore[no-untyped-def]
    """Build the two records that four words give addresses and sizes of."""
    data = make_array(kind)(context, builder, value)
    words = [
        builder.load(builder.gep(data.data, [ir.Constant(_WORD, k)], inbounds=True))
        for k in range(4)
    ]
    first = _one_row(context, builder, words[0], words[1])
    return first, _one_row(context, builder, words[2], words[3])


def _enter_row(typingctx, address, row, view, data, intents):  # type: ignore[no-untyped-def]
    return types.int64(types.int64, row, view, data, intents), _entry(2)


def _enter_timer(typingctx, address, now, view, data, intents):  # type: ignore[no-untyped-def]
    return types.int64(types.int64, types.int64, view, data, intents), _entry(2)


def _enter_plain(typingctx, address, view, data, intents):  # type: ignore[no-untyped-def]
    return types.int64(types.int64, view, data, intents), _entry(1)


def _enter_pair(typingctx, address, data):  # type: ignore[no-untyped-def]
    return types.int64(types.int64, data), _entry(0)


def _call_object(typingctx, address):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        python = context.get_python_api(builder)
        result = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(64), 0))
        held = python.gil_ensure()  # the loop runs without
        quiet = cgutils.is_null(builder, python.err_occurred())
        with builder.if_then(quiet, likely=True):
            kind = ir.FunctionType(python.pyobj, [python.pyobj])
            function = cgutils.get_or_insert_function(builder.module, kind, "PyObject_CallNoArgs")
            target = builder.inttoptr(arguments[0], python.pyobj)
            told = builder.call(function, [target])
            with builder.if_then(cgutils.is_not_null(builder, told), likely=True):
                builder.store(python.long_as_longlong(told), result)
                python.decref(told)
        python.gil_release(held)
        return builder.load(result)

    return types.int64(types.int64), codegen


call_object = intrinsic(_call_object)
enter_row = intrinsic(_enter_row)
enter_timer = intrinsic(_enter_timer)
enter_plain = intrinsic(_enter_plain)
enter_pair = intrinsic(_enter_pair)
