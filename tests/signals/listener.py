"""A compiled strategy that trades nothing: it keeps what every signal says, in its own STATE."""

import numpy as np

from alephtx.core.view import Needs
from alephtx.core.words import TRADE
from alephtx.signals import open_range, realised_vol, spread_zscore, trade_flow
from alephtx.signals.book_imbalance import depth_imbalance, touch_imbalance
from alephtx.signals.microprice import microprice, mid
from alephtx.signals.open_range import range_update
from alephtx.signals.realised_vol import vol_read, vol_update
from alephtx.signals.spread_zscore import spread_of, zscore_update
from alephtx.signals.trade_flow import flow_event, flow_imbalance
from alephtx.signals.vamp import vamp

NEEDS = Needs(depth=5, trades=True)
PARAMS = np.dtype([("sample_ns", "i8"), ("tau_ns", "i8", (3,))])
STATE = np.dtype([
    ("events", "i8"), ("trades", "i8"), ("between", "i8"),
    ("vamp", "f8"), ("micro", "f8"), ("touch", "f8"), ("imbalance", "f8"), ("flow", "f8"),
    ("vol", "f8"), ("z", "f8"), ("position", "f8"),
    *trade_flow.fields(1), *realised_vol.fields(1), *spread_zscore.fields(1),
    *open_range.fields(1),
])  # fmt: skip


def config_to_params(section, instruments):
    row = np.zeros(1, PARAMS)
    row["sample_ns"], row["tau_ns"] = 50_000_000, 500_000_000
    return row


def on_event(event, view, params, state, intents):
    now, top = view.now[0], view.top
    state[0]["events"] += 1
    state[0]["trades"] += 1 if event[0]["kind"] == TRADE else 0
    flow_event(state, 0, event, 0, now, 500_000_000)
    state[0]["flow"] = flow_imbalance(state, 0, now, 500_000_000)
    state[0]["vamp"] = vamp(view.levels, 0, 5)
    state[0]["micro"] = microprice(top, 0)
    state[0]["touch"] = touch_imbalance(top, 0)
    state[0]["imbalance"] = depth_imbalance(view.levels, 0, 5, 0.7)
    vol_update(state, 0, now, mid(top, 0), params[0]["sample_ns"], params[0]["tau_ns"])
    state[0]["vol"] = vol_read(state, 0, 2, params[0]["sample_ns"], params[0]["tau_ns"])
    state[0]["z"] = zscore_update(state, 0, now, spread_of(top, 0, -1), 500_000_000, 0.5)
    state[0]["position"] = range_update(
        state, 0, now, top[0]["bid"] + top[0]["ask"], 2_000_000_000, 0, 500_000_000, 500_000_000
    )
    if top[0]["bid"] <= state[0]["micro"] <= top[0]["ask"]:
        state[0]["between"] += 1
    return 0
