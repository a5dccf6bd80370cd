import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.attribution import attribute
from alephtx.analysis.equity_curve import equity_curve, period_ns
from alephtx.core import words as w
from tests.analysis.market import fills, instrument, quotes


def test_equity_by_hand():
    market = quotes((0, 999, 1001), (10, 1001, 1003), (25, 1009, 1011))
    deals = fills((10, 1, 1001, 2000, 5_000_000), (20, -1, 1006, 500))
    found = equity_curve(
        instrument(), deals, market, step_ns=10,
        funding=(np.array([20]), np.array([7_000_000])),
    )  # fmt: skip
    assert found.ts.tolist() == [0, 10, 20, 25]
    # at 10 bought at 1001, marked at 1002, 0.05 of fee; at 20 sold 500 at 1006, 0.07 received
    right = [0, 0.2 - 0.05, 0.2 + 0.2 - 0.05 + 0.07, 1500 * 8e-4 + 0.4 + 0.02]
    assert found.equity == pytest.approx(right)


def test_equity_before_a_mid_is_not_known_and_stands_where_it_ends():
    market = quotes((0, None, None), (10, 999, 1001), (20, None, None), (40, None, None))
    found = equity_curve(instrument(), fills((0, 1, 990, 1000)), market, step_ns=10)
    assert math.isnan(found.equity[0])
    assert found.equity[1:] == pytest.approx([1.0, 1.0, 1.0, 1.0])
    assert len(equity_curve(instrument(), fills(), quotes(), step_ns=10).ts) == 0


@given(
    st.lists(st.tuples(st.integers(0, 90), st.sampled_from([-1, 1]), st.integers(900, 1100),
                       st.integers(1, 1000), st.integers(-(10**7), 10**7)), max_size=10),
    st.sampled_from([w.LINEAR, w.INVERSE]), st.integers(1, 40),
)  # fmt: skip
def test_equity_ends_at_the_total_of_the_attribution(rows, kind, step):
    market = quotes((0, 950, 952), (40, 1000, 1002), (100, 1047, 1053))
    contract = instrument(kind, contract_value="100" if kind == w.INVERSE else "1")
    deals = fills(*sorted(rows, key=lambda row: row[0]))
    found = equity_curve(contract, deals, market, step_ns=step)
    total = float(attribute(contract, deals, market).total)
    assert found.ts[-1] == 100
    assert found.equity[-1] == pytest.approx(total, abs=1e-7, rel=1e-9)


def test_periods_are_seconds_and_coarser_in_years():
    second, year = 10**9, 366 * 86_400
    for seconds, period in ((0, 1), (1, 1), (100_000, 1), (100_001, 2), (year, 317)):
        assert period_ns(5, 5 + seconds * second) == period * second
