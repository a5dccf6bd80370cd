"""One coin at many venues, and what an arbitrage does about it: for the benches of detection."""

from decimal import Decimal
from pathlib import Path

import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.records import EVENT, INTENT, ORDER, POSITION, SIGNAL_ROW, TOP_ROW
from alephtx.core.view import View
from alephtx.core.words import TOP
from alephtx.matrix.layout import Geometry
from alephtx.matrix.ring import ring_publish, slot_aux
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_publish
from alephtx.strategies import arbitrage
from alephtx.strategies.hedging import edge_e8, sane

VENUES = 8
PRICE, LOTS = 5_000_000, 1_000_000
decide_all = kernel(arbitrage.on_event)


def matrix_of(path: Path, venues: int, each: int) -> Matrix:
    """Make a matrix of so many venues with so many instruments each, every ring and top filled."""
    table = Instruments(
        Instrument(
            key=f"v{venue}:C{k}-USDT", venue=f"v{venue}", symbol=f"C{k}USDT", base=f"C{k}",
            underlying="C", quote="USDT", settle="USDT", contract=words.SPOT, price_scale=2,
            qty_scale=5, tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"),
            taker_fee=Decimal("0.0004"),
        )
        for venue in range(venues) for k in range(each)
    )  # fmt: skip
    geometry = Geometry(
        instruments_max=venues * each, venues_max=venues, writers_max=max(venues, 2),
        table_bytes=1 << 23,
    )  # fmt: skip
    return Matrix.create(path, table, geometry)


def view_of_tops(instruments: Instruments) -> View:
    """Return a view of these instruments with no orders and no positions."""
    n = len(instruments)
    return View(
        now=np.array([10**9, 1, 0, 10**9], np.int64), top=np.zeros(n, TOP_ROW),
        levels=np.zeros((n, 2, 1, 2), np.int64), signals=np.zeros(1, SIGNAL_ROW),
        positions=np.zeros(n, POSITION), orders=np.zeros(16, ORDER),
        open_count=np.zeros(1, np.int64), instruments=instruments.rows(),
    )  # fmt: skip


def section_of(keys: list[str]) -> dict[str, object]:
    """Return an arbitrage's config section that never trades at the benches' prices."""
    return {"instruments": keys, "trigger_bps": "50", "qty_base": "0.1", "max_age_ms": 600_000}


class Scene:
    """An arbitrage over the first instrument of each of eight venues, and all that it is given."""

    def __init__(self, instruments: Instruments) -> None:
        keys = [instruments[instruments.of_venue(f"v{v}")[0]].key for v in range(VENUES)]
        self.view = view_of_tops(instruments)
        self.params = arbitrage.config_to_params(section_of(keys), instruments)
        self.state = np.zeros(1, arbitrage.STATE)
        self.intents, self.event = np.zeros(64, INTENT), np.zeros(1, EVENT)
        self.wanted = self.params[0]["instruments"][:VENUES].astype(np.int64)
        self.slots = np.ones(VENUES, np.int64)


@inline_kernel
def crossed(view: View, params: np.ndarray) -> int:
    """Return the place that bids most and, times 16, the one that asks least, if that pays; or -1.

    First every touch as it stands: where nobody bids more than another asks, no usable pair does.
    """
    bid, ask = np.int64(0), np.int64(1 << 62)
    for k in range(VENUES):
        i, scale = params[0]["instruments"][k], params[0]["price_mul"][k]
        bid = max(bid, view.top[i]["bid"] * scale)
        ask = min(ask, view.top[i]["ask"] * scale)
    return _best_pair(view, params) if bid > ask else -1


@kernel
def _best_pair(view: View, params: np.ndarray) -> int:
    """Judge the best pair by the strategy's own arithmetic: usable touches, the edge, fees."""
    high, low = 0, 0
    bid, ask = np.int64(0), np.int64(1 << 62)
    for k in range(VENUES):
        if not sane(view, params, k):
            continue
        i, scale = params[0]["instruments"][k], params[0]["price_mul"][k]
        if view.top[i]["bid"] * scale > bid:
            bid, high = view.top[i]["bid"] * scale, k
        if view.top[i]["ask"] * scale < ask:
            ask, low = view.top[i]["ask"] * scale, k
    fees = view.instruments[params[0]["instruments"][high]]["taker_fee_e8"]
    fees += view.instruments[params[0]["instruments"][low]]["taker_fee_e8"]
    bar = params[0]["trigger_e8"] + params[0]["margin_e8"]
    return high + 16 * low if edge_e8(view, params, high, low) - fees >= bar else -1


@kernel
def fill(matrix: np.ndarray, venue_of: np.ndarray, now: Int) -> int:
    """Publish a sane top of every instrument, in its record and in its venue's ring.

    A venue has 97 slots more than the one before: rings that all stood at one k would share a set
    of the first-level cache, which those of living venues do not.
    """
    for i in range(len(venue_of)):
        venue = venue_of[i]
        aux = slot_aux(i, TOP, 0, 0)
        if i == 0 or venue_of[i - 1] != venue:
            for _ in range(97 * venue):
                ring_publish(matrix, venue, now, now, PRICE, LOTS, PRICE + 1, LOTS, aux)
        ring_publish(matrix, venue, now, now, PRICE, LOTS, PRICE + 1 + venue, LOTS, aux)
        top_publish(matrix, i, now, now, PRICE, LOTS, PRICE + 1 + venue, LOTS, 0)
    return len(venue_of)
