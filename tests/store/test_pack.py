"""The kernels of the replay file against plain Python."""

from math import gcd

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.records import EVENT, TICK
from alephtx.store import pack as p
from tests.store.market import T0, numbered, rows_of, streams, trade

pytestmark = pytest.mark.kernel


def surveyed(rows):
    state = p.make_survey()
    return p.survey(rows, len(rows), state), state


@given(a=st.integers(-(1 << 62), 1 << 62), b=st.integers(-(1 << 62), 1 << 62))
def test_common_divisor_is_that_of_the_library(a, b):
    assert p.common_divisor(a, b) == gcd(a, b)


@given(streams())
def test_what_fits_comes_back_as_it_was(rows):
    at, state = surveyed(rows)
    assert at == -1
    units = p.units_of(state)
    prices = [int(price) for price in rows["price"]]
    unit = max(1, gcd(*prices))
    spread = (max(prices) - min(prices)) // unit
    lots = max(1, gcd(*(int(qty) for qty in rows["qty"])))
    fits = spread < 1 << 32 and int(rows["qty"].max()) // lots < 1 << 31
    if spread < (1 << 32) - 2:
        assert (units is not None) == fits
    if units is not None:
        ticks, again = np.zeros(len(rows), TICK), np.zeros(len(rows), EVENT)
        p.pack(rows, len(rows), *units, ticks)
        p.unpack(ticks, len(rows), *units, again)
        assert again.tobytes() == rows.tobytes()


@pytest.mark.parametrize("low", [-(1 << 31), -(1 << 32) + 1, 0, 5])
def test_the_widest_prices_that_fit_32_bits_do(low):
    wide = rows_of(trade(1, 1, price=low), trade(2, 2, price=low + (1 << 32) - 1))
    _, state = surveyed(numbered(wide))
    units = p.units_of(state)
    assert units is not None
    ticks, again = np.zeros(2, TICK), np.zeros(2, EVENT)
    p.pack(wide, 2, *units, ticks)
    p.unpack(ticks, 2, *units, again)
    assert again.tobytes() == wide.tobytes()
    wide["price"][1] += 1
    assert p.units_of(surveyed(wide)[1]) is None or low % 2 == 0 == (low + (1 << 32)) % 2


def test_orders_are_kept_as_events():
    order = {"kind": words.ORDER_ADD, "seq": 1 << 60, "price": 1, "qty": 1, "side": 1,
             "ts_event": T0, "ts_recv": T0}  # fmt: skip
    at, state = surveyed(rows_of(order))
    assert at == -1
    assert p.units_of(state) is None


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"kind": 0}, p.WRONG_KIND),
        ({"kind": words.SEQ}, p.WRONG_KIND),
        ({"kind": 20}, p.WRONG_KIND),
        ({"seq": 7}, p.WRONG_NUMBER),
        ({"ts_event": T0}, p.WRONG_EVENT_TIME),
        ({"ts_recv": T0}, p.WRONG_RECV_TIME),
        ({"instrument": 1}, p.WRONG_INSTRUMENT),
        ({"side": 2}, p.WRONG_SIDE),
        ({"price": 1 << 62}, p.WRONG_SIZE),
        ({"qty": -(1 << 62)}, p.WRONG_SIZE),
    ],
)
def test_a_row_that_has_no_place_in_a_stream_is_found(change, wrong):
    rows = numbered(rows_of(trade(1, 1), trade(2, 2), trade(3, 3)))
    assert surveyed(rows)[0] == -1
    for name, value in change.items():
        rows[2][name] = value
    at, state = surveyed(rows)
    assert (at, state[p.WRONG]) == (2, wrong)


def test_rows_of_one_side_only_bind_the_other_clock_alone():
    """A row that only the exchange sees may have any ts_recv, and the other way round."""
    rows = numbered(rows_of(
        trade(5, 1), trade(1, 2, flags=words.TICK_EXCHANGE), trade(6, 1, flags=words.TICK_LOCAL),
        trade(7, 3),
    ))  # fmt: skip
    assert surveyed(rows)[0] == -1
    rows["flags"][1] = words.LAST_IN_MESSAGE
    assert surveyed(rows)[0] == 1
