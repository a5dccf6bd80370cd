"""Keep the loop's code and data in the near cache while it waits.

A loop that spins on two words leaves all else to whoever shares its caches: on a rented core the
way from a message to a signed order took 3 us when the last one was just before, 27 after 4 ms and
42 after 16; kept near it took 14 and 16 (`bench/near.py`, docs/decisions/0042). So an idle round
asks for a few lines of what the next turn will need, one after another. It asks for, and never
reads: an address that is not mapped any more is no matter, and nothing waits for what is asked for.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alephtx.core.atomics import load_acquire, store_release
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.memory import fetch_far
from alephtx.core.packed import rows_at
from alephtx.core.ports import Rows, Stage

LINE = 64
LINES = 8
"""Asked for in an idle round: some 10 ns."""

ARRAY_MAX = 1 << 16
"""Bytes of an array that are kept, from its beginning: a table for thousands of instruments would
push the rest out."""
TOTAL_MAX = 1 << 20
"""Bytes that are kept, but no more than half of a core's own cache, see `room`."""

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
UNKNOWN_CACHE = 1 << 19

LOOK_NS = 2_000_000_000

Span = tuple[int, int]
"""Address and bytes."""

# Words of a list: where it is, in which span, how many; then the spans, begin and end.
N_AT, N_SPAN, N_COUNT = 0, 1, 2
N_SPANS = 4
_I1 = np.zeros(1, np.int64)


@inline_kernel
def keep_near(place: Int) -> None:
    """Ask for the next lines of the list whose address is at `place`; 0 there: nothing to keep."""
    listed = load_acquire(place)
    if listed == 0:
        return
    words = rows_at(listed, N_SPANS, _I1)
    spans = rows_at(listed, N_SPANS + 2 * words[N_COUNT], _I1)
    at, span = words[N_AT], words[N_SPAN]
    for _ in range(LINES):
        if at >= spans[N_SPANS + 2 * span + 1]:
            span = span + 1 if span + 1 < words[N_COUNT] else 0
            at = spans[N_SPANS + 2 * span]
        fetch_far(at)
        at += LINE
    words[N_AT], words[N_SPAN] = at, span


@kernel
def show(place: Int, listed: Int) -> None:
    """Let the loop whose word is at `place` find a list at this address."""
    store_release(place, listed)


class Near:
    """A list of spans that a loop keeps, whose address is in its `place`; for one other thread."""

    def __init__(self, place: int) -> None:
        self._place, self._due_ns, self._most = place, 0, room()
        self._spans: list[Span] = []
        self._lists: list[Rows] = []

    @property
    def size(self) -> int:
        """Return how many bytes are kept."""
        return sum(size for _, size in self._spans)

    def look(self, now_ns: int, spans: Callable[[], Iterable[Span]]) -> None:
        """Find out anew what is to be kept, now and then: links, books and strategies change."""
        if now_ns >= self._due_ns:
            self._due_ns = now_ns + LOOK_NS
            self.keep(spans())

    def keep(self, spans: Iterable[Span]) -> None:
        """Let the loop keep these from its next round on."""
        wanted = merged(spans, self._most)
        if wanted == self._spans:
            return
        made = np.zeros(N_SPANS + 2 * len(wanted), np.int64)
        made[N_COUNT] = len(wanted)
        for k, (address, size) in enumerate(wanted):
            made[N_SPANS + 2 * k : N_SPANS + 2 * k + 2] = address, address + size
        if wanted:
            made[N_AT] = wanted[0][0]
        # A round that has begun still uses the one before: it lives until the next but one.
        self._lists = [*self._lists[-1:], made]
        self._spans = wanted
        show(self._place, made.ctypes.data if wanted else 0)


def room(caches: Path = CACHES) -> int:
    """Return how many bytes may be kept on this machine: half of a second-level cache.

    More would push each other out.
    """
    for level in caches.glob("index*/level"):
        size = level.with_name("size")
        if level.read_text().strip() == "2" and size.exists():
            text = size.read_text().strip()  # "2048K"
            number, unit = text.rstrip("KM"), {"K": 10, "M": 20}.get(text[-1:], 0)
            if number.isdigit():
                return min(TOTAL_MAX, (int(number) << unit) // 2)
    return UNKNOWN_CACHE // 2


def merged(spans: Iterable[Span], most: int = TOTAL_MAX) -> list[Span]:
    """Return the first so many bytes of spans as whole lines, each once, by address."""
    lines, left = [], most
    for at, size in spans:
        begin, end = at // LINE * LINE, -(-(at + min(size, left)) // LINE) * LINE
        if size > 0 and left > 0:
            lines.append((begin, end))
            left -= end - begin
    joined: list[list[int]] = []
    for begin, end in sorted(lines):
        if joined and begin <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([begin, end])
    return [(begin, end - begin) for begin, end in joined]


def memory_of(*things: Any) -> Iterator[Span]:
    """Yield where arrays lie, in whatever tuples, lists and stages they are."""
    for thing in things:
        if isinstance(thing, np.ndarray):
            yield thing.ctypes.data, min(thing.nbytes, ARRAY_MAX)
        elif isinstance(thing, bytearray) and thing:
            yield from memory_of(np.frombuffer(thing, np.uint8))
        elif isinstance(thing, Stage):
            yield from memory_of(thing.state, thing.owners)
        elif isinstance(thing, (tuple, list)):
            yield from memory_of(*thing)


def code_spans(maps: str | None = None) -> list[Span]:
    """Return where this process's compiled kernels lie, and what of them is only read.

    That is memory that is of no file and that nobody may write. maps: as /proc/self/maps has it.
    """
    if maps is None:
        listing = Path("/proc/self/maps")
        maps = listing.read_text() if listing.exists() else ""
    found: dict[str, list[Span]] = {"r-xp": [], "r--p": []}
    for line in maps.splitlines():
        row = line.split(maxsplit=5)
        if len(row) == 5 and row[1] in found:
            begin, end = (int(one, 16) for one in row[0].split("-"))
            found[row[1]].append((begin, end - begin))
    return found["r-xp"] + found["r--p"]
