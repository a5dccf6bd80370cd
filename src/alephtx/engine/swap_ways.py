"""How a version goes in: compiled ones through the loop, plain Python ones through their host.

Both journal the switch in the loop, between two events, before it takes effect.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from alephtx.core.errors import AlephError, JournalError, PluginError
from alephtx.engine import context as c
from alephtx.engine.assemble import Engine, Loaded, data_of, entry_columns
from alephtx.engine.python_strategies import PythonStrategies
from alephtx.engine.swap_apply import APPLIED, NOT_KEPT, NOT_MIGRATED, PENDING
from alephtx.engine.swap_canary import Beside
from alephtx.engine.swap_load import Transfer, afresh, make_switch
from alephtx.engine.swap_python import PythonBeside

SERVE_NS = 5_000_000_000
POLL_NS = 1_000_000

Sleep = Callable[[int], Any]


class Ways:
    """The hands of the swap desk in one engine."""

    def __init__(self, engine: Engine, python: PythonStrategies, clock: Any) -> None:
        self.engine, self.ctx, self.python, self.clock = engine, engine.ctx, python, clock
        self._alive: list[Any] = []  # whatever a loop may still look at

    # -- the loop --------------------------------------------------------------------------

    async def switch(self, stores: dict[int, int], **named: Any) -> None:
        """Let the loop do a switch; AlephError where it did not."""
        words = make_switch(stores, **named)
        self._alive.append((words, named))
        row = np.zeros(8, np.int64)
        row[:3] = c.COMMAND_SWAP, words.ctypes.data, len(words)
        deadline = self.clock.monotonic() + SERVE_NS
        if not self.engine.rings.commands.push(row):
            raise AlephError("the loop's ring of commands is full")
        while words[0] == PENDING:
            if self.clock.monotonic() > deadline:
                raise AlephError("the loop did not serve the switch", remedy="is it being stopped?")
            await self.clock.sleep(POLL_NS)
        if words[0] == NOT_KEPT:
            raise JournalError("the journal took no record of the switch; nothing changed")
        if words[0] == NOT_MIGRATED:
            raise PluginError("migrate refused the state; nothing changed")
        assert words[0] == APPLIED
        self._alive.pop()

    def _at(self, index: int, column: int) -> int:
        return int(self.ctx.strategies[index, column : column + 1].ctypes.data)

    def beside(self, index: int, beside: Any) -> dict[int, int]:
        """Return the store that puts a canary or a watch beside a strategy; None: nothing."""
        address = beside.address if isinstance(beside, Beside) else 0
        return {self._at(index, c.S_CANARY): address}

    # -- steps of a swap -------------------------------------------------------------------

    async def try_out(self, old: Loaded, new: Loaded, transfer: Transfer) -> Any:
        """Put a version beside the running one, with a copy of its state; returns the canary."""
        canary = afresh(self.ctx, new)
        if not new.compiled:
            migrate_python(transfer, old, canary)
            self.python.beside[old.index] = found = self._python_beside(old.index, canary)
            return found
        beside = Beside(self.ctx, old.index, canary)
        self._alive.append((beside, canary))
        self._want_depth(old.instruments, new.needs.depth)
        await self.switch(self.beside(old.index, beside), transfer=transfer, old=old, new=canary)
        return beside

    async def exchange(
        self, old: Loaded, new: Loaded, transfer: Transfer | None, record: bytes, *, watched: bool
    ) -> Any:
        """Let new go on in old's place; transfer None: with the state that it has. The watch."""
        index = old.index
        watch = Beside(self.ctx, index, None) if watched and new.compiled else None
        self._alive.append((watch, old, new))  # for good: an address may be in use
        payload = np.frombuffer(record, np.uint8).copy()
        stores = self.beside(index, watch) | {self._at(index, c.S_ERRORS): 0}
        columns = entry_columns(new)
        if not new.compiled:
            columns = {column: columns[column] for column in (c.S_TIMER_NS, c.S_TRADES, c.S_DEPTH)}
        stores |= {self._at(index, column): int(value) for column, value in columns.items()}
        if new.needs.timer_ns != old.needs.timer_ns:
            stores[self._at(index, c.S_TIMER_NEXT)] = 0
        if (longer := new.needs.warmup_ns - old.needs.warmup_ns) > 0 and watched:
            warm = self.ctx.gate.warm_until[index : index + 1]
            stores[int(warm.ctypes.data)] = self.clock.monotonic() + longer
        if new.compiled:
            at = int(self.ctx.data[index].ctypes.data)
            stores |= {at + 8 * k: int(word) for k, word in enumerate(data_of(new))}
        self._want_depth(old.instruments, new.needs.depth)
        if not new.compiled:
            await self.switch(stores, record=payload)
            return self._exchange_python(old, new, transfer, watched=watched)
        await self.switch(stores, record=payload, transfer=transfer, old=old, new=new)
        self.engine.strategies[index] = new
        return watch

    def _exchange_python(
        self, old: Loaded, new: Loaded, transfer: Transfer | None, *, watched: bool
    ) -> Any:
        if self.engine.strategies[old.index] is new:  # it went back by itself
            return None
        if transfer is not None:
            migrate_python(transfer, old, new)
        watch = None
        if watched:
            watch = self._python_beside(old.index, None)
            watch.back = old
        self.python.replace(new, watch)
        return watch

    async def settle(self, index: int, record: bytes) -> None:
        """End a watch that passed, and journal so."""
        payload = np.frombuffer(record, np.uint8).copy()
        await self.switch(self.beside(index, None), record=payload)
        self.python.beside.pop(index, None)

    def _python_beside(self, index: int, new: Loaded | None) -> PythonBeside:
        beside = Beside(self.python.base, index, new)
        return PythonBeside(beside, new, self.ctx, self.python, self.clock)

    def _want_depth(self, instruments: list[int], depth: int) -> None:
        """Let the books of instruments be read from now on where somebody wants them."""
        for i in instruments:
            readers = [s for s in self.engine.strategies if i in s.instruments]
            wanted = depth > 0 or any(self.ctx.strategies[s.index, c.S_DEPTH] for s in readers)
            self.ctx.depth_wanted[i] = int(wanted)
            if self.python:
                self.python.ctx.depth_wanted[i] = int(wanted)

    def settle_depth(self, instruments: list[int]) -> None:
        """Let go of books that nobody reads any more."""
        self._want_depth(instruments, 0)


def migrate_python(transfer: Transfer, old: Loaded, new: Loaded) -> None:
    """Hand a plain Python strategy's state over; PluginError where its migrate does not."""
    if transfer.copies:
        new.state[:] = old.state
        return
    state = np.zeros_like(new.state)
    try:
        code = transfer.migrate(old.state.copy(), state)
    except Exception as error:  # noqa: BLE001 - a user's code raises anything
        raise PluginError(f"migrate raised {error!r}; nothing changed") from None
    if code is not None and code < 0:
        raise PluginError("migrate refused the state; nothing changed")
    new.state[:] = state
