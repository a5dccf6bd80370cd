"""Send what a script says, each line at its time; write down every event and report heard."""

import numpy as np

from alephtx.core.view import Needs

COMPILED = True
NEEDS = Needs(depth=0, timer_ns=1_000_000, trades=True)
LINES, MOST = 24, 256
FIELDS = (
    "at",
    "op",
    "type",
    "tif",
    "flags",
    "side",
    "price",
    "qty",
    "target",
    "expires_ns",
    "trigger",
    "instrument",
)
PARAMS = np.dtype([("count", "i8"), ("lines", "i8", (LINES, len(FIELDS)))])
STATE = np.dtype([
    ("sent", "i8"), ("heard", "i8"), ("told", "i8"),
    ("events", "i8", (MOST, 6)), ("updates", "i8", (MOST, 8)), ("ids", "i8", (LINES,)),
])  # fmt: skip


def config_to_params(section, instruments):
    """lines: dicts of FIELDS; target names an earlier line."""
    row = np.zeros(1, PARAMS)
    row["count"] = len(section["lines"])
    for k, line in enumerate(section["lines"]):
        row[0]["lines"][k] = [line.get(name, 0) for name in FIELDS]
    return row


def on_event(event, view, params, state, intents):
    k = state[0]["heard"]
    if k < MOST:
        row, i = state[0]["events"][k], np.int64(event[0]["instrument"])
        row[0], row[1] = np.int64(event[0]["kind"]), view.now[0]
        row[2], row[3] = event[0]["price"], event[0]["qty"]
        row[4], row[5] = view.top[i]["aux"], i
    state[0]["heard"] = k + 1
    return 0


def on_update(update, view, params, state, intents):
    k = state[0]["told"]
    if k < MOST:
        row = state[0]["updates"][k]
        row[0], row[1] = np.int64(update[0]["kind"]), update[0]["tag"]
        row[2], row[3] = update[0]["price"], update[0]["qty"]
        row[4], row[5] = np.int64(update[0]["reason"]), np.int64(update[0]["order_status"])
        row[6], row[7] = update[0]["leaves_qty"], update[0]["ts_event"]
    state[0]["told"] = k + 1
    return 0


def on_timer(now, view, params, state, intents):
    k, n = state[0]["sent"], 0
    for m in range(view.open_count[0]):
        tag = view.orders[m]["tag"]
        if 1 <= tag <= LINES:
            state[0]["ids"][tag - 1] = view.orders[m]["order_id"]
    while k < params[0]["count"] and params[0]["lines"][k][0] <= now:
        line = params[0]["lines"][k]
        intents[n]["op"], intents[n]["type"], intents[n]["tif"] = line[1], line[2], line[3]
        intents[n]["flags"], intents[n]["side"], intents[n]["price"] = line[4], line[5], line[6]
        intents[n]["qty"], intents[n]["tag"], intents[n]["expires_ns"] = line[7], k + 1, line[9]
        intents[n]["trigger"], intents[n]["instrument"] = line[10], line[11]
        if line[8] > 0:
            intents[n]["target_order_id"] = state[0]["ids"][line[8] - 1]
        n += 1
        k += 1
    state[0]["sent"] = k
    return n
