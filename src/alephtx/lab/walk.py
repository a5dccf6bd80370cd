"""Walk-forward: windows of market time in which one learns, and later ones in which it counts.

What is chosen in a training window is tried in the test window behind it. Two things are kept out
of a training (Lopez de Prado, Advances in Financial Machine Learning, 7.4): what lies before its
test and reaches into it (purge), and what follows an earlier test and still remembers it (embargo).

Purge: `purge_s` between the end of a training and its own test. What is learnt at t looks ahead as
far as t + purge_s at most, so nothing of it lies in the test.

Embargo: windows only move forwards, so no test is judged by what was learnt behind it. But later
trainings hold earlier tests, and what follows these; `embargo_s` behind the end of each earlier
test is left out of them, so that what a later fold learns is no echo of what an earlier one was
tried on. A training is then several stretches, each of which begins flat.
"""

from typing import NamedTuple

from alephtx.core.errors import ConfigError
from alephtx.lab.plan import Walk

SECOND_NS = 10**9


class Window(NamedTuple):
    """A stretch of market time, ns; its end is not in it."""

    start_ns: int
    end_ns: int


class Fold(NamedTuple):
    """What is learnt in the stretches of `train` is tried in `test`."""

    train: tuple[Window, ...]
    test: Window


def folds(walk: Walk, first_ns: int, last_ns: int) -> list[Fold]:
    """Return the folds that fit between two moments, tests one after another, none overlapping."""
    train_ns, test_ns, purge_ns, embargo_ns = (
        seconds * SECOND_NS for seconds in (walk.train_s, walk.test_s, walk.purge_s, walk.embargo_s)
    )
    if walk.embargo_s >= walk.test_s:
        raise ConfigError(
            f"walk: embargo_s = {walk.embargo_s} is not below test_s = {walk.test_s}: "
            "behind the first test nothing would be left to learn from",
            remedy="an embargo is a small part of a test: lower it, or take longer tests",
        )
    begin = first_ns
    found: list[Fold] = []
    while (end := begin + train_ns) + purge_ns + test_ns <= last_ns:
        whole = Window(first_ns if walk.anchored else begin, end)
        train = _without(whole, [fold.test.end_ns for fold in found], embargo_ns)
        if not train:
            raise ConfigError(
                f"walk: embargo_s = {walk.embargo_s} takes all of a training of {walk.train_s} s",
                remedy="lower it, or take longer trainings",
            )
        found.append(Fold(train, Window(end + purge_ns, end + purge_ns + test_ns)))
        begin += test_ns
    if not found:
        seconds = (last_ns - first_ns) // SECOND_NS
        needed = walk.train_s + walk.purge_s + walk.test_s
        raise ConfigError(
            f"walk: one fold takes {needed} s, and the data spans {seconds} s",
            remedy="take shorter windows or more data",
        )
    return found


def _without(whole: Window, tested: list[int], embargo_ns: int) -> tuple[Window, ...]:
    """Return what is left of a window without the embargo behind each of these moments."""
    left, begin = [], whole.start_ns
    for moment in tested:
        if embargo_ns and moment < whole.end_ns and moment + embargo_ns > begin:
            if begin < moment:
                left.append(Window(begin, moment))
            begin = moment + embargo_ns
    if begin < whole.end_ns:
        left.append(Window(begin, whole.end_ns))
    return tuple(left)
