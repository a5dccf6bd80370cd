"""Play many stories: `python -m alephtx.testing.legs --interleavings 1000 --first 1`.

Ends with one line of counts; a story that fails is shrunk and printed with the command that plays
it again. Exit code 1 when anything did not hold. --broken plays builds that are broken on purpose
instead (with NUMBA_DISABLE_JIT=1), and fails when one of them is not noticed.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from alephtx.core.clock import MachineClock
from alephtx.testing.legs.mutants import MUTANTS, NOTICED_BY, broken
from alephtx.testing.legs.story import Story
from alephtx.testing.legs.world import LegsWorld

CHOICES = 40
SHOWN = 5


def numbers_of(seed: int) -> list[int]:
    """Return the choices of a seed: mostly good days, so that stories differ in where they turn."""
    source = random.Random(seed)  # noqa: S311 - a simulation, and it must be repeatable
    bad = source.choice((0.15, 0.4, 0.8))
    return [source.randrange(3600) if source.random() < bad else 0 for _ in range(CHOICES)]


def shrink(world: LegsWorld, numbers: Sequence[int]) -> list[int]:
    """Return a simpler list that fails too: cut short, and zeros wherever they still fail."""
    best = list(numbers)
    for length in range(len(best)):
        if Story(world, best[:length]).play():
            best = best[:length]
            break
    for k in range(len(best)):
        tried = [*best[:k], 0, *best[k + 1 :]]
        if best[k] and Story(world, tried).play():
            best = tried
    return best


def run(interleavings: int, first: int, folder: Path) -> tuple[Counter[str], list[int]]:
    """Play so many seeds; returns how they ended and which ones failed."""
    ended: Counter[str] = Counter()
    failed = []
    world = LegsWorld(folder)
    try:
        for seed in range(first, first + interleavings):
            story = Story(world, numbers_of(seed))
            if story.play():
                failed.append(seed)
                if len(failed) <= SHOWN:
                    _tell(world, seed)
            ended[story.outcome] += 1
    finally:
        world.close()
    return ended, failed


def _play_broken() -> int:
    """Play each broken build by the seed that is known to notice it."""
    failed = 0
    for name in MUTANTS:
        seed = NOTICED_BY.get(name, 2)
        with tempfile.TemporaryDirectory(prefix="aleph-legs-") as folder, broken(name):
            world = LegsWorld(Path(folder))
            seen = Story(world, numbers_of(seed)).play()
            world.close()
        sys.stdout.write(f"{name}: {f'noticed by seed {seed}' if seen else 'NOT NOTICED'}\n")
        failed += not seen
    return 1 if failed else 0


def _tell(world: LegsWorld, seed: int) -> None:
    numbers = shrink(world, numbers_of(seed))
    story = Story(world, numbers)
    story.play()
    shown = ",".join(str(number) for number in numbers)
    sys.stdout.write("\n".join([f"seed {seed} fails:", *story.log, *story.violations]))
    sys.stdout.write(f"\nagain: python -m alephtx.testing.legs --choices {shown or 0}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m alephtx.testing.legs", description=__doc__)
    parser.add_argument("--interleavings", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--choices", help="one story, told")
    parser.add_argument("--broken", action="store_true", help="play broken builds, a seed each")
    given = parser.parse_args(arguments)
    if given.broken:
        return _play_broken()
    clock = MachineClock()
    begun = clock.monotonic()
    with tempfile.TemporaryDirectory(prefix="aleph-legs-") as name:
        if given.choices:
            world = LegsWorld(Path(name))
            story = Story(world, [int(text) for text in given.choices.split(",")])
            story.play()
            world.close()
            sys.stdout.write("\n".join([*story.log, *story.violations, story.outcome, ""]))
            return 1 if story.violations else 0
        ended, failed = run(given.interleavings, given.first, Path(name))
    seconds = (clock.monotonic() - begun) / 1e9
    counts = ", ".join(f"{count:,} {how}" for how, count in sorted(ended.items()))
    sys.stdout.write(
        f"{given.interleavings:,} interleavings: {counts}; {len(failed)} failed {failed[:10]}; "
        f"{seconds:.0f} s\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
