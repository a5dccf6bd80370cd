"""The matching kernel against its naive pair, and its rules one by one."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.kernel import JIT
from alephtx.core.records import EVENT
from alephtx.sim import matching as m
from tests.sim.naive_matching import Naive

TIF = {"GTC": words.GTC, "IOC": words.IOC, "FOK": words.FOK}
VERDICT = {"would_cross": m.WOULD_CROSS, "unfilled": m.UNFILLED}


class Engine:
    """The kernel behind the naive engine's interface."""

    def __init__(self, orders_max=64, levels_max=256, fills=512):
        self.x = m.make_exchange(2, orders_max, levels_max, 1024)
        self.fills = m.make_fills(fills)

    def rows(self, n):
        return [
            (
                *(int(row[name]) for name in ("order_id", "price", "qty", "left")),
                bool(row["liquidity"] == words.MAKER),
            )
            for row in self.fills[:n]
        ]

    def levels(self, levels, seq=0, snapshot=False):
        array = np.array(levels, np.int64).reshape(-1, 3)
        n = m.on_levels(self.x, 1, array, len(levels), seq, int(snapshot), self.fills)
        return self.rows(n)

    def top(self, *arguments):
        return self.rows(m.on_top(self.x, 1, *arguments, self.fills))

    def trade(self, price, qty, aggressor):
        return self.rows(m.on_trade(self.x, 1, price, qty, aggressor, self.fills))

    def place(self, order_id, side, price, qty, account=0, tif="GTC", **extra):
        row = np.zeros(1, m.SIM_ORDER)
        row["order_id"], row["price"], row["qty"] = order_id, price, qty
        row["whole"] = qty
        row["instrument"], row["account"], row["side"] = 1, account, side
        row["type"] = words.MARKET if extra.get("market") else words.LIMIT
        row["tif"], row["stp"] = TIF[tif], extra.get("stp", 0)
        row["flags"] = words.POST_ONLY if extra.get("post_only") else 0
        n = m.place(self.x, row, self.fills)
        fills = self.rows(n) if n > 0 else []
        return min(n, 0), fills, int(row["qty"][0]), bool(row["resting"][0])

    def shown(self, side):
        out = np.zeros((64, 2), np.int64)
        n = m.displayed(self.x, 1, side, out)
        assert (np.diff(side * out[:n, 0]) < 0).all()
        return {int(price): int(qty) for price, qty in out[:n]}

    def resting(self, side):
        s = 0 if side > 0 else 1
        rows = self.x.orders[1, s, : self.x.live[1, s]]
        return [tuple(int(row[f]) for f in ("order_id", "price", "qty", "ahead")) for row in rows]


# Books that mostly keep their sides apart, so that orders rest, wait and meet before they fill.
bids, asks, prices = st.integers(96, 100), st.integers(100, 104), st.integers(98, 102)
sizes = st.integers(0, 9)
sides = st.sampled_from([1, -1])
level = st.one_of(st.tuples(st.just(1), bids, sizes), st.tuples(st.just(-1), asks, sizes))
often_gtc = st.sampled_from(["GTC", "GTC", "GTC", "IOC", "FOK"])
seldom = st.sampled_from([False, False, False, True])
operations = st.one_of(
    st.tuples(st.just("levels"), st.lists(level, max_size=6), st.integers(0, 3), seldom),
    st.tuples(st.just("top"), bids, sizes, asks, sizes, st.integers(0, 3)),
    st.tuples(st.just("trade"), prices, st.integers(1, 12), sides),
    st.tuples(
        st.just("place"),
        st.integers(0, 1),
        sides,
        prices,
        st.integers(1, 12),
        seldom,
        often_gtc,
        seldom,
        st.integers(0, 4),
    ),
    st.tuples(st.just("cancel"), st.integers(1, 20)),
    st.tuples(st.just("reduce"), st.integers(1, 20), st.integers(0, 6)),
)


def apply_both(engine, naive, operation, state):
    kind, *rest = operation
    if kind == "levels":
        levels, step, snapshot = rest
        state["seq"] += step
        seq = state["seq"]
        return engine.levels(levels, seq, snapshot), naive.on_levels(levels, seq, snapshot)
    if kind == "top":
        bid, bid_qty, ask, ask_qty, step = rest
        seq = state["seq"] + step
        arguments = (bid, bid_qty, ask, ask_qty, seq)
        return engine.top(*arguments), naive.on_top(*arguments)
    if kind == "trade":
        return engine.trade(*rest), naive.on_trade(*rest)
    if kind == "place":
        account, side, price, qty, market, tif, post_only, stp = rest
        state["id"] += 1
        named = {"market": market, "tif": tif, "post_only": post_only and not market, "stp": stp}
        ours = engine.place(state["id"], side, price, qty, account, **named)
        verdict, *wanted = naive.place(state["id"], account, side, price, qty, **named)
        return ours, (VERDICT.get(verdict, 0), *wanted)
    if kind == "cancel":
        return int(m.cancel(engine.x, 1, rest[0])), naive.cancel(rest[0])
    return int(m.reduce(engine.x, 1, *rest)), naive.reduce(*rest)


@pytest.mark.kernel
@settings(
    max_examples=300 if JIT else 150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(operations, min_size=8, max_size=60))
def test_matching_equals_the_naive_engine_over_random_histories(history):
    engine, naive, state = Engine(), Naive(), {"seq": 1, "id": 0}
    for operation in history:
        ours, wanted = apply_both(engine, naive, operation, state)
        assert ours == wanted
        for side in (1, -1):
            assert engine.shown(side) == naive.levels[side]
            mine = [(o.order_id, o.price, o.qty, o.ahead) for o in naive.resting(side)]
            assert engine.resting(side) == mine


@pytest.mark.kernel
@pytest.mark.smoke
def test_resting_order_waits_for_the_queue_that_was_there_before_it():
    engine = Engine()
    engine.levels([(1, 100, 5), (-1, 101, 5)], snapshot=True)
    engine.place(1, 1, 100, 3)
    assert engine.trade(100, 4, -1) == []
    assert engine.trade(100, 2, -1) == [(1, 100, 1, 2, True)]
    assert engine.trade(99, 1, -1) == [(1, 100, 2, 0, True)]


@pytest.mark.kernel
def test_queue_place_is_clamped_when_the_level_shrinks_and_kept_when_it_grows():
    engine = Engine()
    engine.levels([(1, 100, 5)], snapshot=True)
    engine.place(1, 1, 100, 3)
    engine.levels([(1, 100, 2)], 1)
    assert m.queue_ahead(engine.x, 1, 1) == 2
    engine.levels([(1, 100, 9)], 2)
    assert m.queue_ahead(engine.x, 1, 1) == 2


@pytest.mark.kernel
def test_two_of_our_orders_at_one_price_share_a_print_in_their_order():
    engine = Engine()
    engine.levels([(1, 100, 4)], snapshot=True)
    engine.place(1, 1, 100, 3)
    engine.levels([(1, 100, 6)], 1)
    engine.place(2, 1, 100, 5)
    # 4 displayed ahead of the first, its 3, 2 more displayed, then the second.
    assert engine.trade(100, 10, -1) == [(1, 100, 3, 0, True), (2, 100, 1, 4, True)]


@pytest.mark.kernel
def test_taker_depletes_levels_until_the_venue_states_them_again():
    engine = Engine()
    engine.levels([(-1, 101, 5), (-1, 102, 5)], snapshot=True)
    _, fills, left, rests = engine.place(1, 1, 102, 7, tif="IOC")
    assert fills == [(1, 101, 5, 2, False), (1, 102, 2, 0, False)]
    assert (left, rests) == (0, False)
    assert engine.place(2, 1, 101, 1, tif="IOC")[1] == []
    engine.levels([(-1, 101, 5)], 1)
    assert engine.place(3, 1, 101, 1, tif="IOC")[1] == [(3, 101, 1, 0, False)]


@pytest.mark.kernel
def test_opposite_touch_that_reaches_our_price_fills_at_our_price_up_to_what_it_shows():
    engine = Engine()
    engine.levels([(1, 99, 5), (-1, 101, 5)], snapshot=True)
    engine.place(1, 1, 100, 3)
    assert engine.top(99, 5, 100, 2, 5) == [(1, 100, 2, 1, True)]


@pytest.mark.kernel
def test_older_levels_never_bring_back_prices_that_newer_best_prices_removed():
    engine = Engine()
    engine.levels([(1, 99, 5), (-1, 101, 5)], 1, snapshot=True)
    engine.top(98, 4, 101, 5, 10)
    engine.levels([(1, 99, 5), (1, 97, 1)], 5)
    assert engine.shown(1) == {98: 4, 97: 1}


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"qty": 0}, m.BAD_ORDER),
        ({"side": 0}, m.BAD_ORDER),
        ({"price": 0}, m.BAD_ORDER),
        ({"instrument": 2}, m.BAD_ORDER),
        ({"instrument": -1}, m.BAD_ORDER),
    ],
)
def test_malformed_order_is_refused_without_effect(changes, code):
    engine = Engine()
    row = np.zeros(1, m.SIM_ORDER)
    row["order_id"], row["price"], row["qty"], row["side"] = 1, 100, 1, 1
    row["type"], row["tif"] = words.LIMIT, words.GTC
    for name, value in changes.items():
        row[name] = value
    assert m.place(engine.x, row, engine.fills) == code
    assert not engine.x.live.any()


@pytest.mark.kernel
def test_full_order_table_refuses():
    engine = Engine(orders_max=2)
    engine.levels([(1, 101, 1), (1, 100, 1)], snapshot=True)
    assert engine.place(1, 1, 50, 1)[3]
    assert engine.place(2, 1, 50, 1)[3]
    assert engine.place(3, 1, 50, 1)[0] == m.FULL
    assert engine.place(4, 1, 101, 1, tif="IOC")[0] == 0


@pytest.mark.kernel
def test_event_rows_of_a_message_equal_the_same_message_as_levels():
    engine, twin = Engine(), Engine()
    rows = np.zeros(5, EVENT)
    rows["instrument"] = 1
    rows["kind"] = [words.CLEAR, words.SEQ, words.DELTA, words.DELTA, words.DELTA]
    rows["side"] = [0, 0, 1, -1, 1]
    rows["price"], rows["qty"], rows["seq"] = [0, 0, 99, 101, 98], [0, 0, 4, 5, 6], 7
    assert m.on_rows(engine.x, rows, 5, engine.fills) == 0
    twin.levels([(1, 99, 4), (-1, 101, 5), (1, 98, 6)], 7, snapshot=True)
    assert engine.shown(1) == twin.shown(1)
    assert engine.x.seq[1] == 7
    engine.place(1, 1, 99, 2)
    rows["kind"][:3] = [words.TRADE, words.TOP, words.TOP]
    rows["side"][:3] = [-1, 1, -1]
    rows["price"][:3], rows["qty"][:3], rows["seq"] = [99, 98, 99], [5, 6, 3], 8
    n = m.on_rows(engine.x, rows, 3, engine.fills)
    assert engine.rows(n) == [(1, 99, 1, 1, True), (1, 99, 1, 0, True)]


@pytest.mark.kernel
def test_preview_shows_what_a_taker_would_meet_and_changes_nothing():
    engine = Engine()
    engine.levels([(-1, 101, 5), (-1, 102, 5), (-1, 103, 5)], snapshot=True)
    out = np.zeros((8, 2), np.int64)
    assert m.preview(engine.x, 1, 1, 102, 99, out) == 2
    assert out[:2].tolist() == [[101, 5], [102, 5]]
    assert m.preview(engine.x, 1, 1, 0, 7, out) == 2
    assert out[:2].tolist() == [[101, 5], [102, 2]]


@pytest.mark.kernel
def test_warm_runs_every_kernel_and_leaves_the_given_exchange_alone():
    engine = Engine()
    m.warm(engine.x)
    assert not engine.x.live.any()
    assert engine.shown(1) == engine.shown(-1) == {}


@pytest.mark.kernel
def test_taker_of_ours_eats_the_queue_ahead_of_our_resting_order():
    engine = Engine()
    engine.levels([(1, 100, 4)], snapshot=True)
    engine.place(1, 1, 100, 3, account=0)
    engine.levels([(1, 100, 10)], 1)
    _, fills, *_ = engine.place(2, -1, 100, 6, account=1, tif="IOC")
    assert fills == [(2, 100, 4, 2, False), (1, 100, 2, 1, True), (2, 100, 2, 0, False)]


@pytest.mark.kernel
def test_new_image_pulls_the_queue_place_down_even_at_its_worst_level_but_not_below_it():
    engine = Engine()
    engine.levels([(1, 100, 9), (1, 99, 9), (1, 98, 9)], snapshot=True)
    engine.place(1, 1, 99, 1)
    engine.place(2, 1, 98, 1)
    engine.levels([(1, 100, 5), (1, 99, 4)], 1, snapshot=True)
    assert m.queue_ahead(engine.x, 1, 1) == 4
    assert m.queue_ahead(engine.x, 1, 2) == 9
