"""Shadow accounts: real events, real rules, orders signed and stamped, and provably not sent.

A shadow gateway has a codec and a signer but no wire: there is nothing it could send with. Each
order is encoded as it would be, its stamp is noted, and it ends EXPIRED with reason SHADOW, so the
strategy sees the order go and nothing come back.
"""

import asyncio
from collections.abc import Callable

import numpy as np

from alephtx.core import words
from alephtx.core.clock import Clock
from alephtx.core.errors import VenueError
from alephtx.core.log import logger
from alephtx.core.ports import Balance, Codec, Holding, Rows
from alephtx.core.records import UPDATE
from alephtx.execution.gateway import LiveOrder

log = logger("shadow")


class ShadowGateway:
    """One account in shadow mode. Same surface as `execution.gateway.Gateway`."""

    def __init__(
        self,
        account: int,
        codec: Codec,
        clock: Clock,
        push: Callable[[Rows], bool],
        *,
        on_sent: Callable[[int, int, int], None] = lambda op, order_id, ns: None,
    ) -> None:
        self.account = account
        self.codec = codec
        self.clock = clock
        self.live: dict[int, LiveOrder] = {}
        self.ready = asyncio.Event()
        self.balances: list[Balance] = []
        self.holdings: list[Holding] = []
        self.foreign = 0
        self.counts = {"sent": 0, "rejected": 0, "ambiguous": 0, "resyncs": 0, "fills": 0}
        self.encoded = 0
        self._push = push
        self._on_sent = on_sent
        self._nonce = 0

    async def start(self) -> None:
        """Open the account for intents; there is nothing to agree on."""
        self._emit(words.RESYNC_BEGIN, 0)
        self._emit(words.RESYNC_END, 0)
        self.ready.set()

    async def close(self) -> None:
        """Do nothing: nothing is open."""

    async def synchronise(self) -> None:
        """Do nothing: a shadow account's books are empty on both sides."""

    async def refresh(self) -> None:
        """Do nothing, as `synchronise`."""

    def fetch_fills_soon(self, instrument: int) -> None:
        """Do nothing: a shadow order never fills."""

    def submit(self, intents: Rows) -> None:
        """Encode and sign, note the stamp, and end each new order unsent."""
        now = self.clock.now()
        self._nonce = max(self._nonce + 1, now // 1_000_000)
        try:
            self.encoded += len(self.codec.encode(intents, now, self._nonce))
        except VenueError as error:
            log.warning("shadow_not_encoded", account=self.account, error=str(error))
        stamp = self.clock.now()
        for k in range(len(intents)):
            op = int(intents[k]["op"])
            if op != words.PLACE:
                self._on_sent(op, int(intents[k]["target_order_id"]), stamp)
            else:
                order_id = int(intents[k]["order_id"])
                self._on_sent(op, order_id, stamp)
                self._emit(words.SENT, order_id, int(intents[k]["instrument"]))
                self._emit(words.EXPIRE, order_id, int(intents[k]["instrument"]))

    def _emit(self, kind: int, order_id: int, instrument: int = 0) -> None:
        row = np.zeros(1, UPDATE)
        row["kind"], row["order_id"], row["instrument"] = kind, order_id, instrument
        row["cum_qty"], row["account"], row["ts_recv"] = -1, self.account, self.clock.now()
        if kind == words.EXPIRE:
            row["reason"] = words.REASON_SHADOW
        if not self._push(row):
            raise AssertionError("the shadow account's update ring is full")
