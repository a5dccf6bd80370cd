"""What the doctor measures is of this machine, plausible, and bounded in time."""

import os

import numpy as np
import pytest

from alephtx.core.config import parse_config
from alephtx.engine import machine_timing as timing
from alephtx.engine.machine import UNSEEN, Files


def test_gaps_are_counted_and_the_longest_kept():
    told = np.zeros(4, np.int64)
    timing.watch_gaps(2_000_000, 0, told)
    looks, gaps, most, lost = (int(word) for word in told)
    assert looks >= gaps > 0
    assert 0 < most <= lost
    assert lost >= 2_000_000


def test_partner_that_never_answers_is_not_waited_for():
    memory = np.zeros(64, np.int64)
    base = int(memory.ctypes.data)
    assert timing.turn(base, base + 128, 5, 1, 1_000_000) == 0


def test_answers_that_are_there_are_taken():
    memory = np.zeros(64, np.int64)
    memory[16] = 1 << 40
    base = int(memory.ctypes.data)
    assert timing.turn(base, base + 128, 3, 1, 1 << 60) >= 0
    assert memory[0] == 3


@pytest.mark.parametrize("what", sorted(timing.LOOKS))
def test_every_measurement_says_a_figure_with_its_unit(what, monkeypatch):
    monkeypatch.setattr(timing, "SPIN_NS", 1_000_000)
    before = os.sched_getaffinity(0)
    for one in timing.LOOKS[what](Files(), None):
        assert one.verdict == UNSEEN or " ns" in one.value or " us" in one.value
    assert os.sched_getaffinity(0) == before


def test_cores_of_the_config_are_the_ones_that_are_measured():
    named = parse_config(
        '[node]\nwait = "spin"\n[machine]\nloop_cpu = 3\nfeeder_cpus = [2]\n'
        '[venues.binance_spot]\nsymbols = ["BTCUSDT"]\n'
    )
    assert timing._pair(named, [0, 1, 2, 3]) == (2, 3)
    assert timing._pair(named, [0, 1]) == (0, 1)
    assert timing._pair(None, [0, 1, 2]) == (0, 2)
