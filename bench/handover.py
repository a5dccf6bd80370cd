"""From the compiled loop to the main thread: what waking it costs, and how late it comes.

A thread stamps, hands over and goes on, as the loop does with an order; the main thread, asyncio on
uvloop, counts how old the stamp is when its callback runs. Two ways, in turns: the thread goes back
to Python and calls `call_soon_threadsafe`, for which it needs the interpreter; or it writes an
eventfd from compiled code and never stops. Each with a main thread that sleeps and with one that
works in pieces of 50 us, and the first also with Python's default switch interval of 5 ms.
"""

import asyncio
import gc
import statistics
import sys
import threading

import numpy as np
import uvloop
from lib.rounds import options, report

from alephtx.core.atomics import load_acquire, monotonic_ns, pause, store_release
from alephtx.core.clock import MachineClock
from alephtx.core.kernel import kernel
from alephtx.net.wake import Wake, wake_main

GAP_NS, TIMES, PIECE_NS = 300_000, 200, 50_000


@kernel
def until(word, value, gap_ns):
    """Wait until the main thread has had the last one, and a while longer; returns the time."""
    while load_acquire(word) < value:
        pause()
    begun = monotonic_ns()
    now = begun
    while now - begun < gap_ns:
        pause()
        now = monotonic_ns()
    return now


@kernel
def hand_over(times, gap_ns, words, wake, away):
    """Stamp, wake and go on, so often; away: how long each took this thread."""
    for k in range(times):
        now = until(words + 128, k, gap_ns)
        store_release(words, now)
        wake_main(wake)
        away[k] = monotonic_ns() - now


class Way:
    """One way of handing over; `late` and `away` are in ns, of every time."""

    def __init__(self, *, compiled, busy, interval=5e-3):
        self.compiled, self.busy, self.interval = compiled, busy, interval
        self.late, self.away = [], []
        self.memory = np.zeros(64, np.int64)
        own = int(self.memory.ctypes.data)
        self.words = (own + 127) // 128 * 128
        self.at = (self.words - own) // 8
        self.clock = MachineClock()

    def heard(self):
        """Count the stamp's age and let the thread go on."""
        late = self.clock.monotonic() - int(self.memory[self.at])
        self.late.append(late)
        self.memory[self.at + 16] += 1

    async def work(self):
        """Do what a busy main thread does: Python, in pieces."""
        while True:
            end = self.clock.monotonic() + PIECE_NS
            while self.clock.monotonic() < end:
                pass
            await asyncio.sleep(0)

    async def run(self):
        """Hand over TIMES times."""
        loop = asyncio.get_running_loop()
        self.memory[self.at + 16] = 0
        wake, away = Wake(), np.zeros(TIMES, np.int64)
        until(self.words, -1, 0)
        hand_over(0, 0, self.words, 0, away)

        def in_python():
            for k in range(TIMES):
                now = until(self.words + 128, k, GAP_NS)
                self.memory[self.at] = now
                loop.call_soon_threadsafe(self.heard)
                away[k] = until(self.words, -1, 0) - now

        def in_kernel():
            hand_over(TIMES, GAP_NS, self.words, wake.address, away)

        loop.add_reader(wake.fd, lambda: (wake.taken(), self.heard()))
        working = asyncio.ensure_future(self.work()) if self.busy else None
        before = sys.getswitchinterval()
        sys.setswitchinterval(self.interval)
        thread = threading.Thread(target=in_kernel if self.compiled else in_python)
        thread.start()
        while thread.is_alive() or self.memory[self.at + 16] < TIMES:
            await asyncio.sleep(0.005)
        sys.setswitchinterval(before)
        if working is not None:
            working.cancel()
        loop.remove_reader(wake.fd)
        wake.close()
        self.away += away.tolist()


def main() -> None:
    """Print p50 and p99 of both ends, in us."""
    given = options(__doc__).parse_args()
    ways = {}
    for state, busy in (("asleep", False), ("at work", True)):
        ways[f"Python, main {state}"] = Way(compiled=False, busy=busy)
        ways[f"Python, 0.1 ms switches, main {state}"] = Way(
            compiled=False, busy=busy, interval=1e-4
        )
        ways[f"eventfd, main {state}"] = Way(compiled=True, busy=busy)
    gc.collect()
    gc.disable()
    for _ in range(given.rounds):
        for way in ways.values():
            uvloop.run(way.run())
    figures, against = {}, {}
    for name, way in ways.items():
        for what, seen in (("heard after", way.late), ("thread away", way.away)):
            cuts = statistics.quantiles(seen, n=100)
            figures[f"{name}: {what}, p50"] = cuts[49] / 1e3
            figures[f"{name}: {what}, p99"] = cuts[98] / 1e3
    for state in ("asleep", "at work"):
        for what in ("heard after", "thread away"):
            against[f"eventfd, main {state}: {what}, p50"] = f"Python, main {state}: {what}, p50"
    report("handover", figures, "us", against=against, as_json=given.json)


if __name__ == "__main__":
    main()
