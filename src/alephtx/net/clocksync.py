"""The venue's clock against ours, from TIME requests.

A venue time that arrived between our two stamps was true somewhere between them, so the offset is
venue - middle, wrong by at most half the round trip. The tightest round trips say most; the median
of their offsets resists a venue that answers with a stale time now and then.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple


class Sample(NamedTuple):
    """One exchange: our wall ns before and after, and the venue's time in ns."""

    sent_ns: int
    received_ns: int
    venue_ns: int


class Offset(NamedTuple):
    """venue clock = ours + offset_ns, within error_ns."""

    offset_ns: int
    error_ns: int


def venue_offset(samples: Sequence[Sample], keep: int = 5) -> Offset:
    """Return the median offset of the `keep` tightest samples; ValueError when there is none."""
    sound = sorted(
        (s.received_ns - s.sent_ns, s.venue_ns - (s.sent_ns + s.received_ns) // 2)
        for s in samples
        if s.received_ns >= s.sent_ns
    )[:keep]
    if not sound:
        raise ValueError("no usable time sample")
    offsets = sorted(offset for _, offset in sound)
    middle = len(offsets) // 2
    low = offsets[middle] if len(offsets) % 2 else offsets[middle - 1]
    return Offset((low + offsets[middle]) // 2, (sound[-1][0] + 1) // 2)


class VenueClock:
    """The last few samples of one venue and what follows from them."""

    def __init__(self, history: int = 32, keep: int = 5) -> None:
        self._samples: deque[Sample] = deque(maxlen=history)
        self._keep = keep
        self.offset = Offset(0, 1 << 62)

    def add(self, sample: Sample) -> Offset:
        """Take in one sample and return the new offset."""
        if sample.received_ns >= sample.sent_ns:
            self._samples.append(sample)
            self.offset = venue_offset(self._samples, self._keep)
        return self.offset
