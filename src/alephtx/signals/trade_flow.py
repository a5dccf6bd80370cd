"""Trade-flow imbalance: who has been taking lately, from -1 (only sellers) to +1 (only buyers).

B(t) = sum over trades at s <= t that lifted the ask of qty x e^(-(t - s) / tau), S(t) of those that
hit the bid;

imbalance(t) = (B - S) / (B + S)        net flow(t) = B - S, in lots

The public prints' aggressor side decides. Source: the signed volume of J. Hasbrouck, "Measuring the
information content of stock trades" (Journal of Finance 46(1), 1991), normalised as order flow is
in D. Easley, M. Lopez de Prado, M. O'Hara, "Flow toxicity and liquidity in a high-frequency world"
(Review of Financial Studies 25(5), 2012), over exponentially weighted time instead of buckets.

Ready when tau has passed since the first event, and again NaN when next to nothing (QUIET_LOTS)
is left of what was traded.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.view import Needs, View
from alephtx.core.words import TRADE
from alephtx.signals.elementary import exp
from alephtx.signals.settings import TAU_MS_MAX, Settings

Rows = np.ndarray[Any, Any]

QUIET_LOTS = 0.001


def fields(count: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return the STATE fields of `count` slots: times in ns, decayed lots at flow_ts."""
    return [
        ("flow_first", "i8", (count,)),
        ("flow_ts", "i8", (count,)),
        ("flow_buy", "f8", (count,)),
        ("flow_sell", "f8", (count,)),
    ]


PARAMS = np.dtype([("instrument", "i8"), ("tau_ns", "i8"), ("net", "i8")])
STATE = np.dtype(fields(1))
NEEDS = Needs(trades=True)


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Read instrument, tau_ms (10000) and of ("imbalance" or "net")."""
    read = Settings(section, "trade_flow", instruments)
    row = np.zeros(1, PARAMS)
    row["instrument"] = read.instrument()
    row["tau_ns"] = read.milliseconds("tau_ms", 10_000, 1, TAU_MS_MAX)
    row["net"] = read.choice("of", "imbalance", ("imbalance", "net"))
    read.close()
    return row


def warmup_ns(params: Rows) -> int:
    """Return tau."""
    return int(params[0]["tau_ns"])


@kernel
def flow_update(state: Rows, slot: Int, now: Int, side: Int, qty: Int, tau_ns: Int) -> int:
    """Take a trade of `qty` lots with aggressor `side`, or qty 0: time goes on. Returns 0.

    state: a row with `fields`. now: ns, above 0; a clock that goes back stands still.
    """
    if state[0]["flow_first"][slot] == 0:
        state[0]["flow_first"][slot] = now
        state[0]["flow_ts"][slot] = now
    if qty <= 0:
        return 0
    passed = now - state[0]["flow_ts"][slot]
    if passed > 0:
        kept = exp(-float(passed) / float(tau_ns))
        state[0]["flow_buy"][slot] = state[0]["flow_buy"][slot] * kept
        state[0]["flow_sell"][slot] = state[0]["flow_sell"][slot] * kept
        state[0]["flow_ts"][slot] = now
    if side > 0:
        state[0]["flow_buy"][slot] += float(qty)
    else:
        state[0]["flow_sell"][slot] += float(qty)
    return 0


@kernel
def flow_ready(state: Rows, slot: Int, now: Int, tau_ns: Int) -> int:
    """Return 1 when tau has passed since the first event, else 0."""
    first = state[0]["flow_first"][slot]
    return 1 if first > 0 and now - first >= tau_ns else 0


@kernel
def flow_kept(state: Rows, slot: Int, now: Int, tau_ns: Int) -> float:
    """Return what is left at `now` of a lot of the last trade's time."""
    passed = now - state[0]["flow_ts"][slot]
    return exp(-float(passed) / float(tau_ns)) if passed > 0 else 1.0


@kernel
def flow_imbalance(state: Rows, slot: Int, now: Int, tau_ns: Int) -> float:
    """Return the imbalance at `now`, NaN while not ready and when nothing was traded lately."""
    total = state[0]["flow_buy"][slot] + state[0]["flow_sell"][slot]
    if flow_ready(state, slot, now, tau_ns) == 0:
        return np.nan
    if total * flow_kept(state, slot, now, tau_ns) < QUIET_LOTS:
        return np.nan
    return (state[0]["flow_buy"][slot] - state[0]["flow_sell"][slot]) / total


@kernel
def flow_net(state: Rows, slot: Int, now: Int, tau_ns: Int) -> float:
    """Return the net flow at `now` in lots, NaN while not ready."""
    if flow_ready(state, slot, now, tau_ns) == 0:
        return np.nan
    net = state[0]["flow_buy"][slot] - state[0]["flow_sell"][slot]
    return net * flow_kept(state, slot, now, tau_ns)


@inline_kernel
def flow_event(state: Rows, slot: Int, event: Rows, i: Int, now: Int, tau_ns: Int) -> int:
    """Take any event: a trade of instrument i counts, everything else lets time pass. Returns 0."""
    mine = np.int64(event[0]["instrument"]) == i and np.int64(event[0]["kind"]) == TRADE
    qty = event[0]["qty"] if mine else np.int64(0)
    return flow_update(state, slot, now, np.int64(event[0]["side"]), qty, tau_ns)


@kernel
def on_event(event: Rows, view: View, params: Rows, state: Rows) -> float:
    """Return the imbalance (or net flow in lots) after an event."""
    tau_ns, now = params[0]["tau_ns"], view.now[0]
    flow_event(state, 0, event, params[0]["instrument"], now, tau_ns)
    if params[0]["net"] == 1:
        return flow_net(state, 0, now, tau_ns)
    return flow_imbalance(state, 0, now, tau_ns)
