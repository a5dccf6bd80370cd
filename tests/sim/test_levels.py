"""The matching engine's book against two dicts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.kernel import JIT, kernel
from alephtx.sim import levels as v
from alephtx.sim.levels import NO_LEVEL

SPAN = 1024


# Inline kernels are called from kernels only.
@kernel
def set_(levels, s, key, qty):
    return v.levels_set(levels, 1, s, key, qty)


@kernel
def best(levels, s):
    return v.levels_best(levels, 1, s)


@kernel
def below(levels, s, key):
    return v.levels_below(levels, 1, s, key)


@kernel
def trim(levels, s, key):
    v.levels_trim(levels, 1, s, key)


@kernel
def clear(levels, s):
    v.levels_clear(levels, 1, s)


class Plain:
    """The naive pair of one side: a dict. What is far below the window is not kept."""

    def __init__(self):
        self.lots, self.base = {}, None

    def set(self, key, qty):
        if qty > 0 and (self.base is None or key >= self.base + SPAN):
            self.base = key - SPAN // 2
            self.lots = {k: q for k, q in self.lots.items() if k >= self.base}
        if self.base is None or key < self.base:
            return 0
        before = self.lots.pop(key, 0)
        if qty > 0:
            self.lots[key] = qty
        return before


KEY = st.one_of(st.integers(-40, 40), st.integers(-2_000, 2_000))
STEP = st.one_of(
    st.tuples(st.just("set"), KEY, st.integers(-1, 5)),
    st.tuples(st.just("set"), st.integers(-5, 5), st.integers(0, 2)),
    st.tuples(st.just("trim"), KEY, st.just(0)),
    st.tuples(st.just("clear"), st.just(0), st.just(0)),
)


def all_of(levels, s):
    found, key = [], best(levels, s)
    while key != NO_LEVEL:
        found.append(int(key))
        key = below(levels, s, key)
    return found


@pytest.mark.kernel
@given(st.lists(STEP, max_size=60 if JIT else 30), st.integers(0, 1), st.integers(-10_000, 10_000))
def test_levels_equal_a_dict(steps, s, middle):
    levels, plain = v.make_levels(2, SPAN), Plain()
    for what, away, qty in steps:
        key = middle + away
        if what == "set":
            assert set_(levels, s, key, qty) == plain.set(key, qty)
        elif what == "trim":
            trim(levels, s, key)
            plain.lots = {k: q for k, q in plain.lots.items() if k <= key}
        else:
            clear(levels, s)
            plain.lots = {}
        assert all_of(levels, s) == sorted(plain.lots, reverse=True)
        assert v.levels_worst(levels, 1, s) == min(plain.lots, default=NO_LEVEL)
        assert levels.marks[1, s, v.COUNT] == len(plain.lots)
    out = np.zeros((2, 3, 2), np.int64)
    v.levels_read(levels, 1, out)
    sign = 1 - 2 * s
    wanted = [[sign * k, plain.lots[k]] for k in sorted(plain.lots, reverse=True)[:3]]
    assert out[s].tolist() == wanted + [[0, 0]] * (3 - len(wanted))
    assert not out[1 - s].any()
    assert not levels.lots[0].any()


def test_a_window_is_a_multiple_of_its_words():
    with pytest.raises(ValueError, match="multiple of 1,024"):
        v.make_levels(1, 1000)
