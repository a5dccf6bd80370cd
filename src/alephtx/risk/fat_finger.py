"""Rule: no order many times as large as the strategy's usual one."""

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.words import DENY_FAT_FINGER, PASS
from alephtx.risk.state import (
    TYPICAL_COUNT,
    TYPICAL_MEAN,
    TYPICAL_STATED,
    Rows,
)

LEARN = 8
"""Orders before a mean counts; also its weight: a new order moves it by an eighth."""
TOO_LARGE = 1 << 56


@inline_kernel
def check_fat_finger(intents: Rows, k: Int, fat_multiple: Rows, typical: Rows, hedge: Int) -> int:
    """Refuse qty > multiple x typical: the stated quantity, else the mean of what passed before.

    What only reduces passes: closing a position is one large order.
    """
    s, i = np.int64(intents[k]["strategy"]), np.int64(intents[k]["instrument"])
    multiple = fat_multiple[s]
    if multiple == 0 or hedge:
        return PASS
    row = typical[s, i]
    usual = row[TYPICAL_STATED]
    if usual == 0:
        if row[TYPICAL_COUNT] < LEARN:
            return PASS
        usual = row[TYPICAL_MEAN] // LEARN
    # ceil(qty / multiple) > usual is qty > multiple x usual, without a product that overflows.
    return DENY_FAT_FINGER if -(-intents[k]["qty"] // multiple) > usual else PASS


@inline_kernel
def learn_size(intents: Rows, k: Int, typical: Rows) -> None:
    """Move the mean by an order that passed; it is kept eight times as large as it is."""
    row = typical[np.int64(intents[k]["strategy"]), np.int64(intents[k]["instrument"])]
    qty = intents[k]["qty"]
    if qty < TOO_LARGE:
        mean = row[TYPICAL_MEAN]
        row[TYPICAL_MEAN] = qty * LEARN if row[TYPICAL_COUNT] == 0 else mean + qty - mean // LEARN
        row[TYPICAL_COUNT] += 1
