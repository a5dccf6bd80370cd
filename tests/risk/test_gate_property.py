"""Nothing that passes breaks a limit, checked again in plain words, Decimals and Fractions."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words as w
from alephtx.core.records import INTENT
from alephtx.risk import state as lim
from tests.risk.rows import NOW, TOUCH, Risk, World

MOST = (1 << 63) - 1
ANY = st.one_of(st.integers(-3, 40), st.integers(-MOST - 1, MOST), st.sampled_from([MOST, 1 << 62]))


@st.composite
def orders(draw):
    """Mostly sensible orders, so that many pass, with a hostile field now and then."""
    row = np.zeros(1, INTENT)
    i = draw(st.integers(0, 3))
    side = draw(st.sampled_from([w.BUY, w.SELL]))
    row["op"], row["type"] = w.PLACE, draw(st.sampled_from([w.LIMIT] * 4 + [w.MARKET]))
    row["tif"], row["side"], row["instrument"] = draw(st.sampled_from([1, 2, 3])), side, i
    bid, _ = TOUCH[i]
    row["price"] = bid + draw(st.integers(-bid // 50, bid // 50))
    if i == 3:
        row["price"] = row[0]["price"] // 5 * 5
    row["qty"] = draw(st.one_of(st.integers(1, 60), st.integers(1, 6000))) * (2 if i == 3 else 1)
    if i == 0:
        row["qty"] = min(row[0]["qty"] * 100, 10**6)
    row["account"], row["strategy"] = draw(st.integers(0, 1)), 0
    row["flags"] = draw(st.sampled_from([0, 0, 0, w.HEDGE, w.REDUCE_ONLY]))
    row["group_id"] = draw(st.sampled_from([0, 0, 1, 2]))
    if draw(st.integers(0, 5)) == 0:
        name = draw(st.sampled_from(["price", "qty", "group_id", "target_order_id"]))
        row[name] = draw(ANY)
    if draw(st.integers(0, 9)) == 0:
        name = draw(st.sampled_from(["op", "type", "tif", "flags", "side", "account", "strategy"]))
        row[name] = draw(st.integers(0, 127))
    return row


def value(world, i, price, lots):
    """Quote value of lots, exact."""
    instrument = world.instruments[i]
    qty = Fraction(instrument.qty_decimal(int(lots)))
    if instrument.inverse:
        return qty * Fraction(instrument.contract_value)
    return qty * Fraction(instrument.price_decimal(int(price)))


def recheck(world, risk, row, passed_before):
    """Assert what every passed order must satisfy, from scratch."""
    i, side, qty = int(row["instrument"]), int(row["side"]), int(row["qty"])
    instrument, top = world.instruments[i], world.view.top[i]
    assert side in (1, -1)
    assert qty > 0
    assert Decimal(qty) % world.instruments[i].lot_size.scaleb(instrument.qty_scale) == 0
    assert int(row["account"]) < 2
    assert world.gate.resync[int(row["account"])] == 0
    assert top["aux"] & w.UNTRADEABLE_MASK == 0
    assert NOW - int(top["ts_recv"]) <= risk.stale_ms * 10**6
    touch = int(top["ask"] if side > 0 else top["bid"])
    price = touch if row["type"] == w.MARKET else int(row["price"])
    middle = Fraction(int(top["bid"]) + int(top["ask"]), 2)
    if row["type"] == w.LIMIT:
        assert price % int(world.view.instruments[i]["tick_step"]) == 0
        assert abs(price - middle) * 10_000 <= risk.band_bps * middle
    worth = value(world, i, price, qty)
    assert worth <= Fraction(risk.notional_max)
    assert worth >= Fraction(instrument.notional_min) or row["flags"] & w.REDUCE_ONLY
    if row["flags"] == 0:
        adding = sum(int(r["qty"]) for r in passed_before
                     if r["instrument"] == i and r["side"] == side)  # fmt: skip
        column = 0 if side > 0 else 1
        mine = int(world.view.positions[i]["qty"]) * side + adding + qty
        mine += int(world.table.open_strategy[0, i, column])
        if mine > 0:
            assert value(world, i, price, mine) <= Fraction(risk.position_notional_max)


@pytest.mark.kernel
@settings(max_examples=120)
@given(
    batch=st.lists(orders(), min_size=1, max_size=6),
    held=st.lists(st.integers(-5000, 5000), min_size=4, max_size=4),
    going=st.lists(st.integers(0, 3000), min_size=8, max_size=8),
    flags=st.lists(st.sampled_from([0, 0, 0, 0, w.STALE, w.CROSSED]), min_size=4, max_size=4),
    resync=st.sampled_from([0, 0, 0, 1]),
    live=st.integers(0, 4),
)
def test_nothing_that_passes_breaks_a_limit(batch, held, going, flags, resync, live):
    risk = Risk()
    world = World(risk)
    for i in range(4):
        price = sum(TOUCH[i]) // 2
        world.view.positions[i]["qty"] = held[i]
        cost = held[i] * price if i != 2 else held[i] * 200_000
        world.view.positions[i]["cost"] = cost
        world.account_positions[:, i]["qty"] = held[i]
        world.table.open_strategy[0, i] = going[2 * i : 2 * i + 2]
        world.view.top[i]["aux"] = flags[i]
    world.gate.resync[1], world.view.open_count[0] = resync, live
    world.view.orders["order_id"] = range(len(world.view.orders))  # row 0 holds no real id
    rows = np.concatenate(batch)
    got = world.check(*batch)
    passed, adding = [], []
    for row, (verdict, rule) in zip(rows, got, strict=True):
        assert (verdict == w.PASS) == (rule == 0)
        assert verdict in w.VERDICT_NAMES
        assert rule < len(lim.RULE_NAMES)
        if verdict == w.PASS and row["op"] in (w.PLACE, w.AMEND):
            recheck(world, risk, row, adding)
            adding.append(row)
        if verdict == w.PASS and row["op"] == w.PLACE:
            passed.append(row)
    assert live + len(passed) <= max(risk.open_orders_max, live)
    paid = world.gate.buckets[:, lim.BURST] - world.gate.buckets[:, lim.TOKENS]
    amended = sum(v == w.PASS and r["op"] == w.AMEND for r, (v, _) in zip(rows, got, strict=True))
    assert int(paid.sum()) == (len(passed) + amended) * int(world.gate.buckets[0, lim.INTERVAL])
    for row, (verdict, _) in zip(rows, got, strict=True):
        group = row["group_id"]
        if verdict == w.PASS and group and row["op"] == w.PLACE:
            others = [v for r, (v, _) in zip(rows, got, strict=True)
                      if r["group_id"] == group and r["op"] == w.PLACE]  # fmt: skip
            assert set(others) == {w.PASS}


@pytest.mark.kernel
@settings(max_examples=80)
@given(st.binary(min_size=INTENT.itemsize, max_size=INTENT.itemsize))
def test_random_bytes_never_pass_unseen_nor_crash(raw):
    """Any 128 bytes get a verdict, and a PLACE among them passes the plain check too."""
    world = World()
    row = np.frombuffer(bytearray(raw), INTENT)
    row["verdict"] = w.PASS
    world.check(row)


def test_open_exposure_is_not_double_counted_by_order_of_batch():
    """Two orders of a batch see each other exactly once, whichever comes first."""
    from tests.risk.rows import place

    world = World(Risk(position_notional_max=Decimal(100_000)))
    a, b = place(qty=1200), place(qty=700)
    assert [v for v, _ in world.check(a, b)] == [w.PASS, w.PASS]
    b["qty"] = 900
    assert [v for v, _ in World(Risk(position_notional_max=Decimal(100_000))).check(b, a)] == [
        w.PASS,
        w.DENY_POSITION,
    ]
