"""Tapes order by order in a backtest: the same engine, queues that are known."""

import random

import numpy as np
import pytest

from alephtx.core import words as w
from alephtx.core.errors import SimulationError
from alephtx.core.kernel import JIT
from alephtx.core.records import EVENT
from alephtx.engine.backtest import Backtest, Tape, Venue
from alephtx.sim.bottle import T_LAGGED
from alephtx.testing.synthetic import synthetic
from tests.engine.replaying import MS, PLACE, START, heard, play, tape, told
from tests.engine.test_replay import AS_THE_PEERS, came_to, config, run

BUY, SELL = w.BUY, w.SELL


def by_order(count, seed=3):
    """Return EVENT rows of a made-up market of single orders around 600,000."""
    source, made, live = random.Random(seed), [], {}
    now, middle, number = START, 600_000, 0

    def say(kind, order_id, side, price, qty, last=True):
        flags = w.LAST_IN_MESSAGE if last else 0
        made.append((now, now + 2 * MS, order_id, price, qty, 0, kind, side, flags))

    def best(side):
        return max((side * o[1] for o in live.values() if o[0] == side), default=None)

    while len(made) < count:
        now += source.randrange(1, 3 * MS)
        draw = source.random()
        if draw < 0.5 or len(live) < 40:
            side, number = source.choice((BUY, SELL)), number + 1
            price = middle - side * source.randrange(1, 12)
            facing = best(-side)
            if facing is not None and side * price + facing >= 0:
                middle += side
                continue
            live[number] = [side, price, source.randrange(1, 90)]
            say(w.ORDER_ADD, number, *live[number])
        elif draw < 0.8:
            order_id = source.choice(list(live))
            side, price, qty = live[order_id]
            if source.random() < 0.4 and qty > 1:
                live[order_id][2] = source.randrange(1, qty)
                say(w.ORDER_CHANGE, order_id, *live[order_id])
            else:
                del live[order_id]
                say(w.ORDER_DELETE, order_id, side, price, qty)
        else:
            side, rest = source.choice((BUY, SELL)), source.randrange(1, 200)
            while rest and best(side) is not None:
                front = best(side)
                order_id = min(k for k, o in live.items() if o[0] == side and side * o[1] == front)
                price, there = live[order_id][1:]
                met = min(rest, there)
                rest -= met
                say(w.ORDER_FILL, order_id, side, price, met, last=False)
                say(w.TRADE, 0, -side, price, met)
                live[order_id][2] -= met
                if not live[order_id][2]:
                    del live[order_id]
    return np.array(made[:count], EVENT)


@pytest.fixture(scope="module")
def market():
    return by_order(30_000 if JIT else 4_000), synthetic(10)[1]


@pytest.mark.kernel
@pytest.mark.smoke
def test_a_maker_trades_and_lanes_fare_as_alone(market):
    rows, table = market
    sets = [config(half=0.5 + k) for k in range(3)]
    together = run(rows, table, configs=sets)
    for lane, one in enumerate(sets):
        alone = run(rows, table, configs=[one])
        assert together.bottle.digest[lane] == alone.bottle.digest[0]
    assert came_to(together)[1] > 20


@pytest.mark.kernel
def test_two_books_come_to_what_one_comes_to(market):
    rows, table = market
    sides = [rows.copy(), rows.copy()]
    sides[0]["flags"] |= w.TICK_EXCHANGE
    sides[1]["flags"] |= w.TICK_LOCAL
    order = np.concatenate((rows["ts_event"], rows["ts_recv"])).argsort(kind="stable")
    one, two = run(rows, table), run(np.concatenate(sides)[order], table)
    assert two.bottle.streams[0, T_LAGGED] == 1
    assert came_to(two) == came_to(one)
    assert two.bottle.digest[0] == one.bottle.digest[0]


@pytest.mark.kernel
def test_an_image_puts_ours_at_the_back_and_prints_alone_move_nobody():
    rows = tape(
        (0, w.CLEAR, 0, 0, 0, 0),
        (0, w.ORDER_ADD, BUY, 100, 5, 0, 1),
        (0, w.ORDER_ADD, SELL, 102, 5, w.LAST_IN_MESSAGE, 2),
        (10, w.ORDER_ADD, BUY, 100, 5, w.LAST_IN_MESSAGE, 3),
        (11, w.TRADE, SELL, 100, 50),
        (12, w.ORDER_FILL, 0, 100, 5, 0, 1),
        (12, w.ORDER_FILL, 0, 100, 1, w.LAST_IN_MESSAGE, 3),  # behind us: it was ours
        (20, w.CLEAR, 0, 0, 0, 0),
        (20, w.ORDER_ADD, BUY, 100, 4, 0, 3),
        (20, w.ORDER_ADD, SELL, 102, 5, w.LAST_IN_MESSAGE, 2),
        (30, w.ORDER_FILL, 0, 100, 4, w.LAST_IN_MESSAGE, 3),
        (40, w.TRADE, SELL, 99, 1),  # through us: nobody saw whom it met
        (50, w.ORDER_ADD, BUY, 90, 1, w.LAST_IN_MESSAGE, 9),
    )
    test = play(rows, [{**PLACE, "at": 5, "side": BUY, "price": 100, "qty": 3}])
    said = told(test, 0, "kind", "qty", "at")
    assert said[1:] == [(w.FILL, 1, START + 12 * MS), (w.FILL, 2, START + 40 * MS)]
    assert [row[0] for row in heard(test)][:3] == [w.TOP, w.TOP, w.TRADE]


def test_queues_and_tapes_that_do_not_go_together_are_refused(market):
    rows, table = market
    levels = synthetic(100)[0]
    with pytest.raises(SimulationError, match="queue 'fifo' of a tape without single orders"):
        Backtest([config()], table, [Tape(levels)], venue=Venue(queue="fifo"))
    mixed = rows[:50].copy()
    mixed["kind"][7] = w.DELTA
    with pytest.raises(SimulationError, match="levels beside single orders"):
        Backtest([config()], table, [Tape(mixed)], venue=AS_THE_PEERS)
    single = levels.copy()
    single["kind"][3] = w.ORDER_ADD
    with pytest.raises(SimulationError, match="row 3 is of kind 16"):
        Backtest([config()], table, [Tape(single)])
