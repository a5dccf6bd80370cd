"""The heartbeat of a lane, in the loop itself: what `Outlet.look_after` does, a few books a turn.

Were it the asyncio thread's, it would take the baton fifty times a second, and a loop that cannot
receive meanwhile waits for whatever keeps that thread from its processor: milliseconds at times.
"""

from typing import TYPE_CHECKING

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field, pack_fields
from alephtx.core.ports import Rows
from alephtx.core.records import TOP_ROW
from alephtx.feed.frame_in import I1, O_MAP, O_WORDS, W_OFFSET, W_VENUE, intake_of
from alephtx.feed.intake import look_after

if TYPE_CHECKING:
    from alephtx.feed.outlet import Outlet

# Fields of a beat: its words, indices of the venue's instruments, a scratch top, crossed books.
_WORDS, _INDICES, _TOP, _CROSSED = 0, 1, 2, 3
BEAT_FIELDS = 4

# Words.
W_WRITER, W_EVERY_NS, W_CROSSED_MAX_NS, W_DUE, W_NEXT, W_FOUND = 0, 1, 2, 3, 4, 5
BEAT_WORDS = 8

BOOKS_A_TURN = 32
ROUNDS_KEPT = 4
"""Rounds whose crossed books are kept for the asyncio thread, which looks once in each."""

TOPS = np.zeros(1, TOP_ROW)


class Beat:
    """A lane's beat; packed: for `keep_beat`, which the loop calls. Times in ns."""

    def __init__(self, outlet: "Outlet", every_ns: int, crossed_max_ns: int) -> None:
        self._indices = np.array(outlet.instruments, np.int64)
        self._top = np.zeros(1, TOP_ROW)
        self.words: Rows = np.zeros(BEAT_WORDS, np.int64)
        self.words[[W_WRITER, W_EVERY_NS, W_CROSSED_MAX_NS]] = (
            outlet.writer, every_ns, crossed_max_ns,
        )  # fmt: skip
        self._crossed = np.zeros(ROUNDS_KEPT * len(self._indices) + 1, np.int64)
        self.packed = pack_fields([self.words, self._indices, self._top, self._crossed])

    def crossed(self) -> list[int]:
        """Take the instruments whose book stays crossed; for who has the lane's baton."""
        found: list[int] = self._crossed[: self.words[W_FOUND]].tolist()
        self.words[W_FOUND] = 0
        return found


@kernel
def keep_beat(beat: Rows, outlet: Rows, now_ns: Int) -> None:
    """Beat if it is time, and look at a few books; the rest of a round is the next turns'.

    beat: `Beat.packed`; outlet: `Outlet.packed`. Some ten ns a book, nothing while it is not time.
    """
    own = field(beat, _WORDS, I1)
    if now_ns < own[W_DUE]:
        return
    indices, crossed = field(beat, _INDICES, I1), field(beat, _CROSSED, I1)
    words, begin, found = field(outlet, O_WORDS, I1), own[W_NEXT], own[W_FOUND]
    end = min(begin + BOOKS_A_TURN, len(indices))
    if found + end - begin > len(crossed):  # nobody takes them; what stays crossed is found again
        own[W_FOUND] = found = 0
    own[W_FOUND] = found + look_after(
        field(outlet, O_MAP, I1), words[W_VENUE], own[W_WRITER], words[W_OFFSET], now_ns,
        intake_of(outlet), indices[begin:end], own[W_CROSSED_MAX_NS], field(beat, _TOP, TOPS),
        crossed[found:],
    )  # fmt: skip
    own[W_NEXT] = end
    if end == len(indices):
        own[W_NEXT], own[W_DUE] = 0, now_ns + own[W_EVERY_NS]
