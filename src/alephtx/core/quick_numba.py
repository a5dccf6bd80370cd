"""Where Numba spends time before it compiles, and need not: the answers are the same.

Flags: a compilation asks half a million times whether two sets of compiler flags are equal, as part
of the key of every overloaded operation, and each time Numba lists all of them twice: a tenth of a
cold start. What is here compares the values that were set and the defaults of the class.

SciPy: Numba imports its linear algebra to learn whether there is one, 0.3 s of every compilation.
Here it is looked for and not imported; `np.dot` in a kernel still imports it.
"""

import importlib
import importlib.util
from typing import Any

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


def be_quick() -> None:
    """Put them in place, for this process."""
    TargetConfig.values = _values
    TargetConfig.__hash__ = _hash
    TargetConfig.__eq__ = _equal
    _learn_of_blas()
