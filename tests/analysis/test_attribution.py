from decimal import Decimal as Dec
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alephtx.analysis.attribution import attribute
from alephtx.core import words as w
from tests.analysis.market import SECOND, fills, instrument, quotes


def test_attribution_by_hand():
    # ticks of 0.1, lots of 0.001: a tick x lot is 0.0001
    market = quotes((0, 999, 1001), (5, 1001, 1003), (40, 1008, 1010))
    deals = fills((10, 1, 1001, 2000, 5_000), (20, -1, 1006, 500, -1_000))
    found = attribute(instrument(), deals, market, horizon_ns=25, funding=np.array([-300, 100]))
    # bought 2000 at 1001, mid 1002, at 35 still 1002, at the end 1009
    # sold 500 at 1006, mid 1002, at 45 beyond the data: marked at 1009
    assert found.spread == (2000 * 1 + 500 * 4) * Dec("0.0001")
    assert found.adverse == (0 - 500 * 7) * Dec("0.0001")
    assert found.inventory == 2000 * 7 * Dec("0.0001")
    assert found.fees == Dec("0.00004")
    assert found.funding == Dec("-0.000002")
    assert found.unattributed == 0
    # cash: -2000 x 1001 + 500 x 1006, 1500 left at 1009
    assert found.total == (500 * 1006 - 2000 * 1001 + 1500 * 1009) * Dec("0.0001") - Dec("0.000042")
    assert found.position == Dec("1.5")
    assert (found.fills, found.beyond, found.unknown, found.without_mid) == (2, 1, 0, 0)


def test_inverse_attribution_by_hand():
    # 100 USD a contract: bought 3 at 20000.0, the mid 25000.0 before, 40000.0 later and at the end
    market = quotes((0, 249_999, 250_001), (20, 399_999, 400_001), (99, 399_999, 400_001))
    coin = instrument(w.INVERSE, qty_scale=0, contract_value="100")
    found = attribute(coin, fills((10, 1, 200_000, 3)), market, horizon_ns=30)
    assert found.spread == Dec("0.003")  # 300 / 20000 - 300 / 25000
    assert found.adverse == Dec("0.0045")  # 300 / 25000 - 300 / 40000
    assert found.inventory == 0
    assert found.total == Dec("0.0075")


def test_fill_without_a_mid_is_not_attributed():
    market = quotes((0, None, None), (20, 999, 1001), (30, None, None), (60, 1000, 1002))
    deals = fills((10, 1, 990, 1000), (25, 1, 990, 1000), (32, 1, 990, 1000))
    found = attribute(instrument(), deals, market, horizon_ns=10)
    # the first met no mid, nor did the third; the second met 1000 and at 35 nobody knew
    assert (found.without_mid, found.unknown, found.beyond) == (2, 1, 0)
    assert found.unattributed == Dec("2.2")
    assert found.spread == Dec("1.0")
    assert found.adverse == 0
    assert found.inventory == Dec("0.1")


def test_attribution_without_quotes_marks_at_the_last_fill():
    found = attribute(instrument(), fills((1, 1, 100, 10), (2, 1, 110, 10)), quotes())
    assert not found.marked
    assert found.total == found.unattributed == Dec("0.01")
    nothing = attribute(instrument(), fills(), quotes())
    assert nothing.total == 0
    assert nothing.position == 0


def fractions_of(contract, deals, market):
    """Total P&L from cash flows and what is left at the last known mid, in fractions."""
    value = Fraction(contract.contract_value) / 10**contract.qty_scale
    known = [(Fraction(int(b + a), 2)) for b, a, k in zip(*market[1:], strict=True) if k]
    last = known[-1] if known else Fraction(int(deals.price[-1]))
    unit = Fraction(10**contract.price_scale)

    def worth(ticks, lots):
        return -value * lots * unit / ticks if contract.inverse else value * lots * ticks / unit

    cash = sum(
        (-s * worth(Fraction(p), q) for s, p, q in zip(*(c.tolist() for c in deals[1:4]),
                                                       strict=True)), Fraction(0)
    )  # fmt: skip
    held = int((deals.side * deals.qty).sum())
    return cash + worth(last, held) - Fraction(int(deals.fee.sum()), 10**8)


ticks = st.integers(1, 1 << 45)
deals_of = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from([-1, 1]), ticks, st.integers(1, 1 << 50),
              st.integers(-(10**12), 10**12)), min_size=1, max_size=12,
)  # fmt: skip
quotes_of = st.lists(
    st.tuples(st.integers(0, 200), st.one_of(st.none(), ticks), st.integers(1, 1000)), max_size=12
)


@given(deals_of, quotes_of, st.integers(0, 100), st.sampled_from(["1", "0.01", "2.5"]),
       st.integers(0, 9))  # fmt: skip
def test_parts_sum_to_the_total_exactly(deals, prices, horizon, contract_value, price_scale):
    rows = sorted(prices, key=lambda row: row[0])
    market = quotes(*((ts, bid, None if bid is None else bid + gap) for ts, bid, gap in rows))
    made = fills(*sorted(deals, key=lambda row: row[0]))
    contract = instrument(price_scale=price_scale, contract_value=contract_value)
    funding = np.array([17, -3])
    found = attribute(contract, made, market, horizon_ns=horizon, funding=funding)
    parts = (found.spread, found.adverse, found.inventory, found.unattributed, -found.fees,
             found.funding)  # fmt: skip
    assert sum(map(Fraction, parts)) == Fraction(found.total)
    right = fractions_of(contract, made, market) + Fraction(14, 10**8)
    assert Fraction(found.total) == right
    inverse = instrument(w.INVERSE, price_scale=price_scale, contract_value=contract_value)
    found = attribute(inverse, made, market, horizon_ns=horizon)
    right = fractions_of(inverse, made, market)
    assert abs(Fraction(found.total) - right) <= Fraction(len(deals), 10**18)
    parts = (found.spread, found.adverse, found.inventory, found.unattributed, -found.fees)
    assert sum(map(Fraction, parts)) == Fraction(found.total)


def test_what_comes_after_the_horizon_is_never_adverse_selection():
    rng = np.random.default_rng(2)
    ts = np.arange(0, 100 * SECOND, SECOND)
    bid = 1000 + rng.integers(-20, 20, 100).cumsum()
    deals = fills(
        *((int(t) + 1, 1, int(b) + 1, 10) for t, b in zip(ts[:30], bid[:30], strict=True))
    )
    found = []
    for shift in (0, 500):
        moved = bid + np.where(ts > 60 * SECOND, shift, 0)
        market = quotes(*zip(ts.tolist(), moved.tolist(), (moved + 2).tolist(), strict=True))
        found.append(attribute(instrument(), deals, market, horizon_ns=30 * SECOND))
    assert found[0].spread == found[1].spread
    assert found[0].adverse == found[1].adverse
    assert found[1].inventory - found[0].inventory == 30 * 10 * 500 * Dec("0.0001")


def test_no_decimal_is_lost_in_large_sums():
    big = fills(*((k, 1, (1 << 45) + k, (1 << 50) + 1) for k in range(50)))
    market = quotes((0, 1, 2), (60, 1, 2))
    found = attribute(instrument(price_scale=9, contract_value="0.000000001"), big, market)
    assert Fraction(found.total) == fractions_of(
        instrument(price_scale=9, contract_value="0.000000001"), big, market
    )
