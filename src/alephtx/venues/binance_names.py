"""From a symbol's characters to its instrument: the hash table of Binance's scanners."""

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import kernel
from alephtx.core.ports import Rows

FIELDS = 128  # scratch: one word per field, by the character of its name
MASK_AT, SLOTS_AT, SLOT_WORDS = 128, 136, 8
NAME_MAX = 21  # three words of seven characters

INSTRUMENT, PRICE_SCALE, QTY_SCALE, PRICE_SHAPE, QTY_SHAPE = 3, 4, 5, 6, 7
"""Words of a slot, behind those of the name. Shapes: decimals of the number that was read last."""


def make_scan_state(instruments: Instruments, venue: str) -> Rows:
    """Return the scanner's memory: scratch words and the hash table from symbol to instrument.

    One int64 array, because each array handed to a kernel costs 40 ns: FIELDS scratch words, the
    slot mask, then slots of (three name words, instrument, scales and shapes of price and qty).
    Symbols longer than NAME_MAX are left to the slow path. Not shared between threads.
    """
    wanted = [i for i in instruments.of_venue(venue) if len(instruments[i].symbol) <= NAME_MAX]
    slots = 16
    while slots < 2 * len(wanted):
        slots *= 2
    state = np.zeros(SLOTS_AT + slots * SLOT_WORDS, np.int64)
    state[MASK_AT] = slots - 1
    for index in wanted:
        instrument = instruments[index]
        name = instrument.symbol.encode()
        parts = [int.from_bytes(name[k : k + 7], "little") for k in (0, 7, 14)]
        slot = _hash(*parts) & (slots - 1)
        while state[SLOTS_AT + slot * SLOT_WORDS]:
            slot = (slot + 1) & (slots - 1)
        at = SLOTS_AT + slot * SLOT_WORDS
        scales = instrument.price_scale, instrument.qty_scale
        state[at : at + SLOT_WORDS] = [*parts, index, *scales, *scales]
    return state


@kernel
def _hash(first: int, second: int, third: int) -> int:
    """Mix three name words of at most 56 bits; stays below 2^62, so it cannot wrap."""
    mixed = first * 31 + second * 17 + third
    return mixed ^ (mixed >> 11) ^ (mixed >> 29)


@kernel
def slot_of(state: Rows, first: int, second: int, third: int) -> int:
    """Return where in state the slot of a name is, -1 when it has none.

    The name as three words of seven characters, the first of each in its lowest byte.
    """
    mask = state[MASK_AT]
    slot = _hash(first, second, third) & mask
    while True:
        at = SLOTS_AT + slot * SLOT_WORDS
        if state[at] == 0:
            return -1
        if state[at] == first and state[at + 1] == second and state[at + 2] == third:
            return int(at)
        slot = (slot + 1) & mask
