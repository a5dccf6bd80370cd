"""What a wait costs the message after it, with and without a loop that keeps its caches warm.

From a message to the signed order, in memory, as `lib/ttt_inside.py` has it, after so long a wait
in which the loop does what it does when nothing comes: with what it will need kept near
(`alephtx.core.near`), and without. Every order is made; how far the two are apart depends on who
else uses the machine's caches.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from lib.rounds import interleave, options, report

LIB = Path(__file__).parent / "lib"
sys.path.insert(0, str(LIB))

from ttt_inside import Inside  # noqa: E402 - its neighbours are found by the path

from alephtx.core.near import Near, Span, code_spans, memory_of  # noqa: E402
from alephtx.engine import context as c  # noqa: E402

WAITS_MS = (0, 1, 4, 16)
WARM = 200


def spans_of(inside: Inside) -> list[Span]:
    """Return what the loop would keep: as `engine.near` and `feed.spinner` have it."""
    held = memory_of(inside.ctx[c.F_NOW :], inside.outlet.near, inside.stages)
    return [*code_spans(), *held]


def way(inside: Inside, keep: Callable[[], None], wait_ms: int, ticks: int) -> float:
    """Return the median of so many messages, us."""
    keep()
    _, sizes, took = inside.block(ticks, wait_ms * 1_000_000)
    assert (sizes > 0).all(), f"no order: {sizes.min()}"
    whole = np.arange(ticks) >> 1 & 1 == 0  # at the others the parts are timed, too
    return float(np.median((took[:, -1] - took[:, 0])[whole])) / 1_000


def main() -> None:
    """Print the time after each wait, kept near and not."""
    parser = options(__doc__)
    parser.add_argument("--ticks", type=int, default=24, help="of a way in a round")
    given = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        inside = Inside(Path(folder), "short")
        try:
            inside.start()
            inside.block(WARM)
            near, spans = Near(inside.near_word.ctypes.data), spans_of(inside)
            ways, against = {}, {}
            for wait in WAITS_MS:
                plain, kept = f"after {wait} ms", f"after {wait} ms, kept near"
                ways[plain] = partial(way, inside, partial(near.keep, []), wait, given.ticks)
                ways[kept] = partial(way, inside, partial(near.keep, spans), wait, given.ticks)
                against[kept] = plain
            figures = interleave(ways, given.rounds)
        finally:
            inside.close()
    report("near", figures, "us", against=against, as_json=given.json)


if __name__ == "__main__":
    main()
