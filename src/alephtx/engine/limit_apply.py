"""A change of limits inside the loop: journaled first, then stored. Compiled."""

from alephtx.core.atomics import load_relaxed, store_relaxed, store_release
from alephtx.core.kernel import Int, kernel
from alephtx.core.ports import Rows
from alephtx.matrix.journal import COMMAND as COMMAND_RECORD
from alephtx.matrix.journal import journal_append

PENDING, APPLIED, NOT_KEPT = 0, 1, 2
"""First word of a change's stores: what has come of it."""


@kernel
def apply_change(journal: Rows, command: Rows, input_seq: Int, now: Int) -> int:
    """Journal a command and make its stores; 1, or 0 when the journal did not take it.

    command: kind, address and bytes of the record, address of the stores, their count. The stores:
    a word for the outcome, then pairs of address and value; they are the loop's own arrays.
    """
    kept = journal_append(journal, COMMAND_RECORD, 1, input_seq, now, command[1], command[2])
    if kept < 0:
        store_release(command[3], NOT_KEPT)
        return 0
    for k in range(command[4]):
        at = command[3] + 8 + 16 * k
        store_relaxed(load_relaxed(at), load_relaxed(at + 8))
    store_release(command[3], APPLIED)
    return 1
