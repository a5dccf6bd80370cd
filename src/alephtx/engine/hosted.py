"""A venue's feeder inside the engine's process, on its asyncio thread."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from alephtx.core.log import logger
from alephtx.core.ports import Codec
from alephtx.feed.feeder import Feeder
from alephtx.feed.lane import Lane
from alephtx.feed.main import make_feeder

if TYPE_CHECKING:
    from alephtx.engine.session import Session

log = logger("engine")


def host_feeders(session: "Session") -> list[Feeder]:
    """Return the feeders that the config wants here; says which of those the loop does instead."""
    for venue in session.config.outdone_venues:
        strategies = ",".join(session.config.direct_on(venue))
        log.warning("feeder_not_hosted", venue=venue, received_by="loop", strategies=strategies)
    return [host_feeder(session, venue) for venue in session.config.hosted_venues]


def host_feeder(
    session: "Session", venue: str, lane_of: Callable[[Codec], Lane] | None = None
) -> Feeder:
    """Return a venue's feeder for `session.spawn(feeder.run())`; its fault ends the engine.

    lane_of: makes the lane by which the compiled loop receives, where that does; else the links are
    asyncio's. It never spins by itself: the thread that it is on is the session's.
    """
    return make_feeder(
        session.config, venue, session.matrix, session.clock, source=session.random,
        run_path=session.run_directory.path, lane_of=lane_of,
    )  # fmt: skip
