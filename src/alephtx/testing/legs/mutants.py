"""Builds of the leg guard that are broken on purpose; the world must notice each.

They replace functions and constants that compiled code would have frozen, so they work only with
NUMBA_DISABLE_JIT=1.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from alephtx.core import words
from alephtx.core.errors import SimulationError
from alephtx.core.kernel import JIT
from alephtx.engine import assemble, emit, leg_guard, leg_lanes, updates
from alephtx.engine import context as c

UNUSED_COLUMN = 15


def _one_more(view: Any, i: int, side: int, base: int) -> int:
    lots = LOTS_OF(view, i, side, base)
    return int(lots) + int(view.instruments[i]["lot_step"]) if lots > 0 else 0


LOTS_OF: Callable[..., int] = leg_lanes.closing_lots
SETTLES: Callable[..., int] = leg_lanes.lane_settles


def _proven(*arguments: Any) -> int:
    SETTLES(*arguments)
    return 0


MUTANTS: dict[str, list[tuple[Any, str, Any]]] = {
    "the guard never acts": [(assemble, "guard_legs", lambda x, a, b: 0)],
    "it does not wait for proofs": [(leg_guard, "lane_settles", _proven)],
    "it rounds up": [(leg_guard, "closing_lots", _one_more)],
    "it sends the wrong way": [(leg_guard, "SELL", words.BUY), (leg_guard, "BUY", words.SELL)],
    "its orders rest": [(leg_guard, "IOC", words.GTC)],
    "it never gives up": [(leg_guard, "LANE_BROKEN", c.LANE_CLOSING)],
    "it halts nobody": [(leg_guard, "S_ENABLED", UNUSED_COLUMN)],
    "it tells nobody": [(leg_guard, "C_LEG_HALTS", c.C_LEG_ORDERS)],
    "a fill is not counted": [(updates, "fill_moves", lambda *arguments: None)],
    "the strategy sends on": [(emit, "judge_groups", lambda *arguments: None)],
}


NOTICED_BY = {"it does not wait for proofs": 5, "it never gives up": 24, "it halts nobody": 24,
              "it tells nobody": 24, "the strategy sends on": 24}  # fmt: skip
"""A seed that notices a broken build; seed 2 where none is named."""


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Break the build for a while; SimulationError where it is compiled."""
    if JIT:
        raise SimulationError("a compiled guard cannot be broken", remedy="NUMBA_DISABLE_JIT=1")
    before = [(module, at, getattr(module, at)) for module, at, _ in MUTANTS[name]]
    try:
        for module, at, value in MUTANTS[name]:
            setattr(module, at, value)
        yield
    finally:
        for module, at, value in before:
            setattr(module, at, value)
