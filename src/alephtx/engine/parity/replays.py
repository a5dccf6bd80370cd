"""The replays beside a session: its own orders at a simulated venue, and its strategies anew."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from alephtx.analysis.parity import Orders, Reach
from alephtx.analysis.story import OrderLine, Story
from alephtx.core import words
from alephtx.core.config_schema import Config
from alephtx.core.ports import Rows
from alephtx.core.records import INTENT
from alephtx.engine.backtest import Backtest, Delay, Tape, Venue, Ways
from alephtx.engine.parity.session import Session
from alephtx.engine.parity.stamps import MIDDLE, Stamps
from alephtx.engine.touches import all_touches
from alephtx.matrix import journal
from alephtx.sim import bottle as b
from alephtx.sim.flight import flight_room, flight_send

REMEMBERED = 1_024
SEGMENT_BYTES = 16 << 20


class Told(Backtest):
    """A market in which nobody decides: orders arrive that were sent elsewhere, at given times."""

    def send(self, arrivals: list[tuple[int, Rows]]) -> None:
        """Put (time, INTENT row) on their way, in the order in which they arrive."""
        bottle = self.bottle
        room = len(arrivals) + int(bottle.clock[b.K_UP_ROOM])
        while flight_room(bottle.up_place) < room:
            bottle = b.grow_bottle(bottle, b.K_GROW_UP)
        ways = bottle.up_place, bottle.up_ring, bottle.up_free, bottle.up_lane
        for time, row in sorted(arrivals, key=lambda arrival: arrival[0]):
            bottle.up_rows[flight_send(*ways, time, 0)] = row
        self.bottle = bottle
        self.words[:] = b.pack_bottle(bottle, self._rows)

    def _check_end(self) -> None:
        """Do not mind that reports are of orders which this engine never sent."""


def tell(
    session: Session, stamps: Stamps, queue: str, place: float = MIDDLE, end: float = MIDDLE
) -> Orders:
    """Return what the session's orders come to. place, end: see `stamps.Arrival.at`."""
    config = msgspec.structs.replace(session.config, strategies={}, shared=None)
    with tempfile.TemporaryDirectory(prefix="aleph-diff-") as folder:
        with _journal(Path(folder), session) as kept:
            test = Told(
                [config], session.instruments, _tapes(session),
                venue=Venue(feed=Delay(ns=0), queue=queue), journal=kept,
            )  # fmt: skip
            test.send(_arrivals(session, stamps, place, end))
            test.run()
        story = Story(len(session.instruments))
        for row in session.intents:
            story.intent(dict(zip(INTENT.names or (), row.tolist(), strict=True)))
        for record in journal.read(folder):
            story.apply(record.kind, record.payload, record.ts)
    return Orders.of(story.orders, story.fills)


def _arrivals(session: Session, stamps: Stamps, place: float, end: float) -> list[tuple[int, Rows]]:
    found = []
    for arrival in stamps.arrivals:
        row = session.intents[arrival.row]
        when = place if row["op"] == words.PLACE else end
        found.append((arrival.at(when), row))
    accounts = {int(row["order_id"]): row for row in session.intents}
    for order_id, at in stamps.removed:
        row = np.zeros(1, INTENT)[0]
        row["op"], row["target_order_id"] = words.CANCEL, order_id
        for name in ("account", "instrument", "strategy"):
            row[name] = accounts[order_id][name]
        found.append((at, row))
    return found


def decide(
    session: Session, stamps: Stamps, queue: str, feed_ns: int = 0, response_ns: int = 0
) -> Orders:
    """Return what the strategies do by themselves, hearing market and reports that much later."""
    config = _alone(session.config)
    ways = {name: _late(way, response_ns) for name, way in stamps.ways.items()}
    venue = Venue(feed=Delay(kind="recorded", ns=stamps.shift_ns + feed_ns), queue=queue, ways=ways)
    with tempfile.TemporaryDirectory(prefix="aleph-diff-") as folder:
        with _journal(Path(folder), session) as kept:
            Backtest(
                [config], session.instruments, _tapes(session), venue=venue, journal=kept,
                start_ns=session.started_ns + stamps.shift_ns, remembered=REMEMBERED,
            ).run()  # fmt: skip
        story = Story(len(session.instruments))
        for record in journal.read(folder):
            story.apply(record.kind, record.payload, record.ts)
    return Orders.of(_back(story, stamps.shift_ns), story.fills)


def _back(story: Story, shift: int) -> dict[int, OrderLine]:
    """Return a story's orders with the engine's times in the session's clock."""
    for order in story.orders.values():
        for name in ("ts_intent", "ts_cancel"):
            if getattr(order, name):
                setattr(order, name, getattr(order, name) - shift)
    return story.orders


def _late(ways: Ways, late_ns: int) -> Ways:
    if not late_ns or ways.response is None:
        return ways
    later = msgspec.structs.replace(ways.response, ns=late_ns)
    return msgspec.structs.replace(ways, response=later)


def _alone(config: Config) -> Config:
    return msgspec.structs.replace(config, shared=None)


def _tapes(session: Session) -> list[Tape]:
    return [Tape(rows) for rows in session.tapes]


def _journal(folder: Path, session: Session) -> journal.Journal:
    header = journal.JournalHeader(
        node="diff", engine=1, instruments=session.instruments.to_json(),
        accounts=msgspec.json.encode(list(session.config.accounts)),
    )  # fmt: skip
    return journal.Journal.open(
        folder, header=header, segment_bytes=SEGMENT_BYTES, background=False
    )


# -- what the recording shows ------------------------------------------------------------------


class _Shown(NamedTuple):
    """Prints, touches and holes of one instrument, by the venue's time."""

    print_ts: Rows
    print_price: Rows
    touch_ts: Rows
    bid: Rows
    ask: Rows
    holes: list[tuple[int, int]]
    first: int
    last: int


class Recorded:
    """What the recordings of a session show; `analysis.parity.Market`."""

    def __init__(self, session: Session) -> None:
        tops = all_touches(session.instruments, _tapes(session), Venue(feed=Delay(ns=0)))
        self._shown = [_shown(rows, top) for rows, top in zip(session.tapes, tops, strict=True)]
        self.tops = tops

    def reach(self, instrument: int, side: int, price: int, start: int, end: int) -> Reach:
        """Say what happened to an order's price from start to end."""
        shown = self._shown[instrument]
        a, z = np.searchsorted(shown.print_ts, [start, end], "left")
        prints = side * (shown.print_price[a:z] - price)
        a, z = np.searchsorted(shown.touch_ts, [start, end], "left")
        other = (shown.ask if side == words.BUY else shown.bid)[max(0, a - 1) : z]
        across = side * (other[other > 0] - price) <= 0
        return Reach(bool((prints == 0).any()), bool((prints < 0).any()), bool(across.any()))

    def broken(self, instrument: int, start: int, end: int) -> bool:
        """Say whether the recording has a hole there, or is over."""
        shown = self._shown[instrument]
        if start < shown.first or start > shown.last:
            return True
        return any(since <= end and start <= until for since, until in shown.holes)


def _shown(rows: Rows, tops: Rows) -> _Shown:
    prints = rows[rows["kind"] == words.TRADE]
    holes, since = list[tuple[int, int]](), 0
    for row in rows[np.isin(rows["kind"], (words.GAP, words.CLEAR))]:
        at = int(row["ts_event"])
        if row["kind"] == words.GAP:
            since = since or at
        elif since:
            holes.append((since, at))
            since = 0
    last = int(rows["ts_event"][-1]) if len(rows) else 0
    if since:
        holes.append((since, last))
    ask = np.where(tops["ask_qty"] > 0, tops["ask"], 0)
    bid = np.where(tops["bid_qty"] > 0, tops["bid"], 0)
    return _Shown(
        prints["ts_event"], prints["price"], tops["ts_event"], bid, ask, holes,
        int(rows["ts_event"][0]) if len(rows) else 0, last,
    )  # fmt: skip
