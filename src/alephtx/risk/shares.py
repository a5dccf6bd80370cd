"""Shares of one gross limit: what a pool grants, so that all grants together never exceed it.

Amounts are cents of the reference. A grant never ends by itself, because whoever holds it may have
used all of it, and positions stay: only its holder gives it back. What an engine says it holds is
believed; it says so with every request. A pool that has forgotten (a restart, a flush, a damaged
file) grants nothing more until every engine of the charter has said what it holds.

`net.pool_redis` says the same in Lua, `engine.pool_file` keeps it in a file.
"""

from collections.abc import Mapping, Sequence

import msgspec

CENT_E6 = 1_000_000
"""A cent in 10^-8 of the reference."""


class Ask(msgspec.Struct, frozen=True):
    """What an engine says and wants; held: what it may use now; total, charter: as it was told."""

    engine: int
    held: int
    want: int
    total: int
    charter: tuple[int, ...]


class Grant(msgspec.Struct, frozen=True):
    """What a pool answers. missing: engines that have not said what they hold; nobody gets more."""

    cents: int
    granted: int
    missing: tuple[int, ...]


def settle(held: Mapping[int, int], ask: Ask) -> tuple[dict[int, int], Grant]:
    """Return what engines hold after a request, and its answer; held: before, by engine."""
    after = {**held, ask.engine: ask.held}
    missing = tuple(engine for engine in ask.charter if engine not in after)
    free = ask.total - sum(after.get(engine, 0) for engine in ask.charter)
    if not missing and ask.want > ask.held:
        after[ask.engine] = ask.held + min(ask.want - ask.held, max(free, 0))
    granted = sum(after.get(engine, 0) for engine in ask.charter)
    return after, Grant(after[ask.engine], granted, missing)


def wanted(
    use: int, held: int, local: int, total: int, engines: Sequence[int], *, pressed: bool
) -> int:
    """Return what an engine should hold: its use and room to grow, its own share at least.

    Room is a fifth of its use or a quarter of a fair part, whichever is more; four times that when
    orders were denied for it (pressed). What is held beyond twice that is given back; less is kept,
    so that shares do not go to and fro.
    """
    room = max(use // 5, total // (4 * len(engines))) * (4 if pressed else 1)
    want = min(max(use + room, local), total)
    return want if want > held or held > 2 * want else held
