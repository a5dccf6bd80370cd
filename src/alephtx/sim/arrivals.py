"""An order of ours reaches the venue. What is not a plain order goes the long way: `sim.desk`."""

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.words import (
    AMEND,
    CANCEL,
    CANCEL_ACK,
    CANCEL_ALL,
    CANCELED,
    GTD,
    PLACE,
    REDUCE_ONLY,
    STOP,
)
from alephtx.sim.bottle import (
    I1,
    I2,
    INTENTS,
    K_STP,
    ONE_ORDER,
    T_ODD,
    Z_CLOCK,
    Z_ORDER,
    Z_STREAMS,
    Z_UP_ROWS,
    Rows,
)
from alephtx.sim.desk import arrive_odd
from alephtx.sim.lane import cancel_order, enter_order, exchange_of, note_reach, take_all_off


@kernel
def arrive(z: Rows, j: Int, slot: Int) -> None:
    """Let an order or a cancel of lane j reach the matching engine, now."""
    intent: Rows = field(z, Z_UP_ROWS, INTENTS)[slot : slot + 1]
    order = field(z, Z_ORDER, ONE_ORDER)
    i: Int = np.int64(intent[0]["instrument"])
    order[0]["instrument"], order[0]["account"] = i, np.int64(intent[0]["account"])
    order[0]["order_id"], order[0]["side"] = intent[0]["order_id"], np.int64(intent[0]["side"])
    order[0]["price"], order[0]["qty"] = intent[0]["price"], intent[0]["qty"]
    order[0]["type"], order[0]["tif"] = np.int64(intent[0]["type"]), np.int64(intent[0]["tif"])
    flags: Int = np.int64(intent[0]["flags"])
    order[0]["flags"], order[0]["stp"] = flags, field(z, Z_CLOCK, I1)[K_STP]
    order[0]["whole"], order[0]["expires_ns"] = intent[0]["qty"], 0
    op = np.int64(intent[0]["op"])
    odd = field(z, Z_STREAMS, I2)[i, T_ODD] | (flags & REDUCE_ONLY)
    if odd != 0 or op == AMEND or order[0]["tif"] == GTD or order[0]["type"] == STOP:
        arrive_odd(z, j, i, intent)
        return
    if op == PLACE:
        enter_order(z, j, exchange_of(z, j), order)
    elif op == CANCEL:
        cancel_order(z, j, exchange_of(z, j), order, intent[0]["target_order_id"])
    elif op == CANCEL_ALL:
        take_all_off(z, j, i, order[0]["account"], CANCEL_ACK, CANCELED, 0)
    note_reach(z, j, i)
