"""Two-legged trades in every interleaving: hedged, flat, or halted and told, by the deadline."""

import os
import subprocess
import sys

import pytest

from alephtx.core.errors import SimulationError
from alephtx.core.kernel import JIT
from alephtx.testing.legs.__main__ import main, numbers_of, run, shrink
from alephtx.testing.legs.mutants import MUTANTS, broken
from alephtx.testing.legs.story import Story
from alephtx.testing.legs.world import LegsWorld

pytestmark = pytest.mark.kernel

COUNT = 1_000 if JIT else 20


def test_every_interleaving_ends_hedged_flat_or_halted_by_its_deadline(tmp_path):
    """One in a hundred of the full count; docs/leg-safety.md has the command for all."""
    ended, failed = run(COUNT, 1, tmp_path)
    assert failed == []
    assert set(ended) == {"hedged", "flat", "halted"} if JIT else ended["hedged"] > 0


def test_good_day_needs_no_guard_and_the_same_story_is_told_twice(tmp_path):
    world = LegsWorld(tmp_path)
    try:
        story = Story(world, [])
        assert story.play() == []
        assert story.outcome == "hedged"
        assert len(story.orders) == 2
        told = []
        for _ in range(2):
            again = Story(world, numbers_of(10))
            again.play()
            told.append((again.choices.used, again.outcome, again.net, len(again.orders)))
        assert told[0] == told[1]
    finally:
        world.close()


@pytest.mark.skipif(not JIT, reason="it runs without compiled code itself")
def test_builds_broken_on_purpose_are_noticed():
    """A world that notices nothing proves nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "alephtx.testing.legs", "--broken"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == len(MUTANTS)
    assert all("noticed by seed" in line for line in lines), done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.skipif(not JIT, reason="there it can be broken")
def test_compiled_guard_cannot_be_broken():
    with pytest.raises(SimulationError, match="NUMBA_DISABLE_JIT"), broken("it rounds up"):
        pass


def test_story_that_fails_is_shrunk_to_what_matters(tmp_path, monkeypatch):
    world = LegsWorld(tmp_path)
    try:
        monkeypatch.setattr(
            Story, "play", lambda self: ["bad"] if 4 in self.choices._numbers else []
        )
        assert shrink(world, [3, 0, 9, 4, 7, 7]) == [0, 0, 0, 4]
    finally:
        world.close()


def test_one_story_is_told_from_the_command_line(capsys):
    assert main(["--choices", "0,0,0,0,3,0,0,4"]) == 0
    out = capsys.readouterr().out
    assert "partly, gone" in out
    assert "guard Order(" in out
    assert out.splitlines()[-1] in ("hedged", "flat")
