"""metrics.prom: what it says is what was counted, and every collector can read it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.histogram import EDGES, hist_add, latency_path, map_histogram
from alephtx.engine.metrics_file import EVERY_NS, MetricsFile, render, seconds
from alephtx.engine.rundir import RunDirectory
from tests.engine.exposition import Malformed, parse

EVIL = 'a"b\\c\nd{}=,# é\u2028\ud800'
COUNTS = [0] * (len(EDGES) + 1)
COUNTS[3], COUNTS[20], COUNTS[-1] = 5, 90, 1
HISTOGRAM = {
    "strategy": "mm", "layer": "L1", "stage": "order", "sum_ns": 1_500_000_000,
    "counts": " ".join(map(str, COUNTS)),
}  # fmt: skip
BUDGET = {
    "name": "mm", "layer": "L1", "budget_ns": 2_000_000, "over": 3, "breaches": 1, "broken": True,
}  # fmt: skip
STATUS = {
    "ts": 1_800_000_000_123_456_789, "halted": True, "alarms": ["x"], "mode": "live",
    "counters": {"events": 12, "orders": 96, "fills": 4, "odd": 7},
    "denied": {"band": 2, "rate": 5},
    "layers": {
        "edges_ns": " ".join(map(str, EDGES)), "strategies": [BUDGET], "histograms": [HISTOGRAM],
        "layers": [],
    },
}  # fmt: skip
FEEDERS = {"alpha": {"events": 9, "gaps": 1, "resyncs": 2, "wire_to_matrix_p50": 7}}


def values(found, name, **labels):
    return [
        value
        for (sample, pairs), value in found[name][2].items()
        if labels.items() <= dict(pairs).items() and sample == name
    ]


def test_file_says_what_engine_and_feeders_counted():
    found = parse(render("dev-1", STATUS, FEEDERS, {}))
    assert found["alephtx_orders_total"][0] == "counter"
    assert values(found, "alephtx_orders_total", node="dev-1") == [96]
    assert values(found, "alephtx_denied_total", rule="rate") == [5]
    assert values(found, "alephtx_halted") == [1]
    assert values(found, "alephtx_alarms") == [1]
    assert values(found, "alephtx_feed_gaps_total", venue="alpha") == [1]
    assert values(found, "alephtx_feed_resyncs_total", venue="alpha") == [2]
    assert values(found, "alephtx_over_budget_total", strategy="mm", layer="L1") == [3]
    assert values(found, "alephtx_budget_seconds") == [0.002]
    assert values(found, "alephtx_status_time_seconds") == [1_800_000_000.123456789]
    assert "alephtx_odd_total" not in found


def test_histogram_is_cumulative_exact_and_labelled():
    found = parse(render("dev-1", STATUS, {}, {}))
    kind, _, samples = found["alephtx_layer_seconds"]
    labels = {"node": "dev-1", "layer": "L1", "strategy": "mm", "stage": "order"}
    told = {
        dict(pairs).get("le"): value
        for (name, pairs), value in samples.items()
        if name.endswith("_bucket") and labels.items() <= dict(pairs).items()
    }
    assert (kind, len(told)) == ("histogram", len(EDGES) + 1)
    assert (told[seconds(EDGES[2] - 1)], told[seconds(EDGES[3] - 1)]) == (0, 5)
    assert (told[seconds(EDGES[-1] - 1)], told["+Inf"]) == (95, 96)
    key = tuple(sorted(labels.items()))
    assert samples["alephtx_layer_seconds_sum", key] == 1.5
    assert samples["alephtx_layer_seconds_count", key] == 96


def test_names_that_would_break_the_format_are_escaped():
    status = STATUS | {
        "denied": {EVIL: 1},
        "layers": STATUS["layers"]
        | {"strategies": [BUDGET | {"name": EVIL}], "histograms": [HISTOGRAM | {"strategy": EVIL}]},
    }
    found = parse(render(EVIL, status, {EVIL: {"events": 1}}, {}))
    plain = EVIL.replace("\u2028", "%2028;").replace("\ud800", "%d800;")
    assert values(found, "alephtx_denied_total", rule=plain, node=plain) == [1]
    assert values(found, "alephtx_budget_seconds", strategy=plain) == [0.002]


def test_thousands_of_strategies_are_told_apart():
    layers = STATUS["layers"] | {
        "strategies": [BUDGET | {"name": f's"{k}\\'} for k in range(3_000)], "histograms": [],
    }  # fmt: skip
    found = parse(render("n", STATUS | {"layers": layers}, {}, {}))
    assert len(values(found, "alephtx_budget_broken")) == 3_000


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
BITS = {
    "ts": ANY, "halted": ANY, "counters": ANY, "denied": st.dictionaries(st.text(), st.integers(0)),
    "alarms": ANY, "layers": ANY,
}  # fmt: skip


@given(st.text(max_size=8), ANY | st.fixed_dictionaries({}, optional=BITS))
def test_status_of_any_shape_gives_a_file_that_can_be_read(node, status):
    """It was written by another process, maybe of another version, maybe cut off."""
    assert "alephtx_halted" in parse(render(node, status, {}, {}))


def test_names_that_cannot_be_printed_stay_apart():
    found = parse(render("n", STATUS | {"denied": {"\ud7fc": 1, "\U00018cd6": 2, "%": 3}}, {}, {}))
    rules = ("%d7fc;", "%18cd6;", "%25;")
    assert [values(found, "alephtx_denied_total", rule=rule) for rule in rules] == [[1], [2], [3]]


@pytest.mark.parametrize(
    "row",
    [HISTOGRAM | {"counts": "1 2 3"}, HISTOGRAM | {"counts": "x " * 55}, HISTOGRAM | {"counts": ""},
     HISTOGRAM | {"counts": "-1 " * 55}],
)  # fmt: skip
def test_histogram_that_is_none_is_left_out(row):
    layers = STATUS["layers"] | {"histograms": [row]}
    assert "alephtx_layer_seconds" not in parse(render("n", STATUS | {"layers": layers}, {}, {}))


def test_histogram_with_other_edges_is_left_out():
    """Bounds that are not ours would say what was not measured."""
    layers = STATUS["layers"] | {"edges_ns": "1 2 3"}
    assert "alephtx_layer_seconds" not in parse(render("n", STATUS | {"layers": layers}, {}, {}))


def test_file_is_replaced_once_a_second_and_reads_the_feeders_histograms(tmp_path):
    run = RunDirectory(tmp_path)
    metrics = MetricsFile(run, "n", ["alpha", "direct"])
    metrics.show({}, {}, 5)
    assert "alephtx_feed_seconds" not in parse(metrics.path.read_bytes())
    histogram = map_histogram(latency_path(run.path, "alpha"))
    hist_add(histogram, 74_000)
    metrics.show(STATUS, FEEDERS, 5 + EVERY_NS - 1)
    assert "alephtx_orders_total" not in parse(metrics.path.read_bytes())
    metrics.show(STATUS, FEEDERS, 5 + EVERY_NS)
    found = parse(metrics.path.read_bytes())
    samples = found["alephtx_feed_seconds"][2]
    assert samples["alephtx_feed_seconds_sum", (("node", "n"), ("venue", "alpha"))] == 74e-6
    metrics.show({}, {}, 0, last=True)
    assert "alephtx_orders_total" not in parse(metrics.path.read_bytes())
    assert [path.name for path in tmp_path.glob("*.tmp")] == []


def test_disk_that_refuses_ends_nobody(tmp_path):
    run = RunDirectory(tmp_path / "gone")
    MetricsFile(run, "n", []).show(STATUS, {}, 1)
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("ns", "said"), [(0, "0.000000000"), (255, "0.000000255"), (-1, "-0.000000001"),
                     (1_500_000_000, "1.500000000")],
)  # fmt: skip
def test_seconds_are_exact(ns, said):
    assert seconds(ns) == said


@pytest.mark.parametrize(
    "text",
    ["a 1", "# TYPE a gauge\na 1 2 3\n", "# TYPE a gauge\na{b=1} 1\n", "# TYPE a what\na 1\n",
     '# TYPE a gauge\na{b="\\x"} 1\n', "# TYPE a gauge\na 1\na 1\n", "# TYPE a counter\na -1\n",
     "# TYPE a gauge\n", '# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\na{c="d"} 1\n',
     '# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
     '# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n'],
)  # fmt: skip
def test_reader_of_the_tests_refuses_what_a_collector_would(text):
    with pytest.raises(Malformed):
        parse(text.encode())
