"""A child notices that its supervisor is gone."""

import asyncio
import os

POLL_SECONDS = 0.2


def end_with_parent(stop: asyncio.Event, parent: int) -> "asyncio.Task[None]":
    """Set the event when the parent process has died; returns the watching task.

    parent: its process id, from itself: it may have died before we were able to ask.
    """

    async def watch() -> None:
        while os.getppid() == parent:
            await asyncio.sleep(POLL_SECONDS)
        stop.set()

    return asyncio.ensure_future(watch())
