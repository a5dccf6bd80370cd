"""The collector runs when there may be garbage, at a calm moment, and not on its own."""

import gc

import pytest

from alephtx.core import garbage
from alephtx.core.clock import ManualClock


@pytest.fixture(autouse=True)
def as_it_was():
    before = gc.isenabled()
    gc.collect()
    yield
    gc.unfreeze()
    (gc.enable if before else gc.disable)()


class Ring:
    """Garbage that reference counts do not free."""

    def __init__(self):
        self.own = self


class Enough(Exception):
    pass


class Minutes(ManualClock):
    """A clock that ends the test after so many sleeps, and counts them."""

    def __init__(self, sleeps):
        super().__init__()
        self.left = sleeps
        self.slept = []

    async def sleep(self, duration_ns):
        if not self.left:
            raise Enough
        self.left -= 1
        self.slept.append(duration_ns)
        await super().sleep(duration_ns)


def litter(count=garbage.GROWN):
    for _ in range(count):
        Ring()


@pytest.fixture
def collections():
    seen = []
    note = lambda phase, info: seen.append(phase)  # noqa: E731
    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


def test_held_process_collects_nothing_by_itself(collections):
    garbage.hold()
    collections.clear()
    litter()
    assert collections == []
    assert garbage.grown() >= garbage.GROWN


def test_what_lived_at_the_start_is_never_looked_at_again():
    garbage.hold()
    assert gc.get_freeze_count() > 1_000
    assert len(gc.get_objects()) < 1_000


async def test_no_garbage_no_collection(collections):
    garbage.hold()
    collections.clear()
    with pytest.raises(Enough):
        await garbage.keep(Minutes(5))
    assert collections == []


async def test_garbage_is_collected_once_it_is_calm(collections):
    garbage.hold()
    litter()
    collections.clear()
    calm = iter([False, False, True, True])
    clock = Minutes(3)
    with pytest.raises(Enough):
        await garbage.keep(clock, lambda: next(calm))
    assert collections == ["start", "stop"]
    assert clock.slept == [garbage.LOOK_NS, garbage.CALM_POLL_NS, garbage.CALM_POLL_NS]


async def test_calm_that_never_comes_is_not_waited_for(collections):
    garbage.hold()
    litter()
    collections.clear()
    polls = garbage.PATIENCE_NS // garbage.CALM_POLL_NS
    with pytest.raises(Enough):
        await garbage.keep(Minutes(1 + polls), lambda: False)
    assert collections == ["start", "stop"]
