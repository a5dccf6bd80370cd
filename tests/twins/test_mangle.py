"""Frames are spoilt in the ways that were asked for, and the same frame always alike."""

import msgspec
import pytest

from alephtx.twins.faults import FaultRefused, parse_fault
from alephtx.twins.mangle import HOWS, mangled

FRAME = b'{"stream":"x@depth","data":{"e":"depthUpdate","u":7,"b":[["1.0","2"]],"o":{"s":"X"}}}'


def members(value):
    """Count the members of every object within."""
    if isinstance(value, dict):
        return len(value) + sum(members(member) for member in value.values())
    return sum(members(member) for member in value) if isinstance(value, list) else 0


@pytest.mark.parametrize("how", HOWS)
def test_frame_is_spoilt_the_same_way_every_time(how):
    assert mangled(FRAME, how) == mangled(FRAME, how) != FRAME


def test_extra_keeps_every_member_and_missing_leaves_at_least_one_out():
    whole = members(msgspec.json.decode(FRAME))
    grown = msgspec.json.decode(mangled(FRAME, "extra"))
    assert grown["data"]["o"]["s"] == "X"
    assert members(grown) > whole
    assert members(msgspec.json.decode(mangled(FRAME, "missing"))) < whole


def test_type_changes_one_value_and_leaves_the_names():
    """Over many frames, because what follows from the bytes may be any member."""
    for k in range(50):
        frame = FRAME.replace(b":7", b":%d" % (k + 10))
        before, after = msgspec.json.decode(frame), msgspec.json.decode(mangled(frame, "type"))
        assert after != before
        assert list(after) == list(before)


def test_what_is_no_object_is_cut():
    assert mangled(b"pong", "extra") == b"po"
    assert mangled(b"[1,2]", "type") == b"[1"


def test_unknown_way_is_refused():
    with pytest.raises(FaultRefused, match="unknown how"):
        parse_fault(b'{"kind":"mangle","how":"loudly"}')
    assert parse_fault(b'{"kind":"mangle","target":"private","how":"cut"}').how == "cut"
