"""What the loop measures of itself, where `control[X_MEASURE]` allows: histograms of its stages.

Every order that leaves is counted from the receive stamp of what caused it, never from the moment
somebody had time for it: a loop that was held up shows in every event that waited meanwhile. Real
processes only; a simulated world's time does not pass inside a step. Compiled.

The book is two arrays behind the address A_LAYERS, 0 = nobody keeps one. One writer: the loop.
"""

import numpy as np

from alephtx.core.atomics import monotonic_ns
from alephtx.core.histogram import hist_add
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.layers import STAGE_DECIDE, STAGE_ORDER, STAGE_SEND, STAGE_STRATEGY
from alephtx.core.packed import FIELD_WORDS, field, rows_at
from alephtx.core.ports import Rows
from alephtx.core.words import PASS
from alephtx.engine.context import (
    A_LAYERS,
    F_ADDRESSES,
    F_INTENTS,
    F_NOW,
    F_STRATEGIES,
    F_UPDATE,
    I1,
    I2,
    I3,
    INTENTS,
    INTENTS_MAX,
    S_BUDGET_NS,
    S_ON_TIMER,
    S_ON_UPDATE,
    S_TIMER_NEXT,
    UPDATES,
    X_INPUT_SEQ,
    X_MEASURE,
)

BOOK_HISTOGRAMS, BOOK_WORDS = 0, 1
"""Fields of a book: int64 (S, stages, histogram words) and int64 (S, WATCH_WORDS)."""

BOOK_SIZE = 2 * FIELD_WORDS

W_OVER, W_GRAVE, W_DUE, W_CAUSE = 0, 1, 2, 3
WATCH_WORDS = 8
"""Words of a strategy: orders over its budget, orders beyond GRAVE times it; when its timer was
due; the receive stamp of the update or timer that its intents answer."""

GRAVE = 10


@inline_kernel
def call_begun(control: Rows) -> int:
    """Return the time if this call is one of those whose strategy is timed, else 0.

    One input in 16, by a hash of its number: two readings of the clock are a third of what an event
    costs, and every 16th event of a market may be special, every hashed one is not.
    """
    if control[X_MEASURE] == 0:
        return 0
    if ((control[X_INPUT_SEQ] & 0x3FFFFFFF) * 0x9E3779B1 >> 28) & 15 != 0:
        return 0
    return monotonic_ns()


@kernel
def note_call(x: Rows, s: Int, hook: Int, begun: Int, n: Int) -> None:
    """Count what a call took, if it was timed, and keep what caused the n intents it wrote."""
    took: Int = monotonic_ns() - begun if begun != 0 else 0
    if field(x, F_ADDRESSES, I1)[A_LAYERS] == 0:
        return
    book = rows_at(field(x, F_ADDRESSES, I1)[A_LAYERS], BOOK_SIZE, I1)
    if begun != 0:
        hist_add(field(book, BOOK_HISTOGRAMS, I3)[s, STAGE_STRATEGY], took)
    words = field(book, BOOK_WORDS, I2)[s]
    cause: Int = 0
    if hook == S_ON_UPDATE:
        cause = field(x, F_UPDATE, UPDATES)[0]["ts_recv"]
    elif hook == S_ON_TIMER:  # due when the call before set it, whenever its turn came
        cause = words[W_DUE]
        words[W_DUE] = field(x, F_STRATEGIES, I2)[s, S_TIMER_NEXT]
    words[W_CAUSE] = cause if 0 < n <= INTENTS_MAX else 0


@kernel
def note_decided(x: Rows, s: Int, n: Int) -> None:
    """Count how long n intents took until now; those that passed, each from its cause.

    On their way out rows get that moment as their ts_intent, and those without a receive stamp get
    their cause's. What the journal holds stays: the round's time, and market data's stamps. The
    clock, three quarters of what this costs, is read once, and not at all where nothing passed.
    """
    now, intents = field(x, F_NOW, I1), field(x, F_INTENTS, INTENTS)
    if field(x, F_ADDRESSES, I1)[A_LAYERS] == 0:
        return
    book = rows_at(field(x, F_ADDRESSES, I1)[A_LAYERS], BOOK_SIZE, I1)
    words = field(book, BOOK_WORDS, I2)[s]
    decided: Int = np.int64(0)
    for k in range(n):
        if intents[k]["verdict"] != PASS:
            continue
        if decided == 0:
            decided = monotonic_ns() + now[0] - now[3]
        intents[k]["ts_intent"] = decided
        if intents[k]["ts_input"] == 0:
            intents[k]["ts_input"] = words[W_CAUSE]
        if intents[k]["ts_input"] != 0:
            histograms = field(book, BOOK_HISTOGRAMS, I3)
            hist_add(histograms[s, STAGE_DECIDE], decided - intents[k]["ts_input"])
    words[W_CAUSE] = 0


@kernel
def note_left(x: Rows, s: Int, n: Int) -> None:
    """Count those of n intents that the loop itself has sent; the gateway counts its own.

    Until now, when the kernel has their bytes: `ts_sent` is of the moment before.
    """
    now, intents = field(x, F_NOW, I1), field(x, F_INTENTS, INTENTS)
    if field(x, F_ADDRESSES, I1)[A_LAYERS] == 0:
        return
    book = rows_at(field(x, F_ADDRESSES, I1)[A_LAYERS], BOOK_SIZE, I1)
    budget = field(x, F_STRATEGIES, I2)[s, S_BUDGET_NS]
    left: Int = np.int64(0)
    for k in range(n):
        if intents[k]["ts_sent"] != 0 and intents[k]["verdict"] == PASS:
            if left == 0:
                left = monotonic_ns() + now[0] - now[3]
            count_order(
                field(book, BOOK_HISTOGRAMS, I3)[s], field(book, BOOK_WORDS, I2)[s],
                intents[k]["ts_input"], intents[k]["ts_intent"], left, budget,
            )  # fmt: skip


@kernel
def count_order(
    histograms: Rows, words: Rows, ts_input: Int, ts_intent: Int, ts_sent: Int, budget: Int
) -> None:
    """Count one order that left. histograms, words: one strategy's; ts_input 0: caused by nothing.

    A clock that was set back makes a duration of 0, not one of hours.
    """
    hist_add(histograms[STAGE_SEND], ts_sent - ts_intent)
    if ts_input == 0:
        return
    took = ts_sent - ts_input
    hist_add(histograms[STAGE_ORDER], took)
    if took > budget:
        words[W_OVER] += 1
    if took > GRAVE * budget:
        words[W_GRAVE] += 1
