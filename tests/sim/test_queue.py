"""Queue models against their formulas, by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.kernel import kernel
from alephtx.sim import queue as q


@kernel
def changed(model, ahead, traded, before, qty):
    return q.queue_changed(model, ahead, traded, before, qty)


def model(kind, power=2.0):
    row = np.zeros(q.MODEL_WORDS, np.int64)
    row[q.Q_QUEUE], row[q.Q_POWER_E6] = kind, round(power * 1e6)
    return row


@pytest.mark.kernel
@pytest.mark.smoke
def test_a_cautious_maker_moves_only_when_the_level_is_shorter_than_his_queue():
    row = model(q.RISK_AVERSE)
    assert changed(row, 10.0, 0.0, 30, 20) == 10.0
    assert changed(row, 10.0, 0.0, 30, 4) == 4.0
    assert changed(row, 10.0, 0.0, 30, 90) == 10.0
    assert changed(model(q.TRADES_ONLY), 10.0, 0.0, 30, 4) == 10.0


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("kind", "behind_left"),
    [
        # 10 ahead, 20 behind, 6 of 30 leave.
        (q.POWER, 400 / 500),
        (q.POWER_2, 400 / 900),
        (q.POWER_3, 1 - (10 / 30) ** 2),
        (q.LOG, math.log(21) / (math.log(21) + math.log(11))),
        (q.LOG_2, math.log(21) / math.log(31)),
    ],
)
def test_a_decrease_is_shared_by_the_odds(kind, behind_left):
    wanted = 10.0 - (1 - behind_left) * 6
    assert changed(model(kind), 10.0, 0.0, 30, 24) == pytest.approx(wanted, rel=1e-14)


@pytest.mark.kernel
def test_what_prints_took_is_not_shared_again():
    """6 lots went, 4 of them were printed and have moved us already: 2 are shared."""
    wanted = 10.0 - (1 - 400 / 500) * 2
    assert changed(model(q.POWER), 10.0, 4.0, 30, 24) == pytest.approx(wanted, rel=1e-14)


@pytest.mark.kernel
def test_more_than_all_behind_cannot_have_left_behind():
    assert changed(model(q.POWER_3, 5.0), 10.0, 0.0, 12, 1) == 1.0


@pytest.mark.kernel
@given(
    st.sampled_from(sorted(q.NAMES.values())),
    st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50),
    st.sampled_from([1.0, 2.0, 3.5]),
)  # fmt: skip
def test_a_queue_never_grows_nor_exceeds_what_is_shown(kind, ahead, behind, traded, qty, power):
    now = changed(model(kind, power), float(ahead), float(traded), ahead + behind, qty)
    assert not math.isnan(now)
    assert now <= ahead + 1e-9
    if kind not in (q.TRADES_ONLY, q.FIFO):
        assert now <= qty
