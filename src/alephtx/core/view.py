"""What a strategy and the gate may look at: engine-private arrays, never shared memory."""

from typing import Any, NamedTuple

import msgspec
import numpy as np


class View(NamedTuple):
    """The world as one strategy sees it; all arrays are the engine's own memory.

    now: int64 (4,): now[0] = wall ns, the only time a kernel may read; now[1] = input_seq; now[2] =
    this strategy's index; now[3] = monotonic ns. top: TOP_ROW (instruments,); aux &
    words.UNTRADEABLE_MASK is non-zero when it must not be traded. levels: int64 (instruments, 2,
    depth, 2): [i, 0 bid | 1 ask, level, 0 ticks | 1 lots], 0 lots = no level; filled only for
    instruments of strategies that declare depth. signals: SIGNAL_ROW (signals,). positions:
    POSITION (instruments,): this strategy's own. orders: ORDER (open_max,): this strategy's live
    orders are rows 0 .. open_count[0] - 1. open_count: int64 (1,). instruments: INSTRUMENT
    (instruments,).
    """

    now: np.ndarray[Any, Any]
    top: np.ndarray[Any, Any]
    levels: np.ndarray[Any, Any]
    signals: np.ndarray[Any, Any]
    positions: np.ndarray[Any, Any]
    orders: np.ndarray[Any, Any]
    open_count: np.ndarray[Any, Any]
    instruments: np.ndarray[Any, Any]


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy asks of the engine. depth 0 = only the touch; timer_ns 0 = no timer.

    layer, budget_us: how fast it means to be, see `core.layers`; "" and 0 = as its path is.
    """

    depth: int = 0
    timer_ns: int = 0
    trades: bool = False
    signals: tuple[str, ...] = ()
    warmup_ns: int = 0
    layer: str = ""
    budget_us: int = 0
