"""A run's figures for Prometheus: metrics.prom, in the text format that its collectors read.

The supervisor writes it, so that it costs the engine nothing and is still written while the engine
is down. Format: https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4.
Durations are in seconds; the bounds of histograms are edges of the engine's own buckets less a
nanosecond, so that every count is exact.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

import msgspec

from alephtx.core.errors import AlephError
from alephtx.core.histogram import EDGES, SUM, coarse, latency_path, read_histogram
from alephtx.engine.rundir import RunDirectory

EVERY_NS = 1_000_000_000
"""Who reads it comes by every few seconds."""

COUNTERS = {
    "events": "Book changes the engine took.", "trades": "Public trades the engine took.",
    "updates": "Reports of venues the engine took.", "intents": "What strategies wanted.",
    "orders": "Orders, amends and cancels that passed the gate.", "fills": "Fills of ours.",
    "lapped": "Events that were overwritten before the engine took them.",
    "strategy_errors": "Calls of strategies that broke their contract.",
}  # fmt: skip
FEEDS = {
    "events": "Events a feeder published.", "gaps": "Gaps in a venue's stream.",
    "resyncs": "Books fetched anew.", "reconnects": "Links opened anew.",
    "drops": "Frames a feeder let go.", "not_understood": "Frames nobody understood.",
}  # fmt: skip

Labels = dict[str, str]
Sample = tuple[str, Labels, str]


class Histogram(msgspec.Struct):
    """A histogram in status.json: counts between EDGES."""

    strategy: str
    layer: str
    stage: str
    sum_ns: int
    counts: str


class StrategyBudget(msgspec.Struct):
    """A strategy of a layer in status.json."""

    name: str
    layer: str
    budget_ns: int
    over: int = 0
    breaches: int = 0
    broken: bool = False


class LayersTold(msgspec.Struct, frozen=True):
    """`layers` in status.json, as far as it is told on."""

    edges_ns: str = ""
    strategies: list[StrategyBudget] = []
    histograms: list[Histogram] = []


class Told(msgspec.Struct):
    """status.json, as far as it is told on."""

    ts: int = 0
    halted: bool = False
    counters: dict[str, int] = {}
    denied: dict[str, int] = {}
    alarms: list[str] = []
    layers: LayersTold = LayersTold()


class MetricsFile:
    """Writes metrics.prom of one run, once a second."""

    def __init__(self, directory: RunDirectory, node: str, venues: Iterable[str]) -> None:
        self.path = directory.path / "metrics.prom"
        self._directory = directory
        self._node, self._venues = node, list(venues)
        self._next_ns = 0

    def show(
        self, status: Any, feeders: dict[str, dict[str, int]], now_ns: int, *, last: bool = False
    ) -> None:
        """Write what status.json and the feeders say, if it is time. now_ns: monotonic."""
        if now_ns < self._next_ns and not last:
            return
        self._next_ns = now_ns + EVERY_NS
        self._directory.show_bytes(self.path, render(self._node, status, feeders, self._feeds()))

    def _feeds(self) -> dict[str, tuple[list[int], int]]:
        """Return each feeder's counts between EDGES, and their sum in ns."""
        found = {}
        for venue in self._venues:
            try:
                histogram = read_histogram(latency_path(self._directory.path, venue))
            except AlephError:
                continue  # no feeder yet, or none for this venue
            found[venue] = (coarse(histogram), int(histogram[SUM]))
        return found


def render(
    node: str,
    status: Any,
    feeders: dict[str, dict[str, int]],
    feeds: dict[str, tuple[list[int], int]],
) -> bytes:
    """Return the file's text; what a damaged or foreign status says is left out."""
    try:
        told = msgspec.convert(status, Told)
    except msgspec.ValidationError:
        told = Told()
    base = {"node": node}
    lines = [*_engine(base, told), *_layers(base, told.layers), *_feeders(base, feeders, feeds)]
    return ("\n".join(lines) + "\n").encode()


def _engine(base: Labels, told: Told) -> Iterator[str]:
    yield from _family(
        "status_time_seconds", "gauge", "When the engine last said something.",
        [("", base, seconds(told.ts))],
    )  # fmt: skip
    yield from _family("halted", "gauge", "1 = trading is halted.", [("", base, str(+told.halted))])
    yield from _family(
        "alarms", "gauge", "Alarms that stand.", [("", base, str(len(told.alarms)))]
    )  # fmt: skip
    for name, said in COUNTERS.items():
        if name in told.counters:
            value = str(told.counters[name])
            yield from _family(f"{name}_total", "counter", said, [("", base, value)])
    yield from _family(
        "denied_total", "counter", "Intents the gate denied, by rule.",
        [("", {**base, "rule": rule}, str(count)) for rule, count in told.denied.items()],
    )  # fmt: skip


def _layers(base: Labels, layers: LayersTold) -> Iterator[str]:
    def of(row: StrategyBudget) -> Labels:
        return {**base, "layer": row.layer, "strategy": row.name}

    rows = layers.strategies
    for name, kind, said, values in (
        ("budget_seconds", "gauge", "What an order may take.",
         [seconds(r.budget_ns) for r in rows]),
        ("over_budget_total", "counter", "Orders that took longer.", [str(r.over) for r in rows]),
        ("budget_breaches_total", "counter", "Windows of ten seconds that broke the budget.",
         [str(r.breaches) for r in rows]),
        ("budget_broken", "gauge", "1 = the last ten seconds broke the budget.",
         [str(+r.broken) for r in rows]),
    ):  # fmt: skip
        samples = [("", of(r), value) for r, value in zip(rows, values, strict=True)]
        yield from _family(name, kind, said, samples)
    samples = []
    if layers.edges_ns == " ".join(map(str, EDGES)):  # else an engine of another version
        for row in layers.histograms:
            labels = {
                **base, "layer": row.layer, "strategy": row.strategy, "stage": row.stage,
            }  # fmt: skip
            counts = row.counts.split()
            if len(counts) == len(EDGES) + 1 and all(c.isascii() and c.isdigit() for c in counts):
                samples += _buckets(labels, [int(count) for count in counts], row.sum_ns)
    said = "Stages of an order's way; order: receive stamp to bytes sent."
    yield from _family("layer_seconds", "histogram", said, samples)


def _feeders(
    base: Labels, feeders: dict[str, dict[str, int]], feeds: dict[str, tuple[list[int], int]]
) -> Iterator[str]:
    for name, said in FEEDS.items():
        samples = [
            ("", {**base, "venue": venue}, str(words[name]))
            for venue, words in feeders.items()
            if name in words
        ]
        yield from _family(f"feed_{name}_total", "counter", said, samples)
    samples = []
    for venue, (counts, sum_ns) in feeds.items():
        samples += _buckets({**base, "venue": venue}, counts, sum_ns)
    yield from _family("feed_seconds", "histogram", "Receive stamp to matrix.", samples)


def _buckets(labels: Labels, counts: list[int], sum_ns: int) -> list[Sample]:
    """Return a histogram's samples: cumulative buckets, the last of them everything."""
    reached = list(accumulate(counts))
    samples = [
        ("_bucket", {**labels, "le": seconds(edge - 1)}, str(count))
        for edge, count in zip(EDGES, reached, strict=False)
    ]
    samples.append(("_bucket", {**labels, "le": "+Inf"}, str(reached[-1])))
    samples.append(("_sum", labels, seconds(sum_ns)))
    samples.append(("_count", labels, str(reached[-1])))
    return samples


def _family(name: str, kind: str, said: str, samples: list[Sample]) -> Iterator[str]:
    """Return a metric's lines; none where there is nothing to say."""
    if not samples:
        return
    yield f"# HELP alephtx_{name} {said}"
    yield f"# TYPE alephtx_{name} {kind}"
    for suffix, labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"alephtx_{name}{suffix}{{{inside}}} {value}"


def _escaped(text: str) -> str:
    # What some readers take for a line's end, and what UTF-8 has no word for, is not let through;
    # each in its own way, because two samples of the same labels are a damaged file.
    text = "".join(
        c if c != "%" and (c.isprintable() or c == "\n") else f"%{ord(c):x};" for c in text
    )
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def seconds(ns: int) -> str:
    """Return nanoseconds as seconds, exactly."""
    sign = "-" if ns < 0 else ""
    whole, rest = divmod(abs(ns), 1_000_000_000)
    return f"{sign}{whole}.{rest:09d}"
