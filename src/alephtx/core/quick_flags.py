"""Numba's compiler flags, compared without being listed anew each time.

A compilation asks half a million times whether two sets of flags are equal, as part of the key of
every overloaded operation, and each time Numba lists all of them twice: a tenth of a cold start.
What is here gives the same answers from the values that were set and the defaults of the class.
"""

from typing import Any

from numba.core.targetconfig import TargetConfig

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


def be_quick() -> None:
    """Put them in place, for this process."""
    TargetConfig.values = _values
    TargetConfig.__hash__ = _hash
    TargetConfig.__eq__ = _equal
