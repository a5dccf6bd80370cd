"""Nonces: one that is drawn twice is an order that the venue refuses, or takes for another."""

import threading

import numpy as np
import pytest

from alephtx.core.kernel import kernel
from alephtx.core.nonce import next_nonce


@kernel
def _draw(address, least, out):
    for k in range(len(out)):
        out[k] = next_nonce(address, least)


@pytest.mark.kernel
def test_a_nonce_is_the_time_or_one_more_than_the_last():
    word = np.zeros(1, np.int64)
    assert [next_nonce(word.ctypes.data, least) for least in (5, 5, 3, 9, 0)] == [5, 6, 7, 9, 10]


def test_threads_that_draw_at_once_never_draw_the_same():
    """The loop draws without the GIL while the main thread draws for the gateway's orders."""
    word = np.zeros(1, np.int64)
    drawn = np.zeros((3, 20_000), np.int64)
    _draw(word.ctypes.data, 1, drawn[0, :1])  # compiled before they start together
    begin = threading.Barrier(3)

    def draw(out):
        begin.wait()
        _draw(word.ctypes.data, 1, out)

    threads = [threading.Thread(target=draw, args=(out,)) for out in drawn]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (np.diff(drawn) > 0).all()
    assert sorted(drawn.ravel()) == list(range(2, 60_002))
