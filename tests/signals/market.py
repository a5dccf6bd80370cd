"""A small market for signals: instruments, a view, and random books and trades in it."""

from decimal import Decimal as Dec

import numpy as np

from alephtx.core import words as w
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.records import EVENT, INSTRUMENT, ORDER, POSITION, SIGNAL_ROW, TOP_ROW
from alephtx.core.view import View

START = 1_700_000_000_000_000_000
MS = 1_000_000
SECOND = 1_000_000_000
DEPTH = 5
A, B = "a:BTC-USDT", "b:BTC-USDT-PERP"


def instruments():
    return Instruments([
        Instrument(
            key=key, venue=key[0], symbol="BTCUSDT", base="BTC", quote="USDT", settle="USDT",
            contract=kind, price_scale=scale, qty_scale=3, tick_size=Dec(1).scaleb(-scale),
            lot_size=Dec("0.001"),
        )
        for key, kind, scale in ((A, w.SPOT, 2), (B, w.LINEAR, 1))
    ])  # fmt: skip


def empty_view(count=2, depth=DEPTH):
    return View(
        now=np.zeros(4, np.int64), top=np.zeros(count, TOP_ROW),
        levels=np.zeros((count, 2, depth, 2), np.int64), signals=np.zeros(1, SIGNAL_ROW),
        positions=np.zeros(count, POSITION), orders=np.zeros(1, ORDER),
        open_count=np.zeros(1, np.int64), instruments=np.zeros(count, INSTRUMENT),
    )  # fmt: skip


def put_book(view, i, bids, asks):
    """Set levels, best first, as (ticks, lots), and the top that follows from them."""
    view.levels[i] = 0
    for s, side in enumerate((bids, asks)):
        for k, level in enumerate(side[: view.levels.shape[2]]):
            view.levels[i, s, k] = level
    top = view.top[i]
    top["bid"], top["bid_qty"] = bids[0] if bids else (0, 0)
    top["ask"], top["ask_qty"] = asks[0] if asks else (0, 0)
    top["aux"] = 0 if bids and asks else w.EMPTY_SIDE


def event(kind=w.DELTA, i=0, side=0, price=0, qty=0):
    row = np.zeros(1, EVENT)
    row["kind"], row["instrument"], row["side"], row["price"], row["qty"] = (
        kind,
        i,
        side,
        price,
        qty,
    )
    return row


def random_market(seed, n):
    """Yield (now, event) of a random market, with the view brought up to date in place."""
    rng = np.random.default_rng(seed)
    view, mids = empty_view(), np.array([5_000_000, 500_000])
    now = START
    for _ in range(n):
        now += int(rng.choice([0, 1, 3 * MS, 40 * MS, 700 * MS, 9 * SECOND],
                              p=[0.05, 0.05, 0.4, 0.3, 0.19, 0.01]))  # fmt: skip
        i = int(rng.integers(0, 2))
        view.now[0] = now
        if rng.random() < 0.3:
            row = event(
                w.TRADE, i, int(rng.choice([-1, 1])), int(mids[i]), int(rng.integers(1, 500))
            )
        else:
            mids[i] += int(rng.integers(-6, 7))
            half = int(rng.integers(1, 4))
            bids, asks = (
                [(int(mids[i]) + s * (half + 2 * k), int(rng.integers(1, 10**6)))
                 for k in range(int(rng.choice([0, 1, 3, DEPTH], p=[0.02, 0.08, 0.2, 0.7])))]
                for s in (-1, 1)
            )  # fmt: skip
            put_book(view, i, bids, asks)
            row = event(w.TOP, i)
        yield now, row, view
