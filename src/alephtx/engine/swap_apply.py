"""A swap inside the loop: the canary beside the running version, and the switch. Compiled.

A canary works on a context of its own (`swap_canary.Beside`): the engine's memory, but for its
strategy's row, params, state, intents and what the gate writes into. So it sees what the running
version sees, and nothing that it wants has a way out. After the switch the same stage times the
version that runs.
"""

import numpy as np

from alephtx.core.atomics import load_relaxed, monotonic_ns, store_relaxed, store_release
from alephtx.core.histogram import hist_add
from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import FIELD_WORDS, field, rows_at
from alephtx.core.ports import Rows
from alephtx.core.stages import call_stage
from alephtx.engine._call import enter_pair
from alephtx.engine.context import (
    A_JUDGE,
    EVENTS,
    F_ADDRESSES,
    F_CONTROL,
    F_EVENT,
    F_GATE,
    F_HISTOGRAMS,
    F_INTENTS,
    F_JOURNAL,
    F_NOW,
    F_STRATEGIES,
    HIST_STEP,
    I1,
    I2,
    INTENTS,
    INTENTS_MAX,
    S_CANARY,
    S_DENIED,
    S_ENABLED,
    S_ERRORS,
    S_EVENTS,
    S_INTENTS,
    S_ON_EVENT,
    S_OVER,
    X_HALTED,
    X_INPUT_SEQ,
    X_LANES_OPEN,
    X_MEASURE,
)
from alephtx.engine.emit import call_hook
from alephtx.matrix.journal import COMMAND as COMMAND_RECORD
from alephtx.matrix.journal import journal_append
from alephtx.risk.limits import GateState

PACKED_WORDS = (F_GATE + len(GateState._fields)) * FIELD_WORDS
"""Words of a packed context. A canary's go on: a count, then (to, from, words) for each copy that
its gate takes of the engine's before it judges."""

COPIES_MAX = 8
BESIDE_WORDS = PACKED_WORDS + 1 + 3 * COPIES_MAX

BYTES = np.zeros(1, np.uint8)

CALL_NS_MAX = 20_000_000
"""A canary that takes so long once is over at once: the running version waits for it."""

PENDING, APPLIED, NOT_KEPT, NOT_MIGRATED = 0, 1, 2, 3
"""First word of a switch: what has come of it."""

B_OUTCOME, B_RECORD, B_BYTES, B_MIGRATE, B_COPIED, B_COUNT, B_OLD = 0, 1, 2, 3, 4, 5, 6
B_STORES = 10
"""Words of a switch: outcome; address and bytes of its record, 0 = none; address of `migrate`,
0 = none; bytes of state to copy; count of stores; B_OLD: address and bytes of the old state, then
of the new one; from B_STORES: pairs of address and value, in the loop's own arrays."""


def canary(x: Rows, which: Int, begun: Int) -> int:
    """Enter the canary of a strategy, or time its running version; which: strategy << 8 | hook.

    begun: monotonic ns before the running version was entered. Returns 0.
    """
    s, hook = which >> 8, which & 0xFF
    control, strategies = field(x, F_CONTROL, I1), field(x, F_STRATEGIES, I2)
    y = rows_at(strategies[s, S_CANARY], BESIDE_WORDS, I1)
    own, times = field(y, F_STRATEGIES, I2)[s], field(y, F_HISTOGRAMS, I2)[HIST_STEP]
    own[S_EVENTS] += 1
    if own[S_ENABLED] == 0:
        if control[X_MEASURE] != 0 and strategies[s, hook] != 0:
            hist_add(times, monotonic_ns() - begun)
        return 0
    address = own[hook]
    if address == 0 or strategies[s, S_ENABLED] == 0:
        return 0
    before = monotonic_ns() if control[X_MEASURE] != 0 else 0
    n = call_hook(y, s, hook, address)
    if control[X_MEASURE] != 0:
        took: Int = monotonic_ns() - before
        hist_add(times, took)
        if took > CALL_NS_MAX:
            own[S_OVER], strategies[s, S_CANARY] = took, 0
    if n < 0 or n > INTENTS_MAX:
        own[S_ERRORS] += 1
    elif n > 0:
        ask(x, y, s, hook, n)
    return 0


@kernel
def ask(x: Rows, y: Rows, s: Int, hook: Int, n: Int) -> None:
    """Ask a canary's own gate about the n intents that it wants."""
    control, own = field(x, F_CONTROL, I1), field(y, F_CONTROL, I1)
    intents, event = field(y, F_INTENTS, INTENTS), field(y, F_EVENT, EVENTS)
    for k in range(n):
        intents[k]["ts_input"] = event[0]["ts_recv"] if hook == S_ON_EVENT else 0
    for word in (X_INPUT_SEQ, X_HALTED, X_LANES_OPEN):
        own[word] = control[word]
    for k in range(y[PACKED_WORDS]):
        at = PACKED_WORDS + 1 + 3 * k
        _copy(y[at], y[at + 1], y[at + 2])
    passed = call_stage(field(x, F_ADDRESSES, I1)[A_JUDGE], y, s, n)
    row = field(y, F_STRATEGIES, I2)[s]
    row[S_INTENTS] += n
    row[S_DENIED] += n - passed


@kernel
def _copy(to: Int, source: Int, words: Int) -> None:
    """Copy words of memory that this thread owns."""
    for k in range(words):
        store_relaxed(to + 8 * k, load_relaxed(source + 8 * k))


@kernel
def _hand_over(old: Int, new: Int, size: Int) -> None:
    """Copy a state, byte by byte: a record may be of any length."""
    source, to = rows_at(old, size, BYTES), rows_at(new, size, BYTES)
    for k in range(size):
        to[k] = source[k]


@kernel
def apply_swap(x: Rows, command: Rows) -> int:
    """Do what a switch says, between two events; returns its outcome.

    command: kind, address of the switch (B_...), its words. The order: `migrate`, which touches
    only the new state; the record; the state; the stores. A refusal changes nothing.
    """
    switch = rows_at(command[1], command[2], I1)
    outcome = APPLIED
    if switch[B_MIGRATE] != 0 and enter_pair(switch[B_MIGRATE], switch[B_OLD:B_STORES]) < 0:
        outcome = NOT_MIGRATED
    elif switch[B_BYTES] != 0:
        now, seq = field(x, F_NOW, I1)[0], field(x, F_CONTROL, I1)[X_INPUT_SEQ]
        kept = journal_append(
            field(x, F_JOURNAL, I1), COMMAND_RECORD, 1, seq, now, switch[B_RECORD], switch[B_BYTES]
        )
        outcome = NOT_KEPT if kept < 0 else APPLIED
    if outcome == APPLIED:
        _hand_over(switch[B_OLD], switch[B_OLD + 2], switch[B_COPIED])
        for k in range(switch[B_COUNT]):
            at = B_STORES + 2 * k
            store_relaxed(switch[at], switch[at + 1])
    store_release(command[1], outcome)
    return outcome
