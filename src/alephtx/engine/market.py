"""What a config's [backtest] names, opened: instruments with the account's fees, tapes, venues.

    market = load_market(config)
    Backtest([config], market.instruments, market.tapes, venue=market.venue)

A tape begins with a whole book: rows before the last CLEAR at or before `start` are left out, those
between it and `start` run before strategies do. It ends with the last message before `end`.
"""

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from alephtx.core.backtest_schema import (
    WAYS,
    BacktestConfig,
    Latency,
    MarginConfig,
    WaysConfig,
    moment_ns,
)
from alephtx.core.config_schema import Config, VenueConfig
from alephtx.core.errors import ConfigError, SimulationError
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.ports import Rows
from alephtx.core.words import CLEAR, LAST_IN_MESSAGE
from alephtx.engine.margins import Margin, Tier
from alephtx.engine.tapes import Delay, Tape, Venue, Ways
from alephtx.store.damage import DataError
from alephtx.store.ticks import Ticks, open_ticks, write_ticks

if TYPE_CHECKING:
    from alephtx.store.catalogue import Catalogue

FOLDER = ".replay"
"""Where a catalogue keeps the replay files made of it; may be deleted at any time."""
STREAMS = b"2"
"""How a catalogue's files become a stream: another number when that changes."""


class Market(NamedTuple):
    """See the module. start_ns: when strategies begin, 0 = with the first row."""

    instruments: Instruments
    tapes: list[Tape]
    venue: Venue
    start_ns: int


def load_market(config: Config) -> Market:
    """Open what the strategies trade; ConfigError or DataError says what is missing or damaged."""
    plan = config.backtest
    if plan is None:
        raise ConfigError("there is no [backtest]", remedy="see docs/backtest.md for what it says")
    start, end = (moment_ns(text) if text else 0 for text in (plan.start, plan.end))
    instruments, tapes = Instruments(), []
    for key in _wanted(config):
        ticks = _open(plan, key)
        instruments.add(_with_fees(ticks.instrument, config.venues.get(ticks.instrument.venue)))
        tapes.append(_cut(ticks, key, start, end))
    return Market(instruments, tapes, venue_of(plan), start)


def venue_of(plan: BacktestConfig) -> Venue:
    """Return how the venues of a [backtest] behave."""
    return Venue(
        feed=_delay(plan.feed), entry=_delay(plan.entry),
        cancel=None if plan.cancel is None else _delay(plan.cancel), response=_delay(plan.response),
        ways={name: _ways(own) for name, own in plan.venues.items()},
        queue=plan.queue, power=float(plan.power), whole_fills=plan.whole_fills,
        balance=plan.balance, filters=plan.filters, band=float(plan.band_bps or 0) / 10_000,
        margin=_margin(plan.margin or MarginConfig()),
        margins={key: _margin(own) for key, own in plan.margins.items()},
        self_trade=plan.self_trade, stop_trigger=plan.stop_trigger, depth_levels=plan.depth_levels,
        depth_growth=float(plan.depth_growth), impact=float(plan.impact_ticks or 0),
        impact_decay_ns=plan.impact_decay_ns, activation_ns=plan.activation_ns,
        activation_of=plan.activation_of, amend=plan.amend,
    )  # fmt: skip


def _margin(given: MarginConfig) -> Margin:
    return Margin(
        leverage=float(given.leverage), maintenance=float(given.maintenance_bps) / 10_000,
        liquidation_fee=float(given.liquidation_fee_bps or 0) / 10_000, isolated=given.isolated,
        tiers=tuple(
            Tier(
                above=tier.above, maintenance=float(tier.maintenance_bps) / 10_000,
                leverage=float(tier.leverage),
            )
            for tier in given.tiers
        ),
    )  # fmt: skip


def _wanted(config: Config) -> list[str]:
    """Return the instruments of all strategies, each once, in the order of the file."""
    named = (key for section in config.strategies.values() for key in section.instruments)
    wanted = list(dict.fromkeys(named))
    if not wanted:
        raise ConfigError("no strategy to test", remedy="add a [strategies.NAME] table")
    if unused := set(config.backtest.tapes if config.backtest else ()) - set(wanted):
        raise ConfigError(
            f"backtest.tapes: no strategy trades {min(unused)}",
            remedy=f"the strategies name {', '.join(wanted[:8])}",
        )
    return wanted


def _ways(own: WaysConfig) -> Ways:
    return Ways(
        **{name: None if (way := getattr(own, name)) is None else _delay(way) for name in WAYS},
        activation_ns=own.activation_ns, activation_of=own.activation_of, amend=own.amend,
    )  # fmt: skip


def _delay(given: Latency) -> Delay:
    return Delay(
        kind=given.kind, ns=given.delay_ns, ratio=float(given.ratio or 0), points=given.points_ns
    )


def _open(plan: BacktestConfig, key: str) -> Ticks:
    if key not in plan.tapes:
        from alephtx.store.catalogue import Catalogue  # loads Arrow: not for a file of rows

        return _from_catalogue(Catalogue(Path(plan.data)), key)
    ticks = open_ticks(Path(plan.tapes[key]))
    if ticks.instrument.key != key:
        raise ConfigError(
            f"backtest.tapes: {plan.tapes[key]} is of {ticks.instrument.key}, not of {key}",
            remedy="`alephtx data ls FILE` shows what a file is of",
        )
    return ticks


def _from_catalogue(catalogue: "Catalogue", key: str) -> Ticks:
    """Return an instrument's stream as a replay file, made when the catalogue has changed."""
    instrument, digest = catalogue.instrument(key), hashlib.sha256(STREAMS)
    for path in catalogue.files(key):
        stat = path.stat()
        digest.update(
            f"{path.relative_to(catalogue.root)} {stat.st_size} {stat.st_mtime_ns}\n".encode()
        )
    folder = catalogue.root / FOLDER
    whole = folder / f"{digest.hexdigest()[:24]}.ticks"
    if whole.exists():
        return open_ticks(whole)
    try:
        folder.mkdir(exist_ok=True)
        write_ticks(whole, instrument, catalogue.scan(key))
    except OSError as error:
        raise DataError(
            f"cannot write {whole}: {error.strerror}",
            remedy="a replay file is made beside the data once; give the folder room and rights",
        ) from error
    return open_ticks(whole)


def _with_fees(instrument: Instrument, section: VenueConfig | None) -> Instrument:
    """Return an instrument with the account's own fee tier, where the config states one."""
    own: dict[str, Decimal] = {}
    for name in ("maker_fee", "taker_fee"):
        bps = getattr(section, f"{name}_bps", None)
        if bps is not None:
            own[name] = bps / 10_000
    return msgspec.structs.replace(instrument, **own) if own else instrument


def _cut(ticks: Ticks, key: str, start: int, end: int) -> Tape:
    rows = ticks.rows
    first = _whole_book(rows, start) if start else 0
    last = _before(rows, end) if end else len(rows)
    if first >= last or (start and len(rows) and int(rows[last - 1]["ts_event"]) < start):
        raise SimulationError(
            f"{key}: no row between start and end", remedy="`alephtx data ls` shows what is there"
        )
    return Tape(rows[first:last], ticks.price_base, ticks.price_unit, ticks.qty_unit)


def _before(rows: Rows, moment: int) -> int:
    """Return how many rows whole messages before a moment have."""
    count = int(np.searchsorted(rows["ts_event"], moment, "left"))
    while count and not int(rows[count - 1]["flags"]) & LAST_IN_MESSAGE:
        count -= 1
    return count


def _whole_book(rows: Rows, moment: int) -> int:
    """Return the row of the last CLEAR at or before a moment, 0 without one."""
    upto = int(np.searchsorted(rows["ts_event"], moment, "right"))
    clears = np.flatnonzero(rows["kind"][:upto] == CLEAR)
    return int(clears[-1]) if len(clears) else 0
