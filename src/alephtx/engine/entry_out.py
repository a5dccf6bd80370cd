"""Orders that leave from the compiled loop: written, signed, framed and sent in one go.

A stage behind the gate: what it sends has its verdict and is in the journal. It sends only what is
plain; everything else - a link that is down or does not take more, a budget that is spent, an order
the venue's stage declines, the second cancel of an order - goes to the gateway as it always does.
Either way the row goes to the main thread, in order, and `ts_sent` says who sent it. It goes there
before its bytes leave, so that no answer finds an order that nobody has heard of.
"""

from typing import Any

import numpy as np

from alephtx.core.atomics import load_acquire, monotonic_ns
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import FIELD_WORDS, field, rows_at
from alephtx.core.ports import ORDER_FRAME, ORDER_WORDS, Rows
from alephtx.core.words import CANCEL, PASS
from alephtx.engine.context import (
    A_INTENTS,
    A_OUTBOX,
    F_ADDRESSES,
    F_DIRECT,
    F_INTENTS,
    F_MAP,
    F_NOW,
    I1,
    INTENTS,
)
from alephtx.engine.fields import table_of
from alephtx.execution.staged import (
    E_WORDS,
    E_WRITING,
    ENTRY_FIELDS,
    W_ROWS_MAX,
    framed,
)
from alephtx.execution.table import orders_find
from alephtx.matrix.spsc import spsc_push
from alephtx.matrix.writers import halt_read
from alephtx.net import link_words as w
from alephtx.net.sending import TEXT, link_send

INTENT_BYTES = 128
D_ENTRIES = 0
"""Field of `Context.direct`: int64 (accounts,), addresses of entries, 0 = by the gateway."""

# Words of E_WORDS, beside those of `execution.staged`. The link's address changes with every
# connection.
W_LINK = 0
W_FULL = 6  # 1: the venue owes as many answers as it lets anybody wait for
W_TURN = 7  # turns so far
W_SENT, W_NO_ROOM = 16, 19  # how many requests ended so


@kernel
def _plain(x: Rows, s: Int, k: Int) -> int:
    """Tell whether the loop may send this row: 0 = it is the gateway's.

    An order that may not have left yet is withdrawn, and one whose cancel was refused waits a while
    before its next; the gateway knows both.
    """
    row: Any = field(x, F_INTENTS, INTENTS)[k]
    if row["op"] != CANCEL:
        return 1 if halt_read(field(x, F_MAP, I1)) == 0 else 0
    table = table_of(x)
    slot = orders_find(table, row["target_order_id"])
    if slot < 0:
        return 0
    order: Any = table.orders[s, slot]
    if order["order_id"] != row["target_order_id"] or order["ts_sent"] == 0 or order["code"] != 0:
        return 0
    order["code"] = 1  # of a live order: a cancel of it left from here
    return 1


@kernel
def _run_end(x: Rows, s: Int, k: Int, n: Int, most: Int) -> int:
    """Return the row after the last that one request can carry together with row k."""
    intents = field(x, F_INTENTS, INTENTS)
    end = k + 1
    while (
        end < n
        and end - k < most
        and intents[end]["verdict"] == PASS
        and intents[end]["op"] == intents[k]["op"]
        and intents[end]["instrument"] == intents[k]["instrument"]
        and intents[end]["account"] == intents[k]["account"]
        and _plain(x, s, end) != 0
    ):
        end += 1
    return end


@kernel
def _framed(x: Rows, entry: Rows, k: Int, end: Int) -> int:
    """Write and sign the request of rows k to end; returns its bytes, or -W_ what it ended as."""
    now = field(x, F_NOW, I1)
    rows = field(x, F_ADDRESSES, I1)[A_INTENTS] + k * INTENT_BYTES
    op = np.int64(field(x, F_INTENTS, INTENTS)[k]["op"])
    return framed(entry, rows, end - k, op, now[0], now[3])


@kernel
def _send_run(x: Rows, entry: Rows, k: Int, end: Int) -> None:
    """Hand over rows k to end, and send them as one request where that is possible."""
    own = field(entry, E_WORDS, I1)
    link = load_acquire(entry[E_WORDS * FIELD_WORDS] + 8 * W_LINK)
    size = -W_NO_ROOM
    if link != 0 and own[W_FULL] == 0 and _takes_more(link) != 0:
        size = _framed(x, entry, k, end)
    own[W_SENT if size > 0 else -size] += 1
    now = field(x, F_NOW, I1)
    stamp = monotonic_ns() + now[0] - now[3] if size > 0 else 0
    _pass_on(x, k, end, stamp)
    if size > 0:
        frame = field(field(entry, E_WRITING, I1), ORDER_WORDS, I1)[ORDER_FRAME]
        link_send(link, frame, size, TEXT)


@inline_kernel
def _takes_more(link: Int) -> int:
    """Tell whether what is sent on a link now leaves now: it is ours, and nothing waits on it."""
    if load_acquire(link + 8 * w.STATE) != w.LIVE:
        return 0
    words = rows_at(link, w.LINK_WORDS, w.WORDS)
    return 1 if words[w.TX_AT] == words[w.TX_END] and words[w.CLOSING] == 0 else 0


@inline_kernel
def _pass_on(x: Rows, k: Int, end: Int, stamp: Int) -> None:
    """Hand rows to the main thread, stamped."""
    intents, addresses = field(x, F_INTENTS, INTENTS), field(x, F_ADDRESSES, I1)
    for j in range(k, end):
        intents[j]["ts_sent"] = stamp
        # The outbox holds more than every order that can be live, so it is never full.
        spsc_push(addresses[A_OUTBOX], addresses[A_INTENTS] + j * INTENT_BYTES)


def send_out(x: Rows, s: int, n: int) -> int:
    """Send or hand over what passed of strategy s's n intents; a stage, see `emit`."""
    intents = field(x, F_INTENTS, INTENTS)
    entries = field(field(x, F_DIRECT, I1), D_ENTRIES, I1)
    k: Any = 0
    while k < n:
        if intents[k]["verdict"] != PASS:
            k += 1
            continue
        address = entries[np.int64(intents[k]["account"])]
        end = k + 1
        if address != 0 and _plain(x, s, k) != 0:
            entry = rows_at(address, ENTRY_FIELDS * FIELD_WORDS, I1)
            end = _run_end(x, s, k, n, field(entry, E_WORDS, I1)[W_ROWS_MAX])
            _send_run(x, entry, k, end)
        else:
            _pass_on(x, k, end, 0)
        k = end
    return 0
