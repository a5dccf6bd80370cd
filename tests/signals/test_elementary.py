import math
from decimal import Decimal, localcontext
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.signals.elementary import EXP_MAX, EXP_MIN, exp, log

pytestmark = pytest.mark.kernel


def ulps(found, right):
    """How many steps of a double lie between what was found and the exact value."""
    with localcontext() as context:
        context.prec = 60
        return float(abs(Decimal(found) - right) / Decimal(math.ulp(float(right))))


def exact(function, x):
    with localcontext() as context:
        context.prec = 60
        return getattr(Decimal(x), function)()


@given(st.floats(EXP_MIN, EXP_MAX))
def test_exp_is_within_an_ulp_of_the_exact_value(x):
    assert ulps(exp(x), exact("exp", x)) <= 1.0


@given(st.floats(-1.0, 1e-12))
def test_exp_of_small_decays_is_within_an_ulp(x):
    assert ulps(exp(x), exact("exp", x)) <= 1.0


@given(st.floats(5e-324, 1.7e308))
def test_log_is_within_an_ulp_and_a_half_of_the_exact_value(x):
    if x != 1.0:
        assert ulps(log(x), exact("ln", x)) <= 1.5


@given(st.floats(0.7, 1.5))
def test_log_near_one_keeps_its_relative_accuracy(x):
    if x != 1.0:
        assert ulps(log(x), exact("ln", x)) <= 1.5


@given(st.floats(-1e-7, 1e-7))
def test_log_of_a_return_is_within_an_ulp_and_a_half(r):
    if 1.0 + r != 1.0:
        assert ulps(log(1.0 + r), exact("ln", 1.0 + r)) <= 1.5


@given(st.floats(-700.0, 700.0))
def test_log_undoes_exp(x):
    assert log(exp(x)) == pytest.approx(x, rel=1e-13, abs=1e-15)


def test_exp_and_log_at_the_ends():
    assert exp(0.0) == exp(-0.0) == 1.0
    assert exp(-math.inf) == exp(EXP_MIN - 1) == 0.0
    assert exp(math.inf) == exp(EXP_MAX + 1) == math.inf
    assert log(1.0) == 0.0
    assert log(0.0) == -math.inf
    assert log(math.inf) == math.inf
    for odd in (exp(math.nan), log(math.nan), log(-1.0), log(-math.inf)):
        assert math.isnan(odd)


def test_exp_never_rises_where_its_argument_falls():
    values = [exp(x) for x in np.linspace(-30.0, 0.0, 3_001)]
    assert all(a < b for a, b in pairwise(values))
