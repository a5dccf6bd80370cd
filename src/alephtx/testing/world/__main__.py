"""Play seeds: `python -m alephtx.testing.world --seeds 300 --first 1`, or one: `--seed 17`.

Ends with one line that counts seeds, steps, faults and violations. A seed that fails is shrunk:
faults are left out one by one, then time, as long as it still fails; what is left is printed as
one command. Exit code 1 when anything was violated.
"""

import argparse
import gc
import sys
import time
import warnings

from alephtx.testing.world.mutants import MUTANTS, broken
from alephtx.testing.world.plans import plan
from alephtx.testing.world.world import World


def play(seed: int, seconds: float, only: list[int] | None, mutant: str, *, loud: bool) -> World:
    """Play one world; only: the numbers of the planned faults to keep."""
    faults = plan(seed, seconds)
    if only is not None:
        faults = [faults[k] for k in only if k < len(faults)]
    world = World(seed, seconds=seconds, faults=faults, verbose=loud)
    with broken(mutant):
        world.run()
    return world


def shrink(seed: int, seconds: float, mutant: str) -> tuple[list[int], float, World]:
    """Return the fewest faults and the shortest time with which a seed still fails."""
    kept = list(range(len(plan(seed, seconds))))
    world = play(seed, seconds, kept, mutant, loud=False)
    for k in list(kept):
        fewer = [x for x in kept if x != k]
        tried = play(seed, seconds, fewer, mutant, loud=False)
        if tried.violations:
            kept, world = fewer, tried
    return kept, seconds, world


def report(seed: int, seconds: float, mutant: str) -> None:
    """Print what a failing seed comes to and how to play it again."""
    kept, seconds, world = shrink(seed, seconds, mutant)
    words = [
        f"--seed {seed}",
        f"--seconds {seconds:g}",
        f"--only {','.join(map(str, kept)) or '-'}",
    ]
    if mutant:
        words.append(f"--mutant {mutant}")
    print(f"seed {seed} fails:")
    for line in world.violations[:5]:
        print(f"  {line}")
    for at_ns, what in world.events:
        print(f"  at {at_ns / 1e9:.3f} s: {what}")
    print(f"  again: python -m alephtx.testing.world {' '.join(words)}", flush=True)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.strip("-")]


def main(arguments: list[str]) -> int:
    """Parse and play; see the module."""
    parser = argparse.ArgumentParser(prog="python -m alephtx.testing.world", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, help="one seed, with its log")
    parser.add_argument("--seconds", type=float, default=60.0, help="virtual time of each")
    parser.add_argument("--only", type=_numbers, help="keep these of the planned faults")
    parser.add_argument("--mutant", default="", choices=["", *MUTANTS], help="a broken build")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore", RuntimeWarning)  # of what was dead and never awaited
    if given.seed is not None:
        world = play(given.seed, given.seconds, given.only, given.mutant, loud=True)
        for line in world.violations:
            print(line)
        return 1 if world.violations else 0
    steps = faults = violations = failed = 0
    begun = time.perf_counter()
    for seed in range(given.first, given.first + given.seeds):
        world = play(seed, given.seconds, None, given.mutant, loud=False)
        steps, faults = steps + world.steps, faults + world.faults_done
        violations += len(world.violations)
        if world.violations:
            failed += 1
            report(seed, given.seconds, given.mutant)
            if given.mutant:  # one is enough to catch it
                break
        del world
        if seed % 16 == 0:
            gc.collect()  # a world collects nothing while it plays, and leaves megabytes
    took = time.perf_counter() - begun
    speed = given.seeds * given.seconds / took
    print(
        f"seeds {given.seeds}  steps {steps}  faults {faults}  failed {failed}  "
        f"violations {violations}  {took:.0f} s  {speed:.0f} x real time"
    )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
