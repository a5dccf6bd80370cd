"""A live engine's start: what it has imported when its loop steps for the first time."""

import pytest

from alephtx.core.kernel import JIT
from alephtx.engine.warm import DIRECT, ensure_warm
from tests.flows.starting import Starts

pytestmark = [pytest.mark.flow, pytest.mark.skipif(not JIT, reason="nothing is compiled")]

COMPILER = ("numba", "alephtx.core.compiling")
OTHERS = ("Crypto", "coincurve", "alephtx.sim", "alephtx.twins", "alephtx.serve", "alephtx.lab")
FEEDER = ("alephtx.feed.feeder", "alephtx.feed.lane", "alephtx.engine.direct")


@pytest.fixture(scope="module")
def starts(warm):
    """A twin and engines that start against it, everything compiled."""
    ensure_warm(lambda line: None, DIRECT)
    with Starts() as made:
        yield made


@pytest.mark.parametrize(("path", "absent"), [("split", FEEDER), ("direct", ())])
def test_machine_code_comes_without_its_compiler_and_no_other_room_is_imported(
    starts, path, absent
):
    first, second = starts.start(path), starts.start(path)
    assert not second.modules.intersection((*COMPILER, *OTHERS, *absent))
    assert not first.modules.intersection(COMPILER), "`alephtx warm` left something to compile"
    assert 0 < second.processor < second.wall + 10


def test_start_after_a_kill_has_nothing_to_compile_either(starts):
    assert not starts.start("split", lives=2).modules.intersection((*COMPILER, *OTHERS))
