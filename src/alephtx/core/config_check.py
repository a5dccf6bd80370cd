"""Hold the tables of a config against each other; `config.load_config` calls this."""

import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from alephtx.core.backtest_check import BacktestCheck
from alephtx.core.config_schema import (
    LIMITS_STATED_LIVE,
    Account,
    Config,
    Shared,
    Strategy,
    VenueConfig,
)
from alephtx.core.config_words import Key, near, shown
from alephtx.core.errors import ConfigError
from alephtx.core.machine_schema import check_machine
from alephtx.core.risk_check import RiskCheck
from alephtx.core.secrets import resolve

SHARED_MOST = 10**12
"""Dollars; cents of it are exact in a double, which Redis counts scripts' numbers in."""

SECRET_KEYS = ("secret", "key")
URL_SCHEMES = {
    "http": ("https", "http"),
    "market": ("wss", "ws"),
    "private": ("wss", "ws"),
    "trade": ("wss", "ws"),
}


class CrossCheck:
    """What only shows when tables are held against each other; `find` notes it."""

    def __init__(
        self,
        find: Callable[..., None],
        raw: Mapping[str, Any],
        config: Config,
        environment: Mapping[str, str] | None,
    ) -> None:
        self.find = find
        self.raw = raw
        self.config = config
        self.environment = environment

    def run(self) -> None:
        """Note every mistake."""
        self._matrix_and_limits()
        check_machine(self.find, self.config)
        for name, venue in self.config.venues.items():
            self._venue(name, venue)
        for name, account in self.config.accounts.items():
            self._account(name, account)
        for name, strategy in self.config.strategies.items():
            self._strategy(name, strategy)
        if self.config.loop_accounts and self.config.node.durability == "order":
            said = '"order" waits for the disk before each order; the loop, which sends those of '
            said += f"{', '.join(self.config.loop_accounts)}, waits for nothing"
            self.find(("node", "durability"), said, 'durability = "host", or entry = "gateway"')
        if self.config.shared is not None:
            self._shared(self.config.shared)
        if self.config.backtest is not None:
            BacktestCheck(self.find, self.config, self.config.backtest).run()

    def _matrix_and_limits(self) -> None:
        slots = self.config.matrix.ring_slots
        if slots & (slots - 1):
            below = 1 << (slots.bit_length() - 1)
            remedy = f"{below} or {below * 2}"
            self.find(("matrix", "ring_slots"), f"{slots} is not a power of two", remedy)
        risk = self.config.risk
        RiskCheck(self.find, self.config).run()
        if risk.notional_max > risk.position_notional_max:
            said = f"{risk.notional_max} for one order is more than position_notional_max"
            self.find(("risk", "notional_max"), f"{said} {risk.position_notional_max}")
        if self.config.node.mode == "live":
            for name in LIMITS_STATED_LIVE:
                if name not in self.raw.get("risk", {}):
                    self.find(("risk", name), "must be written out in live mode")

    def _venue(self, name: str, venue: VenueConfig) -> None:
        at = ("venues", name)
        twice = {symbol for symbol in venue.symbols if venue.symbols.count(symbol) > 1}
        for symbol in sorted(twice):
            self.find((*at, "symbols"), f"{symbol!r} is listed twice")
        node = self.config.node
        if venue.environment == "mainnet" and node.mode == "live" and not node.allow_mainnet:
            self.find(
                (*at, "environment"),
                '"mainnet" with mode "live" trades real money, and that is not allowed',
                "set node.allow_mainnet = true if you mean it",
            )
        for field, schemes in URL_SCHEMES.items():
            if url := getattr(venue, field):
                self._url((*at, field), url, schemes, venue.environment)

    def _url(self, at: Key, url: str, schemes: tuple[str, ...], environment: str) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port, parts = "", 0, urlsplit("")
        if parts.scheme not in schemes or not host or port == 0:
            remedy = f"write {schemes[0]}://host[:port]"
            self.find(at, f"{shown(url, at)} is not a {schemes[0]} address", remedy)
        elif parts.username or parts.password or parts.query or parts.fragment:
            self.find(at, "an address takes no user, password, query or fragment (not shown)")
        elif environment == "twin" and not _loopback(host):
            remedy = "a twin is on 127.0.0.1; for the real venue set environment"
            self.find(at, f"{shown(url)} is not on this machine", remedy)
        elif parts.scheme != schemes[0] and not _loopback(host):
            self.find(at, f"{shown(url)} is not encrypted", f"write {schemes[0]}://...")

    def _account(self, name: str, account: Account) -> None:
        at = ("accounts", name)
        if account.venue not in self.config.venues:
            close = near(account.venue, list(self.config.venues))
            self.find((*at, "venue"), f"there is no [venues.{account.venue}]", close)
            return
        environment = self.config.venues[account.venue].environment
        for field in SECRET_KEYS:
            reference = getattr(account, field)
            twin = reference.partition(":")[0] == "twin"
            if environment != "twin" and (twin or (field == "secret" and not reference)):
                said = f'"twin" is no secret for {environment}'
                self.find((*at, field), said, "write env:NAME or file:/path")
            elif reference and self.config.node.mode != "paper":
                try:
                    resolve(reference, self.environment)
                except ConfigError as error:
                    self.find((*at, field), str(error))

    def _shared(self, shared: Shared) -> None:
        risk, node = self.config.risk, self.config.node
        if node.engine not in shared.engines:
            remedy = f"add {node.engine} to it, in every engine's config"
            self.find(("shared", "engines"), f"node.engine {node.engine} is not among them", remedy)
        if len(set(shared.engines)) < len(shared.engines):
            self.find(("shared", "engines"), "an engine is listed twice")
        local = (shared.local_share or 0) * len(shared.engines)
        if local > shared.firm_gross_max:
            said = f"all local shares are {local} together, more than firm_gross_max"
            self.find(("shared", "local_share"), f"{said} {shared.firm_gross_max}")
        if shared.firm_gross_max >= SHARED_MOST:
            self.find(("shared", "firm_gross_max"), f"at most {SHARED_MOST:,}")
        if risk.firm_gross_max is not None:
            said = "cannot be set beside [shared], whose share takes its place"
            self.find(("risk", "firm_gross_max"), said, "remove it")
        if shared.password and node.mode != "paper":
            try:
                resolve(shared.password, self.environment)
            except ConfigError as error:
                self.find(("shared", "password"), str(error))

    def _strategy(self, name: str, strategy: Strategy) -> None:
        at = ("strategies", name)
        venues: dict[str, str] = {}
        for index, key in enumerate(strategy.accounts):
            account = self.config.accounts.get(key)
            where = (*at, "accounts", index)
            if account is None:
                close = near(key, list(self.config.accounts))
                self.find(where, f"there is no [accounts.{key}]", close)
            elif account.venue in venues:
                said = f"{key} and {venues[account.venue]} are both accounts at {account.venue}"
                self.find(where, said, "a strategy has one account at a venue")
            else:
                venues[account.venue] = key
        for index, key in enumerate(strategy.instruments):
            venue = self.config.venue_of(key)
            where = (*at, "instruments", index)
            if venue not in self.config.venues:
                close = near(venue, list(self.config.venues))
                self.find(where, f"{key}: there is no [venues.{venue}]", close)
            elif venue not in venues:
                remedy = f"add an account at {venue} to accounts"
                self.find(where, f"{key}: this strategy has no account at {venue}", remedy)
            if key in strategy.instruments[:index]:
                self.find(where, f"{key} is listed twice")
        for venue in self.config.direct_venues if strategy.path == "direct" else ():
            if self.config.venues[venue].record:
                said = f"{venue} is recorded by its feeder; on the direct path there is none"
                self.find((*at, "path"), said, 'record = false, or path = "split"')
        if strategy.layer == "L0" and strategy.path != "direct":
            said = f"L0 is the direct path, and this strategy's path is {strategy.path}"
            self.find((*at, "layer"), said, 'set path = "direct", or layer = "L1"')
        if strategy.is_file and not Path(strategy.use).is_file():
            self.find((*at, "use"), f"there is no file {strategy.use}")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
