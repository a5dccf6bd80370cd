"""hftbacktest at the same work, in an environment of its own: answers a mode a line with seconds.

    .peers/hft/bin/python bench/lib/peer_hft.py ROWS.npy
    mm | replay | sweep N

ROWS.npy: TICK rows of `alephtx.testing.synthetic`. Compiles before it says "ready", so that only
running is timed. The strategy is bench/lib/common_maker.py's, written as its documentation shows.
"""

import json
import sys
import time

import hftbacktest as hb
import numpy as np
from hftbacktest import (
    GTX,
    LIMIT,
    BacktestAsset,
    ROIVectorMarketDepthBacktest,
)
from numba import njit
from peer_rows import LOT, TICK, events_of


def build(events):
    """Return a fresh back-test of its fastest kind. events: an array, or the path of a .npz."""
    asset = (
        BacktestAsset().data(events).linear_asset(1.0).constant_order_latency(5_000_000, 5_000_000)
        .risk_adverse_queue_model().no_partial_fill_exchange()
        .trading_value_fee_model(0.0002, 0.0005).tick_size(TICK).lot_size(LOT)
        .roi_lb(55_000.0).roi_ub(66_000.0).last_trades_capacity(0)
    )  # fmt: skip
    return ROIVectorMarketDepthBacktest([asset])


@njit
def replay(test):
    """Run the market and nothing else."""
    n = 0
    while test.elapse(60_000_000_000) == 0:
        n += 1
    return n


@njit
def maker(test, half, skew, qty, most):
    """Quote as the common market maker; returns the orders sent."""
    working, sent = [0, 0], 0
    while test.elapse(100_000_000) == 0:
        test.clear_inactive_orders(0)
        depth = test.depth(0)
        bid, ask = depth.best_bid_tick, depth.best_ask_tick
        if bid <= 0 or ask >= 9_000_000_000:
            continue
        held = test.position(0)
        middle = (bid + ask) / 2.0 - skew * held / qty
        prices = (
            min(np.int64(np.floor(middle - half)), bid),
            max(np.int64(np.ceil(middle + half)), ask),
        )
        orders = test.orders(0)
        for side in range(2):
            sign = 1 - 2 * side
            wanted = sign * held + qty <= most + 1e-9
            order = orders.get(working[side])
            free = order is None
            if (
                order is not None
                and (order.price_tick != prices[side] or not wanted)
                and order.cancellable
            ):
                test.cancel(0, working[side], False)
                free = True
                working[side] = 0
            if free and wanted:
                sent += 1
                working[side] = sent
                price = prices[side] * TICK
                if side == 0:
                    test.submit_buy_order(0, sent, price, qty, GTX, LIMIT, False)
                else:
                    test.submit_sell_order(0, sent, price, qty, GTX, LIMIT, False)
    return sent


def run_maker(events, half=1.5, skew=0.5):
    """Return what a run took and came to."""
    test = build(events)
    begun = time.perf_counter()
    orders = maker(test, half, skew, 0.05, 0.5)
    seconds = time.perf_counter() - begun
    state = test.state_values(0)
    told = [orders, state.num_trades, round(state.position, 6), round(state.balance, 4)]
    test.close()
    return seconds, told


def run_replay(events):
    """Return what replaying took."""
    test = build(events)
    begun = time.perf_counter()
    replay(test)
    seconds = time.perf_counter() - begun
    test.close()
    return seconds, []


def answer(events, words):
    """Do what a line asks for."""
    if words[0] == "mm":
        return run_maker(events)
    if words[0] == "replay":
        return run_replay(events)
    took = [run_maker(events, 0.5 + 0.25 * (k % 10), 0.1 * (k // 10)) for k in range(int(words[1]))]
    return sum(seconds for seconds, _ in took), [sum(told[1] for _, told in took)]


def main():
    """Serve; see the module."""
    events = events_of(np.load(sys.argv[1]))
    few = events[:3_000].copy()
    run_maker(few)
    run_replay(few)
    sys.stdout.write(
        json.dumps({"ready": f"hftbacktest {hb.__version__}", "rows": len(events)}) + "\n"
    )
    sys.stdout.flush()
    for line in sys.stdin:
        seconds, told = answer(events, line.split())
        sys.stdout.write(json.dumps({"seconds": seconds, "told": told}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
