"""A loop for links: a thread around `link_rounds`, and the main thread's side of its wake."""

import asyncio
import ctypes
import gc
import threading
import time
from pathlib import Path

from alephtx.core.clock import MachineClock
from alephtx.net.frames import link_rounds
from alephtx.net.loop_link import connect_loop
from alephtx.net.sending import end_link
from alephtx.net.wake import Wake

LINKS_MAX = 64
CLOCK = MachineClock()
SECOND = 1_000_000_000


class Got(list):
    def __call__(self, payload, ts_recv):
        self.append((payload, ts_recv))

    @property
    def payloads(self):
        return [payload for payload, _ in self]


async def opened(pump, base, got, **options):
    return await pump.connect(
        base + "/ws", got, **{"clock": CLOCK, "timeout_ns": 2 * SECOND, **options}
    )


def descriptors():
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


class Pump:
    """Serves links from a thread of its own; use it as an async context."""

    def __init__(self):
        self.wake = Wake()
        self.links = []
        self.table = (ctypes.c_int64 * LINKS_MAX)()
        self.stop_asked = False
        self.thread = threading.Thread(target=self.run, name="pump")

    def run(self):
        where = ctypes.addressof(self.table)
        while not self.stop_asked:
            if not link_rounds(where, LINKS_MAX, 20):
                time.sleep(0.0002)
        for address in self.table:
            if address:
                end_link(address)

    async def connect(self, url, on_frame, **options):
        link = await connect_loop(url, on_frame, wake=self.wake, **options)
        self.links.append(link)
        self.table[len(self.links) - 1] = link.address
        return link

    def rang(self):
        self.wake.taken()
        for link in self.links:
            link.attend()

    async def __aenter__(self):
        asyncio.get_running_loop().add_reader(self.wake.fd, self.rang)
        self.thread.start()
        return self

    def stop(self):
        self.stop_asked = True
        if self.thread.is_alive():
            self.thread.join(20)
        assert not self.thread.is_alive()

    async def __aexit__(self, *_):
        self.stop()
        for link in self.links:
            link.take()
            await asyncio.wait([link._released], timeout=5)
        asyncio.get_running_loop().remove_reader(self.wake.fd)
        self.wake.close()
