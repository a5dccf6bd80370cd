"""The baton: the loop and Python must never both think that the thing is theirs."""

import threading

import numpy as np
import pytest

from alephtx.core.atomics import load_acquire, pause
from alephtx.core.errors import MatrixError
from alephtx.core.kernel import kernel
from alephtx.matrix.baton import Baton, baton_hand_over, baton_mine


@kernel
def _turns(baton, stop, thing, every):
    """Work on the thing in turns: two words that must always be equal."""
    done = 0
    while load_acquire(stop) == 0:
        if baton_mine(baton) == 0:
            pause()
            continue
        if thing[0] != thing[1]:
            return -1
        thing[0] += 1
        thing[1] += 1
        done += 1
        if every and done % every == 0:
            baton_hand_over(baton)
    return done


class Loop:
    def __init__(self, every=0):
        self.stop, self.thing = np.zeros(1, np.int64), np.zeros(2, np.int64)
        self.done, ended = None, np.ones(1, np.int64)
        assert _turns(0, ended.ctypes.data, self.thing, every) == 0  # compiled now
        self.thread = threading.Thread(target=self.run, args=(every,))
        self.baton = Baton(self.thread.is_alive)

    def run(self, every):
        self.done = _turns(self.baton.address, self.stop.ctypes.data, self.thing, every)

    def end(self):
        self.stop[0] = 1
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.mark.kernel
def test_the_loop_has_nothing_before_it_is_given_and_all_of_it_after():
    baton = Baton(lambda: True)
    assert baton_mine(baton.address) == 0
    baton.run()
    assert baton_mine(baton.address) == 1


def test_loop_and_python_never_work_at_once():
    loop = Loop()
    loop.thread.start()
    loop.baton.run()
    for k in range(2_000):
        with loop.baton:
            first = loop.thing.copy()
            loop.thing[0] += 1
            with loop.baton:  # a block in a block
                loop.thing[1] += 1
            assert loop.thing[0] == loop.thing[1] == first[0] + 1, k
    loop.end()
    assert loop.done >= 0, "the loop saw Python's work half done"
    assert loop.thing[0] == loop.done + 2_000


def test_what_the_loop_hands_over_stays_pythons_until_it_is_attended():
    loop = Loop(every=10)
    loop.thread.start()
    loop.baton.run()
    for _ in range(50):
        while not loop.baton.handed_over:
            threading.Event().wait(0.0001)
        before = int(loop.thing[0])
        with loop.baton:
            pass  # somebody else's business: it must not give the thing back
        assert loop.baton.handed_over
        assert loop.thing[0] == before
        with loop.baton:
            loop.baton.attended()
    loop.end()
    assert loop.done >= 500


def test_a_loop_that_died_is_not_waited_for():
    """Else a fault in the loop would hang the main thread, which must cancel orders then."""
    baton = Baton(lambda: False)
    baton.run()
    with baton:
        assert baton_mine(baton.address) == 0
        assert baton_mine(baton.address) == 0
    assert baton_mine(baton.address) == 1
    baton.halt()
    assert baton_mine(baton.address) == 0


def test_a_baton_given_back_twice_is_an_error():
    baton = Baton(lambda: True)
    baton.run()
    with pytest.raises(MatrixError, match="nobody had"):
        baton.run()
