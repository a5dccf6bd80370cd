"""Closing one account's positions: what is sent, at what price, and what is believed of it."""

import pytest

from alephtx.core import words
from alephtx.core.errors import OrderRejected, TransportError, VenueError
from alephtx.core.ports import What
from alephtx.execution.flatten import ASK_AGAIN_NS, TRIES, Flatten, lots_to_close
from alephtx.execution.resync import HORIZON_NS
from tests.execution.pit import LINEAR, SPOT, D, Pit, instruments
from tests.execution.toy import oid, says

SECOND = 1_000_000_000


class Closing:
    """A flatten at the pit; recorded: what it kept before sending."""

    def __init__(self, cross_bps=100):
        self.pit, self.recorded, self.sent = Pit(), [], []
        self.numbers = iter(range(1, 100))
        self.flatten = Flatten(
            self.pit.kill, 4, lambda: oid(next(self.numbers)), self.recorded.append, cross_bps
        )
        encode = self.pit.codec.encode

        def noted(rows, now_ns, nonce):
            self.sent.append((rows[0].copy(), nonce, now_ns, len(self.recorded)))
            return encode(rows, now_ns, nonce)

        self.pit.codec.encode = noted

    def close(self, lots, i=LINEAR, seconds=20):
        deadline = self.pit.clock.monotonic() + int(seconds * SECOND)
        return self.flatten.close({i: lots}, deadline)

    def hears(self, *answers):
        """The answers to INTENT and ORDER, in turn: an error or rows."""
        self.pit.answers += answers


def over(cum, status=words.CANCELED):
    return says({"kind": words.ORDER_STATE, "status": status, "cum_qty": cum})


NOTHING = says()
UNKNOWN = says({"kind": words.NOT_FOUND})
LIVE = says({"kind": words.ORDER_STATE, "status": words.NEW, "cum_qty": 0})


# -- how much ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "closed"),
    [
        (5, 5, 5), (5, 9, 5), (9, 5, 5), (-5, -9, -5), (-9, -5, -5), (1, 1, 1), (-1, -1, -1),
        (5, -5, 0), (-5, 5, 0), (0, 5, 0), (0, -5, 0), (5, 0, 0), (-5, 0, 0), (0, 0, 0),
    ],
)  # fmt: skip
def test_of_a_shared_contract_no_more_is_closed_than_is_ours_and_there(ours, theirs, closed):
    perp = instruments()[LINEAR]
    assert lots_to_close(perp, ours, theirs, D(99), exclusive=False) == closed
    assert lots_to_close(perp, ours, theirs, D(99), exclusive=True) == theirs


@pytest.mark.parametrize(
    ("ours", "free", "closed"),
    [(5, "0.005", 5), (5, "0.0049999", 4), (5, "1", 5), (0, "1", 0), (5, "0", 0)],
)
@pytest.mark.parametrize("exclusive", [True, False])
def test_of_spot_what_fills_brought_is_closed_as_far_as_it_is_there(ours, free, closed, exclusive):
    assert lots_to_close(instruments()[SPOT], ours, 7, D(free), exclusive=exclusive) == closed


# -- the order --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cross_bps", "lots", "price"),
    [
        # The touch is 10,000 / 10,005, the grid 5. Beyond is rounded down, the price away from us.
        (0, 20, 10_000), (0, -20, 10_005), (100, 20, 9_900), (100, -20, 10_105),
        (99, 20, 9_900), (99, -20, 10_105), (96, 20, 9_900), (96, -20, 10_105),
        (95, 20, 9_905), (95, -20, 10_100), (94, -20, 10_100), (1, 20, 9_995), (1, -20, 10_010),
    ],
)  # fmt: skip
async def test_price_is_beyond_the_touch_and_on_the_grid_away_from_us(cross_bps, lots, price):
    closing = Closing(cross_bps)
    (row,) = await closing.flatten.order(LINEAR, lots)
    assert row["price"] == price
    told = [int(row[k]) for k in ("op", "type", "tif", "side", "qty", "account", "instrument")]
    side = words.SELL if lots > 0 else words.BUY
    assert told == [words.PLACE, words.LIMIT, words.IOC, side, 20, 4, LINEAR]
    assert (row["order_id"], row["flags"]) == (oid(1), words.REDUCE_ONLY)


@pytest.mark.parametrize(
    ("lots", "qty"),
    [(1000, 1000), (1001, 1000), (999, 998), (5000, 1000), (11, 10), (10, 10), (9, 0), (1, 0)],
)
@pytest.mark.parametrize("sign", [1, -1])
async def test_quantity_is_within_the_venues_bounds_and_steps(lots, qty, sign):
    """Steps of 2, 10 at least and 1,000 at most."""
    made = await Closing().flatten.order(LINEAR, sign * lots)
    assert (0 if made is None else int(made[0]["qty"])) == qty


async def test_bound_of_nothing_is_none_and_is_rounded_to_a_step():
    closing = Closing()
    closing.flatten.rows["qty_max"] = 0
    assert (await closing.flatten.order(LINEAR, 50_000))[0]["qty"] == 50_000
    closing.flatten.rows["qty_max"] = 15
    assert (await closing.flatten.order(LINEAR, 50_000))[0]["qty"] == 14


@pytest.mark.parametrize(("value", "spot", "linear"), [(0, 20, 20), (1, None, 20)])
async def test_least_value_counts_on_spot_where_nothing_says_reduce_only(value, spot, linear):
    """0.020 at 99.00 is 1.98."""
    closing = Closing()
    closing.flatten.rows["notional_min"] = 198_000_000 + value
    for i, want in ((SPOT, spot), (LINEAR, linear)):
        made = await closing.flatten.order(i, 20)
        assert (None if made is None else int(made[0]["qty"])) == want
        if made is not None:
            assert made[0]["flags"] == (words.REDUCE_ONLY if i == LINEAR else 0)


@pytest.mark.parametrize("side", [words.BUY, words.SELL])
async def test_empty_side_of_the_book_is_a_failure_that_passes(side):
    closing = Closing()
    closing.pit.book[side] = 0
    lots = 20 if side == words.BUY else -20
    with pytest.raises(VenueError, match="nobody is on the other side of the book") as caught:
        await closing.flatten.order(LINEAR, lots)
    assert caught.value.retryable
    assert await closing.flatten.order(LINEAR, -lots) is not None


# -- what became of it ------------------------------------------------------------------


async def test_order_is_recorded_before_it_is_sent_and_its_fill_counts():
    closing = Closing()
    closing.hears(NOTHING, LIVE, over(20, words.FILLED))
    assert await closing.close(20) == {}
    assert closing.recorded == [
        {"order_id": oid(1), "instrument": "toy:PERP", "side": "sell", "qty": "0.020",
         "price": "99.00"},
    ]  # fmt: skip
    ((_, nonce, now_ns, recorded),) = closing.sent
    assert recorded == 1
    assert nonce == now_ns // 1_000_000 + 2_000
    assert closing.pit.waits == [ASK_AGAIN_NS]
    assert closing.pit.requests(What.ORDER) == [{"instrument": LINEAR, "order_id": oid(1)}] * 2


@pytest.mark.parametrize("sign", [1, -1])
async def test_what_is_left_is_sent_again_until_it_is_gone_or_too_small(sign):
    closing = Closing()
    closing.hears(NOTHING, over(20), NOTHING, over(0), NOTHING, over(22))
    assert await closing.close(sign * 50) == {LINEAR: sign * 8}
    assert [int(row["qty"]) for row, *_ in closing.sent] == [50, 30, 30]
    assert closing.recorded[0]["side"] == ("sell" if sign > 0 else "buy")
    assert len({row["order_id"] for row in closing.recorded}) == 3


async def test_tries_are_bounded():
    closing = Closing()
    closing.hears(*[NOTHING, over(0)] * (TRIES + 3))
    assert await closing.close(50) == {LINEAR: 50}
    assert len(closing.sent) == TRIES == 8


async def test_refusal_is_no_fill_and_is_not_asked_about():
    closing = Closing()
    closing.hears(says({"kind": words.REJECT}), NOTHING, over(50))
    assert await closing.close(50) == {}
    assert len(closing.sent) == 2
    assert len(closing.pit.requests(What.ORDER)) == 1


async def test_order_that_surely_never_left_is_sent_anew_and_one_that_may_have_is_asked_for():
    for sent in (False, True):
        closing = Closing()
        closing.pit.errors[What.INTENT] = [TransportError("cut", sent=sent)]
        closing.hears(*[over(50)] if sent else [NOTHING, over(50)])
        assert await closing.close(50) == {}
        assert len(closing.sent) == (1 if sent else 2)


async def test_error_of_the_venue_is_told_and_tried_again_after_a_while():
    closing = Closing()
    closing.pit.errors[What.INTENT] = [OrderRejected("no margin")]
    closing.hears(NOTHING, over(50))
    assert await closing.close(50) == {}
    assert closing.pit.kill.report.error == "no margin"
    assert closing.pit.waits == [ASK_AGAIN_NS]


async def test_not_found_is_believed_once_nothing_can_arrive_any_more():
    closing = Closing()
    closing.pit.taken_ns = 0
    asks = HORIZON_NS // ASK_AGAIN_NS
    closing.hears(NOTHING, *[UNKNOWN] * (asks + 1), NOTHING, over(50))
    assert await closing.close(50) == {}
    assert closing.pit.waits == [ASK_AGAIN_NS] * asks
    assert len(closing.sent) == 2


async def test_outcome_that_nobody_can_say_ends_it_and_leaves_the_position_told():
    """Asked for until the horizon after the deadline; no second order is sent meanwhile."""
    closing = Closing()
    closing.pit.taken_ns = 0
    asks = (HORIZON_NS + SECOND) // ASK_AGAIN_NS
    closing.hears(NOTHING, *[LIVE] * asks, over(50))
    assert await closing.close(50, seconds=1) == {LINEAR: 50}
    assert len(closing.pit.requests(What.ORDER)) == asks
    assert closing.pit.kill.report.error == f"order {oid(1)} on toy:PERP: nobody can say"
    assert len(closing.sent) == 1


async def test_question_that_fails_is_asked_again():
    closing = Closing()
    closing.pit.errors[What.ORDER] = [VenueError("what?")]
    closing.hears(NOTHING, over(50))
    assert await closing.close(50) == {}
    assert closing.pit.waits == [ASK_AGAIN_NS]


async def test_quantity_that_a_venue_does_not_state_is_none():
    closing = Closing()
    closing.hears(NOTHING, over(-1), NOTHING, over(50))
    assert await closing.close(50) == {}
    assert [int(row["qty"]) for row, *_ in closing.sent] == [50, 50]


@pytest.mark.parametrize(("seconds", "sent"), [(0, 0), (0.001, 0), (0.002, 1)])
async def test_nothing_is_sent_at_the_deadline_or_after_it(seconds, sent):
    """A look at the book takes a millisecond."""
    closing = Closing()
    closing.hears(NOTHING, over(50))
    assert await closing.close(50, seconds=seconds) == ({} if sent else {LINEAR: 50})
    assert len(closing.sent) == sent


async def test_every_instrument_is_closed_whatever_became_of_the_one_before():
    closing = Closing()
    closing.pit.errors[What.SNAPSHOT] = [VenueError("no book")] * TRIES
    closing.hears(NOTHING, over(60))
    left = await closing.flatten.close(
        {LINEAR: 50, SPOT: -60}, closing.pit.clock.monotonic() + SECOND
    )
    assert left == {LINEAR: 50}
    assert closing.pit.waits == [ASK_AGAIN_NS] * TRIES
