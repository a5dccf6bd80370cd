"""Hold a signal to what the platform expects: `check_signal(module, section)` in a test.

It looks at what the module offers, then runs it over random markets: values are finite or NaN,
nothing is said before the warm-up is over, the same events give the same bits whether or not
another run went before, and what comes later changes nothing that was said.
"""

import inspect
from decimal import Decimal
from types import ModuleType
from typing import Any

import numpy as np

from alephtx.core import words as w
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.records import EVENT, INSTRUMENT, ORDER, POSITION, SIGNAL_ROW, TOP_ROW
from alephtx.core.view import Needs, View
from alephtx.signals.running import Running

Rows = np.ndarray[Any, Any]

START = 1_700_000_000_000_000_000
DEPTH = 8
STEPS_NS = (0, 1, 3_000_000, 250_000_000, 4_000_000_000)


class NotConforming(AssertionError):
    """What a signal does that none may do."""


def check_signal(module: ModuleType, section: dict[str, Any], *, events: int = 2_000) -> int:
    """Check a signal plugin and return how many values it gave; NotConforming says what is wrong.

    section: its config, with instruments named by index 0 and 1.
    """
    _check_offer(module)
    said = 0
    for seed in range(3):
        whole = _values(module, section, seed, events)
        if not np.array_equal(whole.view("i8"), _values(module, section, seed, events).view("i8")):
            raise NotConforming(f"{module.__name__}: the same events gave other values")
        half = _values(module, section, seed, events // 2)
        if not np.array_equal(half.view("i8"), whole[: events // 2].view("i8")):
            raise NotConforming(f"{module.__name__}: a value changed with what came after it")
        if np.isinf(whole).any():
            raise NotConforming(f"{module.__name__}: a value is infinite")
        said += int((~np.isnan(whole)).sum())
    if said == 0:
        raise NotConforming(f"{module.__name__}: never gave a value; is its warm-up too long?")
    return said


def _check_offer(module: ModuleType) -> None:
    names = ("PARAMS", "STATE", "NEEDS", "config_to_params", "warmup_ns", "on_event")
    if missing := [name for name in names if not hasattr(module, name)]:
        raise NotConforming(f"{module.__name__} lacks {', '.join(missing)}")
    if not isinstance(module.NEEDS, Needs):
        raise NotConforming(f"{module.__name__}: NEEDS is no core.view.Needs")
    function = getattr(module.on_event, "py_func", module.on_event)
    if len(inspect.signature(function).parameters) != 4:
        raise NotConforming(f"{module.__name__}: on_event takes event, view, params, state")


def _values(module: ModuleType, section: dict[str, Any], seed: int, events: int) -> Rows:
    """Run a fresh signal over a random market; refuse values from before its warm-up."""
    signal = Running(module, section, _instruments())
    rng, view, event = np.random.default_rng(seed), _view(), np.zeros(1, EVENT)
    mids, now = np.array([100_000, 1_000_000]), START
    found = np.empty(events)
    for k in range(events):
        now += STEPS_NS[int(rng.integers(0, len(STEPS_NS)))]
        i = int(rng.integers(0, 2))
        view.now[0] = now
        event[0] = np.zeros((), EVENT)
        event["ts_recv"], event["instrument"], event["kind"] = now, i, w.TOP
        if rng.random() < 0.3:
            event["kind"], event["price"] = w.TRADE, mids[i]
            event["side"], event["qty"] = rng.choice([-1, 1]), rng.integers(1, 1000)
        else:
            mids[i] += int(rng.integers(-5, 6))
            _put(view, i, int(mids[i]), rng)
        found[k] = signal(event, view)
        if not np.isnan(found[k]) and now - START < _silence_ns(signal):
            raise NotConforming(f"{module.__name__}: a value before its warm-up was over")
    return found


def _silence_ns(signal: Running) -> int:
    """Return how long a signal must say nothing: not where it waits for a session to begin."""
    names = signal.params.dtype.names or ()
    return 0 if "session_ns" in names else signal.warmup_ns


def _put(view: View, i: int, mid: int, rng: np.random.Generator) -> None:
    """Write a random book, sometimes with an empty side or a flag."""
    view.levels[i] = 0
    half, counts = int(rng.integers(1, 4)), rng.integers(0, DEPTH + 1, 2)
    for s, sign in ((0, -1), (1, 1)):
        for k in range(int(counts[s])):
            view.levels[i, s, k] = mid + sign * (half + k), rng.integers(1, 10**6)
    top = view.top[i]
    top["bid"], top["bid_qty"] = view.levels[i, 0, 0]
    top["ask"], top["ask_qty"] = view.levels[i, 1, 0]
    top["aux"] = w.EMPTY_SIDE if counts.min() == 0 else w.STALE if rng.random() < 0.02 else 0


def _view() -> View:
    return View(
        now=np.zeros(4, np.int64),
        top=np.zeros(2, TOP_ROW),
        levels=np.zeros((2, 2, DEPTH, 2), np.int64),
        signals=np.zeros(1, SIGNAL_ROW),
        positions=np.zeros(2, POSITION),
        orders=np.zeros(1, ORDER),
        open_count=np.zeros(1, np.int64),
        instruments=np.zeros(2, INSTRUMENT),
    )


def _instruments() -> Instruments:
    return Instruments(
        [
            Instrument(
                key=f"{venue}:BTC-USDT",
                venue=venue,
                symbol="BTCUSDT",
                base="BTC",
                quote="USDT",
                settle="USDT",
                contract=w.SPOT,
                price_scale=1,
                qty_scale=3,
                tick_size=Decimal("0.1"),
                lot_size=Decimal("0.001"),
            )
            for venue in ("a", "b")
        ]
    )
