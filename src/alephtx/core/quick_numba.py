"""Where Numba spends time before it compiles, and need not: the answers are the same.

A third of a cold start went there (docs/decisions/0031). Each has a test that compares it with
Numba's own:

- flags: a compilation asks half a million times whether two sets of compiler flags are equal, as
  part of the key of every overloaded operation, and each time Numba lists all of them twice. Here
  the values that were set and the defaults of the class are compared;
- SciPy: Numba imports its linear algebra to learn whether there is one. Here it is looked for;
  `np.dot` in a kernel still imports it;
- operators: what `a + b` of two integers means is asked for each use anew, of every overload there
  is. Here it is remembered, for types that say all they are;
- registries are looked through for news each time a function is called by another: here when one
  has grown;
- variables of an instruction are found by asking each value for its kind, five times. Here once
  for each class;
- how long its locks are held Numba measures for each function being compiled, of which there are
  some twenty within each other. Nobody asks;
- whether an implementation takes a `loc` it reads from its signature at each use.
"""

import importlib
import importlib.util
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from llvmlite.binding import ffi
from numba.core import base, event, ir, types
from numba.core.cpu import CPUContext
from numba.core.targetconfig import TargetConfig
from numba.np import linalg

_defaults: dict[type, dict[str, Any]] = {}
_hashes: dict[type, int] = {}


def _values(self: Any) -> dict[str, Any]:
    kind = type(self)
    if kind not in _defaults:
        _defaults[kind] = {name: option.default for name, option in kind.options.items()}
    return {**_defaults[kind], **self._values}


def _hash(self: Any) -> int:
    """Return what Numba's own comes to: a hash of the names alone."""
    kind = type(self)
    if kind not in _hashes:
        _hashes[kind] = hash(tuple(sorted(kind.options)))
    return _hashes[kind]


def _equal(self: Any, other: Any) -> bool:
    if self is other:
        return True
    if not isinstance(other, TargetConfig):
        return NotImplemented
    return bool(_values(self) == _values(other))


# -- SciPy ---------------------------------------------------------------------------------------


def _look_for_blas() -> None:
    """Do what Numba's `ensure_blas` does, but import nothing."""
    if importlib.util.find_spec("scipy") is None:
        raise ImportError("SciPy is not installed")


def _learn_of_blas() -> None:
    """Let the one module of Numba that asks when it is imported ask here."""
    asked = linalg.ensure_blas
    linalg.ensure_blas = _look_for_blas
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        linalg.ensure_blas = asked


# -- operators -----------------------------------------------------------------------------------

_OPERATORS = frozenset(one for one in vars(operator).values() if callable(one))
_FIXED = (
    types.Integer, types.Boolean, types.Float, types.IntegerLiteral, types.BooleanLiteral,
    types.Array, types.Record, types.BaseTuple,  # type: ignore[attr-defined]
)  # fmt: skip
_meanings: dict[tuple[Any, Any, int], Any] = {}
_ask_meaning: Callable[..., Any] = types.BaseFunction.get_call_type


def _meaning(self: Any, context: Any, args: Any, kws: Any) -> Any:
    """Return the signature of a call; of an operator the one that was found before."""
    fixed = not kws and type(self) is types.Function and self.typing_key in _OPERATORS
    if not fixed or not all(isinstance(one, _FIXED) for one in args):
        return _ask_meaning(self, context, args, kws)
    key = (self, tuple(args), len(self.templates))
    found = _meanings.get(key)
    if found is None:
        found = _meanings[key] = _ask_meaning(self, context, args, kws)
    return found


# -- registries ----------------------------------------------------------------------------------

_refresh: Callable[[Any], None] = CPUContext.refresh


def _registered(context: Any) -> int:
    """Return how much the registries hold that a context and its typing know: they only grow."""
    return sum(
        len(getattr(registry, name))
        for one in (context, context.typing_context)
        for registry, loader in one._registries.items()  # noqa: SLF001 - no public way
        for name in loader.registry_items
    )


def _refresh_when_grown(self: Any) -> None:
    if self.__dict__.get("_registered") != _registered(self):
        _refresh(self)
        self._registered = _registered(self)


# -- variables -----------------------------------------------------------------------------------

_OTHER, _VAR, _INST, _SERIES, _DICT = range(5)


@cache
def _kind(of: Any) -> int:
    kinds = ((ir.Var, _VAR), (ir.Inst, _INST), ((list, tuple), _SERIES), (dict, _DICT))
    return next((kind for base_, kind in kinds if issubclass(of, base_)), _OTHER)


def _gather(value: Any, found: list[Any]) -> None:
    of: Any = type(value)
    kind = _kind(of)
    if kind == _VAR:
        found.append(value)
    elif kind == _INST:
        found += value.list_vars()
    elif kind != _OTHER:
        for one in value if kind == _SERIES else value.values():
            _gather(one, found)


def _rec_list_vars(self: Any, value: Any) -> list[Any]:
    found: list[Any] = []
    _gather(value, found)
    return found


# -- locks and signatures ------------------------------------------------------------------------

_has_loc: Callable[[Any], bool] = base._has_loc  # noqa: SLF001


@contextmanager
def _no_timer(kind: str, callback: Any) -> Iterator[Any]:
    yield event.TimingListener()


def be_quick() -> None:
    """Put them in place, for this process."""
    TargetConfig.values = _values
    TargetConfig.__hash__ = _hash
    TargetConfig.__eq__ = _equal
    types.BaseFunction.get_call_type = _meaning  # type: ignore[method-assign]
    CPUContext.refresh = _refresh_when_grown
    ir.Inst._rec_list_vars = _rec_list_vars  # noqa: SLF001
    event.install_timer = _no_timer
    ffi.lib._lock._cblist.clear()  # noqa: SLF001 - what calls Numba's clock at each call of LLVM
    base._has_loc = cache(_has_loc)  # noqa: SLF001
    _learn_of_blas()
