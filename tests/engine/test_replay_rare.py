"""Gaps, halts, funding and marks in a backtest: what the venue does, and what strategies hear."""

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.records import TICK
from alephtx.engine import context as c
from alephtx.engine.backtest import Delay, Venue
from alephtx.risk.state import MARK_PRICE, VENUE_STATUS
from alephtx.store.reading import Options
from alephtx.testing.synthetic import synthetic
from tests.engine.replaying import (
    MS,
    PLACE,
    START,
    TAKE,
    book,
    heard,
    play,
    tape,
    told,
)
from tests.engine.test_replay import came_to, config, run
from tests.store.test_raw import imported

BUY, SELL = w.BUY, w.SELL
OPEN = book(0, (BUY, 100, 5), (BUY, 99, 5), (SELL, 102, 5), (SELL, 103, 5))
END = (900, w.TRADE, BUY, 150, 1)  # keeps the market going, far from everything


@pytest.mark.kernel
@pytest.mark.smoke
def test_behind_a_gap_nothing_fills_until_the_image_that_crosses_it():
    rows = tape(
        *OPEN,
        (10, w.GAP, 0, 0, 0),
        (20, w.TRADE, SELL, 90, 50),  # would have gone through everything
        (21, w.DELTA, SELL, 95, 9),  # would have crossed it
        *book(40, (BUY, 99, 7), (BUY, 98, 7), (SELL, 100, 3), (SELL, 103, 5)),
        (50, w.TRADE, SELL, 99, 8),
        END,
    )
    script = [
        {**PLACE, "at": 5, "side": BUY, "price": 100, "qty": 4},
        {**PLACE, "at": 5, "side": BUY, "price": 99, "qty": 4},
    ]
    test = play(rows, script)
    fills = [row for row in told(test, 0, "kind", "tag", "price", "qty", "at") if row[0] == w.FILL]
    # 3 of the first at the image; the second stands behind all 7 that the image shows.
    assert fills == [
        (w.FILL, 1, 100, 3, START + 40 * MS),
        (w.FILL, 1, 100, 1, START + 50 * MS),
        (w.FILL, 2, 99, 1, START + 50 * MS),
    ]


@pytest.mark.kernel
def test_what_takers_emptied_is_counted_right_across_a_gap():
    """A taken level is given back by the image, and noted again when it is taken again."""
    rows = tape(
        *OPEN,
        (10, w.GAP, 0, 0, 0),
        (11, w.DELTA, SELL, 102, 6),
        *book(40, (BUY, 100, 5), (SELL, 102, 5)),
        (60, w.DELTA, SELL, 102, 7),
        END,
    )
    script = [{**TAKE, "at": at, "side": BUY, "qty": 5} for at in (5, 45, 65)]
    test = play(rows, script, sets=[[]])
    fills = [row[1:] for row in told(test, 0, "kind", "tag", "qty") if row[0] == w.FILL]
    assert fills == [(1, 5), (2, 5), (3, 5)]
    assert test.bottle.reach[0, 1, 2] == test.bottle.taken_count[:, 0, 1].sum() == 1


@pytest.mark.kernel
def test_a_gap_is_heard_as_live_and_closes_the_gate_until_the_book_is_whole():
    rows = tape(
        *OPEN,
        (10, w.GAP, 0, 0, 0),
        (15, w.DELTA, BUY, 101, 1),
        *book(40, (BUY, 100, 5), (SELL, 102, 5)),
        END,
    )
    script = [{**PLACE, "at": at, "side": BUY, "price": 90, "qty": 1} for at in (5, 12, 20, 45)]
    test = play(rows, script)
    assert heard(test)[:4] == [
        (w.TOP, 0, 100, 5, 0),
        (w.GAP, 10, 0, 0, w.RESYNCING),
        (w.CLEAR, 40, 0, 0, w.RESYNCING),
        (w.TOP, 40, 100, 5, 0),
    ]
    denied = [row[:2] for row in told(test, 0, "tag", "status") if row[1] == w.DENIED]
    assert denied == [(2, w.DENIED), (3, w.DENIED)]
    assert test.lanes[0].ctx.counters[c.C_DENIED_BY + w.DENY_STALE] == 2


@pytest.mark.kernel
def test_orders_that_reach_a_venue_we_cannot_see_rest_or_expire_and_cancels_arrive():
    rows = tape(*OPEN, (10, w.GAP, 0, 0, 0), *book(60, (BUY, 100, 5), (SELL, 102, 5)), END)
    late = Venue(entry=Delay(ns=8 * MS), cancel=Delay(ns=20 * MS))
    script = [
        {**PLACE, "at": 5, "side": BUY, "price": 104, "qty": 2},  # arrives at 13, rests blindly
        {**TAKE, "at": 5, "side": BUY, "qty": 2},
        {**PLACE, "at": 5, "side": BUY, "price": 98, "qty": 2},
        {"op": w.CANCEL, "at": 15, "target": 3},
    ]
    said = told(play(rows, script, venue=late), 0, "kind", "tag", "price", "reason", "at")
    assert said == [
        (w.ACK, 1, 0, 0, START + 13 * MS),
        (w.ACK, 2, 0, 0, START + 13 * MS),
        (w.EXPIRE, 2, 0, w.REASON_NOT_FILLED, START + 13 * MS),
        (w.ACK, 3, 0, 0, START + 13 * MS),
        (w.CANCEL_ACK, 3, 0, 0, START + 35 * MS),
        (w.FILL, 1, 104, 0, START + 60 * MS),
    ]


@pytest.mark.kernel
def test_a_pair_of_best_prices_ends_a_gap_where_a_tape_has_nothing_else():
    def best(ms, bid, ask):
        return (ms, w.TOP, BUY, bid, 5, 0), (ms, w.TOP, SELL, ask, 5)

    rows = tape(*best(0, 100, 102), (10, w.GAP, 0, 0, 0), *best(20, 100, 102), *best(30, 99, 101))
    test = play(rows, [{**PLACE, "at": 5, "side": SELL, "price": 102, "qty": 1}])
    assert [row[0] for row in heard(test)] == [w.TOP, w.GAP, w.CLEAR, w.TOP, w.TOP]
    assert [row[4] for row in heard(test)] == [0, w.RESYNCING, w.RESYNCING, 0, 0]


@pytest.mark.kernel
@pytest.mark.parametrize("status", [w.HALTED, w.CANCEL_ONLY, w.MAINTENANCE, w.DELISTED])
def test_a_venue_that_does_not_trade_takes_no_orders_and_the_gate_sends_none(status):
    rows = tape(*OPEN, (10, w.STATUS, 0, status, 0), (30, w.STATUS, 0, w.TRADING, 0), END)
    script = [
        {**PLACE, "at": 1, "side": BUY, "price": 98, "qty": 2},
        {**PLACE, "at": 4, "side": BUY, "price": 97, "qty": 2},  # arrives at 12
        {**PLACE, "at": 15, "side": BUY, "price": 98, "qty": 2},  # denied
        {"op": w.CANCEL, "at": 16, "target": 1},  # arrives at 24
        {**PLACE, "at": 35, "side": BUY, "price": 98, "qty": 2},
    ]
    test = play(rows, script, venue=Venue(entry=Delay(ns=8 * MS)))
    said = [row for row in told(test, 0, "kind", "tag", "reason", "status") if row[0] != w.SENT]
    refused = (w.REJECT, 2, w.REASON_NOT_TRADING, w.REJECTED)
    gone = {
        w.MAINTENANCE: (w.CANCEL_REJECT, 1, w.REASON_NOT_TRADING, w.NEW),
        w.DELISTED: (w.EXPIRE, 1, w.REASON_NOT_TRADING, w.EXPIRED),
    }.get(status, (w.CANCEL_ACK, 1, 0, w.CANCELED))
    assert refused in said
    assert gone in said
    assert (w.REJECT, 3, 0, w.DENIED) in said
    assert (w.ACK, 5, 0, w.NEW) in said
    assert test.lanes[0].ctx.gate.market[0, VENUE_STATUS] == w.TRADING
    flags = [row[4] for row in heard(test) if row[0] == w.STATUS]
    assert flags == [w.NOT_TRADING, 0]


@pytest.mark.kernel
def test_funding_is_paid_at_its_time_on_what_is_held_then_at_the_mark():
    """Held 3 at 110 and a rate of one per cent: a long pays 3.3; a late rate pays nothing more."""
    hour, rate = START + 500 * MS, 10**10
    rows = tape(
        *OPEN,
        (5, w.MARK, 0, 110, 0),
        (6, w.FUNDING, 0, rate, hour),
        (499, w.FUNDING, 0, rate, hour),
        (500, w.FUNDING, 0, 7 * rate, hour + 500 * MS),
        (800, w.TRADE, BUY, 150, 1),
    )
    lanes = [
        [{**TAKE, "at": 20, "side": side, "qty": 3}, {**TAKE, "at": 600, "side": -side, "qty": 1}]
        for side in (BUY, SELL)
    ]
    test = play(rows, lanes[0], sets=[lanes[1], []])
    start = [-3 * 102, 3 * 100, 0]  # what the fills cost
    after = [100, -102, 0]
    fees = [406, 402, 0]  # traded, of which 0.2 % is asked
    for lane, paid in enumerate((-330_000_000, 330_000_000, 0)):
        cash = int(test.bottle.cash[lane, 0].sum())
        gone = (start[lane] + after[lane]) * 10**8 - fees[lane] * 200_000
        assert cash == gone + paid
    marks = [test.lanes[lane].ctx.gate.market[0, MARK_PRICE] for lane in range(3)]
    assert marks == [110] * 3
    kinds = [row[0] for row in heard(test)]
    assert kinds == [w.TOP, w.MARK, w.FUNDING, w.FUNDING, w.FUNDING, w.TRADE]
    assert all(row[0] in (w.ACK, w.FILL) for row in told(test))  # money is no strategy's report


@pytest.mark.kernel
def test_an_imported_history_of_rates_is_paid_row_by_row_at_its_own_times(tmp_path):
    """Two rates of the table, of 1 % and -2 %, on 3 held at 110: 3.3 are paid, 6.6 come back."""
    path = tmp_path / "t.csv"
    hours = [START + 500 * MS, START + 700 * MS]
    path.write_text(f"time,funding_rate\n{hours[0]},0.01\n{hours[1]},-0.02\n")
    _, sinks = imported(path, Options(venue="x", symbol="AB"))
    (sink,) = sinks.values()
    rows = tape(
        *OPEN,
        (5, w.MARK, 0, 110, 0),
        *((hour // MS - START // MS, w.FUNDING, 0, 0, 0) for hour in hours),
        (800, w.TRADE, BUY, 150, 1),
    )
    at = np.flatnonzero(rows["kind"] == w.FUNDING)
    for name in ("ts_event", "ts_recv", "price", "qty"):
        rows[name][at] = sink.rows[name]
    test = play(rows, [{**TAKE, "at": 20, "side": BUY, "qty": 3}])
    fee = 3 * 102 * 200_000
    paid = -330_000_000 + 660_000_000
    assert int(test.bottle.cash[0, 0].sum()) == -3 * 102 * 10**8 - fee + paid


@pytest.mark.kernel
def test_rows_that_say_nothing_to_a_venue_are_told_or_passed_over():
    rows = tape(
        *OPEN,
        (5, w.SEQ, 0, 7, 6),
        (6, w.INDEX, 0, 101, 0),
        (7, w.BAR, 0, 101, 3),
        (8, w.LIQUIDATION, SELL, 99, 3),
        END,
    )
    kinds = [(row[0], row[2]) for row in heard(play(rows))]
    assert kinds == [
        (w.TOP, 100),
        (w.INDEX, 101),
        (w.BAR, 101),
        (w.LIQUIDATION, 99),
        (w.TRADE, 150),
    ]


def with_rare(rows):
    """Put a mark, a funding rate, a halt and a gap with its image among synthetic rows."""
    made = []
    for k, row in enumerate(rows):
        made.append(row.reshape(1))
        extra = {
            1_000: (w.MARK, 600_000, 0), 1_500: (w.FUNDING, 10**8, 0),
            2_000: (w.STATUS, w.HALTED, 0), 2_100: (w.STATUS, w.TRADING, 0), 3_000: (w.GAP, 0, 0),
        }.get(k)  # fmt: skip
        if extra is not None:
            one = row.reshape(1).copy()
            one["kind"], one["price"], one["qty"] = extra
            one["flags"] = w.LAST_IN_MESSAGE
            made.append(one)
        if k == 3_500:
            image = np.zeros(5, TICK)
            for name in ("ts_event", "ts_recv"):
                image[name] = row[name]
            image["kind"] = [w.CLEAR] + [w.DELTA] * 4
            image["side"] = [0, 1, 1, -1, -1]
            image["price"], image["qty"] = [0, 600_000, 599_990, 600_003, 600_010], 50
            image["flags"][-1] = w.LAST_IN_MESSAGE
            made.append(image)
    return np.concatenate(made)


@pytest.fixture(scope="module")
def market():
    return synthetic(6_000)


@pytest.mark.kernel
def test_two_books_come_to_the_same_through_rare_rows(market):
    """Each row apart for the exchange's side and for ours, as where messages overtook."""
    rows, table = with_rare(market[0]), market[1]
    sides = [rows.copy(), rows.copy()]
    sides[0]["flags"] |= w.TICK_EXCHANGE
    sides[1]["flags"] |= w.TICK_LOCAL
    order = np.concatenate((rows["ts_event"], rows["ts_recv"])).argsort(kind="stable")
    one, two = run(rows, table), run(np.concatenate(sides)[order], table)
    assert came_to(two) == came_to(one)
    assert two.bottle.digest[0] == one.bottle.digest[0]
    denied = one.lanes[0].ctx.counters
    assert denied[c.C_DENIED_BY + w.DENY_STALE] + denied[c.C_DENIED_BY + w.DENY_NOT_TRADING] > 0


@pytest.mark.kernel
def test_lanes_fare_as_alone_through_rare_rows(market):
    rows, table = with_rare(market[0]), market[1]
    sets = [config(half=0.5 + k, skew=0.3 * k) for k in range(3)]
    together = run(rows, table, configs=sets)
    for lane, one in enumerate(sets):
        assert together.bottle.digest[lane] == run(rows, table, configs=[one]).bottle.digest[0]
