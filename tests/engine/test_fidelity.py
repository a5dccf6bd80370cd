"""docs/fidelity.md says of our side what a run says; the other side needs `make peers`."""

import importlib.util
from pathlib import Path

import pytest

from alephtx.core.kernel import JIT

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fidelity():
    spec = importlib.util.spec_from_file_location("fidelity", ROOT / "bench" / "fidelity.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table():
    lines = (ROOT / "docs" / "fidelity.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows if len(row) == 12 and row[0] not in ("case", "---")}


@pytest.mark.skipif(not JIT, reason="the table's rows take long uncompiled")
def test_our_side_of_the_table_is_what_a_run_comes_to(fidelity, table, tmp_path):
    assert table.keys() == fidelity.CASES.keys()
    rows, instruments = fidelity.synthetic(fidelity.ROWS)
    end_ns = int(rows[-1]["ts_event"]) - fidelity.LEFT_OUT_NS
    told = fidelity.ours(rows, instruments, list(fidelity.CASES.values()), tmp_path)
    for mine, said in zip(told, table.values(), strict=True):
        orders = fidelity.upto(mine, end_ns)
        found = [mine["sent"], len(orders), mine["again"], fidelity.digest(orders)]
        assert [str(one) for one in found] == [said[0], said[2], said[6], said[10]]


def test_the_table_claims_to_the_order_what_it_calls_exact(fidelity, table):
    claimed = [case for case in table if fidelity.exact(case)]
    assert len(claimed) == 14
    for case in claimed:
        assert table[case][2] == table[case][3] == table[case][4], case


def test_one_other_lot_or_nanosecond_is_another_order(fidelity):
    one = {1: [1, 100, 50, 7]}
    assert fidelity.same(one, one) == fidelity.same(one, {1: [1, 100, 50, 0]}) == 1
    for other in ([-1, 100, 50, 7], [1, 101, 50, 7], [1, 100, 49, 7], [1, 100, 50, 8]):
        assert fidelity.same(one, {1: other}) == 0
    assert fidelity.same(one, {2: one[1]}) == 0


def test_their_rules_still_fit_our_code(fidelity, tmp_path):
    """Every passage that is exchanged is there once, and what comes of it is Python."""
    folder = fidelity.their_rules.package(tmp_path)
    for name, _, _ in fidelity.their_rules.RULES:
        compile((folder / "alephtx" / name).read_text(), name, "exec")
    with pytest.raises(ValueError, match="0 times"):
        fidelity.their_rules.exchange("a", "b", "c")
