"""The layers of one engine: every order's way measured, budgets watched, breaches alarmed.

The loop counts what it sends itself (`stopwatch`), the main thread what the gateways send; each has
histograms of its own, and a reader adds them. A look compares them with those of ten seconds ago.
"""

from collections import deque
from typing import Any, NamedTuple

import numpy as np

from alephtx.core import words
from alephtx.core.histogram import (
    BUCKETS,
    COUNT,
    EDGES,
    SUM,
    WORDS,
    Counts,
    coarse,
    hist_add,
    make_histogram,
    merge,
    quantiles,
    summary,
)
from alephtx.core.layers import LAYERS, STAGE_ORDER, STAGE_STRATEGY, STAGES
from alephtx.core.log import logger
from alephtx.core.packed import pack_fields
from alephtx.engine import context as c
from alephtx.engine.stopwatch import W_GRAVE, W_OVER, WATCH_WORDS, count_order
from alephtx.execution.intents import (
    OP,
    ORDER_ID,
    STRATEGY,
    TARGET,
    TS_INPUT,
    TS_INTENT,
    TS_SENT,
    Values,
)

log = logger("engine")

WINDOW_NS, MARK_NS = 10_000_000_000, 1_000_000_000
ORDERS_MIN = 20
"""Orders in a window from which on its 99th percentile says something."""

PENDING_MAX = 65_536
"""Orders on their way to a gateway that are remembered; the oldest go, which never left."""


class Mark(NamedTuple):
    """How far everything was counted at a moment: by strategy; orders: histograms by strategy."""

    at_ns: int
    sent: Counts
    over: Counts
    grave: Counts
    orders: dict[int, Counts]


class Layers:
    """Measures the strategies of an engine.

    measure: whether the loop may read the clock. live: orders go to venues; elsewhere no loop sends
    them, and budgets of L0 are told and not judged.
    """

    def __init__(self, ctx: c.Context, names: list[str], *, measure: bool, live: bool) -> None:
        strategies = len(ctx.strategies)
        shape = (strategies, len(STAGES), WORDS)
        self.ctx, self.names = ctx, names
        self.intent_to_wire = make_histogram()
        self.loop, self.own = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.loop_words = np.zeros((strategies, WATCH_WORDS), np.int64)
        self.own_words = np.zeros((strategies, WATCH_WORDS), np.int64)
        self.breaches = [0] * strategies
        self.alarms: list[str] = []
        self._live = live
        self._pending: dict[tuple[int, int], tuple[int, int, int]] = {}
        none = np.zeros(strategies, np.int64)
        self._nothing = Mark(0, none, none, none, {})
        self._marks: deque[Mark] = deque()
        self._raised: dict[int, int] = {}  # strategy -> when
        self._windows: dict[int, dict[str, int]] = {}
        self._told: dict[str, Any] = {}
        self._told_ns = -MARK_NS
        self._book = pack_fields([self.loop, self.loop_words])
        spare = np.zeros(shape[1:], np.int64)  # so that no order waits for code to be loaded
        count_order(spare, self.own_words[0].copy(), 1, 1, 1, 1)
        hist_add(spare[0], 0)
        ctx.addresses[c.A_LAYERS] = self._book.ctypes.data
        ctx.control[c.X_MEASURE] = int(measure)

    # -- the main thread's counting ------------------------------------------------------------

    def taken(self, rows: list[Values]) -> None:
        """Remember intents on their way to their gateway; the loop has counted what it sent."""
        for row in rows:
            if row[TS_SENT]:
                continue
            op = row[OP]
            if len(self._pending) >= PENDING_MAX:
                del self._pending[next(iter(self._pending))]
            order_id = row[ORDER_ID if op == words.PLACE else TARGET]
            self._pending[op, order_id] = row[STRATEGY], row[TS_INPUT], row[TS_INTENT]

    def sent(self, op: int, order_id: int, now_ns: int) -> None:
        """Count an intent whose bytes a gateway handed over, if a strategy asked for it."""
        found = self._pending.pop((op, order_id), None)
        if found is None:
            return
        s, ts_input, ts_intent = found
        hist_add(self.intent_to_wire, now_ns - ts_intent)
        budget = int(self.ctx.strategies[s, c.S_BUDGET_NS])
        count_order(self.own[s], self.own_words[s], ts_input, ts_intent, now_ns, budget)

    def called(self, s: int, took_ns: int) -> None:
        """Count a call of an uncompiled strategy."""
        hist_add(self.own[s, STAGE_STRATEGY], took_ns)

    # -- what readers see ----------------------------------------------------------------------

    def histogram(self, s: int, stage: int) -> Counts:
        """Return a strategy's histogram of a stage, loop's and main thread's together; a copy."""
        total = self.loop[s, stage].copy()
        merge(total, self.own[s, stage])
        return total

    def look(self, now_ns: int) -> None:
        """Judge the last ten seconds; raise and clear alarms. now_ns: monotonic."""
        marks = self._marks
        if not marks:
            marks.append(self._nothing._replace(at_ns=now_ns))
        mark = self._mark(now_ns)
        while len(marks) > 1 and now_ns - marks[1].at_ns >= WINDOW_NS:
            marks.popleft()
        base = marks[0]
        self.alarms, self._windows = [], {}
        for s in range(len(self.names)):
            self._judge(s, base, mark)
        if now_ns - marks[-1].at_ns >= MARK_NS:
            marks.append(mark)
        ours = self.ctx.strategies
        ours[:, c.S_OVER], ours[:, c.S_DECISIONS] = mark.over, mark.sent

    def _mark(self, now_ns: int) -> Mark:
        last = self._marks[-1]
        sent = self.loop[:, STAGE_ORDER, COUNT] + self.own[:, STAGE_ORDER, COUNT]
        orders = {
            s: last.orders[s]
            if s in last.orders and last.sent[s] == sent[s]
            else self.loop[s, STAGE_ORDER, :BUCKETS] + self.own[s, STAGE_ORDER, :BUCKETS]
            for s in np.flatnonzero(sent).tolist()
        }
        both = self.loop_words + self.own_words
        return Mark(now_ns, sent, both[:, W_OVER], both[:, W_GRAVE], orders)

    def _judge(self, s: int, base: Mark, mark: Mark) -> None:
        """Compare a strategy's window with its budget: exact counts judge, buckets only tell."""
        n = int(mark.sent[s] - base.sent[s])
        if n <= 0:
            self._clear(s)
            return
        window = make_histogram()
        window[:BUCKETS] = mark.orders[s] - base.orders.get(s, 0)
        window[-1] = max(self.loop[s, STAGE_ORDER, -1], self.own[s, STAGE_ORDER, -1])
        p50, p99, most = quantiles(window, (0.5, 0.99, 1.0))
        self._windows[s] = {"count": n, "p50": p50, "p99": p99, "most": most}
        late = n >= ORDERS_MIN and (mark.over[s] - base.over[s]) * 100 > n
        row = self.ctx.strategies[s]
        judged = self._live or row[c.S_LAYER] != 0
        if not judged or not (late or mark.grave[s] > base.grave[s]):
            self._clear(s)
            return
        budget = int(row[c.S_BUDGET_NS])
        said = f"p99 {micros(p99)}" if late else f"an order took {micros(most)}"
        text = (
            f"strategy {self.names[s]} ({LAYERS[row[c.S_LAYER]]}): {said} in the last 10 s, "
            f"its budget is {micros(budget)}"
        )
        self.alarms.append(text)
        if mark.at_ns - self._raised.get(s, mark.at_ns - WINDOW_NS) >= WINDOW_NS:
            self._raised[s] = mark.at_ns
            self.breaches[s] += 1
            log.warning(
                "budget_broken", strategy=self.names[s], layer=LAYERS[row[c.S_LAYER]], orders=n,
                p99_us=p99 // 1_000, most_us=most // 1_000, budget_us=budget // 1_000,
            )  # fmt: skip

    def _clear(self, s: int) -> None:
        if self._raised.pop(s, None) is not None:
            log.info("budget_kept_again", strategy=self.names[s])

    def told(self, now_ns: int, *, anew: bool = False) -> dict[str, Any]:
        """Return layers, strategies and coarse histograms as status.json has them.

        It costs the main thread half a millisecond with twenty strategies, so it is at most a
        second old, or made anew.
        """
        if anew or now_ns - self._told_ns >= MARK_NS:
            self._told_ns = now_ns
            self.look(now_ns)
            self._told = {
                "layers": self._layers(),
                "strategies": [self._strategy(s) for s in range(len(self.names))],
                "edges_ns": " ".join(map(str, EDGES)),
                "histograms": [
                    row
                    for s in range(len(self.names))
                    for stage in range(len(STAGES))
                    if (row := self._coarse(s, stage))
                ],
            }
        return self._told

    def _layers(self) -> list[dict[str, Any]]:
        rows = []
        for layer, name in enumerate(LAYERS):
            members = [
                s for s in range(len(self.names)) if self.ctx.strategies[s, c.S_LAYER] == layer
            ]
            if not members:
                continue
            stages = {}
            for stage, said in enumerate(STAGES):
                total = make_histogram()
                for s in members:
                    merge(total, self.histogram(s, stage))
                stages[said] = summary(total)
            rows.append({"layer": name, "strategies": len(members), **stages})
        return rows

    def _strategy(self, s: int) -> dict[str, Any]:
        row = self.ctx.strategies[s]
        return {
            "name": self.names[s],
            "layer": LAYERS[row[c.S_LAYER]],
            "budget_ns": int(row[c.S_BUDGET_NS]),
            "orders": int(row[c.S_DECISIONS]),
            "over": int(row[c.S_OVER]),
            "breaches": self.breaches[s],
            "broken": s in self._raised,
            "order": summary(self.histogram(s, STAGE_ORDER)),
            "call": summary(self.histogram(s, STAGE_STRATEGY)),
            "window": self._windows.get(s, {"count": 0, "p50": 0, "p99": 0, "most": 0}),
        }

    def _coarse(self, s: int, stage: int) -> dict[str, Any] | None:
        """Return a histogram's counts between EDGES, as text so that status.json stays short."""
        both = self.loop[s, stage] + self.own[s, stage]
        if not both[COUNT]:
            return None
        return {
            "strategy": self.names[s],
            "layer": LAYERS[self.ctx.strategies[s, c.S_LAYER]],
            "stage": STAGES[stage],
            "sum_ns": int(both[SUM]),
            "counts": " ".join(map(str, coarse(both))),
        }


def micros(ns: int) -> str:
    """Return a duration in whole microseconds, in tenths below ten, in milliseconds from 10 ms."""
    if ns < 10_000:
        return f"{ns / 1_000:.1f} us"
    return f"{ns // 1_000} us" if ns < 10_000_000 else f"{ns // 1_000_000} ms"
