"""Strategies that say COMPILED = False in a backtest: called at once, in market order.

Live they run beside the step and see a replica; here the compiled loop calls them itself, through
the hooks below, on the lane's own view as it stands. To the loop this module is a compiled strategy
like any other, whose params are the addresses of Python callables; so events, updates, denials and
timers come in the order in which a compiled strategy gets them, and what it wants takes the same
way through the gate.

A hook that raises, or returns what is no count, ends its strategy as live: its orders are
cancelled, an alarm is kept, the run goes on. What is no Exception (Ctrl-C) ends the run.
"""

import sys
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.core.kernel import JIT, Int
from alephtx.core.log import logger
from alephtx.core.plugins import raised_at
from alephtx.core.ports import Rows
from alephtx.core.records import INTENT
from alephtx.core.view import View
from alephtx.engine import context as c
from alephtx.engine._call import HOOKS, call_object, compile_strategy, objects
from alephtx.engine.assemble import Loaded
from alephtx.engine.context import Context, view_of

log = logger("python_strategy")

CALLS = np.dtype([(hook, "i8") for hook in HOOKS])
"""The params of this module: addresses of Python callables without arguments, 0 for none."""


def on_start(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Call the strategy's own."""
    return call_object(params[0]["on_start"])


def on_event(event: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Call the strategy's own."""
    return call_object(params[0]["on_event"])


def on_update(update: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Call the strategy's own."""
    return call_object(params[0]["on_update"])


def on_timer(now: Int, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Call the strategy's own."""
    return call_object(params[0]["on_timer"])


def on_stop(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Call the strategy's own."""
    return call_object(params[0]["on_stop"])


class ReplayedPython:
    """One uncompiled strategy in one lane, placed in the lane's context. Keep it with the run.

    ctx: the lane's. heard: the context whose tops and levels all lanes see. alarms: grows by a line
    when the strategy ends.
    """

    def __init__(self, loaded: Loaded, ctx: Context, heard: Context, alarms: list[str]) -> None:
        self._loaded, self._ctx, self._alarms = loaded, ctx, alarms
        self._view = view_of(ctx, loaded.index)._replace(top=heard.top, levels=heard.levels)
        self._ended = False
        self._params, self._state = np.zeros(1, CALLS), np.zeros(1, CALLS)
        self._calls = [self._bind(hook) for hook in HOOKS if hasattr(loaded.module, hook)]
        self._place()

    def _place(self) -> None:
        """Fill the strategy's row, as of a compiled one."""
        ctx, s = self._ctx, self._loaded.index
        entries = compile_strategy(sys.modules[__name__], self._view, self._params, self._state)
        columns = (c.S_ON_START, c.S_ON_EVENT, c.S_ON_UPDATE, c.S_ON_TIMER, c.S_ON_STOP)
        for column, hook in zip(columns, HOOKS, strict=True):
            ctx.strategies[s, column] = getattr(entries, hook) if self._params[0][hook] else 0
        ctx.data[s] = (
            self._params.ctypes.data, self._params.nbytes,
            self._state.ctypes.data, self._state.nbytes,
        )  # fmt: skip
        for i in self._loaded.instruments:
            ctx.routes[i, s] = 1

    def _bind(self, hook: str) -> Callable[[], int]:
        """Return a hook as a callable without arguments, and note its address."""
        ctx, view, loaded = self._ctx, self._view, self._loaded
        function = getattr(loaded.module, hook)
        rest = (view, loaded.params, loaded.state, ctx.intents)
        first = {"on_event": ctx.event, "on_update": ctx.update}.get(hook)
        now, most = ctx.now, c.INTENTS_MAX

        def call() -> int:
            if self._ended:
                return self._cancel_all()
            try:
                if first is not None:
                    n = function(first, *rest)
                elif hook == "on_timer":
                    n = function(int(now[0]), *rest)
                else:
                    n = function(*rest)
                if n.__class__ is not int:
                    n = index(n)
                if 0 <= n <= most:
                    return n
                raise ValueError(f"{hook} returned {n!r}, not a number of rows written")
            except Exception as error:  # noqa: BLE001 - a user's code raises anything
                return self._fail(hook, error)

        self._params[0][hook] = id(call)
        if not JIT:
            objects[id(call)] = call
        return call

    def _fail(self, hook: str, error: Exception) -> int:
        """End the strategy for good, with its orders; returns the rows of cancels."""
        name, at = self._loaded.name, raised_at(self._loaded.module, hook, error)
        log.error("strategy_failed", strategy=name, hook=hook, error=repr(error), at=at)
        self._alarms.append(f"strategy {name} stopped: {hook} raised {error!r} at {at}")
        self._ended = True
        self._ctx.counters[c.C_STRATEGY_ERRORS] += 1
        self._ctx.strategies[self._loaded.index, c.S_ENABLED] = 0
        return self._cancel_all()

    def _cancel_all(self) -> int:
        """Ask for the cancel of every live order that has none under way, as many as go at once."""
        intents, view = self._ctx.intents, self._view
        intents[:] = np.zeros((), INTENT)
        live = view.orders[: int(view.open_count[0])]
        live = live[live["status"] != words.PENDING_CANCEL][: c.INTENTS_MAX]
        rows = intents[: len(live)]
        rows["op"], rows["instrument"] = words.CANCEL, live["instrument"]
        rows["target_order_id"] = live["order_id"]
        return len(live)


def host_python(lanes: Sequence[Any], alarms: list[str]) -> list[ReplayedPython]:
    """Place every uncompiled strategy of a backtest's lanes; return what must outlive the run."""
    return [
        ReplayedPython(loaded, lane.ctx, lanes[0].ctx, alarms)
        for lane in lanes
        for loaded in lane.strategies
        if not loaded.compiled
    ]


def raising(go: Callable[..., Any]) -> Callable[..., Any]:
    """Return the loop's entry, raising what a hook raised instead of what C makes of it."""

    def run(*arguments: Any) -> Any:
        try:
            return go(*arguments)
        except SystemError as error:
            raise (error.__cause__ or error) from None

    return run
