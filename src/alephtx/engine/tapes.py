"""What a backtest is given - tapes, and how the venues behave - and what of it is refused."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from alephtx.core.backtest_schema import ACTIVATION_MAX_NS
from alephtx.core.errors import SimulationError
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.ports import Rows
from alephtx.core.records import EVENT
from alephtx.core.units import MONEY_SCALE, from_decimal
from alephtx.core.words import DELTA, MARK, ORDER_ADD, TOP, TRADE
from alephtx.engine.margins import Margin, set_margin
from alephtx.engine.tape_check import Feed, Seen
from alephtx.sim.bottle import (
    ACTIVATION_NAMES,
    AMEND_NAMES,
    K_MARK_NS,
    K_STP,
    M_ACTIVATION_NS,
    M_ACTIVATION_OF,
    M_AMEND,
    M_BAND,
    M_FILTERS,
    M_IMPACT,
    M_IMPACT_NS,
    M_TRIGGER,
    ODD_RULES,
    T_ODD,
    TRIGGER_NAMES,
    Bottle,
)
from alephtx.sim.depth import deepen
from alephtx.sim.latency import CANCEL, ENTRY, FEED, RESPONSE
from alephtx.sim.latency import NAMES as LATENCIES
from alephtx.sim.queue import NAMES as QUEUES
from alephtx.sim.state import STP_NAMES

RATIO_MAX = 1_000


class Tape(msgspec.Struct, frozen=True):
    """The recorded rows of one instrument: TICK with the file's base and units, or EVENT."""

    rows: Any
    base: int = 0
    unit: int = 1
    qty_unit: int = 1


class Delay(msgspec.Struct, frozen=True, kw_only=True):
    """How long one way takes; kinds as in `sim.latency`. points: (time ns, delay ns) of a table."""

    kind: str = "constant"
    ns: int = 0
    ratio: float = 0.0
    points: tuple[tuple[int, int], ...] = ()


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """A venue's own ways; None = as at every venue, cancel: as its entry where that is given."""

    feed: Delay | None = None
    entry: Delay | None = None
    cancel: Delay | None = None
    response: Delay | None = None
    activation_ns: int | None = None
    activation_of: str | None = None
    amend: str | None = None


class Venue(msgspec.Struct, frozen=True, kw_only=True):
    """How the simulated venues behave. cancel: None = as entry. queue, fill: see `sim.queue`.

    ways: of venues, by name, that are slower or quicker than the rest.
    balance: what each account begins with in each settle currency; None: nobody asks for margin.
    margin: of every instrument that `margins` does not name by its key, see `engine.margins`.
    margin_every_ns: how often the venue looks at margins. filters: orders must pass the
    instruments' grid, sizes and least value; band: and stay within this fraction of the middle (0:
    no band). self_trade: none, newest, oldest, both or decrement, as `sim.matching` has them.
    depth_levels: levels made up behind the touch of tapes that have best prices or trades alone,
    see `sim.depth` (0: none), depth_growth:
    how their sizes grow from one to the next. impact: ticks that a lot of ours taken pushes the
    price we pay, fading by e each impact_decay_ns, see `sim.impact` (0: none).
    stop_trigger: what STOP orders wait for, last (trade) or mark, see `sim.stops`. activation_ns:
    how long after they came orders act, activation_of: those of all or of takers, see
    `sim.activation`. amend: what keeps its place in the queue, an order made smaller at its price
    (keeps_smaller) or none (keeps_nothing).
    """

    feed: Delay = Delay(kind="recorded")
    entry: Delay = Delay()
    cancel: Delay | None = None
    response: Delay = Delay()
    ways: dict[str, Ways] = {}
    queue: str = "risk_averse"
    power: float = 2.0
    whole_fills: bool = False
    balance: Decimal | None = None
    margin: Margin = Margin()
    margins: dict[str, Margin] = {}
    margin_every_ns: int = 1_000_000_000
    filters: bool = False
    band: float = 0.0
    self_trade: str = "newest"
    depth_levels: int = 0
    depth_growth: float = 1.0
    impact: float = 0.0
    impact_decay_ns: int = 1_000_000_000
    stop_trigger: str = "last"
    activation_ns: int = 0
    activation_of: str = "all"
    amend: str = "keeps_smaller"


def deepened(tape: Tape, seen: Seen, venue: Venue, instrument: Instrument) -> Tape:
    """Return a tape with the depth that the venue asks for, where it has none of its own."""
    levels, growth = venue.depth_levels, venue.depth_growth
    if not 0 <= levels <= 1_000 or not 0 < growth <= 10:
        raise SimulationError(
            f"{levels} levels made up, growing {growth} times",
            remedy="use 0 to 1,000 levels and a growth up to 10",
        )
    rows = tape.rows
    if levels == 0 or seen.has(DELTA, ORDER_ADD) or not seen.has(TOP, TRADE):
        return tape
    if seen.overtaken:
        raise SimulationError(
            f"{instrument.key}: depth for a tape on which messages overtook each other",
            remedy="use depth_levels=0, or a recording of one connection",
        )
    wide = np.zeros(len(rows), EVENT)
    for name in ("ts_event", "ts_recv", "kind", "side", "flags"):
        wide[name] = rows[name]
    wide["price"] = tape.base + rows["price"].astype(np.int64) * tape.unit
    wide["qty"] = rows["qty"].astype(np.int64) * tape.qty_unit
    step = max(1, from_decimal(instrument.tick_size, instrument.price_scale))
    return Tape(deepen(wide, levels, step=step, growth=growth))


def check_queue(venue: Venue, keys: Sequence[str], seen: Sequence[Seen]) -> None:
    """Refuse a queue or trigger that a tape cannot tell, and one that is two things at once."""
    for key, one in zip(keys, seen, strict=True):
        if venue.queue == "fifo" and not one.by_order:
            raise SimulationError(
                f"{key}: queue 'fifo' of a tape without single orders",
                remedy="choose a model of the queue, or import a recording order by order",
            )
        if venue.stop_trigger == "mark" and not one.has(MARK):
            raise SimulationError(
                f"{key}: stops that wait for the mark, of a tape without marks",
                remedy="use stop_trigger 'last', or a recording with the venue's marks",
            )
        if one.by_order and one.has(DELTA, TOP):
            raise SimulationError(
                f"{key}: the tape has levels beside single orders",
                remedy="leave the rows of one kind out",
            )


def rule(bottle: Bottle, venue: Venue, instruments: Instruments) -> None:
    """Lay down margin, filters and self-trade prevention of every instrument."""
    if venue.self_trade not in STP_NAMES:
        raise SimulationError(
            f"self_trade {venue.self_trade!r}", remedy=f"one of {', '.join(STP_NAMES)}"
        )
    strange = set(venue.margins) - {instrument.key for instrument in instruments}
    if strange:
        raise SimulationError(
            f"margins of {min(strange)}", remedy="name instruments of the table by their keys"
        )
    if not 0 <= venue.band < 1 or venue.margin_every_ns < 1:
        raise SimulationError(
            f"band {venue.band}, margins looked at each {venue.margin_every_ns} ns",
            remedy="a band is a fraction below 1, and margins are looked at after 1 ns or more",
        )
    if not 0 <= venue.impact <= 1_000_000 or venue.impact_decay_ns < 1:
        raise SimulationError(
            f"impact {venue.impact} ticks a lot, fading in {venue.impact_decay_ns} ns",
            remedy="it may not be negative, nor above a million, and fades in 1 ns or more",
        )
    if venue.stop_trigger not in TRIGGER_NAMES:
        raise SimulationError(
            f"stop_trigger {venue.stop_trigger!r}", remedy=f"one of {', '.join(TRIGGER_NAMES)}"
        )
    bottle.clock[K_STP] = STP_NAMES[venue.self_trade]
    terms = bottle.terms
    terms[:, M_FILTERS], terms[:, M_BAND] = int(venue.filters), round(venue.band * 1e8)
    terms[:, M_IMPACT], terms[:, M_IMPACT_NS] = round(venue.impact * 1e8), venue.impact_decay_ns
    terms[:, M_TRIGGER] = TRIGGER_NAMES[venue.stop_trigger]
    for i, instrument in enumerate(instruments):
        set_margin(bottle, i, instrument, venue)
        _set_orders(bottle, i, instrument.venue, venue)
    if venue.balance is not None:
        bottle.cash[:, :, : len(instruments.currencies)] = from_decimal(venue.balance, MONEY_SCALE)
        bottle.clock[K_MARK_NS] = venue.margin_every_ns
    if venue.filters or venue.balance is not None:
        bottle.streams[:, T_ODD] |= ODD_RULES


def _set_orders(bottle: Bottle, i: int, name: str, venue: Venue) -> None:
    """Lay down when an instrument's orders act and what an amend keeps."""
    own = venue.ways.get(name, Ways())
    delay = venue.activation_ns if own.activation_ns is None else own.activation_ns
    whose, amend = own.activation_of or venue.activation_of, own.amend or venue.amend
    for said, value, names in (
        ("activation_of", whose, ACTIVATION_NAMES),
        ("amend", amend, AMEND_NAMES),
    ):
        if value not in names:
            raise SimulationError(f"{said} {value!r}", remedy=f"one of {', '.join(names)}")
    if not 0 <= delay <= ACTIVATION_MAX_NS:
        raise SimulationError(
            f"activation_ns {delay}", remedy=f"from 0 to {ACTIVATION_MAX_NS:,}, which is an hour"
        )
    terms = bottle.terms[i]
    terms[M_ACTIVATION_NS], terms[M_ACTIVATION_OF] = delay, ACTIVATION_NAMES[whose]
    terms[M_AMEND] = AMEND_NAMES[amend]
    if delay:
        bottle.streams[i, T_ODD] |= ODD_RULES


def paths_of(venue: Venue, name: str) -> tuple[tuple[int, Delay], ...]:
    """Return the four ways of the venue of a name and their delays."""
    own = venue.ways.get(name, Ways())
    entry = own.entry or venue.entry
    cancel = own.cancel or own.entry or venue.cancel or venue.entry
    return (
        (FEED, own.feed or venue.feed), (ENTRY, entry), (CANCEL, cancel),
        (RESPONSE, own.response or venue.response),
    )  # fmt: skip


def feeds_of(
    venue: Venue, instruments: Instruments, tapes: Sequence[Tape], *, stated: bool
) -> list[Feed]:
    """Return how the tape of each instrument is heard; stated: in a config's [backtest]."""
    delays = {name: dict(paths_of(venue, name))[FEED] for name in instruments.venues}
    places = {
        name: f"backtest.venues.{name}.feed"
        if venue.ways.get(name, Ways()).feed
        else "backtest.feed"
        for name in instruments.venues
    }
    heard: dict[str, list[Rows]] = {}
    for tape, instrument in zip(tapes, instruments, strict=True):
        heard.setdefault(places[instrument.venue], []).append(tape.rows)
    found = []
    for instrument in instruments:
        delay, place = delays[instrument.venue], places[instrument.venue]
        shift_ns = delay.ns if delay.kind == "recorded" else None
        found.append(Feed(shift_ns, place if stated else "", heard[place]))
    return found


def check_venue(venue: Venue, names: Sequence[str]) -> None:
    """Refuse ways that nothing can take, of venues that are not there, and a strange queue."""
    if strange := set(venue.ways) - set(names):
        raise SimulationError(
            f"ways of {min(strange)}", remedy=f"the venues are {', '.join(names)}"
        )
    for name in names:
        for path, delay in paths_of(venue, name):
            _check_delay(path, delay)
    if venue.queue not in QUEUES:
        raise SimulationError(f"queue {venue.queue!r}", remedy=f"one of {', '.join(QUEUES)}")
    if not 1.0 <= venue.power <= 100.0:
        raise SimulationError(f"power {venue.power} of a queue", remedy="use 1 to 100")


def points_of(venue: Venue, names: Sequence[str]) -> Rows:
    """Return all tables one after the other; an empty one for nobody, who never looks."""
    delays = [delay for name in names for _, delay in paths_of(venue, name)]
    points = [point for delay in delays for point in delay.points]
    return np.array(points or [(0, 0)], np.int64)


def _check_delay(path: int, delay: Delay) -> None:
    """Refuse what no way can take."""
    way = ("feed", "entry", "cancel", "response")[path]
    kinds = [kind for kind in LATENCIES if kind != ("feed_tied" if path == FEED else "recorded")]
    if delay.kind not in kinds:
        raise SimulationError(f"{way}: latency {delay.kind!r}", remedy=f"one of {', '.join(kinds)}")
    if (delay.ns < 0 and delay.kind != "recorded") or not 0 <= delay.ratio <= RATIO_MAX:
        raise SimulationError(
            f"{way}: {delay.ns} ns, ratio {delay.ratio}",
            remedy=f"neither may be negative, and the ratio at most {RATIO_MAX}",
        )
    times = [time for time, _ in delay.points]
    falls = any(later <= time for time, later in pairwise(times))
    if (delay.kind == "table") != bool(times) or falls or any(ns < 0 for _, ns in delay.points):
        raise SimulationError(
            f"{way}: {len(times)} points of a {delay.kind} latency",
            remedy="a table needs points of rising times and delays that are not negative",
        )
