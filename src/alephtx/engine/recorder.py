"""A strategy that trades nothing and writes signals down, as a strategy would see them.

It stands in a backtest of its own beside the run (`engine.signal_record`), one for each instrument,
and calls the signals' own kernels at every event. A line is the last of each second of our clock,
written when the next second is heard: what comes later changes nothing. Lines wait in STATE until
Python takes them.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.ports import Rows
from alephtx.core.view import Needs, View
from alephtx.core.words import UNTRADEABLE_MASK
from alephtx.signals import (
    book_imbalance,
    open_range,
    realised_vol,
    spread_zscore,
    trade_flow,
    vamp,
)
from alephtx.signals.book_imbalance import depth_imbalance
from alephtx.signals.microprice import microprice, mid
from alephtx.signals.open_range import range_update
from alephtx.signals.realised_vol import vol_read, vol_update
from alephtx.signals.spread_zscore import spread_of, zscore_update
from alephtx.signals.trade_flow import flow_event, flow_imbalance
from alephtx.signals.vamp import vamp as vamp_of

COMPILED = True
NEEDS = Needs(depth=5, trades=True)
NAMES = (
    "microprice", "vamp", "book_imbalance", "trade_flow", "vol_fast", "vol_mid", "vol_slow",
    "spread_zscore", "open_range",
)  # fmt: skip
"""The columns, in their order; `core.backtest_schema` has the same."""
LINES = 1 << 16
SECOND = 1_000_000_000

PARAMS = np.dtype([
    ("instrument", "i8"), ("depth", "i8"), ("levels", "i8"), ("weight", "f8"), ("flow_ns", "i8"),
    ("sample_ns", "i8"), ("tau_ns", "i8", (3,)), ("spread_ns", "i8"), ("floor", "f8"),
    ("session_ns", "i8"), ("offset_ns", "i8"), ("open_ns", "i8"), ("late_ns", "i8"),
])  # fmt: skip
STATE = np.dtype([
    *trade_flow.fields(1), *realised_vol.fields(1), *spread_zscore.fields(1),
    *open_range.fields(1), ("heard", "i8"), ("now", "f8", (len(NAMES),)),
    ("lines", "i8"), ("ts", "i8", (LINES,)), ("said", "f8", (LINES, len(NAMES))),
])  # fmt: skip


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Take every signal's own defaults; section: the instrument alone."""
    row = np.zeros(1, PARAMS)
    row["instrument"] = instruments.index(section["instruments"][0])
    own = {"instrument": section["instruments"][0]}
    row["depth"] = vamp.config_to_params(own, instruments)["depth"]
    book = book_imbalance.config_to_params(own, instruments)
    row["levels"], row["weight"] = book["depth"], book["weight"]
    row["flow_ns"] = trade_flow.config_to_params(own, instruments)["tau_ns"]
    vol = realised_vol.config_to_params(own, instruments)
    row["sample_ns"], row["tau_ns"] = vol["sample_ns"], vol["tau_ns"]
    spread = spread_zscore.config_to_params(own, instruments)
    row["spread_ns"], row["floor"] = spread["tau_ns"], spread["floor"]
    opening = open_range.config_to_params(own, instruments)
    for name in ("session_ns", "offset_ns", "open_ns", "late_ns"):
        row[name] = opening[name]
    return row


def on_event(event: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Write down the second that is over, then look at the event."""
    i, now = params[0]["instrument"], view.now[0]
    if np.int64(event[0]["instrument"]) != i:
        return 0
    heard = state[0]["heard"]
    if heard != 0 and now // SECOND != heard // SECOND and state[0]["lines"] < LINES:
        k = state[0]["lines"]
        state[0]["ts"][k] = heard
        for n in range(len(NAMES)):
            state[0]["said"][k, n] = state[0]["now"][n]
        state[0]["lines"] = k + 1
    state[0]["heard"] = now
    top, said = view.top[i], state[0]["now"]
    flow_event(state, 0, event, i, now, params[0]["flow_ns"])
    said[3] = flow_imbalance(state, 0, now, params[0]["flow_ns"])
    traded = np.int64(top["aux"]) & UNTRADEABLE_MASK == 0
    price = mid(view.top, i) if traded else np.nan
    sample_ns, tau_ns = params[0]["sample_ns"], params[0]["tau_ns"]
    vol_update(state, 0, now, price, sample_ns, tau_ns)
    for scale in range(3):
        said[4 + scale] = vol_read(state, 0, scale, sample_ns, tau_ns)
    spread = spread_of(view.top, i, -1)
    said[7] = zscore_update(state, 0, now, spread, params[0]["spread_ns"], params[0]["floor"])
    said[0], said[1], said[2], said[8] = np.nan, np.nan, np.nan, np.nan
    if traded and top["bid_qty"] > 0 and top["ask_qty"] > 0:
        said[0] = microprice(view.top, i)
        said[1] = vamp_of(view.levels, i, params[0]["depth"])
        said[2] = depth_imbalance(view.levels, i, params[0]["levels"], params[0]["weight"])
        p = params[0]
        said[8] = range_update(
            state, 0, now, top["bid"] + top["ask"], p["session_ns"], p["offset_ns"],
            p["open_ns"], p["late_ns"],
        )  # fmt: skip
    return 0
