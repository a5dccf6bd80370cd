"""The venue's words come home: journal, order table, positions. Compiled, part of the step."""

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.packed import field
from alephtx.core.ports import Rows
from alephtx.core.stages import call_stage
from alephtx.core.units import CEIL, MAX_VALUE, OVERFLOW, mul_div_checked
from alephtx.core.words import FILL, MONEY_MOVED, RESYNC_BEGIN, RESYNC_END, STILL_BLOCKED
from alephtx.engine.context import (
    A_APPLY,
    A_ASKS,
    A_OUTCOME,
    A_UPDATE,
    C_ALARMS,
    C_BAD_ROWS,
    C_FILLS,
    C_OVERFLOWS,
    C_UPDATES,
    F_ACCOUNT_POSITIONS,
    F_ADDRESSES,
    F_CONTROL,
    F_COUNTERS,
    F_GATE_ACCOUNTS,
    F_GATE_CELLS,
    F_GATE_FIRM,
    F_GATE_RESYNC,
    F_INPUTS,
    F_INSTRUMENTS,
    F_JOURNAL,
    F_LANES,
    F_LEGS,
    F_NOW,
    F_OUTCOME,
    F_POSITIONS,
    F_REALIZED,
    F_UPDATE,
    F_UPDATE_RINGS,
    I1,
    I2,
    I3,
    INSTRUMENTS,
    L_STAGE,
    LANE_REST,
    OUTCOMES,
    POSITIONS,
    R_ASK,
    RING_UPDATES,
    UPDATES,
    X_HALTED,
    X_INPUT_SEQ,
    X_LANES_OPEN,
    X_REASON,
    X_UPDATE_COUNT,
    X_UPDATE_STRATEGY,
)
from alephtx.engine.fields import table_of, view_for
from alephtx.engine.leg_lanes import fill_moves, lane_settles
from alephtx.engine.settle import settle_positions
from alephtx.execution.orders import (
    DUPLICATE,
    INVALID,
    NOTHING,
    STALE_REPORT,
    UNKNOWN_ORDER,
    orders_apply,
)
from alephtx.execution.table import remember_trade
from alephtx.ledger.positions import position_fill
from alephtx.matrix.inputlog import input_append, input_room
from alephtx.matrix.journal import UPDATE as UPDATE_RECORD
from alephtx.matrix.journal import journal_append, journal_failed, journal_room
from alephtx.matrix.spsc import spsc_pop, spsc_push
from alephtx.risk.gate import note_fill
from alephtx.risk.state import RESCAN
from alephtx.strategies.legs import position_base

UPDATE_BYTES = 160
ROOM_BYTES = 2 << 20
ROOM_ROWS = 4096


def apply_update(x: Rows, a: Int, b: Int) -> int:
    """Apply the row in F_UPDATE to orders and positions; the same for live and for recovery.

    Returns the strategy it belongs to, or -1 for account news, for orders that are not ours and for
    reports that changed nothing. What needs the main thread's attention goes to the ring of asks.
    """
    update = field(x, F_UPDATE, UPDATES)
    table = table_of(x)
    outcome = field(x, F_OUTCOME, OUTCOMES)
    counters = field(x, F_COUNTERS, I1)
    addresses = field(x, F_ADDRESSES, I1)
    control = field(x, F_CONTROL, I1)
    kind = np.int64(update[0]["kind"])
    account = np.int64(update[0]["account"])
    if kind == RESYNC_BEGIN or kind == RESYNC_END:
        closed = kind == RESYNC_BEGIN or update[0]["flags"] & STILL_BLOCKED != 0
        field(x, F_GATE_RESYNC, I1)[account] = 1 if closed else 0
        field(x, F_GATE_FIRM, I1)[RESCAN] = 1  # positions may have come that no order of ours made
        return -1
    if kind == MONEY_MOVED:
        settle_positions(x, account)
        return -1
    if update[0]["order_id"] == 0:
        if kind == FILL:
            _book_foreign(x, account)
        return -1
    code = orders_apply(table, update, outcome)
    if code == UNKNOWN_ORDER or code == INVALID:
        counters[C_BAD_ROWS] += 1
        return -1
    if outcome[0]["fill_qty"] > 0:
        _book_fill(x, account)
    if outcome[0]["group_id"] != 0 and control[X_LANES_OPEN] != 0:
        _settle_lanes(x)
    if outcome[0]["code"] != NOTHING:
        counters[C_ALARMS] += 1
        spsc_push(addresses[A_ASKS], addresses[A_OUTCOME])
        control[X_REASON] |= R_ASK
    if code == DUPLICATE or code == STALE_REPORT:
        return -1
    return outcome[0]["strategy"]


@kernel
def _fee_money(instrument: Rows, currency: Int, fee: Int, price: Int) -> int:
    """Return a fee in the settle currency's money: for the drawdown limit, not for the books.

    A fee in the base coin counts at the fill's price, one in a third currency not at all.
    """
    if currency == instrument[0]["settle"] or fee == 0:
        return fee
    if currency != instrument[0]["base"]:
        return 0
    unit = 1
    for _ in range(instrument[0]["price_scale"]):
        unit *= 10
    value = mul_div_checked(fee, price, unit, CEIL)
    return 0 if value == OVERFLOW else value


@kernel
def _book_fill(x: Rows, account: Int) -> None:
    """Move the strategy's and the account's position by the fill in F_OUTCOME."""
    outcome = field(x, F_OUTCOME, OUTCOMES)
    instruments = field(x, F_INSTRUMENTS, INSTRUMENTS)
    positions = field(x, F_POSITIONS, POSITIONS)
    realized = field(x, F_REALIZED, I1)
    account_positions = field(x, F_ACCOUNT_POSITIONS, POSITIONS)
    counters = field(x, F_COUNTERS, I1)
    update = field(x, F_UPDATE, UPDATES)
    s, i = outcome[0]["strategy"], outcome[0]["instrument"]
    side = outcome[0]["side"]
    price, qty = outcome[0]["fill_price"], outcome[0]["fill_qty"]
    instrument = instruments[i : i + 1]
    before = position_base(positions[s], instruments, i)
    bad = position_fill(positions[s, i : i + 1], instrument, side, price, qty, realized)
    if outcome[0]["group_id"] != 0:
        after, now = position_base(positions[s], instruments, i), field(x, F_NOW, I1)[0]
        base = OVERFLOW if bad != 0 or OVERFLOW in (before, after) else after - before
        lanes = field(x, F_LANES, I3)[s]
        fill_moves(lanes, field(x, F_CONTROL, I1), instrument, side, price, qty, base, now)
    bad += position_fill(
        account_positions[account, i : i + 1], instrument, side, price, qty, realized
    )
    fee = _fee_money(instrument, np.int64(update[0]["fee_currency"]), update[0]["fee"], price)
    positions[s, i]["fees"] += fee
    account_positions[account, i]["fees"] += fee
    if bad != 0:
        counters[C_OVERFLOWS] += 1
    counters[C_FILLS] += 1
    note_fill(
        field(x, F_GATE_CELLS, I2), field(x, F_GATE_FIRM, I1), field(x, F_GATE_ACCOUNTS, I2),
        account, i, field(x, F_NOW, I1)[3],
    )  # fmt: skip


@kernel
def _settle_lanes(x: Rows) -> None:
    """Let the lanes that the report in F_OUTCOME touched rest, if they are even and done."""
    outcome = field(x, F_OUTCOME, OUTCOMES)
    s, i = outcome[0]["strategy"], outcome[0]["instrument"]
    lanes, control = field(x, F_LANES, I3)[s], field(x, F_CONTROL, I1)
    instrument, legs = field(x, F_INSTRUMENTS, INSTRUMENTS)[i], field(x, F_LEGS, I2)[s]
    view = view_for(x, s)
    for u in (np.int64(instrument["underlying"]), np.int64(instrument["quote"])):
        if lanes[u, L_STAGE] != LANE_REST:
            lane_settles(view, lanes, legs, control, u)


@kernel
def _book_foreign(x: Rows, account: Int) -> None:
    """Move the account's position by a fill that is no strategy's: a person's, or the venue's own.

    Counts once by (account, instrument, trade id), as fills of our orders do.
    """
    update = field(x, F_UPDATE, UPDATES)
    instruments = field(x, F_INSTRUMENTS, INSTRUMENTS)
    account_positions = field(x, F_ACCOUNT_POSITIONS, POSITIONS)
    realized = field(x, F_REALIZED, I1)
    counters = field(x, F_COUNTERS, I1)
    i = np.int64(update[0]["instrument"])
    side: Int = np.int64(update[0]["side"])
    price, qty, trade_id = update[0]["price"], update[0]["qty"], update[0]["trade_id"]
    known = i < instruments.shape[0] and side in (1, -1)
    if not known or not 0 < qty < MAX_VALUE or not 0 < price < MAX_VALUE or trade_id == 0:
        counters[C_BAD_ROWS] += 1
        return
    if not remember_trade(table_of(x), account, i, trade_id):
        return
    row = account_positions[account, i : i + 1]
    if position_fill(row, instruments[i : i + 1], side, price, qty, realized) != 0:
        counters[C_OVERFLOWS] += 1
    currency = np.int64(update[0]["fee_currency"])
    row[0]["fees"] += _fee_money(instruments[i : i + 1], currency, update[0]["fee"], price)
    counters[C_FILLS] += 1
    note_fill(
        field(x, F_GATE_CELLS, I2), field(x, F_GATE_FIRM, I1), field(x, F_GATE_ACCOUNTS, I2),
        account, i, field(x, F_NOW, I1)[3],
    )  # fmt: skip


@kernel
def replay_update(x: Rows) -> int:
    """Apply the row in F_UPDATE from Python; for recovery."""
    return call_stage(field(x, F_ADDRESSES, I1)[A_APPLY], x, 0, 0)


@kernel
def take_update(x: Rows, account: Int) -> None:
    """Take the row in F_UPDATE as an account's next: number it, journal it, apply it.

    The journal gets the row before any effect leaves the process: strategies see it only after.
    Puts the strategy it belongs to, or -1, into control[X_UPDATE_STRATEGY].
    """
    addresses = field(x, F_ADDRESSES, I1)
    control = field(x, F_CONTROL, I1)
    now = field(x, F_NOW, I1)
    update = field(x, F_UPDATE, UPDATES)
    control[X_UPDATE_COUNT] += 1
    control[X_INPUT_SEQ] = input_append(
        field(x, F_INPUTS, I1), RING_UPDATES + account, control[X_UPDATE_COUNT], now[0]
    )
    update[0]["account"] = account
    update[0]["input_seq"] = control[X_INPUT_SEQ]
    journal_append(
        field(x, F_JOURNAL, I1),
        UPDATE_RECORD,
        1,
        control[X_INPUT_SEQ],
        now[0],
        addresses[A_UPDATE],
        UPDATE_BYTES,
    )
    control[X_UPDATE_STRATEGY] = call_stage(addresses[A_APPLY], x, 0, 0)
    field(x, F_COUNTERS, I1)[C_UPDATES] += 1


@kernel
def pop_update(x: Rows, account: Int) -> int:
    """Take the next update of an account's ring; 1, or 0 when there is none."""
    rings = field(x, F_UPDATE_RINGS, I1)
    if spsc_pop(rings[account], field(x, F_ADDRESSES, I1)[A_UPDATE]) == 0:
        return 0
    take_update(x, account)
    return 1


@kernel
def room_left(x: Rows) -> int:
    """Tell whether a whole step fits the journal's segment and the input log.

    A failed journal still takes what is left of its segment: cancels and fills need it.
    """
    journal = field(x, F_JOURNAL, I1)
    control = field(x, F_CONTROL, I1)
    inputs = field(x, F_INPUTS, I1)
    if journal_failed(journal) != 0:
        control[X_HALTED] = 1
        return 1
    return 1 if journal_room(journal) >= ROOM_BYTES and input_room(inputs) >= ROOM_ROWS else 0
