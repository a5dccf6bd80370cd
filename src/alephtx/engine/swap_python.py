"""The canary and the watch of a strategy that says COMPILED = False; its host calls them."""

from typing import Any

from alephtx.core.clock import Clock
from alephtx.core.histogram import hist_add
from alephtx.core.plugins import raised_at
from alephtx.engine import context as c
from alephtx.engine.assemble import Loaded
from alephtx.engine.context import Context, pack, view_of
from alephtx.engine.swap_apply import ask
from alephtx.engine.swap_canary import Beside

COLUMNS = {
    "on_event": c.S_ON_EVENT, "on_update": c.S_ON_UPDATE, "on_timer": c.S_ON_TIMER,
}  # fmt: skip
"""The hooks that a canary is called by."""


class PythonBeside:
    """What stands beside one plain Python strategy; new: the version to try, None for a watch.

    engine: whose gate and control words count. back: the version to go back to at once when the
    watched one raises; its host calls nothing of a version that raised.
    """

    def __init__(
        self, beside: Beside, new: Loaded | None, engine: Context, host: Any, clock: Clock
    ) -> None:
        self.beside, self.new, self.host, self.clock = beside, new, host, clock
        self.index, self.error = beside.index, ""
        self.back: Loaded | None = None
        self._packed = pack(engine)
        self._view = view_of(host.ctx, self.index)

    def counts(self) -> dict[str, int]:
        """Return what it did so far."""
        return self.beside.counts()

    def heard(self, hook: str, first: Any, took: int) -> None:
        """Be called after the running version was, which took so many ns."""
        self.beside.row[c.S_EVENTS] += 1
        if self.new is None:
            hist_add(self.beside.times, took)
        elif hook in COLUMNS and not self.error:
            self._try(self.new, hook, first)

    def _try(self, new: Loaded, hook: str, first: Any) -> None:
        function, intents = getattr(new.module, hook, None), self.beside.ctx.intents
        if function is None:
            return
        intents[:] = 0
        begun = self.clock.monotonic()
        try:
            n = function(*first, self._view, new.params, new.state, intents)
            if not 0 <= n <= c.INTENTS_MAX:
                raise ValueError(f"{hook} returned {n!r}, not a number of rows written")
        except Exception as error:  # noqa: BLE001 - a user's code raises anything
            self.error = f"{hook} raised {error!r} at {raised_at(new.module, hook, error)}"
            return
        hist_add(self.beside.times, self.clock.monotonic() - begun)
        if n:
            ask(self._packed, self.beside.words, self.index, COLUMNS[hook], int(n))

    def raised(self, running: Loaded, hook: str, error: Exception) -> bool:
        """Take back a watched version that raised; False where there is nothing to go back to."""
        if self.back is None:
            return False
        self.error = f"{hook} raised {error!r} at {raised_at(running.module, hook, error)}"
        if self.back.state.dtype == running.state.dtype:
            self.back.state[:] = running.state
        self.host.replace(self.back, None)
        return True
