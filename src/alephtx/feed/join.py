"""How a delta message joins a book: apply, skip, wait for the snapshot, or admit a gap.

Deltas carry absolute quantities, so applying one twice does no harm and skipping one does. The
rules are those of Binance's "How to manage a local order book correctly": spot drops
u <= lastUpdateId and its first event must contain lastUpdateId + 1; futures drop u < lastUpdateId
and their first event must contain lastUpdateId itself. Where every message is a whole book, the
newest wins.

A live book that meets only old messages for long is a sequence that the venue restarted without
closing the link: after SKIPS_MAX of them, or SKIPS_NS, the join says GAP rather than showing a dead
book.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, kernel

APPLY, SKIP, GAP, WAIT = 1, 2, 3, 4
VERDICT_NAMES = {APPLY: "apply", SKIP: "skip", GAP: "gap", WAIT: "wait"}

# Words of one instrument's state.
PHASE, LAST, SKIPPED, SINCE, WORDS = 0, 1, 2, 3, 4
# Phases: no book; a snapshot whose first delta is to come; a book that grows by deltas.
BLANK, SEEDED, LIVE = 0, 1, 2
SKIPS_MAX = 8
"""Repeats and swaps bring one or two in a row. At ten messages a second it is a dead second."""
SKIPS_NS = 500_000_000
"""Where messages are rare, eight of them would take long: a repeat comes sooner than this."""

_SPOT, _FUTURES, _FULL = 1, 2, 3  # ports.JoinRule as plain ints, which kernels freeze

States = np.ndarray[Any, Any]


def make_states(instruments: int) -> States:
    """Return blank states: int64 (instruments, WORDS)."""
    return np.zeros((instruments, WORDS), np.int64)


@kernel
def join_reset(states: States, i: Int) -> None:
    """Forget an instrument's sequence: deltas wait for the next snapshot."""
    states[i, 0] = 0
    states[i, 1] = 0
    states[i, 2] = 0


@kernel
def join_snapshot(states: States, i: Int, last_update_id: Int) -> None:
    """Start an instrument's sequence from a snapshot."""
    states[i, 0] = 1
    states[i, 1] = last_update_id
    states[i, 2] = 0


@kernel
def _skip(states: States, i: Int, ts: Int) -> int:
    if states[i, PHASE] == LIVE:
        if states[i, SKIPPED] == 0:
            states[i, SINCE] = ts
        states[i, SKIPPED] += 1
        if states[i, SKIPPED] > SKIPS_MAX or ts - states[i, SINCE] > SKIPS_NS:
            return GAP
    return SKIP


@kernel
def join(rule: Int, states: States, i: Int, first: Int, previous: Int, seq: Int, ts: Int) -> int:
    """Judge one message of instrument i and, on APPLY, move its state on.

    first = U, previous = pu (-1 where the venue has none), seq = u or the book's time; ts: when we
    heard it, ns. After GAP the state is blank. Returns APPLY, SKIP, GAP or WAIT. About 5 ns.
    """
    phase, last = states[i, 0], states[i, 1]
    if rule == _FULL:
        verdict = _skip(states, i, ts) if phase == LIVE and seq < last else APPLY
    elif phase == BLANK:
        return WAIT
    elif seq < first:  # not a range: the frame is broken
        verdict = GAP
    elif rule == _SPOT:
        if seq <= last:
            verdict = _skip(states, i, ts)
        elif first > last + 1:
            verdict = GAP
        else:
            verdict = APPLY
    elif phase == SEEDED:
        if seq < last:
            verdict = SKIP
        elif first > last:
            verdict = GAP
        else:
            verdict = APPLY
    elif previous == last:
        verdict = APPLY
    elif seq <= last:
        verdict = _skip(states, i, ts)
    else:
        verdict = GAP
    if verdict == APPLY:
        states[i, 0] = LIVE
        states[i, 1] = seq
        states[i, 2] = 0
    elif verdict == GAP:
        states[i, 0] = BLANK
        states[i, 1] = 0
        states[i, 2] = 0
    return verdict
