"""The bare entry of a kernel gives what the kernel gives, for any array of the same type."""

from typing import NamedTuple

import numpy as np
import pytest

from alephtx.core.histogram import hist_add, make_histogram
from alephtx.core.kernel import JIT, entry, kernel


class Pair(NamedTuple):
    left: np.ndarray
    right: np.ndarray


@kernel
def dot(pair, scale):
    total = 0
    for k in range(len(pair.left)):
        total += pair.left[k] * pair.right[k]
    return total * scale


@pytest.mark.kernel
def test_entry_equals_the_kernel():
    one = Pair(np.arange(4), np.arange(4) + 1)
    fast = entry(dot, one, 1)
    assert fast(one, 2) == dot(one, 2) == 40
    other = Pair(np.arange(100), np.arange(100))
    assert fast(other, 1) == sum(k * k for k in range(100))
    assert (fast is dot) == (not JIT)


@pytest.mark.kernel
def test_entry_writes_through_to_the_arrays():
    histogram = make_histogram()
    fast = entry(hist_add, histogram, 0)
    fast(histogram, 5)
    hist_add(histogram, 5)
    assert histogram[5] == 2
