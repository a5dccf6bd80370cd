"""A seed's plan: which faults a world has, and when."""

import asyncio
import random
from typing import TYPE_CHECKING

import msgspec

from alephtx.testing.world.faults import CATALOGUE, Act
from alephtx.testing.world.hard import HARD
from alephtx.testing.world.late import LATE
from alephtx.testing.world.wide import WIDE

if TYPE_CHECKING:
    from alephtx.testing.world.world import World

ALL = CATALOGUE | WIDE | HARD | LATE


class Planned(msgspec.Struct, frozen=True):
    """One fault of a plan: when, which, and the seed of its own choices."""

    at_s: float
    name: str
    seed: int


def plan(
    seed: int,
    seconds: float,
    most: int = 8,
    most_wide: int = 3,
    most_hard: int = 2,
    most_late: int = 1,
) -> list[Planned]:
    """Return a seed's faults, in order of time; the first seconds and the last are calm.

    The catalogues are drawn from separately, so that one may grow without changing what a seed
    takes from the others.
    """
    source = random.Random(seed ^ 0x5EED)  # noqa: S311 - repeatable on purpose
    found = _draw(source, CATALOGUE, source.randrange(1, most + 1), seconds)
    source = random.Random(seed ^ 0x51DE)  # noqa: S311
    found += _draw(source, WIDE, source.randrange(most_wide + 1), seconds)
    source = random.Random(seed ^ 0x4A8D)  # noqa: S311
    found += _draw(source, HARD, source.randrange(most_hard + 1), seconds)
    source = random.Random(seed ^ 0x1A7E)  # noqa: S311
    found += _draw(source, LATE, source.randrange(most_late + 1), seconds)
    return sorted(found, key=lambda planned: planned.at_s)


def _draw(
    source: random.Random, catalogue: dict[str, tuple[int, Act]], count: int, seconds: float
) -> list[Planned]:
    names = sorted(catalogue)
    weights = [catalogue[name][0] for name in names]
    return [
        Planned(
            round(source.uniform(4.0, max(5.0, seconds - 5.0)), 3),
            source.choices(names, weights)[0],
            source.randrange(1 << 30),
        )
        for _ in range(count)
    ]


async def play(world: "World", planned: Planned) -> None:
    """Wait for a fault's time and let it happen."""
    await asyncio.sleep(planned.at_s)
    world.note(planned.name)
    world.faults_done += 1
    source = random.Random(planned.seed)  # noqa: S311
    try:
        await ALL[planned.name][1](world, source)
    except Exception as error:  # noqa: BLE001 - a fault that fails tests nothing, and says so
        world.violate(f"{planned.name} failed: {error!r}")
