"""Hold the [backtest] table of a config against the others; `config_check` calls this."""

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise

from alephtx.core.backtest_schema import WAYS, BacktestConfig, Latency, MarginConfig, moment_ns
from alephtx.core.config_schema import Config
from alephtx.core.config_words import Key, near
from alephtx.core.tier_check import tier_faults

POWER_MOST, RATIO_MOST, BPS = Decimal(100), Decimal(1_000), Decimal(10_000)
MARGIN_MOST = {"leverage": 1_000, "maintenance_bps": 10_000, "liquidation_fee_bps": 10_000}


class BacktestCheck:
    """What only shows when [backtest] is held together; `find` notes it."""

    def __init__(self, find: Callable[..., None], config: Config, section: BacktestConfig) -> None:
        self.find = find
        self.section = section
        named = [key for strategy in config.strategies.values() for key in strategy.instruments]
        self.instruments = list(dict.fromkeys(named))
        self.venues = list(dict.fromkeys(key.partition(":")[0] for key in named))

    def run(self) -> None:
        """Note every mistake."""
        section = self.section
        for key in section.tapes:
            if key not in self.instruments:
                at = ("backtest", "tapes", key)
                self.find(at, f"no strategy trades {key}", near(key, self.instruments))
        if section.start and section.end and moment_ns(section.end) <= moment_ns(section.start):
            said = f"{section.end} is not after start {section.start}"
            self.find(("backtest", "end"), said, "the end itself is not included")
        if not 1 <= section.power <= POWER_MOST:
            self.find(("backtest", "power"), f"{section.power} is not 1 to {POWER_MOST}")
        self._ranges()
        for name in WAYS:
            self._way(("backtest", name), name, getattr(section, name))
        for venue, ways in section.venues.items():
            here: Key = ("backtest", "venues", venue)
            if venue not in self.venues:
                self.find(here, f"no strategy trades at {venue}", near(venue, self.venues))
            for name in WAYS:
                self._way((*here, name), name, getattr(ways, name))

    def _ranges(self) -> None:
        section = self.section
        wanted: dict[Key, tuple[Decimal | None, int]] = {
            ("band_bps",): (section.band_bps, 10_000),
            ("depth_growth",): (section.depth_growth, 10),
            ("impact_ticks",): (section.impact_ticks, 1_000),
        }
        for at, (value, most) in wanted.items():
            self._most(("backtest", *at), value, most)
        if section.margin is not None:
            self._margin(("backtest", "margin"), section.margin)
        for key, margin in section.margins.items():
            here: Key = ("backtest", "margins", key)
            if key not in self.instruments:
                self.find(here, f"no strategy trades {key}", near(key, self.instruments))
            self._margin(here, margin)

    def _most(self, at: Key, value: Decimal | None, most: int) -> None:
        if value is not None and value > most:
            self.find(at, f"{value} is more than {most}")

    def _margin(self, at: Key, margin: MarginConfig) -> None:
        """Note what is wrong with a margin; its tiers are held against sane numbers alone."""
        if self.section.balance is None:
            self.find(at, "is asked of nobody", "give backtest.balance too")
        found = 0
        for name, most in MARGIN_MOST.items():
            value, least = getattr(margin, name), 1 if name == "leverage" else 0
            self._most((*at, name), value, most)
            if value is not None and value < least:
                self.find((*at, name), f"{value} is less than {least}")
            found += value is not None and not least <= value <= most
        tiers = [(tier.above, tier.maintenance_bps / BPS, tier.leverage) for tier in margin.tiers]
        if found == 0:
            asked = margin.maintenance_bps / BPS
            if asked * margin.leverage > 1:
                said = f"{margin.maintenance_bps} at leverage {margin.leverage}"
                remedy = "a position that was just opened would be liquidated: lower one of them"
                self.find((*at, "maintenance_bps"), said, remedy)
            for k, name, said, remedy in tier_faults(tiers, asked, margin.leverage):
                key = "maintenance_bps" if name == "maintenance" else name
                self.find((*at, "tiers", *((k, key) if key else ())), said, remedy)

    def _way(self, at: Key, name: str, way: Latency | None) -> None:
        if way is None:
            return
        foreign = "feed_tied" if name == "feed" else "recorded"
        if way.kind == foreign:
            said = f"{name} cannot be {foreign}"
            other = "an order's way" if name == "feed" else "the feed's way"
            self.find((*at, "kind"), said, f"that is {other}")
        if way.delay_ns < 0 and way.kind != "recorded":
            self.find((*at, "delay_ns"), f"{way.delay_ns} is below zero")
        if way.ratio is not None and way.kind not in ("feed_tied", "loaded"):
            self.find((*at, "ratio"), f"a {way.kind} delay has no ratio", "remove it")
        elif way.ratio is not None and way.ratio > RATIO_MOST:
            self.find((*at, "ratio"), f"{way.ratio} is more than {RATIO_MOST}")
        self._points((*at, "points_ns"), way)

    def _points(self, at: Key, way: Latency) -> None:
        if way.kind == "table" and not way.points_ns:
            self.find(at, "is missing", "a table has points [[time, delay], ...]")
        elif way.points_ns and way.kind != "table":
            self.find(at, f"a {way.kind} delay has no points", "remove them")
        times = [time for time, _ in way.points_ns]
        if any(later <= time for time, later in pairwise(times)):
            self.find(at, "times do not rise")
        if any(abs(time) >= 1 << 62 or not 0 <= delay <= 10**12 for time, delay in way.points_ns):
            self.find(at, "a delay is below zero or beyond 1000 s, or a time beyond 62 bits")
