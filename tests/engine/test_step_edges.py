"""The step at its edges: senseless rows, strategies that misbehave, no room, a restart."""

from pathlib import Path

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.records import INTENT
from alephtx.engine import context as c
from alephtx.engine.recovery import fold
from alephtx.matrix.inputlog import read_inputs
from alephtx.matrix.journal import EPOCH, read
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.levels import levels_publish
from alephtx.matrix.ring import ring_publish, slot_aux
from alephtx.matrix.tops import top_publish
from alephtx.matrix.writers import halt_set
from tests.engine.bench import QUOTER, Bench

pytestmark = pytest.mark.kernel


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def rewritten(tmp_path):
    """Make a bench with the quoter's text changed: rewritten(old=..., new=...)."""
    made = []

    def make(**changes):
        text = Path(QUOTER).read_text()
        for old, new in zip(changes["old"], changes["new"], strict=True):
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "changed.py"
        path.write_text(text)
        made.append(Bench(tmp_path, use=str(path)))
        return made[0]

    yield make
    for bench in made:
        bench.close()


def slot(bench, instrument, kind, **words_of):
    values = {"bid": 0, "bid_qty": 0, "ask": 0, "ask_qty": 0, "side": 0, **words_of}
    aux = slot_aux(instrument, kind, 0, values["side"])
    ring_publish(
        bench.matrix.map, 0, values.get("ts_event", bench.now), bench.now, values["bid"],
        values["bid_qty"], values["ask"], values["ask_qty"], aux,
    )  # fmt: skip


def intent(bench, **fields):
    """Hand over an intent as an uncompiled strategy does."""
    batch = np.zeros(c.INTENTS_MAX, INTENT)
    row = batch[:1]
    row["op"], row["type"], row["tif"] = words.PLACE, words.LIMIT, words.GTC
    row["side"], row["price"], row["qty"], row["rule"] = words.BUY, 6_000_000, 1_000, 1
    for name, value in fields.items():
        row[name] = value
    assert bench.engine.rings.python_intents.push(batch)


def quoted(bench, n=1):
    """Have n orders out; return their ids."""
    for k in range(n):
        bench.top(6_000_000 + k, 6_000_100 + k)
    bench.step()
    return [int(row["order_id"]) for row in bench.sent()]


def denied(bench, verdict):
    return int(bench.ctx.counters[c.C_DENIED_BY + verdict])


# -- market events -------------------------------------------------------------------------


def test_slot_of_no_instrument_of_ours_is_counted_and_left(bench):
    slot(bench, 77, words.TOP, bid=1, ask=2)
    bench.step()
    assert bench.ctx.counters[c.C_BAD_ROWS] == 1
    assert bench.state["tops"] == 0


def test_other_kinds_leave_the_touch_alone_or_to_the_matrix(bench):
    """A funding rate in a slot is no price; what changes the book's state has it looked up."""
    top_publish(bench.matrix.map, 0, bench.now, bench.now, 500, 7, 600, 8, 0)
    row = bench.ctx.top[0]
    slot(bench, 0, words.FUNDING, bid=123_456, bid_qty=9)
    bench.step()
    assert (row["bid"], row["bid_qty"], row["ask"], row["ask_qty"]) == (0, 0, 0, 0)
    slot(bench, 0, words.STATUS, bid=words.TRADING)
    bench.step()
    assert (row["bid"], row["bid_qty"], row["ask"], row["ask_qty"]) == (500, 7, 600, 8)


def test_a_touch_that_stands_is_told_again_now_and_then(bench):
    """Where nobody reads depth a change of it is news as proof that the touch stands, no more."""
    told = []
    for ms in (0, 10, 49, 50, 60, 99, 101, -5_000, -4_990):  # at last the venue sets its clock
        slot(bench, 0, words.DELTA, bid=500, bid_qty=7, ts_event=bench.now + ms * 1_000_000)
        bench.step()
        told.append(int(bench.ctx.strategies[0, c.S_EVENTS]))
    assert told == [1, 1, 1, 2, 2, 2, 3, 4, 4]


def test_trades_reach_only_those_who_want_them(rewritten):
    changed = rewritten(old=["Needs(timer_ns"], new=["Needs(trades=True, timer_ns"])
    slot(changed, 0, words.TRADE, bid=6_000_000, bid_qty=5, side=words.SELL)
    changed.step()
    assert changed.ctx.strategies[0, c.S_EVENTS] == 1
    assert (changed.ctx.event[0]["side"], changed.ctx.event[0]["qty"]) == (words.SELL, 5)
    assert changed.ctx.counters[c.C_TRADES] == 1


def test_trade_is_not_told_to_who_did_not_ask(bench):
    slot(bench, 0, words.TRADE, bid=6_000_000, bid_qty=5, side=words.SELL)
    bench.step()
    assert bench.ctx.strategies[0, c.S_EVENTS] == 0


def test_levels_are_read_where_a_strategy_wants_depth(rewritten):
    changed = rewritten(old=["Needs(timer_ns"], new=["Needs(depth=2, timer_ns"])
    levels = np.zeros((2, 4, 2), np.int64)
    levels[0, 0], levels[1, 0] = (6_000_000, 3), (6_000_100, 4)
    levels_publish(changed.matrix.map, 0, levels, 1)
    changed.top(6_000_000, 6_000_100)
    changed.step()
    assert changed.ctx.levels[0].tolist() == levels.tolist()


def test_events_of_a_venue_nobody_routed_move_the_view_only(bench):
    aux = slot_aux(1, words.TOP, 0, 0)
    ring_publish(bench.matrix.map, 1, bench.now, bench.now, 5, 1, 6, 1, aux)
    bench.step()
    assert (bench.state["tops"], bench.ctx.top[1]["bid"]) == (0, 5)


def test_no_more_than_the_budget_is_taken_at_once(bench):
    for k in range(10):
        bench.top(6_000_000 + k, 6_000_100 + k)
    bench.step(budget=4)
    assert bench.ctx.counters[c.C_EVENTS] == 4
    bench.step(budget=4)
    assert bench.ctx.counters[c.C_EVENTS] == 8


def test_timer_runs_when_due_and_once_when_late(bench):
    bench.step()
    assert bench.state["timers"] == 0
    bench.step(after_ns=1_000_000_000)
    assert bench.state["timers"] == 1
    bench.step(after_ns=9_000_000_000)
    assert bench.state["timers"] == 2
    assert [row.ring for row in read_inputs(bench.folder / "inputs")] == [c.RING_TIMER] * 2


# -- commands ------------------------------------------------------------------------------


def test_disabled_strategy_stops_hears_nothing_and_starts_again(bench):
    bench.command(c.COMMAND_DISABLE, 0)
    bench.step()
    bench.top(6_000_000, 6_000_100)
    bench.step(after_ns=2_000_000_000)
    assert (bench.state["stopped"], bench.state["tops"], bench.state["timers"]) == (1, 0, 0)
    bench.command(c.COMMAND_ENABLE, 0)
    bench.top(6_000_001, 6_000_101)
    assert bench.step() & c.R_COMMAND
    assert (bench.state["started"], bench.state["tops"]) == (1, 1)


def test_resume_lifts_a_halt_of_ours_but_no_kill(bench):
    bench.command(c.COMMAND_HALT)
    bench.step()
    assert bench.ctx.control[c.X_HALTED] == 1
    bench.command(c.COMMAND_RESUME)
    bench.step()
    assert bench.ctx.control[c.X_HALTED] == 0
    halt_set(bench.matrix.map, 2)
    bench.command(c.COMMAND_RESUME)
    bench.step()
    assert bench.ctx.control[c.X_HALTED] == 1


# -- intents -------------------------------------------------------------------------------


def test_intent_of_python_passes_the_same_gate(bench):
    quoted(bench)
    intent(bench, strategy=0)
    intent(bench, strategy=0, qty=1 << 40)
    bench.step()
    assert len(bench.sent()) == 1
    assert bench.ctx.strategies[0, c.S_DENIED] == 1


def test_intent_of_no_strategy_is_counted_and_left(bench):
    intent(bench, strategy=9)
    bench.step()
    assert bench.ctx.counters[c.C_BAD_ROWS] == 1
    assert bench.sent() == []


@pytest.mark.parametrize("instrument", [1, 3, 60_000])
def test_instrument_without_an_account_of_the_strategy_is_denied(bench, instrument):
    intent(bench, strategy=0, instrument=instrument)
    bench.step()
    assert denied(bench, words.DENY_UNKNOWN_ORDER) == 1
    assert bench.sent() == []


def test_cancel_of_an_order_that_is_over_is_denied(bench):
    intent(bench, strategy=0, op=words.CANCEL, target_order_id=5)
    bench.step()
    assert denied(bench, words.DENY_UNKNOWN_ORDER) == 1


def test_denied_order_is_told_in_the_next_step_not_inside_the_call(bench):
    halt_set(bench.matrix.map, 1)
    bench.top(6_000_000, 6_000_100)
    bench.step()
    assert bench.state["updates"] == 0
    bench.step()
    assert (bench.state["updates"], bench.state["last_kind"]) == (1, words.REJECT)
    assert bench.ctx.update[0]["order_status"] == words.DENIED


@pytest.mark.parametrize("count", [-1, 1_000_000])
def test_strategy_that_returns_nonsense_is_counted_and_sends_nothing(rewritten, count):
    changed = rewritten(old=["    return 1\n"], new=[f"    return {count}\n"])
    changed.top(6_000_000, 6_000_100)
    changed.step()
    assert changed.ctx.counters[c.C_STRATEGY_ERRORS] == 1
    assert changed.sent() == []
    assert [r for r in read(changed.folder / "journal") if r.kind == INTENT_RECORD] == []


def test_hook_that_a_strategy_lacks_is_not_entered(rewritten):
    changed = rewritten(
        old=["def on_timer", "def on_start"], new=["def not_on_timer", "def not_on_start"]
    )
    changed.command(c.COMMAND_ENABLE, 0)
    changed.step(after_ns=5_000_000_000)
    changed.step(after_ns=5_000_000_000)
    assert (changed.state["timers"], changed.state["started"]) == (0, 0)


# -- updates -------------------------------------------------------------------------------


def test_update_of_no_order_of_ours_is_journaled_and_told_nobody(bench):
    bench.update(kind=words.FUNDING_PAID, realized=5)
    bench.update(kind=words.ACK, order_id=999)
    bench.step()
    assert bench.state["updates"] == 0
    assert bench.ctx.counters[c.C_BAD_ROWS] == 1
    assert bench.ctx.counters[c.C_UPDATES] == 2


def test_same_fill_twice_counts_once(bench):
    (order_id,) = quoted(bench)
    fill = {"kind": words.FILL, "order_id": order_id, "trade_id": 1, "side": 1,
            "price": 6_000_000, "qty": 400}  # fmt: skip
    bench.update(**fill)
    bench.update(**fill)
    bench.step()
    assert bench.ctx.positions[0, 0]["qty"] == 400
    assert bench.state["updates"] == 1


def test_more_filled_than_seen_is_asked_for(bench):
    """The venue counts 700, we saw 400: somebody must ask for the rest."""
    (order_id,) = quoted(bench)
    bench.update(kind=words.FILL, order_id=order_id, trade_id=1, side=1, price=6_000_000, qty=400)
    bench.update(
        kind=words.ORDER_STATE, order_id=order_id, cum_qty=700, status=words.PARTIALLY_FILLED
    )
    assert bench.step() & c.R_ASK
    assert bench.ctx.counters[c.C_ALARMS] == 1


def test_position_that_overflows_is_counted_and_left_as_it_was(bench):
    (order_id,) = quoted(bench)
    bench.ctx.positions[0, 0]["qty"] = (1 << 62) - 1
    bench.ctx.positions[0, 0]["cost"] = (1 << 62) - 1
    bench.update(kind=words.FILL, order_id=order_id, trade_id=1, side=1, price=6_000_000, qty=1_000)
    bench.step()
    assert bench.ctx.counters[c.C_OVERFLOWS] == 1
    assert bench.ctx.positions[0, 0]["qty"] == (1 << 62) - 1


# -- journal and input log -----------------------------------------------------------------


def test_step_without_room_consumes_nothing_and_says_so(bench):
    """The caller rolls the journal and calls again."""
    bench.top(6_000_000, 6_000_100)
    end = bench.inputs.map[1]
    bench.inputs.map[1] = bench.inputs.map[0]
    assert bench.step() == c.R_JOURNAL
    assert bench.ctx.counters[c.C_EVENTS] == 0
    bench.inputs.map[1] = end
    bench.step()
    assert bench.ctx.counters[c.C_EVENTS] == 1


def test_input_log_that_is_rolled_goes_on_counting(bench):
    quoted(bench)
    bench.journal.roll()
    before = bench.inputs.last_seq
    ids = quoted(bench)
    assert bench.inputs.last_seq == before + 1
    records = [r for r in read(bench.folder / "journal") if r.kind == INTENT_RECORD]
    last = np.frombuffer(records[-1].payload, INTENT)[0]
    assert [int(last["order_id"])] == ids


# -- recovery ------------------------------------------------------------------------------


def test_recovery_knows_denials_cancels_epochs_and_the_proven_moment(tmp_path):
    bench = Bench(tmp_path)
    bench.journal.append(EPOCH, np.array([1], np.int64).tobytes(), ts=bench.now)
    first, second = quoted(bench, 2)
    bench.update(kind=words.ACK, order_id=first, venue_order_id=71)
    bench.update(kind=words.RESYNC_END, ts_event=bench.now - 5)
    bench.update(kind=words.RESYNC_END, ts_event=bench.now - 9)
    intent(bench, strategy=0, op=words.CANCEL, target_order_id=second)
    bench.step()
    halt_set(bench.matrix.map, 1)
    intent(bench, strategy=0)
    bench.step()
    seen = bench.now
    last = bench.inputs.last_seq - 1  # the denial that was told has no record of its own
    bench.close()
    again = Bench(tmp_path, epoch=2)
    told = fold(tmp_path / "journal", again.ctx, again.instruments)
    live = {int(row[0]["order_id"]): int(row[0]["status"]) for row in told.live[0]}
    assert live == {first: words.NEW, second: words.PENDING_CANCEL}
    assert (told.epoch, told.last_input) == (1, last)
    assert told.venue_ids == {0: {71: first}}
    assert seen - 10_000 < told.since_ns[0] < seen
    assert again.ctx.gate.resync.tolist() == [1] * len(again.ctx.gate.resync)
    again.close()


ANSWERING = """

def on_update(update, view, params, state, intents):
    state[0]["updates"] += 1
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, GTC
    intents[0]["side"], intents[0]["price"], intents[0]["qty"] = BUY, 6_000_000, 1_000
    intents[1]["op"], intents[1]["target_order_id"] = CANCEL, view.orders[0]["order_id"]
    return 2
"""


def test_a_strategy_that_is_not_enabled_hears_but_may_only_cancel(tmp_path):
    """Before it is enabled it hears what becomes of an earlier life's orders, after its stop of its
    own. A market maker that answered those with new quotes kept a restarted engine from starting.
    """
    file = tmp_path / "answering.py"
    file.write_text(Path(QUOTER).read_text() + ANSWERING)
    made = Bench(tmp_path, use=str(file))
    try:
        made.top(6_000_000, 6_000_100)
        made.step()
        (order,) = made.sent()
        made.ctx.strategies[0, c.S_ENABLED] = 0
        made.update(order_id=order["order_id"], kind=words.ACK, venue_order_id=7)
        made.step()
        assert [int(row["op"]) for row in made.sent()] == [words.CANCEL]
        made.ctx.strategies[0, c.S_ENABLED] = 1
        made.update(order_id=order["order_id"], kind=words.CANCEL_REJECT)
        made.step()
        assert [int(row["op"]) for row in made.sent()] == [words.PLACE, words.CANCEL]
        assert made.state["updates"] == 2
    finally:
        made.close()
