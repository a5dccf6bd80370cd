"""Arrays of lanes in one stretch of memory."""

from typing import NamedTuple

import numpy as np

from alephtx.engine.arena import BLOCK, KEPT_APART, Arena


class Inner(NamedTuple):
    small: np.ndarray
    large: np.ndarray


class Outer(NamedTuple):
    name: str
    own: np.ndarray
    words: np.ndarray
    inner: Inner


def made(k):
    inner = Inner(np.arange(5) + k, np.zeros(KEPT_APART // 8 + 1, np.int64))
    return Outer("x", np.full(3, k), np.arange(12, dtype=np.int32).reshape(3, 4) + k, inner)


def test_small_arrays_move_with_their_values_and_the_rest_stays():
    arena, kept = Arena(), []
    for k in range(BLOCK // 400):  # more than one block
        moved, before = {}, made(k)
        after = arena.gather(before, moved, leave=("own",))
        assert after.name == "x"
        assert after.own is before.own
        assert after.inner.large is before.inner.large
        assert after.words.shape == (3, 4)
        assert moved == {
            before.words.ctypes.data: after.words.ctypes.data,
            before.inner.small.ctypes.data: after.inner.small.ctypes.data,
        }
        kept.append(after)
        del before
    for k, one in enumerate(kept):
        assert one.words.tolist() == made(k).words.tolist()
        assert one.inner.small.tolist() == made(k).inner.small.tolist()
        assert one.words.ctypes.data % 64 == 0
