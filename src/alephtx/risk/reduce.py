"""When an order makes a strategy's exposure smaller: what hedges must prove to pass limits."""

from typing import Any

import numpy as np

from alephtx.core.exposure import base_value, middle
from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.units import CEIL, OVERFLOW, TRUNCATE
from alephtx.core.view import View
from alephtx.core.words import AMEND, HEDGE, PASS, PLACE, REDUCE_ONLY
from alephtx.risk.state import NO_LIMIT, Rows


@inline_kernel
def pending_lots(intents: Rows, k: Int, instrument: Int, side: Int) -> int:
    """Return the lots that earlier intents of this batch, already passed, will put on one side."""
    lots = 0
    for j in range(k):
        if intents[j]["verdict"] != PASS or intents[j]["instrument"] != instrument:
            continue
        if intents[j]["side"] == side and np.int64(intents[j]["op"]) in (PLACE, AMEND):
            lots += intents[j]["qty"]
    return lots


@inline_kernel
def reduces(intents: Rows, k: Int, view: View, table: Any) -> bool:
    """Tell whether a flagged intent can only bring the strategy nearer to flat.

    REDUCE_ONLY: its instrument's position, open orders on the same side taken as filled. HEDGE: the
    net position in the underlying, over all its instruments and in base coin, so that the missing
    leg of an arbitrage counts as a reduction. Unflagged intents never reduce.
    """
    flags, qty = np.int64(intents[k]["flags"]), intents[k]["qty"]
    if qty <= 0 or qty >= NO_LIMIT:
        return False
    if flags & REDUCE_ONLY and _reduces_instrument(intents, k, view, table):
        return True
    return bool(flags & HEDGE) and _reduces_underlying(intents, k, view, table)


@inline_kernel
def _reduces_instrument(intents: Rows, k: Int, view: View, table: Any) -> bool:
    i, side = np.int64(intents[k]["instrument"]), np.int64(intents[k]["side"])
    s, held = np.int64(intents[k]["strategy"]), view.positions[i]["qty"]
    going = table.open_strategy[s, i, 0 if side > 0 else 1] + pending_lots(intents, k, i, side)
    if going >= NO_LIMIT:
        return False
    return bool(held * side < 0 and going + intents[k]["qty"] <= abs(held))


@inline_kernel
def _reduces_underlying(intents: Rows, k: Int, view: View, table: Any) -> bool:
    target, side = np.int64(intents[k]["instrument"]), np.int64(intents[k]["side"])
    s, column = np.int64(intents[k]["strategy"]), 0 if side > 0 else 1
    underlying = view.instruments[target]["underlying"]
    net, going = 0, 0
    for i in range(view.instruments.shape[0]):
        if view.instruments[i]["underlying"] != underlying:
            continue
        lots = table.open_strategy[s, i, column] + pending_lots(intents, k, i, side)
        lots += intents[k]["qty"] if i == target else 0
        held = view.positions[i]["qty"]
        if held == 0 and lots == 0:
            continue
        price = middle(view.top, i)
        mine = base_value(view.instruments, i, price, held, TRUNCATE)
        more = base_value(view.instruments, i, price, lots, CEIL)
        if OVERFLOW in (mine, more) or max(abs(mine), more) >= NO_LIMIT >> 8:
            return False
        net += mine
        going += more
    return bool(net * side < 0 and going <= abs(net))
