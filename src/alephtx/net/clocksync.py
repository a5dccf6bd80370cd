"""The venue's clock against ours, from TIME requests.

A venue time that arrived between our two stamps was true somewhere between them, so the offset is
venue - middle, wrong by at most half the round trip. The tightest round trips say most; the median
of their offsets resists a venue that answers with a stale time now and then. A clock that was set
contradicts everything measured before: when a few samples in a row do, they alone count.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

STEP_NS = 250_000_000
"""Samples that differ by more than this and their errors are not of one clock: drift is less."""
SLACK_NS = 10_000_000
SHIFT_MAX_NS = 10_000_000_000
"""A clock of ours that is further off is not made good for."""
AGREED = 3
"""So many contradicting samples in a row are a clock that was set, fewer a stale answer."""


class Sample(NamedTuple):
    """One exchange: our wall ns before and after, and the venue's time in ns."""

    sent_ns: int
    received_ns: int
    venue_ns: int


class Offset(NamedTuple):
    """venue clock = ours + offset_ns, within error_ns."""

    offset_ns: int
    error_ns: int

    @property
    def least_ns(self) -> int:
        """The least change of our clock that makes it possibly the venue's."""
        least = max(0, abs(self.offset_ns) - self.error_ns)
        return least if self.offset_ns > 0 else -least

    @property
    def shift_ns(self) -> int:
        """By how much our clock is moved for the venue: the least, 0 beyond SHIFT_MAX_NS.

        What is known of an account is asked for from a minute before a moment of our clock, so it
        must not be far off; a clock that is, is for its owner to set.
        """
        return self.least_ns if abs(self.least_ns) <= SHIFT_MAX_NS else 0


def venue_offset(samples: Sequence[Sample], keep: int = 5) -> Offset:
    """Return the median offset of the `keep` tightest samples; ValueError when there is none.

    Of these, such as took much longer than the tightest say less than it does, and are left out.
    """
    sound = sorted(
        (s.received_ns - s.sent_ns, s.venue_ns - (s.sent_ns + s.received_ns) // 2)
        for s in samples
        if s.received_ns >= s.sent_ns
    )[:keep]
    if not sound:
        raise ValueError("no usable time sample")
    sound = [(trip, offset) for trip, offset in sound if trip <= 2 * sound[0][0] + SLACK_NS]
    offsets = sorted(offset for _, offset in sound)
    middle = len(offsets) // 2
    low = offsets[middle] if len(offsets) % 2 else offsets[middle - 1]
    return Offset((low + offsets[middle]) // 2, (sound[-1][0] + 1) // 2)


class VenueClock:
    """The last few samples of one venue and what follows from them."""

    def __init__(self, history: int = 32, keep: int = 5) -> None:
        self._samples: deque[Sample] = deque(maxlen=history)
        self._others: list[Sample] = []  # the last ones, which contradict the samples
        self._keep = keep
        self.offset = Offset(0, 1 << 62)
        self.steps = 0

    @property
    def contradicted(self) -> bool:
        """Tell whether the newest sample was against what is held for true: ask again."""
        return bool(self._others)

    def add(self, sample: Sample) -> Offset:
        """Take in one sample and return the new offset."""
        if sample.received_ns < sample.sent_ns:
            return self.offset
        if not _contradicts(sample, self.offset):
            self._others.clear()
            self._samples.append(sample)
        else:
            if self._others and _contradicts(sample, venue_offset(self._others)):
                self._others.clear()
            self._others.append(sample)
            if len(self._others) < AGREED:
                return self.offset
            self._samples.clear()
            self._samples.extend(self._others)
            self._others.clear()
            self.steps += 1
        self.offset = venue_offset(self._samples, self._keep)
        return self.offset


def _contradicts(sample: Sample, offset: Offset) -> bool:
    """Tell whether a sample cannot be of the clock that an offset was measured of."""
    alone = venue_offset([sample])
    return abs(alone.offset_ns - offset.offset_ns) > STEP_NS + alone.error_ns + offset.error_ns
