"""The slow side of the exchange: a venue's twin in a thread, for REST, private streams, answers.

The twin checks every order as it always does (key, clock, signature, filters) and tells the private
links; only its market is the bench's, and its rate limits are out of the way.
"""

import asyncio
import queue
import threading
from typing import Any

import uvloop
from ttt_side import Side

from alephtx.twins.server import TwinServer


class Caller:
    """Stands for the trade link: what the twin sends is put where the exchange finds it."""

    def __init__(self) -> None:
        self.answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.carries = {"trade"}
        self.account: Any = None
        self.closing = None
        self.subscriptions: set[str] = set()

    def send(self, frame: bytes, role: str = "") -> None:
        """Keep an answer."""
        self.answers.put(frame)

    def abort(self) -> None:
        """Answer nothing."""
        self.answers.put(b"")


class TwinThread:
    """The twin's asyncio loop in a thread of the exchange's process."""

    def __init__(self, side: Side, snapshot: Any) -> None:
        self.port = 0
        self._side = side
        self.caller = Caller()
        self._loop = uvloop.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(snapshot,), daemon=True)
        self._thread.start()
        assert self._ready.wait(60), "the twin did not start"

    def _run(self, snapshot: Any) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(snapshot))

    async def _serve(self, snapshot: Any) -> None:
        self.twin = self._side.make_twin(snapshot)
        async with TwinServer({self.twin: 0}) as server:
            self._side.prime(self.twin)
            self.port = server.ports[self.twin.name]
            self._ready.set()
            await self._stop.wait()

    def ask(self, text: bytes) -> None:
        """Hand a request of the trade link to the twin; its answer comes to `caller.answers`."""
        self._loop.call_soon_threadsafe(self._side.ask, self.twin, self.caller, text.decode())

    def close(self) -> None:
        """Stop serving."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
