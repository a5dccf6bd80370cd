"""Hold the [risk] tables of a config against the others; `config_check` calls this."""

from collections.abc import Callable, Iterable
from decimal import Decimal

from alephtx.core.config_schema import Config
from alephtx.core.config_words import Key, near
from alephtx.core.errors import ConfigError
from alephtx.core.hours import minutes_of

LEVERAGE_LEAST, LEVERAGE_MOST = Decimal("0.01"), Decimal(1_000)


class RiskCheck:
    """What only shows when [risk] is held against the tables that it names; `find` notes it."""

    def __init__(self, find: Callable[..., None], config: Config) -> None:
        self.find = find
        self.config = config
        named = [key for strategy in config.strategies.values() for key in strategy.instruments]
        self.instruments = list(dict.fromkeys(named))

    def run(self) -> None:
        """Note every mistake."""
        config, risk = self.config, self.config.risk
        self._named("strategies", risk.strategies, config.strategies)
        self._named("venues", risk.venues, config.venues)
        self._named("accounts", risk.accounts, config.accounts)
        self._named("instruments", risk.instruments, self.instruments)
        self._hours(("risk", "hours"), risk.hours)
        self._leverage(("risk", "leverage_max"), risk.leverage_max)
        for group in ("venues", "instruments"):
            for name, scoped in getattr(risk, group).items():
                self._hours(("risk", group, name, "hours"), scoped.hours)
        for name, account in risk.accounts.items():
            self._leverage(("risk", "accounts", name, "leverage_max"), account.leverage_max)
            self._listed(("risk", "accounts", name, "instruments"), account.instruments)
        for name, strategy in risk.strategies.items():
            self._listed(("risk", "strategies", name, "instruments"), strategy.instruments)

    def _named(self, group: str, tables: Iterable[str], known: Iterable[str]) -> None:
        names = list(known)
        for name in tables:
            if name not in names:
                said = "no strategy trades it" if group == "instruments" else "there is no such one"
                self.find(("risk", group, name), said, near(name, names))

    def _listed(self, at: Key, keys: Iterable[str]) -> None:
        for index, key in enumerate(keys):
            if key not in self.instruments:
                self.find((*at, index), f"no strategy trades {key}", near(key, self.instruments))

    def _hours(self, at: Key, windows: tuple[str, ...]) -> None:
        for index, window in enumerate(windows):
            try:
                minutes_of((window,))
            except ConfigError as error:
                self.find((*at, index), str(error))

    def _leverage(self, at: Key, value: Decimal | None) -> None:
        if value is None:
            return
        if not LEVERAGE_LEAST <= value <= LEVERAGE_MOST or value.scaleb(2) % 1:
            self.find(at, f"{value} is not a leverage of 0.01 to 1000 with two decimals")
