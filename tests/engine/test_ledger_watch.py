"""The run-time check of the books: quiet when all is well, and a halt for everything else."""

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.clock import ManualClock
from alephtx.core.records import UPDATE
from alephtx.engine import context as c
from alephtx.engine.ledger_watch import (
    ALARMS_MAX,
    PATIENCE,
    PROFIT_EVERY_NS,
    WALLET_PATIENCE,
    LedgerWatch,
    row_difference,
)
from alephtx.engine.recovery import fold
from alephtx.ledger.book import Ledger
from alephtx.ledger.cost import Position
from alephtx.ledger.two_sources import ACCOUNTING, FINE, STOP, UNKNOWN
from alephtx.matrix import journal
from alephtx.matrix.journal import tail
from tests.engine.bench import Bench

BID, ASK = 6_000_000, 6_000_100
USDT = 10**8


class Watched:
    """An engine on a table, with its ledger kept as the session keeps it."""

    def __init__(self, folder, **options):
        self.bench = Bench(folder, **options)
        self.ctx = self.bench.ctx
        self.alarms = []
        self.ledger = Ledger(self.bench.instruments)
        self.clock = ManualClock()
        self.watch = LedgerWatch(
            self.ledger, self.ctx, self.clock, self.bench.command, self.alarms.append
        )
        self.tail = tail(folder / "journal")
        self.watch.recover(self.tail.poll())
        self.trades = 0

    def trade(self, side=words.BUY, price=BID, qty=400, fee=USDT, **fields):
        """Place an order by a top, and fill some of it."""
        self.bench.top(BID, ASK)
        self.bench.step()
        sent = self.bench.sent()
        if sent:
            self.order_id = int(sent[0]["order_id"])
        self.trades += 1
        self.bench.update(
            kind=words.FILL, order_id=self.order_id, trade_id=self.trades, side=side,
            price=price, qty=qty, fee=fee, fee_currency=self.bench.instruments.currency("USDT"),
            **fields,
        )  # fmt: skip
        self.bench.step()

    def look(self, times=PATIENCE):
        for _ in range(times):
            self.watch.follow(self.tail.poll())

    def judge(self):
        """Look when the profits are due."""
        self.clock.advance(PROFIT_EVERY_NS)
        self.look()

    @property
    def halted(self):
        self.bench.step()
        return bool(self.ctx.control[c.X_HALTED])


@pytest.fixture
def watched(tmp_path):
    made = Watched(tmp_path)
    yield made
    made.tail.close()
    made.bench.close()


def test_right_books_raise_no_alarm(watched):
    for k in range(5):
        watched.trade(price=BID + k, qty=100 + k)
        watched.judge()
    assert watched.ledger.position(0, 0) == watched.ctx.positions[0, 0]["qty"] == 510
    assert watched.watch.compared == 5
    assert (watched.alarms, watched.watch.troubles, watched.halted) == ([], {}, False)
    assert watched.watch.verdicts == [FINE]


@pytest.mark.parametrize(
    ("field", "said"),
    [("qty", "qty is"), ("cost", "cost is"), ("realized", "realized is"), ("carry", "carry is"),
     ("bought", "bought is"), ("sold", "sold is"), ("fills", "fills is"), ("fees", "fees is")],
)  # fmt: skip
@pytest.mark.parametrize("rows", ["positions", "account_positions"])
def test_kernel_that_differs_by_one_halts(watched, rows, field, said):
    watched.look(1)
    watched.trade()
    getattr(watched.ctx, rows)[0, 0][field] += 1
    watched.look(PATIENCE - 1)
    assert watched.alarms == [], "once may be a moment"
    watched.look(1)
    assert said in watched.alarms[0]
    assert "in alpha:BTC-USDT" in watched.alarms[0]
    assert watched.halted
    assert not watched.watch.may_flatten(0)


def test_halt_is_asked_for_until_the_cause_is_gone(watched):
    watched.look(1)
    watched.trade()
    watched.ctx.positions[0, 0]["qty"] += 1
    watched.look()
    assert watched.halted
    watched.bench.command(c.COMMAND_RESUME)
    assert not watched.halted
    watched.look(1)
    assert watched.halted
    watched.ctx.positions[0, 0]["qty"] -= 1
    watched.look(1)
    assert watched.watch.troubles == {}
    watched.bench.command(c.COMMAND_RESUME)
    watched.judge()
    assert not watched.halted
    assert len(watched.alarms) == 1


def test_fill_the_kernel_never_saw_halts(watched):
    """A record that only the journal has: the ledger books it, the compiled rows do not."""
    watched.look(1)
    watched.trade()
    row = np.zeros(1, UPDATE)
    row["kind"], row["trade_id"], row["side"] = words.FILL, 99, words.BUY
    row["price"], row["qty"], row["order_id"] = BID, 7, watched.order_id
    watched.bench.journal.append(journal.UPDATE, row.tobytes(), ts=1)
    watched.watch._followed -= 1  # as if the loop had counted it
    watched.look()
    assert "position of strategy 0" in watched.alarms[0]
    assert "position of account 0" in watched.alarms[1]
    assert watched.halted


def test_no_comparison_while_the_loop_is_ahead(watched):
    """What was journaled and not applied yet, or the reverse, is no difference."""
    watched.trade()
    watched.look()
    compared = watched.watch.compared
    watched.ctx.positions[0, 0]["qty"] += 1
    watched.ctx.control[c.X_UPDATE_COUNT] += 1
    watched.judge()
    assert (watched.watch.compared, watched.alarms) == (compared, [])


def test_update_between_two_readings_of_the_count_is_no_comparison(watched, monkeypatch):
    watched.trade()
    answers = iter([True, False])
    monkeypatch.setattr(watched.watch, "_still", lambda: next(answers))
    watched.look(1)
    assert watched.watch.compared == 0


def test_record_that_cannot_be_booked_halts_and_the_rest_is_booked(watched):
    watched.bench.journal.append(journal.BALANCES, b"{", ts=1)
    watched.trade()
    watched.look()
    assert "a BALANCES record does not parse" in watched.alarms[0]
    assert watched.ledger.position(0, 0) == 400
    assert watched.halted
    watched.judge()
    assert watched.watch.troubles, "it stands until the journal is folded anew"


def test_identity_that_is_broken_names_the_event_and_both_sides(watched):
    watched.trade()
    watched.look()
    watched.ledger.accounts[0, 0].flow += 5
    watched.trade(qty=1)
    watched.look()
    said = watched.alarms[0]
    assert "gain = cost - flow (account 0, alpha:BTC-USDT) does not hold after record" in said
    assert "0 is not -5" in said
    assert watched.halted


def test_alarms_are_not_repeated_without_end(watched):
    for _ in range(2 * ALARMS_MAX):
        watched.bench.journal.append(journal.BALANCES, b"{", ts=1)
    watched.look()
    assert len(watched.alarms) == ALARMS_MAX
    assert len(watched.watch.troubles) == 2 * ALARMS_MAX


def test_loss_that_both_see_latches_the_strategy_and_may_be_flattened(watched):
    watched.trade(fee=100 * USDT)
    watched.ctx.gate.drawdown_max[0] = 99 * USDT
    watched.look(1)
    assert watched.watch.verdicts == [STOP]
    assert watched.ctx.gate.latched[0] == 1
    assert watched.watch.may_flatten(0)
    assert (watched.alarms, watched.halted) == ([], False)
    watched.judge()
    assert watched.watch.verdicts == [STOP]


@pytest.mark.parametrize("loss", [200 * USDT, -200 * USDT])
def test_loss_or_gain_that_only_one_sees_halts_and_sells_nothing(watched, loss):
    """Fees of the kernel are bent before the positions were ever compared."""
    watched.trade(fee=100 * USDT)
    watched.ctx.gate.drawdown_max[0] = 150 * USDT
    watched.ctx.positions[0, 0]["fees"] += loss
    watched.look(1)
    assert watched.watch.verdicts == [ACCOUNTING]
    assert watched.ctx.gate.latched[0] == 0
    assert not watched.watch.may_flatten(0)
    assert "profit of strategy 0" in watched.alarms[0]
    assert watched.halted
    watched.ctx.positions[0, 0]["fees"] -= loss
    watched.judge()
    assert watched.watch.troubles == {}


def test_account_whose_wallet_tells_another_story_halts(watched):
    """Not at once: a fill that the venue counts may still be on its way to us."""
    watched.trade(realized=5 * USDT)
    for _ in range(WALLET_PATIENCE - 1):
        watched.judge()
    assert watched.watch.verdicts == [FINE]
    assert watched.alarms == []
    watched.judge()
    assert "profit of account 0" in watched.alarms[0]
    assert watched.halted


def test_trade_of_somebody_else_is_no_accounting_error(watched):
    """It is the account's and no strategy's: what a person did by hand must not halt for ever."""
    watched.trade(qty=100)
    watched.bench.update(
        kind=words.FILL, order_id=0, flags=words.FOREIGN, trade_id=77, side=words.BUY, price=BID,
        qty=30, fee=USDT, fee_currency=watched.bench.instruments.currency("USDT"),
    )  # fmt: skip
    watched.bench.step()
    for _ in range(WALLET_PATIENCE):
        watched.judge()
    assert watched.ledger.position(0, 0) == 130
    assert (watched.alarms, watched.watch.troubles, watched.halted) == ([], {}, False)


def test_profit_without_a_price_is_unknown_and_no_error(watched):
    watched.trade()
    watched.ctx.top[0]["bid_qty"] = 0
    watched.look(1)
    assert watched.watch.verdicts == [UNKNOWN]
    assert (watched.alarms, watched.halted) == ([], False)


def test_fills_of_a_strategy_that_is_no_more_are_named(watched):
    """The journal remembers a strategy that this config does not have, and that still holds."""
    watched.trade()
    watched.look()
    watched.ledger.strategies[1, 0, 0] = Position(qty=5, bought=5)
    watched.ledger.strategies[0, 7, 0] = Position()
    watched.ledger.accounts[8, 0] = Position()
    watched.ledger.accounts[9, 0] = Position(qty=3, bought=3)
    watched.watch._compared_at = -1
    watched.look()
    said = [alarm.partition(": ")[2] for alarm in watched.alarms]
    assert said == [
        "position of strategy 0 in alpha:BTC-USDT: 5 lots on account 1",
        "position of account 9 in alpha:BTC-USDT: 3 lots, and it is not in the config",
    ]


def test_recovered_engine_agrees_with_its_recovered_ledger(tmp_path):
    first = Watched(tmp_path)
    first.trade()
    first.trade(price=BID + 500, qty=150)
    first.bench.update(
        kind=words.MONEY_MOVED, code=words.MONEY_SETTLEMENT, trade_id=5, price=BID + 100,
        realized=-200_000, fee_currency=first.bench.instruments.currency("USDT"),
    )  # fmt: skip
    first.bench.step()
    first.look()
    assert (first.alarms, first.ledger.position(0, 0)) == ([], 0)
    first.tail.close()
    first.bench.close()
    again = Watched(tmp_path, epoch=2)
    fold(tmp_path / "journal", again.ctx, again.bench.instruments)
    again.look()
    assert (again.alarms, again.watch.compared) == ([], 1)
    assert again.ledger.to_json() == first.ledger.to_json()
    again.tail.close()
    again.bench.close()


def test_inverse_rows_have_no_carry():
    instruments = np.zeros(1, [("contract", "u1"), ("money_mul", "i8"), ("money_div", "i8")])
    instruments["contract"], instruments["money_div"] = words.INVERSE, 1
    row = dict.fromkeys(("qty", "cost", "carry", "bought", "sold", "fills", "fees"), 0)
    assert row_difference({**row, "realized": -7}, Position(gain=-7), instruments[0]) == ""
    assert "realized is 0" in row_difference(
        {**row, "realized": 0}, Position(gain=-7), instruments[0]
    )
