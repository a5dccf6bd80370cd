"""Faults on command: what a test orders, and how often it was done.

`POST /_twin/fault` takes {"kind", "target", "count", "duration_ms", "delay_ms", "match", "status"}:

kind        target            what happens
disconnect  market|private|trade   all links of the target are cut at once
stall       market|private|trade|http   nothing is sent for duration_ms, links stay open
gap         market|private|trade   the next count frames are lost
duplicate   market|private|trade   the next count frames are sent twice
reorder     market|private|trade   the next count pairs of frames swap places; a frame that has no
                                     partner for a second goes out alone
mangle      market|private|trade   the next count frames are spoilt, see `mangle`; how: `how`
slow        market|private|trade|http   everything is delay_ms late for duration_ms
429, 418    http|trade        the next count requests are refused for their rate
5xx         http|trade        the next count requests fail with `status` (default 503)
ambiguous   http|trade        the next count orders are accepted, then the answer is lost

match narrows a frame fault to frames that contain the text, an http fault to such paths.
"""

from collections import Counter
from collections.abc import Callable

import msgspec

from alephtx.twins.mangle import HOWS

FRAME_KINDS = frozenset({"gap", "duplicate", "reorder", "mangle"})
TIMED_KINDS = frozenset({"stall", "slow"})
REQUEST_KINDS = frozenset({"429", "418", "5xx", "ambiguous"})
KINDS = FRAME_KINDS | TIMED_KINDS | REQUEST_KINDS | {"disconnect"}
LINK_TARGETS = frozenset({"market", "private", "trade"})
TARGETS = LINK_TARGETS | {"http"}


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """One order for trouble; see the module for the fields' meaning."""

    kind: str
    target: str = "market"
    count: int = 1
    duration_ms: int = 0
    delay_ms: int = 0
    match: str = ""
    status: int = 503
    how: str = "extra"
    until_ns: int = 0


class FaultRefused(ValueError):
    """A fault that makes no sense; the text says what is allowed."""


def parse_fault(body: bytes) -> Fault:
    """Decode and check the body of `POST /_twin/fault`."""
    try:
        fault = msgspec.json.decode(body, type=Fault)
    except msgspec.MsgspecError as error:
        raise FaultRefused(f"not a fault: {error}") from None
    if fault.kind not in KINDS:
        raise FaultRefused(f"unknown kind {fault.kind!r}; known: {', '.join(sorted(KINDS))}")
    allowed = LINK_TARGETS if fault.kind in FRAME_KINDS | {"disconnect"} else TARGETS
    if fault.kind in REQUEST_KINDS:
        allowed = frozenset({"http", "trade"})
    if fault.target not in allowed:
        raise FaultRefused(f"{fault.kind} cannot target {fault.target!r}; {sorted(allowed)} can")
    if fault.count < 1 or fault.duration_ms < 0 or fault.delay_ms < 0:
        raise FaultRefused("count must be positive, duration_ms and delay_ms not negative")
    if fault.how not in HOWS:
        raise FaultRefused(f"unknown how {fault.how!r}; known: {', '.join(HOWS)}")
    if fault.kind in TIMED_KINDS and fault.duration_ms == 0:
        raise FaultRefused(f"{fault.kind} needs duration_ms")
    return fault


class Faults:
    """The faults in force at one venue, asked at every frame and request."""

    def __init__(self, monotonic: Callable[[], int]) -> None:
        self._monotonic = monotonic
        self._active: list[Fault] = []
        self.done: Counter[str] = Counter()

    def order(self, fault: Fault) -> None:
        """Put a fault in force; a disconnect is the server's to do."""
        fault.until_ns = self._monotonic() + fault.duration_ms * 1_000_000
        self._active.append(fault)

    def take(self, kind: str, target: str, text: bytes | str = b"") -> Fault | None:
        """Return a fault of this kind that hits here and now, and count it as done once."""
        if not self._active:
            return None
        content = text.encode() if isinstance(text, str) else text
        for fault in self._active:
            if fault.kind == kind and fault.target == target and fault.match.encode() in content:
                fault.count -= 1
                if fault.count == 0:
                    self._active.remove(fault)
                self.done[f"{kind}:{target}"] += 1
                return fault
        return None

    def delay_ns(self, target: str) -> int:
        """Return for how long a frame or request must be held back now; 0 where not at all."""
        if not self._active:
            return 0
        now, held = self._monotonic(), 0
        for fault in list(self._active):
            if fault.kind not in TIMED_KINDS:
                continue
            if fault.until_ns <= now:
                self._active.remove(fault)
                continue
            if fault.target == target:
                self.done[f"{fault.kind}:{target}"] += 1
                late = fault.until_ns - now if fault.kind == "stall" else fault.delay_ms * 1_000_000
                held = max(held, late)
        return held

    def clear(self) -> None:
        """Take back whatever was ordered and is not done."""
        self._active.clear()

    @property
    def quiet(self) -> bool:
        """True when nothing is in force: the frame path's short cut."""
        return not self._active
