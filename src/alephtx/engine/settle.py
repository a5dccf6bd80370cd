"""A contract ends: every position in it closes at its settlement price. Compiled, part of apply."""

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.ports import Rows
from alephtx.core.words import INVERSE, MONEY_SETTLEMENT, SPOT
from alephtx.engine.context import (
    C_OVERFLOWS,
    F_ACCOUNT_OF,
    F_ACCOUNT_POSITIONS,
    F_COUNTERS,
    F_INSTRUMENTS,
    F_POSITIONS,
    F_REALIZED,
    F_UPDATE,
    F_VENUE_OF,
    I1,
    I2,
    INSTRUMENTS,
    POSITIONS,
    UPDATES,
)
from alephtx.ledger.positions import position_fill


@kernel
def _close(position: Rows, instrument: Rows, price: Int, realized: Rows) -> int:
    """Fill what closes a position, if there is one; position_fill's code."""
    lots: Int = np.int64(position[0]["qty"])
    if lots == 0:
        return 0
    side = -1 if lots > 0 else 1
    return position_fill(position, instrument, side, price, abs(lots), realized)


@kernel
def settle_positions(x: Rows, account: Int) -> None:
    """Close what the MONEY_MOVED row in F_UPDATE settles; other movements touch no position.

    The same as `ledger.book` does. Told twice, the second finds nothing open.
    """
    update = field(x, F_UPDATE, UPDATES)
    instruments = field(x, F_INSTRUMENTS, INSTRUMENTS)
    positions = field(x, F_POSITIONS, POSITIONS)
    account_positions = field(x, F_ACCOUNT_POSITIONS, POSITIONS)
    realized = field(x, F_REALIZED, I1)
    account_of = field(x, F_ACCOUNT_OF, I2)
    venue_of = field(x, F_VENUE_OF, I1)
    counters = field(x, F_COUNTERS, I1)
    i = np.int64(update[0]["instrument"])
    if update[0]["code"] != MONEY_SETTLEMENT or update[0]["trade_id"] == 0 or i >= len(venue_of):
        return
    instrument, price = instruments[i : i + 1], update[0]["price"]
    contract = instruments[i]["contract"]
    if contract == SPOT or price < 0 or (contract == INVERSE and price == 0):
        return
    if update[0]["fee_currency"] != instruments[i]["settle"]:
        return
    bad = _close(account_positions[account, i : i + 1], instrument, price, realized)
    for s in range(len(positions)):
        if account_of[s, venue_of[i]] == account:
            bad += _close(positions[s, i : i + 1], instrument, price, realized)
    if bad != 0:
        counters[C_OVERFLOWS] += 1
