"""Delays against exact fractions."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.kernel import kernel
from alephtx.sim import latency as la

SECOND = 1_000_000_000
DELAYS = st.integers(0, 60 * SECOND)


@kernel
def delay(model, points, now, feed_ns, load):
    return la.delay_of(model, points, now, feed_ns, load)


def model_of(kind, ns=0, ratio_e6=0, first=0, count=0):
    model = np.zeros(la.LATENCY_WORDS, np.int64)
    model[la.L_KIND], model[la.L_DELAY], model[la.L_RATIO_E6] = kind, ns, ratio_e6
    model[la.L_FIRST], model[la.L_COUNT], model[la.L_AT] = first, count, first
    return model


NONE = np.zeros((1, 2), np.int64)


@pytest.mark.kernel
@given(ns=DELAYS, ratio_e6=st.integers(0, 10**9), feed=DELAYS, load=st.integers(0, 10**6))
def test_constant_tied_and_loaded_delays(ns, ratio_e6, feed, load):
    now, ratio = 1_700_000_000 * SECOND, Fraction(ratio_e6, 10**6)
    for kind, wanted in (
        (la.CONSTANT, ns),
        (la.FEED_TIED, ns + floor(feed * ratio)),
        (la.LOADED, ns + floor(load * ratio * 1_000)),
    ):
        assert delay(model_of(kind, ns, ratio_e6), NONE, now, feed, load) == wanted


@pytest.mark.kernel
@given(
    times=st.lists(st.integers(0, 10**15), min_size=1, max_size=6, unique=True).map(sorted),
    data=st.data(),
)
def test_a_table_is_a_line_from_point_to_point_and_flat_beyond(times, data):
    """Also where the points are a day apart, and with another table before it."""
    values = [data.draw(DELAYS) for _ in times]
    points = np.array([(5, 7), (6, 8), *zip(times, values, strict=True)], np.int64)
    model = model_of(la.TABLE, 3, first=2, count=len(times))
    for now in sorted(data.draw(st.lists(st.integers(0, 10**15), max_size=12))):
        after = next((k for k, time in enumerate(times) if time > now), len(times))
        if after == 0:
            wanted = Fraction(values[0])
        elif after == len(times):
            wanted = Fraction(values[-1])
        else:
            (a, b), (u, v) = times[after - 1 : after + 1], values[after - 1 : after + 1]
            wanted = u + Fraction((v - u) * (now - a), b - a)
        assert delay(model, points, now, 0, 0) == 3 + floor(wanted)
