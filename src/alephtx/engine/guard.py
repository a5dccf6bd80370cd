"""A child notices that its supervisor is gone."""

import asyncio
import os

POLL_SECONDS = 0.2


def end_with_parent(stop: asyncio.Event) -> "asyncio.Task[None]":
    """Set the event when the parent process has died; returns the watching task."""
    parent = os.getppid()

    async def watch() -> None:
        while os.getppid() == parent:
            await asyncio.sleep(POLL_SECONDS)
        stop.set()

    return asyncio.ensure_future(watch())
