"""Our rows as hftbacktest's events; for scripts that run in its environment."""

import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
)
from hftbacktest.types import event_dtype

TICK, LOT = 0.1, 0.001
TRADE = 2  # alephtx.core.words.TRADE


def events_of(rows, lot=LOT):
    """Turn TICK rows into its events. lot: what a lot is worth in their unit of quantity."""
    made = np.zeros(len(rows), event_dtype)
    kind = np.where(rows["kind"] == TRADE, TRADE_EVENT, DEPTH_EVENT)
    side = np.where(rows["side"] > 0, BUY_EVENT, SELL_EVENT)
    made["ev"] = kind | side | EXCH_EVENT | LOCAL_EVENT
    made["exch_ts"], made["local_ts"] = rows["ts_event"], rows["ts_recv"]
    made["px"], made["qty"] = rows["price"] * TICK, rows["qty"] * lot
    return made
