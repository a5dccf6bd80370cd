"""Stages of the step: enter a strategy, judge its intents, see them out. Compiled."""

import numpy as np

from alephtx.core.atomics import monotonic_ns
from alephtx.core.histogram import hist_add
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.packed import field
from alephtx.core.ports import Rows
from alephtx.core.stages import call_stage
from alephtx.core.words import (
    AMEND,
    CANCEL,
    DENY_HALTED,
    DENY_TABLE_FULL,
    DENY_UNKNOWN_ORDER,
    PASS,
    PLACE,
)
from alephtx.engine._call import enter_plain, enter_row, enter_timer
from alephtx.engine.context import (
    A_CANARY,
    A_DENIAL,
    A_ECHO,
    A_EMIT,
    A_INTENTS,
    A_JUDGE,
    A_OUTBOX,
    A_SEND,
    C_DENIED,
    C_DENIED_BY,
    C_INTENTS,
    C_ORDERS,
    C_STRATEGY_ERRORS,
    EVENTS,
    F_ACCOUNT_OF,
    F_ACCOUNT_POSITIONS,
    F_ADDRESSES,
    F_CONTROL,
    F_COUNTERS,
    F_DATA,
    F_DENIAL,
    F_EVENT,
    F_HISTOGRAMS,
    F_INSTRUMENTS,
    F_INTENTS,
    F_JOURNAL,
    F_LANES,
    F_NOW,
    F_STRATEGIES,
    F_UPDATE,
    F_VENUE_OF,
    HIST_MATRIX_TO_INTENT,
    I1,
    I2,
    I3,
    INSTRUMENTS,
    INTENTS,
    INTENTS_MAX,
    POSITIONS,
    R_OUTBOX,
    S_CANARY,
    S_DENIED,
    S_ENABLED,
    S_ERRORS,
    S_INTENTS,
    S_ON_EVENT,
    S_ON_TIMER,
    S_ON_UPDATE,
    UPDATES,
    X_DIRTY,
    X_HALTED,
    X_INPUT_SEQ,
    X_MEASURE,
    X_NEXT_ORDER,
    X_REASON,
)
from alephtx.engine.fields import gate_of, table_of, view_for
from alephtx.engine.leg_lanes import judge_groups, lane_opened
from alephtx.engine.stopwatch import call_begun, note_call, note_decided, note_left
from alephtx.execution.orders import (
    orders_cancelling,
    orders_denied,
    orders_place,
    orders_replacing,
)
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import journal_append
from alephtx.matrix.spsc import spsc_push
from alephtx.risk.gate import gate_check

INTENT_BYTES = 128
BEGUN_ROWS = 4


def enter(x: Rows, s: Int, hook: Int) -> int:
    """Enter one strategy by one of its hooks (a column S_ON_...) and emit what it wants.

    The event or update is the one in the context. Returns how many intents left.
    """
    address: Int = field(x, F_STRATEGIES, I2)[s, hook]
    beside = field(x, F_STRATEGIES, I2)[s, S_CANARY]  # a canary, or the watch after a swap
    if address == 0 and beside == 0:
        return 0
    intents, now = field(x, F_INTENTS, INTENTS), field(x, F_NOW, I1)
    event = field(x, F_EVENT, EVENTS)
    n: Int = np.int64(0)
    begun = monotonic_ns() if beside != 0 else 0
    if address != 0:
        n = call_hook(x, s, hook, address)
    if beside != 0:
        call_stage(field(x, F_ADDRESSES, I1)[A_CANARY], x, s << 8 | hook, begun)
    if n == 0:
        return 0
    if n < 0 or n > INTENTS_MAX:
        field(x, F_COUNTERS, I1)[C_STRATEGY_ERRORS] += 1
        field(x, F_STRATEGIES, I2)[s, S_ERRORS] += 1
        return 0
    if hook == S_ON_UPDATE and field(x, F_STRATEGIES, I2)[s, S_ENABLED] == 0:
        n = _only_cancels(intents, n)
    if hook == S_ON_EVENT:
        hist_add(field(x, F_HISTOGRAMS, I2)[HIST_MATRIX_TO_INTENT], now[0] - event[0]["ts_recv"])
        for k in range(n):
            intents[k]["ts_input"] = event[0]["ts_recv"]
    return call_stage(field(x, F_ADDRESSES, I1)[A_EMIT], x, s, n)


@inline_kernel
def call_hook(x: Rows, s: Int, hook: Int, address: Int) -> int:
    """Call a hook by its address with what the context holds; returns what it returned."""
    intents, now = field(x, F_INTENTS, INTENTS), field(x, F_NOW, I1)
    event, data = field(x, F_EVENT, EVENTS), field(x, F_DATA, I2)
    control = field(x, F_CONTROL, I1)
    for k in range(control[X_DIRTY]):
        intents[k] = INTENTS[0]
    now[2] = s
    view = view_for(x, s)
    begun = call_begun(control)
    if hook == S_ON_EVENT:
        n = enter_row(address, event, view, data[s], intents)
    elif hook == S_ON_UPDATE:
        n = enter_row(address, field(x, F_UPDATE, UPDATES), view, data[s], intents)
    elif hook == S_ON_TIMER:
        n = enter_timer(address, now[0], view, data[s], intents)
    else:
        n = enter_plain(address, view, data[s], intents)
    if begun != 0 or (hook != S_ON_EVENT and control[X_MEASURE] != 0):
        note_call(x, s, hook, begun, n)
    # Rows are blank for whoever writes next: what was written is wiped then, and a few more rows,
    # for a strategy that began some and changed its mind. All 64 would cost more than the gate.
    control[X_DIRTY] = min(max(n, 0) + BEGUN_ROWS, INTENTS_MAX)
    if n < 0 or n > INTENTS_MAX:
        control[X_DIRTY] = INTENTS_MAX
    return n


@kernel
def _only_cancels(intents: Rows, n: Int) -> int:
    """Keep the cancels of n intents; returns how many.

    A strategy hears of its orders before it is enabled (what an earlier life left open) and after
    it was stopped. It must not trade then: found in a simulated restart, where a market maker
    answered the cancel of its old quotes with new ones.
    """
    kept = 0
    for k in range(n):
        if intents[k]["op"] == CANCEL:
            intents[kept] = intents[k]
            kept += 1
    return kept


def judge(x: Rows, s: Int, n: Int) -> int:
    """Ask the gate about the n intents in the context, numbered first; returns how many passed.

    A stage of its own: the canary of a swap asks too, with a gate of its own and no way out.
    """
    control, now = field(x, F_CONTROL, I1), field(x, F_NOW, I1)
    intents, venue_of = field(x, F_INTENTS, INTENTS), field(x, F_VENUE_OF, I1)
    account_of = field(x, F_ACCOUNT_OF, I2)
    for k in range(n):
        intents[k]["strategy"], intents[k]["verdict"], intents[k]["rule"] = s, PASS, 0
        intents[k]["input_seq"], intents[k]["ts_intent"] = control[X_INPUT_SEQ], now[0]
        intents[k]["ts_sent"], intents[k]["nonce"] = 0, 0  # not a strategy's to say
        instrument, account = np.int64(intents[k]["instrument"]), -1
        if instrument < len(venue_of):
            account = account_of[s, venue_of[instrument]]
        if account < 0:
            intents[k]["verdict"] = DENY_UNKNOWN_ORDER
            continue
        intents[k]["account"] = account
        if intents[k]["op"] == PLACE:
            intents[k]["order_id"] = control[X_NEXT_ORDER]
            control[X_NEXT_ORDER] += 1
    lanes, instruments = field(x, F_LANES, I3), field(x, F_INSTRUMENTS, INSTRUMENTS)
    judge_groups(intents, n, lanes[s], control, instruments)
    return gate_check(
        intents, n, view_for(x, s), gate_of(x), table_of(x),
        field(x, F_ACCOUNT_POSITIONS, POSITIONS), control[X_HALTED],
    )  # fmt: skip


def emit(x: Rows, s: Int, n: Int) -> int:
    """Gate, number, journal and hand over the n intents in the context; returns how many left."""
    call_stage(field(x, F_ADDRESSES, I1)[A_JUDGE], x, s, n)
    left = 0
    for k in range(n):
        left += _commit(x, k)
    measures = field(x, F_CONTROL, I1)[X_MEASURE]
    if measures != 0:
        note_decided(x, s, n)
    _see_out(x, s, n)
    if measures != 0 and field(x, F_ADDRESSES, I1)[A_SEND] != 0:
        note_left(x, s, n)
    strategies = field(x, F_STRATEGIES, I2)
    strategies[s, S_INTENTS] += n
    strategies[s, S_DENIED] += n - left
    field(x, F_COUNTERS, I1)[C_INTENTS] += n
    return left


@inline_kernel
def _see_out(x: Rows, s: Int, n: Int) -> None:
    """Hand what passed to the main thread, in order; what the loop can send itself leaves first."""
    addresses, intents = field(x, F_ADDRESSES, I1), field(x, F_INTENTS, INTENTS)
    if addresses[A_SEND] != 0:
        call_stage(addresses[A_SEND], x, s, n)
        return
    for k in range(n):
        if intents[k]["verdict"] == PASS:
            # The outbox holds more than every order that can be live, so it is never full.
            spsc_push(addresses[A_OUTBOX], addresses[A_INTENTS] + k * INTENT_BYTES)


@inline_kernel
def _commit(x: Rows, k: Int) -> int:
    """Enter one checked intent into the order table, the journal and the outbox."""
    intents, now = field(x, F_INTENTS, INTENTS), field(x, F_NOW, I1)
    addresses, control = field(x, F_ADDRESSES, I1), field(x, F_CONTROL, I1)
    counters = field(x, F_COUNTERS, I1)
    op = np.int64(intents[k]["op"]) if intents[k]["verdict"] == PASS else 0
    if op == PLACE and orders_place(table_of(x), intents[k : k + 1], now[0]) < 0:
        intents[k]["verdict"] = DENY_TABLE_FULL
    target = intents[k]["target_order_id"]
    if op == CANCEL and orders_cancelling(table_of(x), target, now[0]) < 0:
        intents[k]["verdict"] = DENY_UNKNOWN_ORDER
    # An order whose last amend or cancel is still on its way is not amended again.
    if op == AMEND and orders_replacing(table_of(x), target, intents[k]["qty"], now[0]) < 0:
        intents[k]["verdict"] = DENY_UNKNOWN_ORDER
    address = addresses[A_INTENTS] + k * INTENT_BYTES
    kept = journal_append(
        field(x, F_JOURNAL, I1), INTENT_RECORD, 1, control[X_INPUT_SEQ], now[0], address,
        INTENT_BYTES,
    )  # fmt: skip
    if kept < 0:  # what is not in the journal is not sent
        control[X_HALTED] = 1
        intents[k]["verdict"] = DENY_HALTED
        return 0
    verdict = np.int64(intents[k]["verdict"])
    if verdict != PASS:
        counters[C_DENIED] += 1
        counters[C_DENIED_BY + verdict] += 1
        if intents[k]["op"] == PLACE:
            # Told as an update of the next step, not now: a strategy that answers a denial with
            # another order must not do so inside its own call.
            orders_denied(intents[k : k + 1], now[0], field(x, F_DENIAL, UPDATES))
            spsc_push(addresses[A_ECHO], addresses[A_DENIAL])
        return 0
    if op == PLACE and intents[k]["group_id"] != 0:
        s, i = np.int64(intents[k]["strategy"]), np.int64(intents[k]["instrument"])
        underlying = np.int64(field(x, F_INSTRUMENTS, INSTRUMENTS)[i]["underlying"])
        lane_opened(field(x, F_LANES, I3)[s, underlying], control, now[0])
    counters[C_ORDERS] += 1
    control[X_REASON] |= R_OUTBOX
    return 1
