"""hftbacktest's orders of the common maker, one by one, under the models that are asked for.

    .peers/hft/bin/python bench/lib/peer_fidelity.py ROWS.npy CASES.json > ORDERS.json

CASES: a list of {"queue", "power", "whole", "points", "lot"}; points: (time ns, delay ns) of both
ways, or none for 5 ms each; lot: what a lot is worth in its unit of quantity. Answers a dict per
case: orders sent; what the run ended with (1: the tape did); orders seen filled again after a part;
and [number, side, price in ticks, lots, ns of the last fill at the exchange] of each order with
fills. The time is 0 for an order that was not filled whole: a cancel has set it anew.
"""

import json
import sys
from pathlib import Path

import numpy as np
from hftbacktest import FILLED, GTX, LIMIT, BacktestAsset, ROIVectorMarketDepthBacktest
from numba import njit
from peer_rows import TICK, events_of

ORDER_LATENCY = np.dtype(
    [("req_ts", "i8"), ("exch_ts", "i8"), ("resp_ts", "i8"), ("_padding", "i8")], align=True
)


def build(events, case, lot):
    """Return a fresh back-test of a case, and what must outlive it."""
    asset = (
        BacktestAsset().data(events).linear_asset(1.0).tick_size(TICK).lot_size(lot)
        .trading_value_fee_model(0.0002, 0.0005)
        .roi_lb(55_000.0).roi_ub(66_000.0).last_trades_capacity(0)
    )  # fmt: skip
    latency = None
    if case["points"]:
        points = np.array(case["points"], np.int64)
        latency = np.zeros(len(points), ORDER_LATENCY)
        latency["req_ts"] = points[:, 0]
        latency["exch_ts"] = points[:, 0] + points[:, 1]
        latency["resp_ts"] = latency["exch_ts"] + points[:, 1]
        asset.intp_order_latency(latency)
    else:
        asset.constant_order_latency(5_000_000, 5_000_000)
    power = case["power"]
    queue = {
        "risk_averse": asset.risk_adverse_queue_model,
        "power": lambda: asset.power_prob_queue_model(power),
        "power_2": lambda: asset.power_prob_queue_model2(power),
        "power_3": lambda: asset.power_prob_queue_model3(power),
        "log": asset.log_prob_queue_model,
        "log_2": asset.log_prob_queue_model2,
    }[case["queue"]]
    queue()
    if case["whole"]:
        asset.no_partial_fill_exchange()
    else:
        asset.partial_fill_exchange()
    return ROIVectorMarketDepthBacktest([asset]), latency


@njit
def look(test, found, lot):
    """Keep what every order came to so far: a row an order."""
    values = test.orders(0).values()
    while values.has_next():
        order = values.get()
        if order.leaves_qty < order.qty - 1e-9 and order.order_id < len(found):
            row = found[order.order_id]
            row[0], row[1] = order.side, order.price_tick
            lots = round((order.qty - order.leaves_qty) / lot)
            row[4] = max(row[4], int(0 < row[2] < lots))
            row[2] = lots
            row[3] = order.exch_timestamp if order.status == FILLED else 0


@njit
def maker(test, half, skew, qty, most, found, lot):
    """Quote as peer_hft.maker; returns the orders sent, and how it ended: 1 = the tape did."""
    working, sent = [0, 0], 0
    while True:
        code = test.elapse(100_000_000)
        if code != 0:
            break
        look(test, found, lot)
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
            wanted = sign * held + qty <= most + lot / 1e3
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
    look(test, found, lot)
    return sent, code


def main():
    """Answer."""
    rows = np.load(sys.argv[1])
    cases = json.loads(Path(sys.argv[2]).read_text())
    told = []
    for case in cases:
        lot = case["lot"]
        events = events_of(rows, lot)  # it reads them where they are
        test, _latency = build(events, case, lot)
        found = np.zeros((1 << 16, 5), np.int64)
        sent, code = maker(test, 1.5, 0.5, 50 * lot, 500 * lot, found, lot)
        filled = np.flatnonzero(found[:, 2])
        orders = [[int(k), *(int(v) for v in found[k, :4])] for k in filled]
        told.append(
            {
                "sent": int(sent),
                "ended": int(code),
                "again": int(found[:, 4].sum()),
                "orders": orders,
            }
        )
        test.close()
    json.dump(told, sys.stdout)


main()
