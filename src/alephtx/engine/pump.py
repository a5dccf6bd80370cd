"""From the loop's ring to the gateways: what the asyncio thread does with an order first.

The loop wakes that thread by an eventfd, or, where it spins (`node.main_wait`), finds it looking at
the ring in every turn of its event loop.
"""

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from alephtx.core.kernel import entry
from alephtx.core.ports import Rows
from alephtx.core.records import INTENT
from alephtx.execution.intents import ACCOUNT, picked, values_of
from alephtx.matrix.spsc import spsc_take

if TYPE_CHECKING:
    from alephtx.engine.session import Session

ROWS_MAX = 256
CALM_NS = 50_000_000


class Pump:
    """Hands the loop's intents to their gateways, several of one account in one call."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._ring = session.engine.rings.outbox.address
        self._rows: Rows = np.zeros(ROWS_MAX, INTENT)
        self._at: int = self._rows.ctypes.data
        self._take = entry(spsc_take, 0, 0, 0)
        self._spins = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pumped_ns = 0

    def __call__(self) -> None:
        """Hand over everything that waits."""
        while n := self._take(self._ring, self._at, ROWS_MAX):
            self._hand_over(int(n))

    def _hand_over(self, n: int) -> None:
        session = self._session
        self._pumped_ns = session.clock.monotonic()
        raw = self._rows[:n].tobytes()
        rows = values_of(raw)
        session.layers.taken(rows)
        if session.config.node.durability == "order":
            session.journal.sync()
        if len({row[ACCOUNT] for row in rows}) == 1:
            session.gateways[rows[0][ACCOUNT]].submit(np.frombuffer(bytearray(raw), INTENT))
            return
        waiting: dict[int, list[int]] = {}
        for k, row in enumerate(rows):
            waiting.setdefault(row[ACCOUNT], []).append(k)
        for account, which in waiting.items():
            session.gateways[account].submit(picked(raw, which))

    def calm(self) -> bool:
        """Tell whether nothing left for a venue lately, so that a pause of ours delays no order."""
        return self._session.clock.monotonic() - self._pumped_ns > CALM_NS

    def spin(self) -> None:
        """Look at the ring in every turn of the running event loop, which never sleeps then."""
        self._spins, self._loop = True, asyncio.get_running_loop()
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        if not self._spins or self._loop is None:
            return
        self._loop.call_soon(self._turn)
        try:
            if n := self._take(self._ring, self._at, ROWS_MAX):
                self._hand_over(int(n))
        except Exception as error:  # noqa: BLE001 - an order that nobody carries ends the process
            self.rest()
            self._session.failed(error)

    def rest(self) -> None:
        """Let the event loop sleep again."""
        self._spins = False
