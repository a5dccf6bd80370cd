"""The tables of a config file: one Struct each, every value with its unit in its name.

`config.load_config` reads a file into these. Relative paths in a file are relative to the file;
here they are absolute. Amounts are Decimal, from a TOML integer or a quoted decimal.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from alephtx.core.backtest_schema import WAYS, BacktestConfig
from alephtx.core.errors import ConfigError
from alephtx.core.identity import ENGINES_MAX
from alephtx.core.machine_schema import MachineConfig
from alephtx.core.risk_schema import SCOPES, Risk

__all__ = [
    "Account", "BacktestConfig", "Config", "MachineConfig", "MatrixConfig", "Node", "Risk",
    "Shared", "Strategy", "VenueConfig",
]  # fmt: skip

Mode = Literal["paper", "shadow", "live"]
Environment = Literal["twin", "testnet", "mainnet"]

CURRENCY = r"[A-Z0-9][A-Z0-9._-]{0,23}"
NAME = r"^[a-z][a-z0-9_]{0,31}$"
INSTRUMENT_KEY = r"^[a-z][a-z0-9_]{0,31}:[A-Za-z0-9@][A-Za-z0-9._:/@-]{0,95}$"

POOL = r"^(rediss?://[A-Za-z0-9.:\[\]-]+(/\d+)?|file:/.+)$"

Text = Annotated[str, Meta(min_length=1, max_length=255)]
Symbol = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:/@-]{1,96}$")]
InstrumentKey = Annotated[str, Meta(pattern=INSTRUMENT_KEY)]
Reference = Annotated[str, Meta(max_length=1024)]


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """[node]: this engine.

    engine: its number; no two engines that share an account have the same. runs: folder of
    runs/<id>/. wait: how the engine's loop and the feeders wait for news; main_wait: how the
    engine's main thread does, which sends what the loop does not send itself; feeder_wait: how
    feeders do, else: sleep and spin both receive in compiled code. durability: when a
    journal record counts as safe: stored, fdatasync every few ms, or fdatasync before each order.
    plugins: folder of drop-ins.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")] = "dev-1"
    engine: Annotated[int, Meta(ge=0, le=ENGINES_MAX - 1)] = 1
    mode: Mode = "paper"
    runs: Text = "runs"
    wait: Literal["adaptive", "spin", "sleep"] = "adaptive"
    main_wait: Literal["sleep", "spin"] = "sleep"
    feeder_wait: Literal["as wait", "sleep", "spin"] = "as wait"
    durability: Literal["process", "host", "order"] = "process"
    allow_mainnet: bool = False
    plugins: Annotated[str, Meta(max_length=255)] = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False


class MatrixConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[matrix]: shared memory; the sizes are fixed when it is made.

    depth: levels a side. ring_slots: a power of two.
    """

    path: Annotated[str, Meta(pattern=r"^/[^\x00]{1,254}$")] = "/dev/shm/aleph-matrix"  # noqa: S108
    depth: Annotated[int, Meta(ge=1, le=1_000)] = 32
    instruments_max: Annotated[int, Meta(ge=1, le=65_536)] = 256
    ring_slots: Annotated[int, Meta(ge=64, le=1 << 22)] = 4_096


LIMITS_STATED_LIVE = ("notional_max", "position_notional_max", "drawdown_max")
"""In live mode these are written out in [risk]; nobody trades real money on a default."""


class VenueConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[venues.NAME]: one venue; NAME is the plugin's.

    symbols: the venue's own names. http, market, private and trade replace the environment's base
    addresses (the last three are WebSockets). record: keep every raw frame in the run's folder.
    feeder: where its market data is received, in a process of its own or on the engine's main
    thread; on the direct path the engine's loop does it.
    maker_fee_bps, taker_fee_bps: the account's fee tier, negative for a rebate; default the
    plugin's.
    """

    symbols: Annotated[tuple[Symbol, ...], Meta(min_length=1, max_length=4_096)]
    environment: Environment = "twin"
    http: Annotated[str, Meta(max_length=255)] = ""
    market: Annotated[str, Meta(max_length=255)] = ""
    private: Annotated[str, Meta(max_length=255)] = ""
    trade: Annotated[str, Meta(max_length=255)] = ""
    record: bool = False
    feeder: Literal["process", "engine"] = "process"
    maker_fee_bps: Decimal | None = None
    taker_fee_bps: Decimal | None = None


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """[accounts.NAME]: an account at a venue; key and secret are references, never values.

    key: the API key, where the venue has one. signer: how it signs, where the venue takes more than
    one way; "" = the venue's usual. nonce_pool: nonces prepared ahead, 0 = none; read
    docs/signing.md first.
    address: the public account address, where orders are
    signed by an agent's key. exclusive: nobody else trades here, so a foreign order halts trading.
    paper: opening balances by currency in paper mode; the venue is not asked for any.
    deadman_s: how long the venue waits for a sign of life before it cancels everything, where it
    offers that and nobody else trades here; 0 = off. flatten_bps: how far beyond the touch an order
    may go that closes a position after a kill. entry: who sends orders, the gateway or the compiled
    loop itself; the latter always for a strategy whose path is direct.
    """

    venue: Annotated[str, Meta(pattern=NAME)]
    secret: Reference = "twin"  # noqa: S105 - a reference, and one that is worth nothing
    key: Reference = ""
    signer: Literal["", "hmac_sha256", "ed25519", "evm"] = ""
    nonce_pool: Annotated[int, Meta(ge=0, le=4_096)] = 0
    address: Annotated[str, Meta(pattern=r"^(0x[0-9a-fA-F]{40})?$")] = ""
    exclusive: bool = True
    paper: dict[str, Decimal] = {}
    deadman_s: Annotated[int, Meta(ge=0, le=3_600)] = 60
    flatten_bps: Annotated[int, Meta(ge=1, le=1_000)] = 50
    entry: Literal["gateway", "loop"] = "gateway"


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """[shared]: a gross limit that several engines have together.

    pool: where it is kept, redis://host:port/db, rediss://... or file:/dev/shm/NAME for one host;
    password is a reference. firm_gross_max: dollars, for all of them. engines: the node.engine
    numbers of every one that may take part; nobody gets more until each has said what it has.
    local_share: what each may use while the pool cannot be reached, None = nothing that adds risk.
    lost_ms: how long it may be out of reach before that.
    """

    pool: Annotated[str, Meta(pattern=POOL)]
    firm_gross_max: Decimal
    engines: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=511)], ...], Meta(min_length=1, max_length=512)
    ]
    password: Reference = ""
    local_share: Decimal | None = None
    lost_ms: Annotated[int, Meta(ge=200, le=60_000)] = 3_000


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """[strategies.NAME]: what trades what, and with which accounts.

    use: a plugin's name, or the path of a .py file. path: direct = the compiled loop receives what
    its venues say and sends its orders, without another process or Python between; split = feeders
    and the gateway do. layer, budget_us: how fast it means to be, and what an order of it may take
    (`core.layers`); auto and none = as its file says. own: every other key of the table, for the
    strategy's `config_to_params`; numbers with a point are exact Decimals there.
    """

    use: Text
    instruments: Annotated[tuple[InstrumentKey, ...], Meta(min_length=1, max_length=256)]
    accounts: Annotated[tuple[Annotated[str, Meta(pattern=NAME)], ...], Meta(max_length=64)] = ()
    path: Literal["direct", "split"] = "split"
    layer: Literal["auto", "L0", "L1", "L2"] = "auto"
    budget_us: Annotated[int, Meta(ge=1, le=60_000_000)] | None = None
    own: dict[str, Any] = {}

    @property
    def section(self) -> dict[str, Any]:
        """The table as `config_to_params` gets it: own keys, instruments and accounts."""
        lists = {"instruments": list(self.instruments), "accounts": list(self.accounts)}
        return {**self.own, **lists}

    @property
    def is_file(self) -> bool:
        """True when `use` is the path of a file."""
        return self.use.endswith(".py")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole config; hand it on, there is no global one. path: the file it came from."""

    node: Node = Node()
    matrix: MatrixConfig = MatrixConfig()
    machine: MachineConfig = MachineConfig()
    risk: Risk = Risk()
    venues: dict[str, VenueConfig]
    accounts: dict[str, Account] = {}
    strategies: dict[str, Strategy] = {}
    shared: Shared | None = None
    backtest: BacktestConfig | None = None
    path: str = ""

    def venue_of(self, instrument_key: str) -> str:
        """Return the venue's name in an instrument's key."""
        return instrument_key.partition(":")[0]

    def account_for(self, strategy: str, instrument_key: str) -> str:
        """Return the account that a strategy trades an instrument with; "" where it has none."""
        venue = self.venue_of(instrument_key)
        for name in self.strategies[strategy].accounts:
            if self.accounts[name].venue == venue:
                return name
        return ""

    @property
    def direct_venues(self) -> list[str]:
        """Venues whose market data the engine's loop receives itself: no feeder is started."""
        direct = [s for s in self.strategies.values() if s.path == "direct"]
        named = {self.venue_of(key) for strategy in direct for key in strategy.instruments}
        return [venue for venue in self.venues if venue in named]

    def direct_on(self, venue: str) -> list[str]:
        """Return the direct strategies that want a venue's market data."""
        return [
            name
            for name, strategy in self.strategies.items()
            if strategy.path == "direct" and venue in map(self.venue_of, strategy.instruments)
        ]

    @property
    def hosted_venues(self) -> list[str]:
        """Venues whose feeder runs on the main thread of the engine."""
        return [name for name in self._for_main if name not in self.direct_venues]

    @property
    def outdone_venues(self) -> list[str]:
        """Venues whose `feeder = "engine"` has no effect, since the loop receives them itself."""
        return [name for name in self._for_main if name in self.direct_venues]

    @property
    def _for_main(self) -> list[str]:
        return [name for name, venue in self.venues.items() if venue.feeder == "engine"]

    @property
    def fed_venues(self) -> list[str]:
        """Venues that have a feeder in a process of its own, where there is an engine."""
        inside = {*self.direct_venues, *self.hosted_venues}
        return [name for name in self.venues if name not in inside]

    @property
    def feeders_wait(self) -> str:
        """How feeders of their own process wait: "spin", "sleep" (compiled), or "asyncio"."""
        if self.node.feeder_wait != "as wait":
            return self.node.feeder_wait
        return "spin" if self.node.wait == "spin" else "asyncio"

    @property
    def spinners(self) -> list[str]:
        """The threads of a run with an engine that never sleep."""
        spins = self.node.wait == "spin"
        fed = self.fed_venues if self.feeders_wait == "spin" else []
        feeders = [f"{venue}'s feeder" for venue in fed]
        main = ["the engine's main thread"] if self.node.main_wait == "spin" else []
        return [*(["the engine's loop"] if spins else []), *main, *feeders]

    @property
    def loop_accounts(self) -> list[str]:
        """Accounts whose orders the engine's loop sends itself; in live mode only."""
        direct = [s for s in self.strategies.values() if s.path == "direct"]
        named = {account for strategy in direct for account in strategy.accounts}
        asked = {name for name, account in self.accounts.items() if account.entry == "loop"}
        return [name for name in self.accounts if name in named | asked]

    def dump(self) -> str:
        """Return the config as TOML with every default written out, for the run's folder.

        Secrets are references already; what a reference points at is not read. Loading the text
        gives an equal config.
        """
        lines = []
        for name in ("node", "matrix", "machine", "risk"):
            fields = _plain(getattr(self, name))
            scoped = {scope: fields.pop(scope) for scope in SCOPES if scope in fields}
            lines += _dump_table(f"[{name}]", fields)
            for scope, tables in scoped.items():
                for key, table in tables.items():
                    lines += _dump_table(f"[{name}.{scope}.{_key(key)}]", _plain(table))
        if self.shared is not None:
            lines += _dump_table("[shared]", _plain(self.shared))
        if self.backtest is not None:
            lines += _dump_backtest(self.backtest)
        for name in ("venues", "accounts", "strategies"):
            for key, table in getattr(self, name).items():
                fields = _plain(table)
                own = fields.pop("own", {})
                lines += _dump_table(f"[{name}.{key}]", fields, own)
        return "\n".join(lines)


def _dump_backtest(section: BacktestConfig) -> list[str]:
    fields = _plain(section)
    tables = {name: _fields(fields.pop(name)) for name in (*WAYS, "margin")}
    for venue, own in fields.pop("venues").items():
        told = _plain(own)
        ways = {f"venues.{_key(venue)}.{name}": _fields(told.pop(name)) for name in WAYS}
        tables |= {f"venues.{_key(venue)}": told, **ways}
    tables |= {f"margins.{_key(key)}": _plain(own) for key, own in fields.pop("margins").items()}
    lines = _dump_table("[backtest]", fields)
    for name, table in tables.items():
        if any(value is not None for value in table.values()):
            lines += _dump_table(f"[backtest.{name}]", table)
    return lines


def _fields(table: msgspec.Struct | None) -> dict[str, Any]:
    return {} if table is None else _plain(table)


def _plain(table: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(table, name) for name in table.__struct_fields__}


def _dump_table(
    header: str, fields: dict[str, Any], own: dict[str, Any] | None = None
) -> list[str]:
    # Amounts are quoted; a strategy's own number keeps the point that made it a Decimal.
    pairs = [f"{key} = {_value(value)}" for key, value in fields.items() if value is not None]
    pairs += [f"{_key(k)} = {_value(v, pointed=True)}" for k, v in (own or {}).items()]
    return [header, *pairs, ""]


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "_").isidentifier()
    return key if bare else _quote(key)


def _quote(text: str) -> str:
    return '"' + "".join(map(_character, text)) + '"'


def _character(c: str) -> str:
    if c in ('"', "\\"):
        return f"\\{c}"
    return c if c.isprintable() else f"\\U{ord(c):08X}"


def _value(value: Any, *, pointed: bool = False) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, Decimal):
        if not pointed:
            return _quote(f"{value:f}")
        return f"{value:f}" if "." in f"{value:f}" else f"{value:f}.0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item, pointed=pointed) for item in value)}]"
    if isinstance(value, msgspec.Struct):
        value = _plain(value)
    if isinstance(value, dict):
        pairs = (f"{_key(k)} = {_value(v, pointed=pointed)}" for k, v in value.items())
        return f"{{{', '.join(pairs)}}}"
    raise ConfigError(f"a {type(value).__name__} cannot be written to a config")
