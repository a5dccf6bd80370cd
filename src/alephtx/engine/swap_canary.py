"""What stands beside a running strategy: a canary before a swap, a watch after it.

`Beside` is a second context over the engine's own memory. Of its own it has what a strategy or the
gate writes: the strategy's row, params and state, intents, counters, and the arrays of the gate
that remember. What the gate derives from market and fills is copied from the engine's before each
question; tokens, recent orders and typical sizes go on by themselves, so that a canary pays for its
own pace. The engine's limits hold for it as they were when it began.
"""

from typing import Any

import numpy as np

from alephtx.core.histogram import COUNT, make_histogram, quantile
from alephtx.core.records import INTENT
from alephtx.engine import context as c
from alephtx.engine.assemble import Loaded, data_of, entry_columns
from alephtx.engine.context import Context, pack
from alephtx.engine.swap_apply import BESIDE_WORDS, PACKED_WORDS

REFRESHED = ("latched", "firm", "accounts", "cells")
"""Arrays of the gate that its questions write, and the market and fills too: copied each time."""

OWN = ("buckets", "messages", "recent", "typical")
"""Arrays of the gate that only its questions write."""

CALLS_MIN, CALLS_FEW = 100, 20
"""Times of calls that a p99 needs to be one, while it goes on and at the end."""


class Beside:
    """One strategy's canary (new: the version to try) or watch (None); keep it while it is on."""

    def __init__(self, ctx: Context, index: int, new: Loaded | None) -> None:
        self.index, self.new = index, new
        gate = ctx.gate._replace(
            **{name: getattr(ctx.gate, name).copy() for name in (*REFRESHED, *OWN)}
        )
        self.ctx = ctx._replace(
            gate=gate, strategies=np.zeros_like(ctx.strategies), data=ctx.data.copy(),
            control=ctx.control.copy(), counters=np.zeros_like(ctx.counters),
            histograms=np.stack([make_histogram() for _ in range(c.HISTOGRAMS)]),
            intents=np.zeros(c.INTENTS_MAX, INTENT),
        )  # fmt: skip
        self.row = self.ctx.strategies[index]
        if new is not None:
            for column, value in entry_columns(new).items():
                self.row[column] = value
            self.row[c.S_ENABLED] = 1
            self.ctx.data[index] = data_of(new)
        self.ctx.control[c.X_DIRTY] = 0
        self.ctx.control[c.X_MEASURE] = 0  # its calls are timed by `swap_apply`, into its own book
        self.words = np.zeros(BESIDE_WORDS, np.int64)
        self.words[:PACKED_WORDS] = pack(self.ctx)
        self.words[PACKED_WORDS] = len(REFRESHED)
        for k, name in enumerate(REFRESHED):
            source, to = getattr(ctx.gate, name), getattr(gate, name)
            at = PACKED_WORDS + 1 + 3 * k
            self.words[at : at + 3] = to.ctypes.data, source.ctypes.data, source.size

    @property
    def address(self) -> int:
        """What the strategy's row names it by."""
        return int(self.words.ctypes.data)

    @property
    def times(self) -> Any:
        """The histogram of its calls' times, ns."""
        return self.ctx.histograms[c.HIST_STEP]

    def counts(self) -> dict[str, int]:
        """Return what it did so far. Of a watch: calls and times only."""
        times = self.times
        return {
            "calls": int(self.row[c.S_EVENTS]), "errors": int(self.row[c.S_ERRORS]),
            "intents": int(self.row[c.S_INTENTS]), "denied": int(self.row[c.S_DENIED]),
            "timed": int(times[COUNT]), "p50_ns": quantile(times, 0.5),
            "p99_ns": quantile(times, 0.99), "over_ns": int(self.row[c.S_OVER]),
        }  # fmt: skip


def too_slow(counts: dict[str, int], budget_ns: int, *, at_end: bool) -> str:
    """Say why a version breaks its budget, "" where it does not; budget 0: there is none."""
    enough = CALLS_FEW if at_end else CALLS_MIN
    if budget_ns <= 0 or counts["timed"] < enough or counts["p99_ns"] <= budget_ns:
        return ""
    return (
        f"it breaks its budget: p99 {counts['p99_ns']} ns of {counts['timed']} calls, "
        f"{budget_ns} ns allowed"
    )


def too_denied(intents: int, denied: int, denied_max: float) -> str:
    """Say why a version is denied too much, "" where it is not or too few intents say."""
    if intents < DENIED_MIN or denied <= denied_max * intents:
        return ""
    return f"the gate denies too much: {denied} of {intents} intents, {denied_max:g} of them may be"


DENIED_MIN = 20
"""Intents from which on a share of denials says something."""
