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
from alephtx.core.kernel import JIT, Intrinsic, addresses_of
from alephtx.core.packed import rows_at
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


def enter_pair(address: int, data: Rows) -> int:
    """Call a function of two states; data: address and bytes of the one, then of the other."""
    function, old, new = registry[int(address)]
    return int(function(rows_at(data[0], 1, old), rows_at(data[2], 1, new)))


objects: dict[int, Callable[[], int]] = {}
"""Un-jitted: address of a Python object -> the object."""


def call_object(address: int) -> int:
    """Call the Python object at an address; its int. 0 at once while an exception is under way.

    An exception stays under way until the kernel that was entered from Python returns, which then
    raises SystemError with it as the cause. The caller keeps the object alive.
    """
    return objects[int(address)]()


def compile_strategy(module: ModuleType, view: View, params: Rows, state: Rows) -> Entries:
    """Compile a strategy's functions for this engine's view and return their addresses.

    view: the engine's own arrays; their types decide the signature. PluginError when the code is
    not what Numba compiles.
    """
    names = [name for name in HOOKS if getattr(module, name, None) is not None]
    functions = [getattr(module, name) for name in names]
    if JIT:
        examples = [_examples(name, view, params, state) for name in names]
        found = _compile(module, functions, examples)
    else:
        found = [_register(function, params, state) for function in functions]
    known = {name: address for name, (address, _) in zip(names, found, strict=True)}
    addresses = {name: known.get(name, 0) for name in HOOKS}
    return Entries(**addresses, owners=tuple(owner for _, owner in found))


def compile_migrate(module: ModuleType, old: Rows, new: Rows) -> tuple[int, Any]:
    """Compile a strategy's `migrate` for two states; its address and owner."""
    if not JIT:
        return _register(module.migrate, old, new)
    return _compile(module, [module.migrate], [(old, new)])[0]


def _register(function: Callable[..., int], params: Rows, state: Rows) -> tuple[int, Any]:
    address = len(registry) + 1
    registry[address] = (function, params, state)
    return address, function


def _compile(
    module: ModuleType, functions: list[Callable[..., int]], examples: list[tuple[Any, ...]]
) -> list[tuple[int, Any]]:
    """Compile functions; what Numba cannot take is one error that says where."""
    try:
        return addresses_of(functions, examples)
    except Exception as error:
        if not type(error).__module__.startswith("numba."):
            raise
        raise not_compiled(module, error.__notes__[-1], error) from None


def not_compiled(module: ModuleType, name: str, error: Exception) -> PluginError:
    """Return Numba's error about a strategy's function as one line of ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Numba says what is wrong first and where last, with a great deal between.
    said = next((line for line in lines if not line.startswith("Failed in")), lines[0])
    where = next((line for line in reversed(lines) if line.startswith("File ")), "")
    file = getattr(module, "__file__", "typed in")
    return PluginError(
        f"{file}: {name} does not compile: {said} {where}".rstrip(" :"),
        remedy="kernels take integers and arrays only; see docs/add-a-strategy.md",
    )


def _examples(name: str, view: View, params: Rows, state: Rows) -> tuple[Any, ...]:
    """Return arguments like those that a hook is called with."""
    row = {"on_event": EVENT, "on_update": UPDATE}.get(name)
    first: tuple[Any, ...] = ()
    if row is not None:
        first = (np.zeros(1, row),)
    elif name == "on_timer":
        first = (0,)
    return (*first, view, params, state, np.zeros(1, INTENT))


def _code() -> Any:
    from alephtx.engine import _call_code

    return _call_code


if JIT:
    call_object = Intrinsic(_code, "call_object")  # type: ignore[assignment]
    enter_row = Intrinsic(_code, "enter_row")  # type: ignore[assignment]
    enter_timer = Intrinsic(_code, "enter_timer")  # type: ignore[assignment]
    enter_plain = Intrinsic(_code, "enter_plain")  # type: ignore[assignment]
    enter_pair = Intrinsic(_code, "enter_pair")  # type: ignore[assignment]
