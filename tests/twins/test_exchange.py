"""The exchange state: exact money, whatever the history; locks, positions, journal and limits."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.twins.accounts import MONEY, Account, Market, Position, money
from alephtx.twins.exchange import Exchange, Refused, TwinOrder
from alephtx.twins.limits import Limits, Window


def market(contract, **changes):
    fields = {"symbol": "X", "base": "B", "quote": "Q", "settle": "Q", "contract": contract}
    fields |= {"price_scale": 1, "qty_scale": 2}
    if contract == words.INVERSE:
        fields |= {"settle": "B", "contract_value": Decimal(100), "qty_scale": 0}
    return Market(**(fields | changes))


def exchange(contract=words.SPOT, accounts=1, **changes):
    money_of = {"B": Decimal(1000), "Q": Decimal(10_000_000)}
    made = [Account(name=f"a{k}", key=f"k{k}", total=dict(money_of)) for k in range(accounts)]
    return Exchange([market(contract, **changes)], made)


def order(x, side, qty, price=0, **changes):
    fields = {"order_id": 0, "client_id": f"c{len(x.orders)}", "account": x.accounts[0]}
    fields |= {"market": x.markets[0], "side": side, "price": price, "qty": qty}
    fields |= {"type": words.LIMIT if price else words.MARKET, "tif": words.GTC}
    return TwinOrder(**(fields | changes))


@given(
    st.sampled_from([words.LINEAR, words.INVERSE]),
    st.lists(
        st.tuples(st.sampled_from([1, -1]), st.integers(1, 10**6), st.integers(1, 10**5)),
        max_size=30,
    ),
)
def test_position_realizes_by_average_cost_within_the_rounding_of_each_fill(contract, fills):
    """Pair: the same in exact fractions, rounded nowhere."""
    m, position = market(contract), Position()
    qty, cost, realized = 0, Fraction(0), Fraction(0)
    for side, price, lots in fills:
        position.fill(m, side, price, lots)
        size = Fraction(lots) * (100 if contract == words.INVERSE else Fraction(1, 100))
        at = Fraction(price, 10)
        value = size / at if contract == words.INVERSE else size * at
        closing = min(lots, abs(qty)) if qty * side < 0 else 0
        if closing:
            part = cost * closing / abs(qty)
            gain = value * closing / lots - part
            realized += gain * -side * (-1 if contract == words.INVERSE else 1)
            cost -= part
            qty += side * closing
        if lots > closing:
            cost += value * (lots - closing) / lots
            qty += side * (lots - closing)
        assert position.qty == qty
        if qty == 0:
            assert position.cost == 0
            cost = Fraction(0)
    assert abs(Fraction(position.realized) - realized) <= Fraction(MONEY) * max(1, len(fills)) / 2
    assert abs(Fraction(position.cost) - cost) < Fraction(1, 10**12) * max(1, cost)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from([1, -1]),
            st.integers(90, 110),
            st.integers(1, 50),
            st.booleans(),
        ),
        max_size=25,
    ),
    st.lists(st.tuples(st.integers(90, 110), st.integers(1, 60), st.sampled_from([1, -1]))),
)
def test_spot_money_is_neither_made_nor_lost_and_locks_equal_open_orders(orders, prints):
    x = exchange(accounts=2)
    m = x.markets[0]
    reports = []
    x.listeners.append(reports.append)
    x.book(m, [(1, 95, 100), (1, 94, 80), (-1, 105, 100), (-1, 106, 90)], seq=1, snapshot=True)
    for who, side, price, qty, cancel in orders:
        placed = order(x, side, qty, price, account=x.accounts[who])
        placed.stp = 2
        try:
            x.place(placed)
        except Refused:
            continue
        if cancel and placed.open:
            x.cancel(placed)
        if prints:
            x.trade(m, *prints.pop())
    for account in x.accounts:
        gained = {"B": Decimal(0), "Q": Decimal(0)}
        for trade in x.trades:
            if trade.account == account.name:
                gained["B"] += trade.side * m.qty(trade.qty)
                gained["Q"] -= trade.side * trade.value
                gained[trade.fee_asset] -= trade.fee
        assert account.total["B"] == Decimal(1000) + gained["B"]
        assert account.total["Q"] == Decimal(10_000_000) + gained["Q"]
        opened = x.open_of(account)
        buys = sum((m.value(o.price, o.left) for o in opened if o.side > 0), Decimal(0))
        sells = sum((m.qty(o.left) for o in opened if o.side < 0), Decimal(0))
        assert account.locked.get("Q", Decimal(0)) == buys
        assert account.locked.get("B", Decimal(0)) == sells
    ids = [trade.trade_id for trade in x.trades]
    assert len(ids) == len(set(ids))
    assert sum(1 for row in x.journal if row["kind"] == "FILL") == len(ids)
    assert sum(1 for report in reports if report.kind == "TRADE") == len(ids)
    for placed in x.orders.values():
        assert placed.filled == sum(trade.qty for trade in placed.trades)


def test_money_rounds_half_even_to_eight_places():
    assert money(Decimal("0.000000005")) == Decimal("0E-8")
    assert money(Decimal("0.000000015")) == Decimal("0.00000002")
    assert money(Decimal("-0.000000015")) == Decimal("-0.00000002")


def test_reduce_only_is_refused_flat_clipped_to_the_position_and_ends_with_it():
    x = exchange(words.LINEAR)
    m = x.markets[0]
    x.book(m, [(1, 100, 500), (-1, 101, 500)], seq=1, snapshot=True)
    with pytest.raises(Refused, match="reduce_only"):
        x.place(order(x, -1, 5, 120, reduce_only=True))
    x.place(order(x, 1, 10))
    resting = x.place(order(x, -1, 50, 120, reduce_only=True))
    assert resting.qty == 10
    x.place(order(x, -1, 4))
    assert resting.left == 6
    x.place(order(x, -1, 6))
    assert resting.status == words.EXPIRED
    assert x.accounts[0].positions["X"].qty == 0


def test_self_trade_prevention_expires_the_maker_and_says_why():
    x = exchange()
    x.book(x.markets[0], [(1, 90, 5), (-1, 110, 5)], seq=1, snapshot=True)
    maker = x.place(order(x, -1, 5, 100))
    taker = x.place(order(x, 1, 5, 100, stp=2))
    assert (maker.status, maker.end_reason) == (words.EXPIRED, "self_trade")
    assert taker.open
    assert not x.trades


def test_two_accounts_trade_with_each_other_at_one_match():
    x = exchange(accounts=2)
    x.book(x.markets[0], [(1, 90, 5), (-1, 110, 5)], seq=1, snapshot=True)
    x.place(order(x, -1, 5, 100))
    x.place(order(x, 1, 3, 100, account=x.accounts[1], stp=2))
    maker, taker = x.trades
    assert (maker.match, maker.maker, maker.qty) == (taker.match, True, 3)
    assert (taker.maker, taker.account) == (False, "a1")


@pytest.mark.parametrize("rate", ["x", "NaN", "inf", ""])
def test_funding_at_no_rate_is_refused(rate):
    x = exchange(words.LINEAR)
    x.book(x.markets[0], [(1, 100, 5), (-1, 101, 5)], seq=1, snapshot=True)
    with pytest.raises(Refused):
        x.fund("X", rate)
    with pytest.raises(Refused, match="symbol"):
        x.fund("Y", "0.1")


def test_funding_is_zero_sum_between_a_long_and_a_short():
    x = exchange(words.LINEAR, accounts=2)
    x.book(x.markets[0], [(1, 90, 5), (-1, 110, 5)], seq=1, snapshot=True)
    x.place(order(x, -1, 5, 100))
    x.place(order(x, 1, 5, 100, account=x.accounts[1]))
    before = [account.total["Q"] for account in x.accounts]
    assert x.fund("X", "0.001") == 2
    moved = [account.total["Q"] - old for account, old in zip(x.accounts, before, strict=True)]
    assert moved[0] == -moved[1] > 0
    assert [row["kind"] for row in x.journal][-2:] == ["FUNDING", "FUNDING"]


def test_limits_refuse_above_the_count_forgive_later_and_ban_who_insists():
    now = [0]
    limits = Limits((Window("1M", 10, 60),), lambda: now[0], banned_after=2, ban_seconds=5)
    assert limits.charge("a", 10)
    assert not limits.charge("a", 1)
    assert limits.charge("b", 1)
    assert limits.banned_seconds("a") == 0
    limits.charge("a", 1)
    limits.charge("a", 1)
    assert limits.banned_seconds("a") == 6
    now[0] = 61 * 10**9
    assert limits.banned_seconds("a") == 0
    assert limits.charge("a", 10)
    assert limits.used("a") == {"1M": 10}


def test_amended_order_keeps_its_id_loses_its_place_and_counts_what_it_filled():
    x = exchange(words.LINEAR, accounts=2)
    first, second = (x.place(order(x, 1, 10, 100)) for _ in range(2))
    x.place(order(x, -1, 4, 100, account=x.accounts[1]))
    assert (first.filled, first.left, second.filled) == (4, 6, 0)
    x.amend(first, 100, 12)
    assert (first.qty, first.left, first.price) == (12, 8, 100)
    assert x.open_orders[first.order_id] is first
    x.place(order(x, -1, 10, 100, account=x.accounts[1]))
    assert (second.filled, first.filled) == (10, 4), "it went to the end of the line"
    x.amend(first, 101, 12)
    sell = x.place(order(x, -1, 3, 101, account=x.accounts[1]))
    assert (sell.filled, sell.trades[0].price, first.filled) == (3, 101, 7)


def test_amend_that_meets_the_other_side_trades_and_is_told_before_it_does():
    x, told = exchange(words.LINEAR, accounts=2), []
    x.listeners.append(lambda report: told.append(report.kind))
    resting = x.place(order(x, 1, 10, 100))
    x.place(order(x, -1, 4, 105, account=x.accounts[1]))
    told.clear()
    x.amend(resting, 105, 10)
    assert told == ["AMENDED", "TRADE", "TRADE"]
    assert (resting.filled, resting.left, resting.open) == (4, 6, True)


def test_amend_that_the_account_cannot_carry_leaves_the_order_as_it_was():
    x = exchange(words.LINEAR)
    resting = x.place(order(x, 1, 10, 100))
    most = int(x.available(x.accounts[0], "Q") * x.markets[0].leverage) // 10 * 100
    x.amend(resting, 100, most)  # its own margin is free for what it becomes
    with pytest.raises(Refused, match="insufficient"):
        x.amend(resting, 100, 2 * most)
    assert (resting.qty, x.open_of(x.accounts[0])) == (most, [resting])
    x.cancel(resting)
    with pytest.raises(Refused, match="unknown_order"):
        x.amend(resting, 100, 10)
