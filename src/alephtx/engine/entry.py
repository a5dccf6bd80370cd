"""One account whose orders leave from the compiled loop: its stages, its trade link, its budget."""

from typing import Any

from alephtx.engine import entry_out as e
from alephtx.engine.wire import AccountWire
from alephtx.execution.gateway import Gateway
from alephtx.execution.staged import W_AHEAD_NS, W_DECLINED, W_UNPAID, Staged
from alephtx.net import websocket
from alephtx.net.loop_link import LoopLink, connect_loop
from alephtx.net.session import OpenSocket
from alephtx.net.wake import Wake
from alephtx.net.websocket import OnFrame

FILL_MOST = 8
"""Nonces prepared in one go: a millisecond of the asyncio thread, every ten."""


class Entry:
    """What `entry_out.send_out` works with for one account, on the asyncio thread.

    ConfigError where the venue or its signer has no stages for it.
    """

    def __init__(self, name: str, gateway: Gateway, wire: AccountWire, wake: Wake) -> None:
        self._gateway, self._wake, self._has_loop = gateway, wake, True
        self._staged = Staged(name, gateway.codec, wire.buckets)
        self.links: list[LoopLink] = []
        self.words, self.packed = self._staged.words, self._staged.packed
        gateway.outbox.next_nonce = self._staged.next_nonce
        wire.connects["trade"] = self._connect

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

    @property
    def near(self) -> tuple[object, ...]:
        """Return what a request of ours touches, for `near.memory_of`."""
        return self._staged.near

    def attend(self) -> None:
        """Take the answers that the loop left."""
        for link in self.links:
            link.attend()

    def look_after(self) -> None:
        """Say how far the venue's clock is and whether it owes us too much; prepare nonces."""
        gateway, words = self._gateway, self.words
        words[W_AHEAD_NS] = gateway.clock_watch.offset.shift_ns
        words[e.W_FULL] = int(gateway.outbox.is_full)
        if self._staged.pool is not None:
            self._staged.pool.fill(FILL_MOST)

    def told(self) -> dict[str, int]:
        """Return how many requests the loop sent and why it left others to the gateway."""
        names = {
            "sent": e.W_SENT, "declined": W_DECLINED, "unpaid": W_UNPAID,
            "no_room": e.W_NO_ROOM,
        }  # fmt: skip
        return {name: int(self.words[word]) for name, word in names.items()}
