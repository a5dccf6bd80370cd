"""One account whose orders leave from the compiled loop: its stages, its trade link, its budget."""

from typing import Any

import numpy as np

from alephtx.core.errors import ConfigError
from alephtx.core.nonce import next_nonces, nonce_address
from alephtx.core.packed import FIELD_WORDS, pack_fields
from alephtx.core.ports import OrderStages, Rows, Stage
from alephtx.core.stages import stage_address
from alephtx.engine import entry_out as e
from alephtx.engine.wire import AccountWire
from alephtx.execution.gateway import Gateway
from alephtx.net import websocket
from alephtx.net.loop_link import LoopLink, connect_loop
from alephtx.net.session import OpenSocket
from alephtx.net.wake import Wake
from alephtx.net.websocket import OnFrame

FILL_MOST = 8
"""Nonces prepared in one go: a millisecond of the asyncio thread, every ten."""


def order_stages_of(name: str, codec: Any) -> OrderStages:
    """Return what writes an account's orders in the loop; ConfigError where its venue has none."""
    stages: OrderStages | None = codec.order_stages() if hasattr(codec, "order_stages") else None
    if stages is None:
        raise ConfigError(
            f"account {name}: {codec.spec.name} has no compiled order entry",
            remedy='set entry = "gateway"',
        )
    return stages


class Entry:
    """What `entry_out.send_out` works with for one account, on the asyncio thread.

    ConfigError where the venue or its signer has no stages for it.
    """

    def __init__(self, name: str, gateway: Gateway, wire: AccountWire, wake: Wake) -> None:
        codec: Any = gateway.codec
        self._orders = order_stages_of(name, codec)
        self._gateway, self._wake, self._has_loop = gateway, wake, True
        self._pool = codec.nonce_pool
        self._signing: Stage = codec.signing_stage()
        self.links: list[LoopLink] = []
        self.words: Rows = np.zeros(e.ENTRY_WORDS, np.int64)
        self._costs: Rows = np.zeros((e.OPS, e.COSTS_MAX, 2), np.int64)
        self._place_stages()
        self._place_costs(wire)
        write = self._orders.write.state
        self.packed = pack_fields(
            [
                self.words, write, self._signing.state, self._orders.seal.state,
                wire.buckets.levels, wire.buckets.held, self._costs,
            ]
        )  # fmt: skip
        assert len(self.packed) == e.ENTRY_FIELDS * FIELD_WORDS
        self._nonces = nonce_address(self._orders)
        gateway.outbox.next_nonce = self.next_nonce
        wire.connects["trade"] = self._connect

    def _place_stages(self) -> None:
        words, orders = self.words, self._orders
        words[e.W_ROWS_MAX] = orders.rows_max
        owners = []
        for word, stage in (
            (e.W_WRITE, orders.write), (e.W_SIGN, self._signing), (e.W_SEAL, orders.seal),
        ):  # fmt: skip
            words[word], owner = stage_address(stage.function)
            owners.append(owner)
        self._owners = owners

    def _place_costs(self, wire: AccountWire) -> None:
        for op, costs in self._orders.costs.items():
            pairs = wire.buckets.wanted(costs)
            self.words[e.W_COSTS + op] = len(pairs)
            self._costs[op, : len(pairs)] = pairs

    def next_nonce(self, n: int) -> int:
        """Return the first of n numbers that neither thread has used."""
        return int(next_nonces(self._nonces, self._gateway.clock.now() // 1_000_000, n))

    def leave_loop(self) -> None:
        """Let asyncio serve every trade link from now on: the loop has ended."""
        self._has_loop = False

    async def _connect(self, url: str, on_frame: OnFrame, **options: Any) -> OpenSocket:
        if not self._has_loop:
            return await websocket.connect(url, on_frame, **options)
        made = await connect_loop(url, on_frame, wake=self._wake, **options)
        # The loop may still look at the one before: it lives until the next but one.
        self.links = [*self.links[-1:], made]
        self.words[e.W_LINK] = made.address
        return made

    def attend(self) -> None:
        """Take the answers that the loop left."""
        for link in self.links:
            link.attend()

    def look_after(self) -> None:
        """Say how far the venue's clock is and whether it owes us too much; prepare nonces."""
        gateway, words = self._gateway, self.words
        words[e.W_AHEAD_NS] = gateway.clock_watch.offset.shift_ns
        words[e.W_FULL] = int(gateway.outbox.is_full)
        if self._pool is not None:
            self._pool.fill(FILL_MOST)

    def told(self) -> dict[str, int]:
        """Return how many requests the loop sent and why it left others to the gateway."""
        names = {
            "sent": e.W_SENT, "declined": e.W_DECLINED, "unpaid": e.W_UNPAID,
            "no_room": e.W_NO_ROOM,
        }  # fmt: skip
        return {name: int(self.words[word]) for name, word in names.items()}
