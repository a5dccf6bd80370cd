"""The step: what goes in, in which order, and what leaves."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.config_schema import Risk
from alephtx.core.records import INTENT
from alephtx.engine import context as c
from alephtx.engine.recovery import fold
from alephtx.matrix.inputlog import read_inputs
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import UPDATE as UPDATE_RECORD
from alephtx.matrix.journal import read
from alephtx.matrix.writers import beat, claim, halt_set, name_hash
from tests.engine.bench import Bench

pytestmark = pytest.mark.kernel


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.mark.smoke
def test_a_top_becomes_a_journaled_order(bench):
    """The river in one step: ring slot, strategy, gate, journal, outbox."""
    bench.top(6_000_000, 6_000_100)
    reason = bench.step()
    assert reason & c.R_OUTBOX
    (row,) = bench.sent()
    assert (row["price"], row["qty"], row["side"]) == (6_000_000, 1000, words.BUY)
    assert row["order_id"] == (1 << 54 | 1 << 40) + 1
    records = [record for record in read(bench.folder / "journal") if record.kind == INTENT_RECORD]
    assert np.frombuffer(records[0].payload, INTENT)[0] == row
    assert int(bench.ctx.table.open_count[0, 0]) == 1


def test_an_idle_step_does_nothing_and_logs_nothing(bench):
    """Nothing new costs nothing: no input is numbered, no strategy is entered."""
    assert bench.step() == c.R_IDLE
    bench.top(100, 101)
    bench.step()
    before = bench.inputs.last_seq
    assert bench.step() == c.R_IDLE
    assert bench.inputs.last_seq == before


def test_a_fill_moves_position_and_reaches_the_strategy(bench):
    """An update is journaled first, then applied, then told."""
    bench.top(6_000_000, 6_000_100)
    bench.step()
    order_id = int(bench.sent()[0]["order_id"])
    bench.update(kind=words.ACK, order_id=order_id, venue_order_id=7)
    bench.update(
        kind=words.FILL,
        order_id=order_id,
        venue_order_id=7,
        trade_id=1,
        side=1,
        price=6_000_000,
        qty=400,
    )
    bench.update(
        kind=words.FILL,
        order_id=order_id,
        venue_order_id=7,
        trade_id=1,
        side=1,
        price=6_000_000,
        qty=400,
    )
    bench.step()
    assert bench.ctx.positions[0, 0]["qty"] == 400
    assert bench.ctx.account_positions[0, 0]["qty"] == 400
    assert bench.state["updates"] == 2
    kinds = [record.kind for record in read(bench.folder / "journal")]
    assert kinds.count(UPDATE_RECORD) == 3


def test_a_halt_word_denies_every_new_order(bench):
    """The kill switch is in shared memory and needs nobody's help."""
    halt_set(bench.matrix.map, 1)
    bench.top(6_000_000, 6_000_100)
    bench.step()
    assert bench.sent() == []
    assert bench.ctx.counters[c.C_DENIED_BY + words.DENY_HALTED] == 1


def test_an_overrun_ring_is_told_and_the_tops_are_reread(bench):
    """Nothing is lost silently: the reader hears how many slots it missed."""
    for k in range(200):
        bench.top(6_000_000 + k, 6_000_100 + k)
    bench.step()
    assert bench.ctx.counters[c.C_LAPPED] > 0
    assert bench.state["lapped"] == 1


def test_a_silent_feeder_makes_its_books_stale(bench):
    """A feeder that was killed cannot flag its own books; the engine holds them stale."""
    bench.matrix.take_venue(0, int(claim(bench.matrix.map, name_hash("feeder:alpha"), 1)))
    bench.top(6_000_000, 6_000_100)
    beat(bench.matrix.map, 0, bench.now - 1_800_000_000_000_000_000 + 1_000_000_000)
    bench.step()
    assert bench.ctx.top[0]["aux"] & words.STALE == 0
    bench.step(after_ns=2_000_000_000)
    assert bench.ctx.top[0]["aux"] & words.STALE
    assert bench.state["gaps"] == 1


def test_two_strategies_worth_of_inputs_are_numbered_densely(bench):
    """The input log is one total order: events, updates, commands and timers."""
    bench.top(6_000_000, 6_000_100)
    bench.update(kind=words.RESYNC_END)
    bench.command(c.COMMAND_HALT)
    bench.step()
    rows = list(read_inputs(bench.folder / "inputs"))
    assert [row.input_seq for row in rows] == list(range(1, len(rows) + 1))
    assert [row.ring for row in rows] == [c.RING_COMMAND, c.RING_UPDATES, 0]


def test_stop_runs_on_stop_once_and_its_cancels_leave(bench):
    """Stopping is a command like any other: strategies may still cancel."""
    bench.top(6_000_000, 6_000_100)
    bench.step()
    bench.sent()
    bench.command(c.COMMAND_STOP)
    bench.step()
    assert [int(row["op"]) for row in bench.sent()] == [words.CANCEL]
    assert bench.state["stopped"] == 1
    bench.top(6_000_001, 6_000_101)
    bench.step()
    assert bench.state["tops"] == 1


def test_the_gate_sees_a_resync_begin_and_end(bench):
    """No new risk on an account whose truth is being asked for."""
    bench.update(kind=words.RESYNC_BEGIN)
    bench.top(6_000_000, 6_000_100)
    bench.step()
    assert bench.sent() == []
    bench.update(kind=words.RESYNC_END)
    bench.step()
    bench.top(6_000_001, 6_000_101)
    bench.step()
    assert len(bench.sent()) == 1


def test_blocked_account_stays_closed_although_everything_is_known(bench):
    bench.update(kind=words.RESYNC_END, flags=words.STILL_BLOCKED)
    bench.top(6_000_000, 6_000_100)
    bench.step()
    assert bench.sent() == []


def test_foreign_fill_moves_the_accounts_position_once_and_no_strategys(bench):
    """The gate's limits count what a person or the venue did on the account."""
    foreign = {"kind": words.FILL, "flags": words.FOREIGN, "trade_id": 9, "side": words.SELL}
    for _ in range(2):
        bench.update(**foreign, price=6_000_000, qty=7, fee=3, fee_currency=1)
    bad = [{"qty": 0}, {"trade_id": 0}, {"side": 0}, {"price": 0}, {"instrument": 9}]
    for k, wrong in enumerate(bad):
        bench.update(**{**foreign, "price": 6_000_000, "qty": 7, "trade_id": 20 + k, **wrong})
    bench.step()
    assert bench.ctx.account_positions[0, 0]["qty"] == -7
    assert not bench.ctx.positions["qty"].any()
    assert bench.ctx.counters[c.C_BAD_ROWS] == len(bad)


def test_a_folded_journal_equals_the_state_it_came_from(tmp_path):
    """Start-up is recovery: orders and positions come back bit for bit."""
    bench = Bench(tmp_path)
    for k in range(3):
        bench.top(6_000_000 + k, 6_000_100 + k)
        bench.step()
    ids = [int(row["order_id"]) for row in bench.sent()]
    bench.update(kind=words.ACK, order_id=ids[0], venue_order_id=1)
    bench.update(
        kind=words.FILL,
        order_id=ids[0],
        venue_order_id=1,
        trade_id=5,
        side=1,
        price=6_000_000,
        qty=1000,
    )
    bench.update(kind=words.AMBIGUOUS, order_id=ids[1])
    bench.step()
    orders, positions = bench.ctx.table.orders.copy(), bench.ctx.positions.copy()
    bench.close()
    again = Bench(tmp_path, epoch=2)
    told = fold(tmp_path / "journal", again.ctx, again.instruments)
    assert again.ctx.positions["qty"].tolist() == positions["qty"].tolist()
    assert again.ctx.positions["cost"].tolist() == positions["cost"].tolist()
    live = int(again.ctx.table.open_count[0, 0])
    assert live == 2
    names = ["order_id", "status", "leaves_qty", "filled_qty", "price"]
    for name in names:
        assert again.ctx.table.orders[0, :live][name].tolist() == orders[0, :live][name].tolist()
    assert sorted(int(row[0]["order_id"]) for row in told.live[0]) == ids[1:]
    again.close()


def test_fills_of_nobodys_order_are_folded_so_that_nobody_is_alarmed_again(tmp_path):
    bench = Bench(tmp_path)
    bench.top(6_000_000, 6_000_100)
    bench.step()
    foreign = {"kind": words.FILL, "side": -1, "price": 6_000_000, "qty": 7, "flags": words.FOREIGN}
    for trade_id in (10, 11):
        bench.update(**foreign, trade_id=trade_id, instrument=0)
    bench.step()
    bench.close()
    again = Bench(tmp_path, epoch=2)
    told = fold(tmp_path / "journal", again.ctx, again.instruments)
    assert {account: list(fills) for account, fills in told.foreign.items()} == {
        0: [(0, 10), (0, 11)]
    }
    again.close()


@pytest.mark.parametrize("last", [0, 1, 2, 3])
def test_what_waits_for_a_person_is_folded_from_the_accounts_last_news(tmp_path, last):
    bench = Bench(tmp_path)
    bench.update(kind=words.RESYNC_BEGIN, code=3)
    bench.update(kind=words.RESYNC_END, flags=words.STILL_BLOCKED, code=last)
    bench.step()
    bench.close()
    again = Bench(tmp_path, epoch=2)
    assert fold(tmp_path / "journal", again.ctx, again.instruments).closed == {0: last}
    again.close()


def test_a_limit_of_the_config_reaches_the_gate(tmp_path):
    """notional_max of the config denies by its name."""
    bench = Bench(tmp_path, risk=Risk(notional_max=Decimal(500), orders_per_s=1000))
    bench.top(6_000_000, 6_000_100)
    bench.step()
    assert bench.sent() == []
    assert bench.ctx.counters[c.C_DENIED_BY + words.DENY_NOTIONAL] == 1
    assert bench.state["updates"] == 0
    bench.step()
    assert (bench.state["updates"], bench.state["last_kind"]) == (1, words.REJECT)
    bench.close()


def test_fees_count_towards_the_drawdown_in_settle_money(bench):
    """A strategy that loses by fees alone loses."""
    bench.top(6_000_000, 6_000_100)
    bench.step()
    order_id = int(bench.sent()[0]["order_id"])
    usdt, btc = bench.instruments.currency("USDT"), bench.instruments.currency("BTC")
    bench.update(
        kind=words.FILL,
        order_id=order_id,
        trade_id=1,
        side=1,
        price=6_000_000,
        qty=500,
        fee=12_000_000,
        fee_currency=usdt,
    )
    bench.update(
        kind=words.FILL,
        order_id=order_id,
        trade_id=2,
        side=1,
        price=6_000_000,
        qty=500,
        fee=100,
        fee_currency=btc,
    )
    bench.step()
    assert bench.ctx.positions[0, 0]["fees"] == 12_000_000 + 100 * 60_000


def test_a_contract_that_ends_closes_its_positions_at_the_price(bench):
    """Told twice, it is settled once; other money that moves touches no position."""
    bench.top(6_000_000, 6_000_100)
    bench.step()
    order_id = int(bench.sent()[0]["order_id"])
    bench.update(kind=words.FILL, order_id=order_id, trade_id=1, side=1, price=6_000_000, qty=500)
    usdt, btc = bench.instruments.currency("USDT"), bench.instruments.currency("BTC")
    good = {"code": words.MONEY_SETTLEMENT, "trade_id": 2, "fee_currency": usdt, "price": 6_200_000}
    for wrong in (
        {"code": words.MONEY_GAS}, {"trade_id": 0}, {"instrument": 9}, {"price": -1},
        {"fee_currency": btc}, {"instrument": 1},
    ):  # fmt: skip
        bench.update(kind=words.MONEY_MOVED, **{**good, **wrong})
    bench.step()
    assert bench.ctx.positions[0, 0]["qty"] == 500
    for _ in range(2):
        bench.update(kind=words.MONEY_MOVED, **good)
    bench.step()
    for row in (bench.ctx.positions[0, 0], bench.ctx.account_positions[0, 0]):
        assert (row["qty"], row["cost"], row["realized"]) == (0, 0, 10 * 10**8)
        assert (row["bought"], row["sold"]) == (500, 500)
    assert bench.ctx.counters[c.C_OVERFLOWS] == 0
    assert bench.ctx.counters[c.C_UPDATES] == 9


AMENDER = (
    Path(__file__).with_name("quoter.py").read_text()
    .replace("BUY, CANCEL,", "AMEND, BUY, CANCEL,")
    .replace("    return 1\n", """\
    if view.open_count[0] > 0:
        intents[0]["op"], intents[0]["target_order_id"] = AMEND, view.orders[0]["order_id"]
        intents[0]["qty"] = 3000
    return 1
""")
)  # fmt: skip


def test_an_order_counts_with_the_larger_quantity_until_its_amend_is_answered(tmp_path):
    (tmp_path / "amender.py").write_text(AMENDER)
    bench = Bench(tmp_path, use=str(tmp_path / "amender.py"))
    for k in range(3):
        bench.top(6_000_000 + k, 6_000_100 + k)
        bench.step()
        if k == 0:
            (placed,) = bench.sent()
            bench.update(kind=words.ACK, order_id=placed["order_id"], venue_order_id=1)
            bench.step()
    (amended,) = bench.sent()  # once: the second would race the first
    assert (amended["op"], amended["target_order_id"]) == (words.AMEND, placed["order_id"])
    assert amended["verdict"] == words.PASS
    assert int(bench.ctx.counters[c.C_DENIED_BY + words.DENY_UNKNOWN_ORDER]) == 1
    names = ["order_id", "status", "qty", "leaves_qty"]
    live = bench.ctx.table.orders[0, 0]
    told = [int(live[name]) for name in names]
    assert told == [int(placed["order_id"]), words.PENDING_REPLACE, 1000, 3000]
    bench.close()
    again = Bench(tmp_path, epoch=2, use=str(tmp_path / "amender.py"))
    fold(tmp_path / "journal", again.ctx, again.instruments)
    assert [int(again.ctx.table.orders[0, 0][name]) for name in names] == told
    row = {"order_id": placed["order_id"], "venue_order_id": 1, "reason": words.REASON_OTHER}
    again.update(kind=words.CANCEL_REJECT, **row)
    again.step()
    assert int(again.ctx.table.orders[0, 0]["leaves_qty"]) == 1000
    assert int(again.state["last_kind"]) == words.CANCEL_REJECT, "the strategy heard of it"
    again.close()
