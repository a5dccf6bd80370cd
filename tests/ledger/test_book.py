"""The ledger by hand, against the kernel, against a naive wallet, and under hostile rows."""

import random
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.errors import AccountingError, LedgerMismatch
from alephtx.core.ports import Balance, Holding
from alephtx.core.records import INTENT
from alephtx.engine.ledger_watch import row_difference
from alephtx.ledger.book import Ledger
from alephtx.ledger.cost import Position, money
from alephtx.ledger.double_entry import CASH, DoubleEntry, Posting
from alephtx.ledger.positions import position_fill
from alephtx.matrix import journal
from alephtx.matrix.journal import read
from tests.ledger.worlds import (
    DAY,
    FINE,
    INSTRUMENTS,
    INVERSE,
    LINEAR,
    MONEY,
    ODD,
    SPOT,
    STEPS,
    blank_position,
    fill,
    opened,
    row_of,
    update,
)
from tests.matrix.journals import open_journal

D = Decimal


@pytest.mark.smoke
def test_spot_fills_move_base_quote_and_fees():
    """Buy 0.5 BTC at 20000 (fee 0.0005 BTC), sell 0.2 at 21000 (fee 4.2 USDT)."""
    ledger = opened(("USDT", "50000"), ("BTC", "1"))
    assert ledger.apply_fill(fill(SPOT, 1, 2_000_000, 50_000, 1, fee="0.0005", currency="BTC"))
    assert ledger.apply_fill(fill(SPOT, -1, 2_100_000, 20_000, 2, fee="4.2"))
    assert ledger.balance(0, "BTC") == D("1.2995")
    assert ledger.balance(0, "USDT") == D("44195.8")
    assert ledger.position(0, SPOT) == 30_000
    assert ledger.realized() == {"USDT": D(200)}
    assert ledger.venue_realized(0) == {"USDT": D(200)}
    assert ledger.fees() == {"BTC": D("0.0005"), "USDT": D("4.2")}
    assert ledger.unrealized({SPOT: D("20500")}) == {"USDT": D(150)}
    assert ledger.unrealized({}) == {}
    assert ledger.realized_by_currency() == {"USDT": D(200)}
    assert ledger.unrealized_by_currency({SPOT: D("20500")}) == {"USDT": D(150)}
    ledger.check()


@pytest.mark.smoke
def test_linear_wallet_moves_by_what_the_venue_states():
    """The venue rounds its own way; our own P&L is kept beside it."""
    ledger = opened(("USDT", "1000"))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 2_000, 1, fee="0.08"))
    ledger.apply_fill(fill(LINEAR, -1, 11_000, 500, 2, fee="0.022", realized="4.99999999"))
    assert ledger.balance(0, "USDT") == D("1004.89799999")
    assert ledger.venue_realized() == {"USDT": D("4.99999999")}
    assert ledger.realized() == ledger.realized(method="fifo") == {"USDT": D(5)}
    assert ledger.position(0, LINEAR) == 1_500
    assert ledger.unrealized({LINEAR: D("99.5")}) == {"USDT": D("-0.75")}
    assert ledger.balances(0) == {"USDT": D("1004.89799999")}
    ledger.check()


def test_inverse_wallet_and_profit_are_in_the_coin():
    ledger = opened(("BTC", "2"))
    ledger.apply_fill(fill(INVERSE, 1, 200_000, 10, 1, fee="0.00002", currency="BTC"))
    ledger.apply_fill(
        fill(INVERSE, -1, 250_000, 10, 2, fee="0.000016", currency="BTC", realized="0.01")
    )
    assert ledger.balance(0, "BTC") == D("2.009964")
    assert ledger.realized() == {"BTC": D("0.01")}
    ledger.apply_fill(fill(INVERSE, -1, 250_000, 4, 3))
    assert ledger.unrealized({INVERSE: D(20000)}) == {"BTC": D("0.004")}
    assert ledger.unrealized({INVERSE: D(50000)}) == {"BTC": D("-0.008")}


def test_fifo_and_average_differ_as_by_hand():
    """Buy 1 at 100, 1 at 120; sell 1 at 130: FIFO earns 30, average cost 20; flat, both 40."""
    ledger = opened()
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 1))
    ledger.apply_fill(fill(LINEAR, 1, 12_000, 1_000, 2))
    ledger.apply_fill(fill(LINEAR, -1, 13_000, 1_000, 3))
    assert ledger.realized(method="fifo") == {"USDT": D(30)}
    assert ledger.realized(method="average") == {"USDT": D(20)}
    ledger.check()
    ledger.apply_fill(fill(LINEAR, -1, 13_000, 1_000, 4))
    assert ledger.realized(method="fifo") == ledger.realized() == {"USDT": D(40)}
    ledger.check()


def test_funding_moves_the_wallet_once():
    ledger = opened(("USDT", "100"), ("BTC", "1"))
    paid = update(words.FUNDING_PAID, instrument=LINEAR, realized=-150_000_000, ts_event=DAY)
    assert ledger.apply_funding(paid)
    assert not ledger.apply_funding(paid)
    later = update(words.FUNDING_PAID, instrument=LINEAR, realized=50_000_000, ts_event=2 * DAY)
    assert ledger.apply_funding(later)
    coin = update(words.FUNDING_PAID, instrument=INVERSE, realized=7, trade_id=5)
    assert ledger.apply_update(coin)
    assert ledger.balance(0, "USDT") == D(99)
    assert ledger.balance(0, "BTC") == D("1.00000007")
    assert ledger.funding() == {"USDT": D(-1), "BTC": D("0.00000007")}
    assert ledger.duplicates == 1


def test_strategies_are_told_apart_and_sum_to_the_account():
    ledger = opened()
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 1, strategy=1, fee="1"))
    ledger.apply_fill(fill(LINEAR, -1, 11_000, 1_000, 2, strategy=2, fee="2"))
    assert ledger.position(0, LINEAR) == 0
    assert ledger.realized() == {"USDT": D(10)}
    assert ledger.realized(strategy=1) == ledger.realized(strategy=2) == {"USDT": D(0)}
    marks = {LINEAR: D(105)}
    assert ledger.unrealized(marks, strategy=1) == ledger.unrealized(marks, strategy=2)
    assert ledger.unrealized(marks, strategy=1) == {"USDT": D(5)}
    assert ledger.fees(strategy=2) == {"USDT": D(2)}
    assert ledger.realized(1) == ledger.realized(0, instrument=SPOT) == {}
    assert ledger.realized(strategy=3) == ledger.realized(strategy=1, instrument=SPOT) == {}
    assert ledger.unrealized(marks, 1) == ledger.unrealized(marks, instrument=SPOT) == {}
    ledger.check()


def test_opening_positions_count_and_later_balances_adjust():
    held = [Holding(LINEAR, -2_000, D("100.005")), Holding(INVERSE, 10, D(20000))]
    ledger = opened(("USDT", "10"), holdings=[*held, Holding(ODD, 0, D(0))])
    assert ledger.position(0, LINEAR) == -2_000
    assert ledger.unrealized({LINEAR: D(99), INVERSE: D(25000)}) == {
        "USDT": D("2.01"),
        "BTC": D("0.01"),
    }
    ledger.apply_fill(fill(LINEAR, 1, 9_900, 3_000, 1))
    assert ledger.realized()["USDT"] == D("2.01")
    assert ledger.position(0, LINEAR) == 1_000
    ledger.check()
    ledger.open_balances(0, [Balance("USDT", D(15), D(15))], held)
    assert ledger.balance(0, "USDT") == D(15)
    assert ledger.position(0, LINEAR) == 1_000
    assert ledger.entries.totals("adjusted") == {"USDT": D(-5)}
    ledger.check()


def test_doubled_fills_change_nothing():
    ledger = opened(("USDT", "1"))
    row = fill(LINEAR, 1, 10_000, 5, 9, fee="0.1")
    assert ledger.apply_update(row[0])
    before = ledger.to_json()
    assert not ledger.apply_update(row)
    assert ledger.duplicates == 1
    ledger.duplicates = 0
    assert ledger.to_json() == before
    assert ledger.apply_update(row, 1), "the same trade id on another account is another fill"
    assert ledger.apply_fill(fill(SPOT, 1, 10_000, 5, 9)), "or on another instrument"


@pytest.mark.parametrize(
    "bad", [{"side": 0}, {"side": 3}, {"qty": 0}, {"qty": -1}, {"price": 0}, {"trade_id": 0}]
)
def test_fill_that_makes_no_sense_is_counted_and_refused(bad):
    ledger = opened()
    row = fill(LINEAR, 1, 10_000, 5, 9)
    for name, value in bad.items():
        row[name] = value
    before = ledger.to_json()
    assert not ledger.apply_fill(row)
    assert ledger.invalid == 1
    ledger.invalid = 0
    assert ledger.to_json() == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"instrument": 99}, "instrument 99 is not in the table of 5"),
        ({"fee": 5, "fee_currency": 0}, "currency 0"),
        ({"fee": 5, "fee_currency": 77}, "currency 77"),
    ],
)
def test_fill_that_names_the_unknown_stops_the_fold(fields, message):
    ledger = opened()
    row = fill(LINEAR, 1, 10_000, 5, 9)
    for name, value in fields.items():
        row[name] = value
    before = ledger.to_json()
    with pytest.raises(LedgerMismatch, match=message):
        ledger.apply_fill(row)
    assert ledger.to_json() == before
    with pytest.raises(LedgerMismatch, match="instrument 99"):
        ledger.apply_funding(update(words.FUNDING_PAID, instrument=99))


@pytest.mark.parametrize(("flags", "owner"), [(0, 2), (words.FOREIGN, -1), (0xFFFF, -1)])
def test_foreign_fill_is_nobodys(flags, owner):
    others = 0xFFFF & ~words.FOREIGN
    for more in (0, others):
        ledger = opened(("USDT", "1000"))
        ledger.apply_fill(fill(LINEAR, 1, 10_000, 5, 1, strategy=2, flags=flags | more))
        assert [who for _, who, _ in ledger.strategies] == [owner]


def test_updates_that_move_no_money_are_passed_over():
    ledger = opened()
    for kind in (words.SENT, words.ACK, words.REJECT, words.ORDER_STATE, words.RESYNC_BEGIN, 200):
        assert not ledger.apply_update(update(kind, instrument=99, realized=5))
    assert ledger.balances(0) == {}


@settings(max_examples=100)
@given(STEPS, st.randoms(use_true_random=False))
def test_ledger_and_kernel_agree_to_the_unit(steps, rng):
    """Two layers of account, held equal: per account and per strategy, whatever is doubled."""
    ledger = opened()
    kernel, out = {}, np.zeros(1, np.int64)
    for trade_id, (i, side, price, qty, account, strategy, cents) in enumerate(steps, 1):
        row = fill(
            i, side, price, qty, trade_id,
            account=account, strategy=strategy, fee=str(MONEY * cents), currency="BTC",
        )  # fmt: skip
        for _ in range(rng.choice([1, 1, 2])):
            ledger.apply_update(row)
        for key in ((account, i), (account, strategy, i)):
            position = kernel.setdefault(key, blank_position())
            assert position_fill(position, row_of(i), side, price, qty, out) == 0
    ledger.check()
    books = {**ledger.accounts, **ledger.strategies}
    assert books.keys() == kernel.keys()
    for key, position in kernel.items():
        row, book, instrument = position[0], books[key], INSTRUMENTS[key[-1]]
        assert (row["qty"], row["cost"], row["fills"]) == (book.qty, book.cost, book.fills)
        assert row["realized"] == money(instrument, book.gain) // MONEY - (
            money(instrument, book.gain) < 0 and bool(money(instrument, book.gain) % MONEY)
        )
    for account in (0, 1):
        for i in range(len(INSTRUMENTS)):
            key = (account, i)
            assert ledger.position(*key) == (kernel[key][0]["qty"] if key in kernel else 0)


EDGES = st.one_of(
    st.integers(1, 9),
    st.integers(1, 1 << 24),
    st.sampled_from([1 << k for k in range(0, 62, 5)] + [(1 << k) - 1 for k in range(1, 62, 5)]),
)


@pytest.mark.kernel
@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([SPOT, LINEAR, INVERSE, FINE, ODD]),
            st.sampled_from([1, -1]), EDGES, EDGES, st.booleans(),
        ),
        max_size=25,
    )
)  # fmt: skip
def test_kernel_and_ledger_agree_from_dust_to_the_largest_size(steps):
    """What the kernel refuses for want of bits is not booked; what it takes is equal, carry too.

    The last item of a step: close the whole position with it, so that flips and flats are common.
    """
    ledger, kernel, out = opened(), {}, np.zeros(1, np.int64)
    for trade_id, (i, drawn, price, size, whole) in enumerate(steps, 1):
        position = kernel.setdefault(i, blank_position())
        held = int(position[0]["qty"])
        closing = whole and held != 0
        side = (-1 if held > 0 else 1) if closing else drawn
        qty = abs(held) if closing else size
        if position_fill(position, row_of(i), side, price, qty, out) == 0:
            assert ledger.apply_update(fill(i, side, price, qty, trade_id))
    for i, position in kernel.items():
        book = ledger.accounts.get((0, i), Position())
        assert row_difference(position[0], book, row_of(i)[0]) == ""
    ledger.check()


@settings(max_examples=60)
@given(STEPS)
def test_ledger_agrees_with_a_naive_wallet(steps):
    """Cash as a child would count it, in fractions of nothing but Decimal sums."""
    ledger = opened(("USDT", "1000000"), ("BTC", "1000"))
    cash = {"USDT": D(1_000_000), "BTC": D(1000)}
    for trade_id, (i, side, price, qty, _, strategy, cents) in enumerate(steps, 1):
        instrument = INSTRUMENTS[i]
        realized = MONEY * (cents * 3) if i != SPOT else D(0)
        ledger.apply_update(
            fill(
                i, side, price, qty, trade_id,
                strategy=strategy, fee=str(MONEY * cents), realized=str(realized),
            )
        )  # fmt: skip
        cash["USDT"] -= MONEY * cents
        if i == SPOT:
            cash["BTC"] += side * D(qty) / 100_000
            cash["USDT"] -= side * D(price) / 100 * D(qty) / 100_000
        else:
            cash[instrument.settle] += realized
    ledger.check()
    assert ledger.balances(0) == {c: amount for c, amount in cash.items() if amount}
    rows = [Balance(c, amount, D(0)) for c, amount in cash.items()]
    holdings = [Holding(i, ledger.position(0, i), D(1)) for i in (LINEAR, INVERSE, FINE, ODD)]
    assert ledger.compare(0, rows, holdings) == []
    for day in ledger.statement(0):
        assert day.closing == ledger.balance(0, day.currency)


def test_compare_names_every_difference_to_the_last_unit():
    ledger = opened(("USDT", "10"), ("BTC", "1"))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 1))
    ledger.apply_fill(fill(SPOT, 1, 100, 1, 2))
    balances = [
        Balance("USDT", D("5"), D(0)),
        Balance("USDT", D("4.99999"), D(0)),
        Balance("BTC", D("1.00001001"), D(0)),
        Balance("BNB", D("0"), D(0)),
        Balance("ETH", D("3"), D(0)),
    ]
    holdings = [Holding(LINEAR, 1_500, D(1)), Holding(LINEAR, -501, D(1)), Holding(88, 2, D(1))]
    found = ledger.compare(0, balances, holdings)
    assert [str(difference) for difference in found] == [
        "BTC: ours 1.00001, venue 1.00001001, difference 0.00000001",
        "ETH: ours 0, venue 3, difference 3",
        "v:BTC-USDT-PERP: ours 1.000, venue 0.999, difference -0.001",
        "instrument 88: ours 0, venue 2, difference 2",
    ]
    for i in (-1, len(INSTRUMENTS)):
        odd = ledger.compare(0, balances, [Holding(i, 2, D(1))])
        assert f"instrument {i}: ours 0, venue 2, difference 2" in map(str, odd)
    balances[2] = Balance("BTC", D("1.00001"), D(0))
    assert ledger.compare(0, balances[:4], [Holding(LINEAR, 1_000, D(1))]) == []
    first = [*balances[:4]], [Holding(LINEAR, 1_000, D(1)), Holding(SPOT, 1, D(1))]
    assert [d.what for d in ledger.compare(0, *first)] == ["v:BTC-USDT"]
    assert [d.what for d in ledger.compare(0, [], [])] == ["BTC", "USDT", "v:BTC-USDT-PERP"]


def test_day_statement_sums_up_what_moved():
    ledger = Ledger(INSTRUMENTS)
    ledger.open_balances(0, [Balance("USDT", D(1000), D(1000))], ts=10 * DAY)
    ledger.apply_fill(fill(SPOT, 1, 10_000, 100_000, 1, fee="0.1", ts_event=10 * DAY + 5))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 2, realized="3", ts_recv=12 * DAY))
    ledger.apply_funding(
        update(words.FUNDING_PAID, instrument=LINEAR, realized=-(10**8), ts_event=12 * DAY + 1)
    )
    ledger.open_balances(3, [Balance("USDT", D(5), D(5))], ts=11 * DAY)
    rows = ledger.statement()
    assert [(r.day, r.account, r.currency) for r in rows] == [
        ("1970-01-11", 0, "BTC"),
        ("1970-01-11", 0, "USDT"),
        ("1970-01-12", 3, "USDT"),
        ("1970-01-13", 0, "USDT"),
    ]
    first, last = rows[1], rows[3]
    assert (first.opening, first.deposited, first.traded, first.fees, first.closing) == (
        D(0), D(1000), D(-100), D("-0.1"), D("899.9"),
    )  # fmt: skip
    assert (last.opening, last.realized, last.funding, last.closing) == (
        D("899.9"), D(3), D(-1), D("901.9"),
    )  # fmt: skip
    assert len(ledger.statement(3)) == 1


@pytest.mark.smoke
def test_journal_is_folded_into_the_same_ledger(tmp_path):
    """The real journal in between: intents tell the strategy, balances open, fills move."""
    intent = np.zeros(1, INTENT)
    intent["order_id"], intent["op"], intent["strategy"] = 77, words.PLACE, 4
    denied = intent.copy()
    denied["order_id"], denied["strategy"], denied["verdict"] = 78, 5, words.DENY_SIZE
    balances = {
        "account": 1,
        "balances": [{"currency": "USDT", "total": "100.5"}],
        "holdings": [{"instrument": LINEAR, "qty": 3, "entry_price": "10.0"}],
    }
    one = fill(LINEAR, 1, 10_000, 1_000, 1, account=1, order_id=77, fee="0.5")
    two = fill(LINEAR, 1, 10_000, 1_000, 2, account=1, order_id=78, strategy=2)
    with open_journal(tmp_path) as writer:
        writer.append(journal.NOTE, b"hello", ts=1)
        writer.append(journal.BALANCES, msgspec.json.encode(balances), ts=2)
        writer.append(journal.INTENT, intent.tobytes() + denied.tobytes(), ts=3)
        writer.append(journal.UPDATE, one.tobytes() + two.tobytes(), ts=4)
    ledger = Ledger(INSTRUMENTS)
    assert ledger.fold(read(tmp_path)) == 4
    assert ledger.position(1, LINEAR) == 2_003
    assert ledger.balance(1, "USDT") == D(100)
    assert ledger.fees(strategy=4) == {"USDT": D("0.5")}
    assert ledger.strategies[1, 2, LINEAR].qty == ledger.strategies[1, 4, LINEAR].qty == 1_000
    ledger.check()
    before = ledger.to_json()
    with open_journal(tmp_path) as writer:
        writer.append(journal.UPDATE, one.tobytes(), ts=4)
    assert ledger.fold(read(tmp_path, 4)) == 1
    assert (ledger.seq, ledger.duplicates) == (5, 1)
    ledger.seq, ledger.duplicates = 4, 0
    assert ledger.to_json() == before


@pytest.mark.parametrize(
    ("kind", "payload", "message"),
    [
        (journal.UPDATE, b"x" * 159, "no whole rows of 160"),
        (journal.INTENT, b"x", "no whole rows of 128"),
        (journal.BALANCES, b"{", "does not parse"),
        (journal.BALANCES, b"\xff", "does not parse"),
        (journal.BALANCES, b'{"account": 1, "balances": [{"currency": "A", "total": 1.5}]}', "x"),
    ],
)
def test_records_of_another_form_are_refused(tmp_path, kind, payload, message):
    with open_journal(tmp_path) as writer:
        writer.append(kind, payload, ts=1)
    ledger = Ledger(INSTRUMENTS)
    if message == "x":  # a bare number is read exactly, from its text
        ledger.fold(read(tmp_path))
        assert ledger.balance(1, "A") == D("1.5")
        return
    with pytest.raises(LedgerMismatch, match=message):
        ledger.fold(read(tmp_path))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("qty", 7, "FIFO holds"),
        ("bought", 7, "bought 7 less sold"),
        ("cost", 3, ""),
    ],
)
def test_check_notices_a_book_that_was_bent(name, value, message):
    ledger = opened()
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 1))
    ledger.apply_fill(fill(LINEAR, -1, 10_000, 1_000, 2))
    position = ledger.accounts[0, LINEAR]
    assert position.fifo_cost == position.cost == 0
    setattr(position, name, value)
    with pytest.raises(LedgerMismatch, match=message or "a cost of 3 without a position"):
        ledger.check()


def test_check_notices_gains_and_strategies_that_disagree():
    ledger = opened()
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 1))
    ledger.strategies.clear()
    with pytest.raises(LedgerMismatch, match="1000 lots, but its strategies hold 0"):
        ledger.check()
    ledger.apply_fill(fill(LINEAR, -1, 10_000, 1_000, 2))
    ledger.accounts[0, LINEAR].gain = 5
    with pytest.raises(LedgerMismatch, match="gained 5 at average cost and 0 by FIFO"):
        ledger.check()


@pytest.mark.parametrize("off", ["0.5", "-0.5"])
def test_wallet_that_holds_more_or_less_than_was_stated_is_caught(off):
    ledger = opened(("USDT", "10"))
    ledger.days.closing[0, "USDT"] += D(off)
    with pytest.raises(AccountingError, match="opening and movements of USDT"):
        ledger.apply_fill(fill(LINEAR, 1, 10_000, 5, 1, fee="0.1"))


def test_postings_that_do_not_balance_are_refused_whole():
    books = DoubleEntry()
    with pytest.raises(AccountingError, match="postings of A = 0"):
        books.post([Posting(0, CASH, "A", D(1)), Posting(0, "fees", "B", D(-1))])
    assert books.balances == {}
    books.balances[0, CASH, "A"] = D(1)
    with pytest.raises(LedgerMismatch, match="the books do not sum to zero"):
        books.check()


def test_large_amounts_lose_no_digit():
    """Nineteen digits of lots x nineteen of ticks: far beyond the default context."""
    ledger = opened()
    price, qty = 4_000_000_000_000_000_001, 3_999_999_999_999_999_999
    ledger.apply_fill(fill(SPOT, 1, price, qty, 1))
    assert str(ledger.balance(0, "USDT")).replace(".", "") == f"-{price * qty}"
    ledger.check()


def test_long_random_life_stays_balanced():
    rng = random.Random(5)
    ledger = opened(("USDT", "1000"))
    for trade_id in range(1, 400):
        i = rng.choice([SPOT, LINEAR, INVERSE, FINE, ODD])
        row = fill(
            i, rng.choice([1, -1]), rng.randint(1, 10**6), rng.randint(1, 10**5), trade_id,
            fee=str(MONEY * rng.randint(-99, 99)), realized=str(MONEY * rng.randint(-9, 9)),
        )  # fmt: skip
        ledger.apply_update(row)
    ledger.check()
