"""Clocks move as promised."""

import pytest

from alephtx.core.clock import MachineClock, ManualClock, measure_offset, pause_thread, seeded


@pytest.mark.smoke
async def test_machine_clock_never_goes_back_and_sleeps():
    clock = MachineClock()
    times = [clock.now() for _ in range(1_000)]
    assert times == sorted(times)
    before = clock.monotonic()
    await clock.sleep(2_000_000)
    await clock.sleep(-1)
    assert clock.monotonic() - before >= 2_000_000


def test_machine_clock_with_a_given_offset_uses_it():
    clock = MachineClock(offset_ns=10**18)
    before = clock.monotonic()
    assert 0 <= clock.now() - before - 10**18 < 10**9


def test_measured_offsets_agree_closely():
    first, second = measure_offset(), measure_offset()
    assert abs(first - second) < 50_000_000


async def test_manual_clock_moves_only_when_told():
    clock = ManualClock(5_000)
    assert (clock.now(), clock.monotonic()) == (5_000, 0)
    clock.advance(10)
    await clock.sleep(90)
    await clock.sleep(-5)
    assert (clock.now(), clock.monotonic()) == (5_100, 100)


def test_pause_thread_waits_at_least_so_long():
    clock = MachineClock()
    before = clock.monotonic()
    pause_thread(2_000_000)
    pause_thread(-1)
    assert clock.monotonic() - before >= 2_000_000


def test_seeded_randomness_repeats():
    assert [seeded(7).random() for _ in range(2)] == [seeded(7).random() for _ in range(2)]
    assert seeded().random() != seeded().random()
