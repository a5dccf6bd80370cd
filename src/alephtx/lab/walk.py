"""Walk-forward: windows of market time in which one learns, and later ones in which it counts."""

from typing import NamedTuple

from alephtx.core.errors import ConfigError
from alephtx.lab.plan import Walk

SECOND_NS = 10**9


class Window(NamedTuple):
    """A stretch of market time, ns; its end is not in it."""

    start_ns: int
    end_ns: int


class Fold(NamedTuple):
    """What is learnt in `train` is tried in `test`; between them purge and embargo."""

    train: Window
    test: Window


def folds(walk: Walk, first_ns: int, last_ns: int) -> list[Fold]:
    """Return the folds that fit between two moments, tests one after another, none overlapping."""
    gap, test = (walk.purge_s + walk.embargo_s) * SECOND_NS, walk.test_s * SECOND_NS
    begin, found = first_ns, []
    while True:
        end = begin + walk.train_s * SECOND_NS
        if end + gap + test > last_ns:
            break
        train = Window(first_ns if walk.anchored else begin, end)
        found.append(Fold(train, Window(end + gap, end + gap + test)))
        begin += test
    if not found:
        seconds = (last_ns - first_ns) // SECOND_NS
        needed = walk.train_s + walk.purge_s + walk.embargo_s + walk.test_s
        raise ConfigError(
            f"walk: one fold takes {needed} s, and the data spans {seconds} s",
            remedy="take shorter windows or more data",
        )
    return found
