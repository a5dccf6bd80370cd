"""Frames as a venue should not send them: what a change of its API or a broken proxy makes of one.

extra: members that no document speaks of, in every object, first and last. missing: one member is
left out. type: one value is of another type. cut: the second half is missing. Which member it is
follows from the frame's bytes, so that the same frame is always spoilt in the same way.
"""

import random
import zlib
from typing import Any

import msgspec

HOWS = ("extra", "missing", "type", "cut")
OPTIONAL = frozenset({"n", "N"})
"""What the venue's own documents leave out at times: without it a frame means something else."""

_OTHERS: tuple[Any, ...] = (None, True, [], {}, -1, "x", 1.5e300)


def mangled(frame: bytes, how: str) -> bytes:
    """Return a frame spoilt in one way; what is not a JSON object is cut."""
    source = random.Random(zlib.crc32(frame))  # noqa: S311 - repeatable on purpose
    try:
        whole = msgspec.json.decode(frame)
    except msgspec.DecodeError:
        how = "cut"
    if how == "cut" or not isinstance(whole, dict):
        return frame[: len(frame) // 2]
    if how == "extra":
        return msgspec.json.encode(_grown(whole))
    holder, name = source.choice(_members(whole))
    if how == "missing":
        del holder[name]
    else:
        before = type(holder[name])
        holder[name] = source.choice([other for other in _OTHERS if type(other) is not before])
    return msgspec.json.encode(whole)


def _grown(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {name: _grown(member) for name, member in value.items()}
        return {"zz0": [{"e": "x", "s": 1}]} | inner | {"zz1": None}
    if isinstance(value, list):
        return [_grown(member) for member in value]
    return value


def _members(value: Any) -> list[tuple[dict[str, Any], str]]:
    """Return every member of every object within, as (object, name)."""
    found: list[tuple[dict[str, Any], str]] = []
    if isinstance(value, dict):
        found += [(value, name) for name in value if name not in OPTIONAL]
        for member in value.values():
            found += _members(member)
    elif isinstance(value, list):
        for member in value:
            found += _members(member)
    return found
