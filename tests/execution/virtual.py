"""Virtual time for asyncio: the loop's clock jumps to the next timer instead of waiting for it."""

import asyncio
import selectors


class _Jump(selectors.SelectSelector):
    """A selector that never waits; what it was to wait for has passed."""

    passed = 0.0

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError("nothing is due in virtual time: everything waits for everything")
        self.passed += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop without sockets, whose time is virtual; for `asyncio.Runner(loop_factory=)`."""

    def __init__(self):
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self):
        return self._jump.passed


class VirtualClock:
    """A core Clock on the running loop's time."""

    START_NS = 1_700_000_000_000_000_000

    def monotonic(self):
        return int(asyncio.get_running_loop().time() * 1e9)

    def now(self):
        return self.START_NS + self.monotonic()

    async def sleep(self, duration_ns):
        await asyncio.sleep(max(0, duration_ns) / 1e9)
