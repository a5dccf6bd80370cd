"""A venue that plays by chance, and what must hold of a strategy whatever it does."""

import numpy as np

from alephtx.core import words as w
from tests.strategies.world import MS

SPOILT = (w.STALE, w.RESYNCING, w.CROSSED, w.EMPTY_SIDE, w.NOT_TRADING)


def play(made, luck, *, cancels=True):
    """Let every live order meet a fate: forgotten, acknowledged, cut, filled, refused, unknown."""
    for order in made.live():
        what, status = luck.integers(0, 8), int(order["status"])
        if what == 0 and status == w.PENDING_NEW:
            made.tell(w.ACK, order)
        elif what == 1:
            made.fill(order)
        elif what == 2 and order["leaves_qty"] > 1:
            made.fill(order, int(luck.integers(1, order["leaves_qty"])))
        elif what == 3 and status == w.PENDING_CANCEL and cancels:
            made.tell(w.CANCEL_ACK, order)
        elif what == 4 and status == w.PENDING_NEW:
            made.tell(w.REJECT, order, reason=w.REASON_WOULD_CROSS)
        elif what == 5 and status == w.PENDING_NEW and luck.integers(0, 4) == 0:
            made.tell(w.AMBIGUOUS, order)
        elif what == 6 and status == w.UNKNOWN:
            made.tell(w.NOT_FOUND, order)


def move(made, luck, i, middle, step, half=1):
    """Let time pass and the market move, now and then away, flagged, crossed or one-sided."""
    made.wait(int(luck.integers(1, 60)) * MS)
    middle += int(luck.integers(-step, step + 1))
    what = luck.integers(0, 20)
    sizes = int(luck.integers(1, 10**7)), int(luck.integers(1, 10**7))
    if what == 0:
        made.quote(i, middle - half, middle + half, *sizes, aux=SPOILT[luck.integers(0, 5)])
    elif what == 1:
        made.quote(i, 0, middle + half, 0, sizes[1])
    elif what == 2:
        made.wait(2_000 * MS)
    else:
        made.quote(i, middle - half, middle + half, *sizes)
    return middle


def reach(made, i):
    """Return the lowest and the highest position that fills of live orders could lead to, lots."""
    live = [row for row in made.live() if row["instrument"] == i]
    bought = sum(int(row["leaves_qty"]) for row in live if row["side"] == w.BUY)
    sold = sum(int(row["leaves_qty"]) for row in live if row["side"] == w.SELL)
    return made.qty(i) - sold, made.qty(i) + bought


def seeds(count):
    return [int(x) for x in np.arange(count)]
