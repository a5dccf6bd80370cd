"""When the session's orders reached the venue, and how long every way took: from its own stamps.

A venue stamps what it says, in its clock and often in whole milliseconds; we stamp what we hear, in
ours. Both sides of a replay run on the venue's clock, so ours is shifted as little as lets nothing
arrive before it was sent.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from alephtx.core import words
from alephtx.core.ports import Rows
from alephtx.engine.parity.session import Session
from alephtx.engine.tapes import Delay, Ways

RESOLUTIONS = (1_000_000_000, 1_000_000, 1_000)
ENDS = (words.CANCEL_ACK, words.EXPIRE)
FOREVER = 1 << 61
MIDDLE = 0.5
"""Where between the earliest and the latest an arrival is taken to be."""


class Arrival(NamedTuple):
    """When a row of intents can have reached the venue, in its time.

    skew: how much later than its report we may have heard of the market that it met, on another
    line; or how much older than what we had heard the market was to which a busy venue held it.
    """

    row: int
    earliest: int
    latest: int
    skew: int

    def at(self, share: float) -> int:
        """Return the time so far between the two; below 0 and above 1: so far into the skew."""
        inside = min(max(share, 0.0), 1.0)
        beyond = round((share - inside) * self.skew)
        return self.earliest + round(inside * (self.latest - self.earliest)) + beyond


class Stamps(NamedTuple):
    """See the module. shift_ns: of our clock to the venue's. lag_ns: see `_lags`.

    removed: (order id, time) of orders that went without a cancel of a strategy's. spans: from when
    to when each order can have been at the venue. ways: of each venue, as measured.
    """

    shift_ns: int
    resolution: int
    arrivals: list[Arrival]
    removed: list[tuple[int, int]]
    spans: dict[int, tuple[int, int]]
    ways: dict[str, Ways]
    lag_ns: list[int]


def read_stamps(session: Session) -> Stamps:
    """Take a session's stamps apart."""
    updates, intents = session.updates, session.intents
    stamped = updates[(updates["ts_event"] > 0) & (updates["order_id"] != 0)]
    resolution = _resolution(stamped["ts_event"])
    told = _by_order(updates)
    entry = _entries(intents, told)
    shift = _shift(session, [late for late in entry.values() if late is not None], resolution)
    typical = int(np.median([late - shift for late in entry.values() if late is not None] or [0]))
    late = stamped["ts_recv"] - stamped["ts_event"] + shift
    lags = _lags(session)
    skew = max(int(np.quantile(some, 0.99)) for some in (late, lags) if len(some))
    arrivals, spans = [], {}
    for row in range(len(intents)):
        arrival = _arrival(row, intents, told, shift, max(0, typical), resolution, skew)
        if arrival is None:
            continue
        arrivals.append(arrival)
        if intents[row]["op"] == words.PLACE:
            order_id = int(intents[row]["order_id"])
            spans[order_id] = (arrival.earliest, _end_of(told.get(order_id, []), resolution))
    return Stamps(
        shift, resolution, arrivals, _removed(intents, told), spans,
        _ways(session, arrivals, shift, resolution), lags,
    )  # fmt: skip


def _lags(session: Session) -> list[int]:
    """Return how long what the engine acted on had been there: messages, and reports."""
    intents = session.intents[session.intents["ts_input"] > 0]
    lags = np.concatenate([
        intents["ts_intent"] - intents["ts_input"], session.taken - session.updates["ts_recv"],
    ])  # fmt: skip
    return [int(lag) for lag in np.sort(np.maximum(lags, 0))]


def _resolution(stamps: Rows) -> int:
    """Return the unit in which the venue tells time."""
    for unit in RESOLUTIONS:
        if len(stamps) and not (stamps % unit).any():
            return unit
    return 1


def _by_order(updates: Rows) -> dict[int, list[Rows]]:
    found: dict[int, list[Rows]] = defaultdict(list)
    for row in updates:
        found[int(row["order_id"])].append(row)
    return found


def _stamp(rows: list[Rows], *kinds: int) -> int:
    """Return the venue's first stamp on a report of these kinds, 0 without one."""
    found = (int(row["ts_event"]) for row in rows if row["kind"] in kinds and row["ts_event"])
    return min(found, default=0)


def _heard(rows: list[Rows], *kinds: int) -> int:
    return min((int(row["ts_recv"]) for row in rows if row["kind"] in kinds), default=0)


FIRST = (words.ACK, words.FILL, words.CANCEL_ACK, words.EXPIRE, words.ORDER_STATE)


def _entries(intents: Rows, told: dict[int, list[Rows]]) -> dict[int, int | None]:
    """Return how long each placed order took by both clocks; None without the venue's stamp."""
    found: dict[int, int | None] = {}
    for row in intents[intents["op"] == words.PLACE]:
        at = _stamp(told.get(int(row["order_id"]), []), *FIRST)
        found[int(row["order_id"])] = at - int(row["ts_intent"]) if at else None
    return found


def _shift(session: Session, entries: list[int], resolution: int) -> int:
    """Return what to add to our clock: nothing, if nothing would be heard before it was sent."""
    feeds = [int((rows["ts_recv"] - rows["ts_event"]).min()) for rows in session.tapes if len(rows)]
    low, high = -min(feeds, default=0), min(entries, default=0) + resolution
    return max(low, min(0, high))


def _arrival(
    row: int,
    intents: Rows,
    told: dict[int, list[Rows]],
    shift: int,
    typical: int,
    resolution: int,
    skew: int,
) -> Arrival | None:
    """Return when an order or a cancel arrived; None of one that was never sent."""
    intent = intents[row]
    decided = int(intent["ts_intent"]) + shift
    if intent["op"] == words.PLACE:
        rows = told.get(int(intent["order_id"]), [])
        stamp, heard = _stamp(rows, *FIRST), _heard(rows, *FIRST, words.REJECT)
        sent = _heard(rows, words.SENT)
        if not sent and not heard:
            return None
        sent = sent + shift if sent else decided
    else:
        rows = told.get(int(intent["target_order_id"]), [])
        stamp, heard = _stamp(rows, *ENDS), _heard(rows, *ENDS, words.CANCEL_REJECT)
        sent = decided
    latest = heard + shift if heard else sent + 10 * typical + resolution
    earliest = max(sent, stamp) if stamp else sent
    return Arrival(row, min(earliest, latest), latest, skew)


def _end_of(rows: list[Rows], resolution: int) -> int:
    """Return when an order was over at the latest."""
    ends = [int(r["ts_event"]) for r in rows if r["kind"] in ENDS and r["ts_event"]]
    fills = [
        int(r["ts_event"]) for r in rows if r["kind"] == words.FILL and r["status"] == words.FILLED
    ]
    return (min(ends + fills) + resolution) if ends or fills else FOREVER


def _removed(intents: Rows, told: dict[int, list[Rows]]) -> list[tuple[int, int]]:
    """Return the orders that a venue, a person or the engine's end took off, and when."""
    cancelled = set(intents["target_order_id"][intents["op"] != words.PLACE].tolist())
    found = []
    for row in intents[(intents["op"] == words.PLACE) & (intents["tif"] == words.GTC)]:
        order_id = int(row["order_id"])
        if order_id not in cancelled and (at := _stamp(told.get(order_id, []), *ENDS)):
            found.append((order_id, at))
    return found


# -- ways --------------------------------------------------------------------------------------


def _ways(
    session: Session, arrivals: list[Arrival], shift: int, resolution: int
) -> dict[str, Ways]:
    """Return how long orders, cancels and reports took at each venue, interpolated in time.

    Reports as far as the engine's taking them.
    """
    entry: dict[str, dict[int, int]] = defaultdict(dict)
    cancel: dict[str, dict[int, int]] = defaultdict(dict)
    response: dict[str, dict[int, int]] = defaultdict(dict)
    venues = [instrument.venue for instrument in session.instruments]
    intents = session.intents
    placed = {int(row["order_id"]): int(row["instrument"]) for row in intents}
    for arrival in arrivals:
        row = intents[arrival.row]
        place = row["op"] == words.PLACE
        i = int(row["instrument"]) if place else placed.get(int(row["target_order_id"]), 0)
        at = int(row["ts_intent"]) + shift
        _keep((entry if place else cancel)[venues[i]], at, arrival.at(MIDDLE) - at)
    for row, taken in zip(session.updates, session.taken.tolist(), strict=True):
        i, at = int(row["instrument"]), int(row["ts_event"]) + resolution // 2
        if row["ts_event"] and row["order_id"] and i < len(venues):
            _keep(response[venues[i]], at, taken + shift - at)
    return {
        venue: Ways(
            entry=_table(entry[venue]), cancel=_table(cancel[venue]),
            response=_table(response[venue]),
        )
        for venue in dict.fromkeys(venues)
    }  # fmt: skip


def _keep(points: dict[int, int], at: int, delay: int) -> None:
    points[at] = min(points.get(at, FOREVER), max(0, delay))


def _table(points: dict[int, int]) -> Delay | None:
    return Delay(kind="table", points=tuple(sorted(points.items()))) if points else None
