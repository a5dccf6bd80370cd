"""The direct path of one engine: the venues its loop receives, the accounts it sends for.

Everything rare comes back to the asyncio thread: `attend` is called when the loop says so.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np

from alephtx.core.errors import ConfigError
from alephtx.core.log import logger
from alephtx.core.packed import pack_fields
from alephtx.core.ports import Rows
from alephtx.core.stages import stage_address
from alephtx.engine import context as c
from alephtx.engine.direct_turn import D_LANES, DIRECT_FIELDS, serve_links
from alephtx.engine.entry import Entry
from alephtx.engine.entry_out import D_ENTRIES, send_out
from alephtx.engine.hosted import host_feeder
from alephtx.engine.wire import AccountWire
from alephtx.execution.gateway import Gateway
from alephtx.feed.feeder import Feeder
from alephtx.feed.lane import Lane
from alephtx.net.loop_link import LoopLink
from alephtx.net.wake import Wake

if TYPE_CHECKING:
    from alephtx.engine.session import Session

log = logger("engine")


class Direct:
    """Feeders inside this engine, and entries; nothing runs before `start`."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self.wake = Wake()
        self.feeders = [self._feeder(venue) for venue in session.config.direct_venues]
        self.entries: dict[int, Entry] = {}
        lanes = max(1, len(self.feeders))
        self._lanes: Rows = np.zeros((lanes, 3), np.int64)
        self._entries: Rows = np.zeros(max(1, len(session.config.accounts)), np.int64)
        for k, feeder in enumerate(self.feeders):
            lane = feeder.lane
            assert lane is not None
            self._lanes[k] = lane.stage, lane.packed.ctypes.data, len(lane.packed)
        fields: list[Any] = [None] * DIRECT_FIELDS
        fields[D_ENTRIES], fields[D_LANES] = self._entries, self._lanes
        ctx = session.ctx
        ctx.direct[: DIRECT_FIELDS * 6] = pack_fields(fields)
        self._owners = []
        for word, stage in ((c.A_LINKS, serve_links), (c.A_SEND, send_out)):
            ctx.addresses[word], owner = stage_address(stage)
            self._owners.append(owner)

    def _alive(self) -> bool:
        loop = self._session.loop_thread
        return loop is not None and loop.is_alive()

    def _feeder(self, name: str) -> Feeder:
        return host_feeder(self._session, name, lambda codec: Lane(codec, self._alive, self.wake))

    def enter(self, name: str, gateway: Gateway, wire: AccountWire) -> None:
        """Let an account's orders leave from the loop.

        Where the venue has no compiled order entry, those of a direct strategy go by the gateway,
        and we say so; ConfigError where the config asks for the loop by name.
        """
        try:
            entry = Entry(name, gateway, wire, self.wake)
        except ConfigError as error:
            if self._session.config.accounts[name].entry == "loop":
                raise
            log.warning("account_stays_with_gateway", account=name, why=str(error))
            return
        self.entries[gateway.account] = entry
        self._entries[gateway.account] = entry.packed.ctypes.data
        log.info("account_enters_from_loop", account=name)

    def start(self) -> None:
        """Open the market links and give the lanes to the loop, which runs."""
        asyncio.get_running_loop().add_reader(self.wake.fd, self.attend)
        for feeder in self.feeders:
            assert feeder.lane is not None
            self._session.spawn(feeder.run())
            feeder.lane.baton.run()

    def attend(self) -> None:
        """Do what the loop left. Orders first: an answer must not find one unheard of.

        A fault of ours ends the engine: what was handed over would stay so for ever.
        """
        self.wake.taken()
        try:
            self._session.pump()
            for entry in self.entries.values():
                entry.attend()
            for feeder in self.feeders:
                feeder.attend()
        except Exception as error:  # noqa: BLE001 - asyncio would log it and go on
            self._session.failed(error)

    def look_after(self) -> None:
        """Do what is due every few ms, beside what the loop asks for."""
        for entry in self.entries.values():
            entry.look_after()

    def told(self) -> dict[str, Any]:
        """Return what the loop heard and sent by itself, for the status."""
        names = self._session.engine.account_names
        return {
            "venues": {feeder.name: feeder.lane.told() for feeder in self.feeders if feeder.lane},
            "entries": {names[account]: entry.told() for account, entry in self.entries.items()},
        }

    def halt(self) -> None:
        """Take the books back from the loop, which is about to end."""
        for feeder in self.feeders:
            assert feeder.lane is not None
            feeder.lane.baton.halt()

    def hand_back(self) -> None:
        """Let asyncio go on alone after a loop that has ended by itself: cancels have to leave."""
        for entry in self.entries.values():
            entry.leave_loop()
        self.halt()
        self.take_links()

    @property
    def links(self) -> list[LoopLink]:
        """Return the connections that the loop may know."""
        links = [link for entry in self.entries.values() for link in entry.links]
        return links + [
            link for feeder in self.feeders if feeder.lane for link in feeder.lane.links
        ]

    def take_links(self) -> None:
        """Take the connections back from a loop that has ended."""
        for link in self.links:
            link.take()

    def close(self) -> None:
        """Let go of the eventfd, when neither loop nor links need it any more."""
        asyncio.get_running_loop().remove_reader(self.wake.fd)
        self.wake.close()
