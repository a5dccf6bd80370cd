"""The [backtest] table of a config: which data, from when to when, how venues behave."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PATH = r"^[^\x00]+$"

Path = Annotated[str, Meta(pattern=PATH, max_length=255)]
LatencyKind = Literal["constant", "recorded", "feed_tied", "loaded", "table"]
QueueModel = Literal[
    "risk_averse", "power", "power_2", "power_3", "log", "log_2", "trades_only", "fifo"
]
SignalName = Literal[
    "microprice", "vamp", "book_imbalance", "trade_flow", "vol_fast", "vol_mid", "vol_slow",
    "spread_zscore", "open_range",
]  # fmt: skip
StopTrigger = Literal["last", "mark"]
SelfTrade = Literal["none", "newest", "oldest", "both", "decrement"]
Activated = Literal["all", "takers"]
Amend = Literal["keeps_smaller", "keeps_nothing"]

ACTIVATION_MAX_NS = 3_600_000_000_000
ActivationNs = Annotated[int, Meta(ge=0, le=ACTIVATION_MAX_NS)]

WAYS = ("feed", "entry", "cancel", "response")
POINTS_MAX = 10_000
"""Of one way's table."""

TIERS_MAX = 16
"""Tiers of maintenance above the base; venues have a dozen at most."""

YEARS = range(1970, 2262)
"""Years whose nanoseconds since the epoch fit 64 bits."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """[backtest.feed], [backtest.entry], ...: how long one way takes; kinds as in `sim.latency`.

    delay_ns: the constant part; below zero only for a recorded feed. ratio: of the other delay or
    the load that a feed_tied or loaded way depends on. points_ns: [time, delay] pairs of a table.
    """

    kind: LatencyKind
    delay_ns: Annotated[int, Meta(ge=-(10**12), le=10**12)] = 0
    ratio: Decimal | None = None
    points_ns: Annotated[tuple[tuple[int, int], ...], Meta(max_length=POINTS_MAX)] = ()


class WaysConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[backtest.venues.NAME]: what of one venue differs from the others."""

    feed: Latency | None = None
    entry: Latency | None = None
    cancel: Latency | None = None
    response: Latency | None = None
    activation_ns: ActivationNs | None = None
    activation_of: Activated | None = None
    amend: Amend | None = None


class TierConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One of a margin's tiers: what is asked of values above so much of the settle currency."""

    above: Decimal
    maintenance_bps: Decimal
    leverage: Decimal


class MarginConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[backtest.margin], [backtest.margins."VENUE:INSTRUMENT"]: what positions take of an account.

    tiers: of larger values, the lowest first. isolated: each position has money of its own.
    """

    leverage: Decimal = Decimal(10)
    maintenance_bps: Decimal = Decimal(50)
    liquidation_fee_bps: Decimal | None = None
    tiers: tuple[TierConfig, ...] = ()
    isolated: bool = False


class BacktestConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[backtest]: what `alephtx backtest` replays.

    data: folder of a catalogue. tapes: a replay file for an instrument's key, instead of the
    catalogue. start, end: moments of UTC (a date is its midnight), start included, end not; "" =
    all. queue, power, whole_fills: as in `sim.queue`. cancel: None = as entry. venues: ways of
    single ones. The rest is as in `engine.tapes.Venue`: balance: what each account begins with in
    each settle currency, None = nobody asks for margin; margins: of single instruments, for which
    `margin` does not hold then; filters: orders must pass the instruments' rules; band_bps: and
    stay that near to the middle; self_trade: whose order goes when two of ours meet; stop_trigger:
    what STOP orders wait for, the last trade or the mark; activation_ns, activation_of, amend: when
    orders act and what an amend keeps; depth_levels: made up where a tape has
    best prices or trades alone; impact_ticks: what a lot of ours taken does to the price; signals:
    kept with the run, once a second.
    """

    data: Path = "data"
    tapes: dict[str, str] = {}
    start: str = ""
    end: str = ""
    queue: QueueModel = "risk_averse"
    power: Decimal = Decimal(2)
    whole_fills: bool = False
    feed: Latency = Latency(kind="recorded")
    entry: Latency = Latency(kind="constant")
    cancel: Latency | None = None
    response: Latency = Latency(kind="constant")
    venues: dict[str, WaysConfig] = {}
    balance: Decimal | None = None
    margin: MarginConfig | None = None
    margins: dict[str, MarginConfig] = {}
    filters: bool = False
    band_bps: Decimal | None = None
    self_trade: SelfTrade = "newest"
    stop_trigger: StopTrigger = "last"
    depth_levels: Annotated[int, Meta(ge=0, le=1_000)] = 0
    depth_growth: Decimal = Decimal(1)
    impact_ticks: Decimal | None = None
    impact_decay_ns: Annotated[int, Meta(ge=1, le=10**15)] = 10**9
    activation_ns: ActivationNs = 0
    activation_of: Activated = "all"
    amend: Amend = "keeps_smaller"
    signals: Annotated[tuple[SignalName, ...], Meta(min_length=1)] = ("microprice",)


def moment_ns(text: str) -> int:
    """Return an ISO 8601 moment as ns since the epoch; without a zone it is UTC.

    Microseconds are the finest that it says. ValueError for anything else.
    """
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text} is beyond the calendar") from None
    if moment.year not in YEARS:
        raise ValueError(f"{text} is not of the years {YEARS.start} to {YEARS.stop - 1}")
    gone = moment - _EPOCH
    return (gone.days * 86_400 + gone.seconds) * 10**9 + gone.microseconds * 1_000


def moment_text(value: object) -> str:
    """Return a moment as a config says it, from text or TOML's own dates; ValueError for others."""
    text = value.isoformat() if isinstance(value, date) else value  # a datetime is a date too
    if not isinstance(text, str):
        text = repr(text)  # no moment either
    if text:
        moment_ns(text)
    return text
