"""Enter a strategy by address.

The engine's step must stay cached whatever strategy runs, and Numba caches nothing that takes a
dispatcher or a closure (measured). So strategies are compiled on their own and entered through an
int64 address. Params and state differ in dtype from strategy to strategy; the call builds their
one-element arrays from raw addresses, so that the step has one type for all.

Without the JIT an address is an index into `registry`, and the call is a plain call.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from alephtx.core.errors import PluginError
from alephtx.core.kernel import JIT, native_address
from alephtx.core.records import EVENT, INTENT, UPDATE
from alephtx.core.view import View

Rows = np.ndarray[Any, Any]

registry: dict[int, tuple[Callable[..., int], Rows, Rows]] = {}
"""Un-jitted: address -> (function, params, state)."""


class Entries(NamedTuple):
    """The addresses of one strategy's functions; 0 where it has none. owners keep them alive."""

    on_start: int
    on_event: int
    on_update: int
    on_timer: int
    on_stop: int
    owners: tuple[Any, ...]


NO_ENTRIES = Entries(0, 0, 0, 0, 0, ())
"""Of a strategy that the step does not enter."""

HOOKS = ("on_start", "on_event", "on_update", "on_timer", "on_stop")


def enter_row(address: int, row: Rows, view: View, data: Rows, intents: Rows) -> int:
    """Call on_event or on_update. data: int64 (4,), params address and size, state's."""
    function, params, state = registry[int(address)]
    return int(function(row, view, params, state, intents))


def enter_timer(address: int, now: int, view: View, data: Rows, intents: Rows) -> int:
    """Call on_timer."""
    function, params, state = registry[int(address)]
    return int(function(now, view, params, state, intents))


def enter_plain(address: int, view: View, data: Rows, intents: Rows) -> int:
    """Call on_start or on_stop."""
    function, params, state = registry[int(address)]
    return int(function(view, params, state, intents))


objects: dict[int, Callable[[], int]] = {}
"""Un-jitted: address of a Python object -> the object."""


def call_object(address: int) -> int:
    """Call the Python object at an address; its int. 0 at once while an exception is under way.

    An exception stays under way until the kernel that was entered from Python returns, which then
    raises SystemError with it as the cause. The caller keeps the object alive.
    """
    return objects[int(address)]()


stages: dict[int, Callable[..., int]] = {}
"""Un-jitted: address -> stage."""


def call_stage(address: int, packed: Rows, a: int, b: int) -> int:
    """Call a stage of the step: a compiled function of (packed fields, int, int).

    Numba links everything a kernel calls into it and optimises the whole again at every level, so a
    call tree compiles in time depth x size. Stages cut it: 2 ns a call, half the cold start.
    """
    return int(stages[int(address)](packed, a, b))


def stage_address(function: Callable[..., int]) -> tuple[int, Any]:
    """Compile a stage and return its address and its owner, which must be kept alive."""
    if not JIT:
        address = len(stages) + 1
        stages[address] = function
        return address, function
    from numba import types

    word = types.int64
    return native_address(function, word(types.Array(word, 1, "C"), word, word))


def compile_strategy(module: ModuleType, view: View, params: Rows, state: Rows) -> Entries:
    """Compile a strategy's functions for this engine's view and return their addresses.

    view: the engine's own arrays; their types decide the signature. PluginError when the code is
    not what Numba compiles.
    """
    addresses, owners = [], []
    for name in HOOKS:
        function = getattr(module, name, None)
        if function is None:
            addresses.append(0)
        elif not JIT:
            address = len(registry) + 1
            registry[address] = (function, params, state)
            addresses.append(address)
        else:
            address, owner = _compile(module, name, _signature(name, view, params, state))
            addresses.append(address)
            owners.append(owner)
    return Entries(**dict(zip(HOOKS, addresses, strict=True)), owners=tuple(owners))


def _compile(module: ModuleType, name: str, signature: Any) -> tuple[int, Any]:
    """Compile one function; what Numba cannot take is one error that says where."""
    from numba.core.errors import NumbaError

    try:
        return native_address(getattr(module, name), signature)
    except NumbaError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # Numba says what is wrong first and where last, with a great deal between.
        said = next((line for line in lines if not line.startswith("Failed in")), lines[0])
        where = next((line for line in reversed(lines) if line.startswith("File ")), "")
        raise PluginError(
            f"{module.__file__}: {name} does not compile: {said} {where}".rstrip(" :"),
            remedy="kernels take integers and arrays only; see docs/add-a-strategy.md",
        ) from None


def _signature(name: str, view: View, params: Rows, state: Rows) -> Any:
    import numba
    from numba import types

    row = {"on_event": EVENT, "on_update": UPDATE}.get(name)
    first: tuple[Any, ...] = ()
    if row is not None:
        first = (numba.typeof(np.zeros(1, row)),)
    elif name == "on_timer":
        first = (types.int64,)
    rest = (view, params, state, np.zeros(1, INTENT))
    return types.int64(*first, *(numba.typeof(value) for value in rest))


if JIT:
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
            data = make_array(signature.args[1 + leading])(context, builder, arguments[1 + leading])
            words = [
                builder.load(builder.gep(data.data, [ir.Constant(_WORD, k)], inbounds=True))
                for k in range(4)
            ]
            params = _one_row(context, builder, words[0], words[1])
            state = _one_row(context, builder, words[2], words[3])
            values = [*ahead, params, state, arguments[-1]]
            kind = ir.FunctionType(_WORD, [value.type for value in values])
            return builder.call(builder.inttoptr(address, kind.as_pointer()), values)

        return codegen

    def _enter_row(typingctx, address, row, view, data, intents):  # type: ignore[no-untyped-def]
        return types.int64(types.int64, row, view, data, intents), _entry(2)

    def _enter_timer(typingctx, address, now, view, data, intents):  # type: ignore[no-untyped-def]
        return types.int64(types.int64, types.int64, view, data, intents), _entry(2)

    def _enter_plain(typingctx, address, view, data, intents):  # type: ignore[no-untyped-def]
        return types.int64(types.int64, view, data, intents), _entry(1)

    def _call_stage(typingctx, address, packed, a, b):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            values = list(arguments[1:])
            kind = ir.FunctionType(_WORD, [value.type for value in values])
            return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), values)

        return types.int64(types.int64, packed, types.int64, types.int64), codegen

    def _call_object(typingctx, address):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            python = context.get_python_api(builder)
            result = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(64), 0))
            held = python.gil_ensure()  # the loop runs without
            quiet = cgutils.is_null(builder, python.err_occurred())
            with builder.if_then(quiet, likely=True):
                kind = ir.FunctionType(python.pyobj, [python.pyobj])
                function = cgutils.get_or_insert_function(
                    builder.module, kind, "PyObject_CallNoArgs"
                )
                target = builder.inttoptr(arguments[0], python.pyobj)
                told = builder.call(function, [target])
                with builder.if_then(cgutils.is_not_null(builder, told), likely=True):
                    builder.store(python.long_as_longlong(told), result)
                    python.decref(told)
            python.gil_release(held)
            return builder.load(result)

        return types.int64(types.int64), codegen

    call_object = intrinsic(_call_object)
    call_stage = intrinsic(_call_stage)
    enter_row = intrinsic(_enter_row)
    enter_timer = intrinsic(_enter_timer)
    enter_plain = intrinsic(_enter_plain)
