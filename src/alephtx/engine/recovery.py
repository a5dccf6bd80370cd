"""Start-up is recovery: fold the journal into the step's state.

The same kernels apply a record here and live, so the state after a crash is the state before it.
What the journal cannot know (what the venue did meanwhile) the gateway asks for afterwards.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instruments
from alephtx.core.records import INTENT, UPDATE
from alephtx.engine.context import Context, Rows, pack
from alephtx.engine.leg_lanes import lane_opened
from alephtx.engine.opening import take_up
from alephtx.engine.updates import replay_update
from alephtx.execution.inbox import FILLS_KEPT_MAX
from alephtx.execution.orders import orders_cancelling, orders_place, orders_replacing
from alephtx.matrix.journal import BALANCES, COMMAND, EPOCH, Record, read
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import UPDATE as UPDATE_RECORD
from alephtx.risk.latches import relatch


class Recovered(msgspec.Struct):
    """What the journal told: the live orders and how far the story goes."""

    records: int = 0
    epoch: int = 0
    last_input: int = 0
    since_ns: dict[int, int] = {}
    opened_ns: dict[int, int] = {}
    live: dict[int, list[Rows]] = {}
    venue_ids: dict[int, dict[int, int]] = {}
    closed: dict[int, int] = {}
    foreign: dict[int, deque[tuple[int, int]]] = {}


def fold(
    directory: Path,
    ctx: Context,
    instruments: Instruments,
    on_command: Callable[[memoryview], None] | None = None,
) -> Recovered:
    """Replay a journal into a fresh context. Returns what gateways need to take up their orders.

    on_command: gets the payload of every COMMAND record, in its place among the others.

    By account: since_ns, up to which everything is known; opened_ns, when the ledger's count began;
    venue_ids; live, the ORDER rows; closed, a mask of what waits for a person; foreign,
    instrument and trade id of fills of nobody's order.
    """
    told = Recovered(since_ns={}, opened_ns={}, live={}, venue_ids={}, closed={}, foreign={})
    packed = pack(ctx)
    for record in read(directory):
        told.records += 1
        told.last_input = max(told.last_input, record.input_seq)
        account = apply_record(record, ctx, packed, instruments)
        if record.kind == UPDATE_RECORD:
            _note(ctx.update, told)
        elif record.kind == COMMAND and on_command is not None:
            on_command(record.payload)
        elif record.kind == EPOCH:
            told.epoch = max(told.epoch, int(np.frombuffer(record.payload, np.int64, count=1)[0]))
        elif record.kind == BALANCES:
            told.opened_ns.setdefault(account, record.ts)
            told.since_ns.setdefault(account, record.ts)
    ctx.counters[:] = 0
    ctx.gate.resync[:] = 1
    for strategy in range(len(ctx.strategies)):
        for slot in range(int(ctx.table.open_count[strategy, 0])):
            row = ctx.table.orders[strategy, slot : slot + 1].copy()
            told.live.setdefault(int(row[0]["account"]), []).append(row)
    return told


def apply_record(record: Record, ctx: Context, packed: Rows, instruments: Instruments) -> int:
    """Apply one record to a context. Returns whom it concerns, or -1 where it is nobody's news.

    The strategy of an update (which is then in ctx.update, as the strategy hears it), the account
    of an opening.
    """
    if record.kind == INTENT_RECORD:
        _intent(np.frombuffer(record.payload, INTENT, count=1).copy(), ctx)
    elif record.kind == UPDATE_RECORD:
        ctx.update[:] = np.frombuffer(record.payload, UPDATE, count=1)
        return int(replay_update(packed))
    elif record.kind == BALANCES:
        return take_up(record.payload, ctx, instruments)
    return -1


def _intent(row: Rows, ctx: Context) -> None:
    if row[0]["verdict"] != words.PASS:
        relatch(ctx.gate, row)
        return
    if row[0]["op"] == words.PLACE:
        orders_place(ctx.table, row, int(row[0]["ts_intent"]))
        if row[0]["group_id"]:
            underlying = int(ctx.instruments[int(row[0]["instrument"])]["underlying"])
            lane_opened(ctx.lanes[int(row[0]["strategy"]), underlying], ctx.control, 0)
    elif row[0]["op"] == words.CANCEL:
        orders_cancelling(ctx.table, int(row[0]["target_order_id"]), int(row[0]["ts_intent"]))
    elif row[0]["op"] == words.AMEND:
        target, qty = int(row[0]["target_order_id"]), int(row[0]["qty"])
        orders_replacing(ctx.table, target, qty, int(row[0]["ts_intent"]))


def _note(row: Rows, told: Recovered) -> None:
    """Keep what a gateway needs of an update."""
    account = int(row[0]["account"])
    venue_id, order_id = int(row[0]["venue_order_id"]), int(row[0]["order_id"])
    if venue_id and order_id:
        told.venue_ids.setdefault(account, {})[venue_id] = order_id
    if row[0]["kind"] == words.FILL and not order_id:
        kept = told.foreign.setdefault(account, deque(maxlen=FILLS_KEPT_MAX))
        kept.append((int(row[0]["instrument"]), int(row[0]["trade_id"])))
    if row[0]["kind"] in (words.RESYNC_BEGIN, words.RESYNC_END):
        told.closed[account] = int(row[0]["code"])
    if row[0]["kind"] == words.RESYNC_END:
        told.since_ns[account] = max(told.since_ns.get(account, 0), int(row[0]["ts_event"]))
