"""Run a signal over events, outside of a strategy: for charts, research and tests.

signal = Running(plugins.find("signals", "vamp"), {"instrument": key, "depth": 5}, instruments)
for event in events:            # EVENT (1,), after the view has been brought up to date
    value = signal(event, view)
"""

from types import ModuleType
from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import entry
from alephtx.core.records import EVENT
from alephtx.core.view import View

Rows = np.ndarray[Any, Any]


class Running:
    """One signal with its own params and state. params, state: rows (1,) of the module's dtypes.

    About 1.5 us an event. The view's arrays must keep their types and contiguity between calls.
    """

    def __init__(
        self, module: ModuleType, section: dict[str, Any], instruments: Instruments
    ) -> None:
        self.module = module
        self.params: Rows = module.config_to_params(section, instruments)
        self.state: Rows = np.zeros(1, module.STATE)
        self.warmup_ns: int = module.warmup_ns(self.params)
        self._entered: Any = None

    def __call__(self, event: Rows, view: View) -> float:
        """Return the value after an event, NaN while not ready. event: EVENT (1,)."""
        if self._entered is None:
            plain = self.module.on_event  # a plain function stays one
            compiled = hasattr(plain, "py_func")
            self._entered = (
                entry(plain, event, view, self.params, self.state) if compiled else plain
            )
        return float(self._entered(event, view, self.params, self.state))


def run_over(signal: Running, view: View, events: Rows, tops: Rows, levels: Rows | None) -> Rows:
    """Return the signal after every event, float64 (n,).

    events: EVENT (n,), ts_recv the time at which it is heard of; tops: TOP_ROW (n,) of the event's
    instrument after each; levels: int64 (n, 2, depth, 2) likewise, or None. The view is written.
    """
    found, event = np.full(len(events), np.nan), np.zeros(1, EVENT)
    for k in range(len(events)):
        i = int(events[k]["instrument"])
        event[0] = events[k]
        view.now[0] = events[k]["ts_recv"]
        view.top[i] = tops[k]
        if levels is not None:
            view.levels[i] = levels[k]
        found[k] = signal(event, view)
    return found
