"""What the loop does for the direct path in each of its turns. Compiled, a stage of `loop.spin`."""

from alephtx.core.atomics import load_acquire
from alephtx.core.packed import FIELD_WORDS, field, rows_at
from alephtx.core.ports import Rows
from alephtx.core.stages import call_stage
from alephtx.engine.context import F_DIRECT, I1, I2
from alephtx.engine.entry_out import D_ENTRIES, W_LINK, W_TURN
from alephtx.execution.staged import E_WORDS, ENTRY_FIELDS
from alephtx.feed.lane import RARELY
from alephtx.net.frames import link_round

D_LANES = 1
"""Field of `Context.direct`: int64 (lanes, 3), a lane's stage, where its words are, how many."""

DIRECT_FIELDS = 2
ANSWERS_MAX = 16
"""Messages of one trade link that a turn hands to Python; more wait for the next."""


def serve_links(x: Rows, a: int, b: int) -> int:
    """Take in what the venues sent, hand answers to Python; returns how much there was."""
    direct = field(x, F_DIRECT, I1)
    lanes, entries = field(direct, D_LANES, I2), field(direct, D_ENTRIES, I1)
    came = 0
    for k in range(len(lanes)):
        if lanes[k, 0] != 0:
            came += call_stage(lanes[k, 0], rows_at(lanes[k, 1], lanes[k, 2], I1), 0, 0)
    for account in range(len(entries)):
        if entries[account] == 0:
            continue
        entry = rows_at(entries[account], ENTRY_FIELDS * FIELD_WORDS, I1)
        own = field(entry, E_WORDS, I1)
        own[W_TURN] += 1
        if own[W_TURN] % RARELY != 0:
            continue
        link = load_acquire(entry[E_WORDS * FIELD_WORDS] + 8 * W_LINK)
        if link != 0:
            came += link_round(link, ANSWERS_MAX)
    return came
