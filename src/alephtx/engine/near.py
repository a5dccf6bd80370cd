"""What an engine's loop keeps in the near cache; how, is in `core.near`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from alephtx.core.near import Span, code_spans, memory_of
from alephtx.engine import context as c

if TYPE_CHECKING:
    from alephtx.engine.session import Session


def spans_of(session: "Session") -> Iterator[Span]:
    """Yield what a turn of an engine's loop touches and no other process writes."""
    ctx, direct = session.ctx, session.direct
    yield from code_spans()
    yield from memory_of(ctx[c.F_NOW :])
    if direct is None:
        return
    for feeder in direct.feeders:
        yield from memory_of(feeder.outlet.near)
    for entry in direct.entries.values():
        yield from memory_of(entry.near)
    for link in direct.links:
        yield from link.near
