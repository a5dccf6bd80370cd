"""The [risk] tables of a config: what the gate enforces, for all and by scope.

Money is in dollars, or in what `rates` count in. A table of a scope, such as
`[risk.strategies.NAME]`, tightens: of all limits that meet an order, the tightest counts. What is
None, 0 or empty is no limit. docs/risk.md says what each rule denies.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

BandBps = Annotated[int, Meta(ge=1, le=5_000)]
CollarBps = Annotated[int, Meta(ge=0, le=5_000)]
PerSecond = Annotated[int, Meta(ge=1, le=10_000)]
StaleMs = Annotated[int, Meta(ge=1, le=600_000)]
OpenOrders = Annotated[int, Meta(ge=1, le=4_096)]
DuplicateMs = Annotated[int, Meta(ge=0, le=60_000)]
Multiple = Annotated[int, Meta(ge=0, le=100_000)]
Messages = Annotated[int, Meta(ge=0, le=100_000)]
Ratio = Annotated[int, Meta(ge=0, le=1_000_000)]
Hours = tuple[Annotated[str, Meta(max_length=40)], ...]
Listed = tuple[Annotated[str, Meta(max_length=96)], ...]
PublicKey = Annotated[str, Meta(pattern=r"^ed25519:[0-9a-f]{64}$")]


class BaseRisk(msgspec.Struct, frozen=True, kw_only=True):
    """[risk.bases.BTC]: exposure to one underlying over all accounts and instruments."""

    gross_max: Decimal | None = None
    net_max: Decimal | None = None


class StrategyRisk(msgspec.Struct, frozen=True, kw_only=True):
    """[risk.strategies.NAME]. instruments: the only ones it may trade (empty: all of its own)."""

    qty_max: Decimal | None = None
    notional_max: Decimal | None = None
    position_notional_max: Decimal | None = None
    open_orders_max: OpenOrders | None = None
    drawdown_max: Decimal | None = None
    duplicate_ms: DuplicateMs | None = None
    fat_finger_multiple: Multiple | None = None
    typical_qty: Decimal | None = None
    instruments: Listed = ()


class InstrumentRisk(msgspec.Struct, frozen=True, kw_only=True):
    """[risk.instruments."KEY"] and [risk.venues.NAME]: for every strategy and account there."""

    qty_max: Decimal | None = None
    notional_max: Decimal | None = None
    position_notional_max: Decimal | None = None
    band_bps: BandBps | None = None
    collar_bps: CollarBps | None = None
    stale_ms: StaleMs | None = None
    hours: Hours = ()


class AccountRisk(msgspec.Struct, frozen=True, kw_only=True):
    """[risk.accounts.NAME]. instruments: the only ones that may be traded with it."""

    position_notional_max: Decimal | None = None
    orders_per_s: PerSecond | None = None
    messages_per_s: Messages | None = None
    leverage_max: Decimal | None = None
    drawdown_max: Decimal | None = None
    order_trade_ratio_max: Ratio | None = None
    instruments: Listed = ()


class Risk(msgspec.Struct, frozen=True, kw_only=True):
    """[risk]: what the gate enforces on every order; money in dollars, or what `rates` count in.

    qty_max: units of the instrument in one order (None: the venue's own bound only). notional_max:
    value of one order. position_notional_max: value of one position, open orders included.
    band_bps: how far from the touch a price may be. orders_per_s: new orders of an account.
    stale_ms: how old a top may be. open_orders_max: live orders of a strategy. drawdown_max: loss
    since the start of the run that halts trading of a strategy; account_ and firm_drawdown_max
    likewise. rates: dollars for one unit of a currency that is no dollar coin, for these limits
    only.

    firm_gross_max, base_gross_max, base_net_max: exposure over everything, and to one underlying.
    leverage_max: an account's gross in multiples of its equity. collar_bps: how much worse than
    the last trade or the mark a price may be. fat_finger_multiple: how many times the typical_qty
    (None: the mean of the strategy's own) an order may be. duplicate_ms: no equal order within.
    messages_per_s: orders, amends and cancels of an account. order_trade_ratio_max: orders for one
    trade in order_trade_window_s, from order_trade_orders_min orders on. self_trade: whether an
    order may meet our own. leg_deadline_ms: by when the legs of a trade are even, or its strategy
    is halted. hours: when to trade, UTC, such as "Mon-Fri 08:00-16:30". officers:
    who may change limits while an engine runs, by public key (`alephtx limits key`).
    """

    qty_max: Decimal | None = None
    notional_max: Decimal = Decimal(1_000)
    position_notional_max: Decimal = Decimal(5_000)
    band_bps: BandBps = 100
    orders_per_s: PerSecond = 10
    stale_ms: StaleMs = 1_500
    open_orders_max: OpenOrders = 64
    leg_deadline_ms: Annotated[int, Meta(ge=20, le=600_000)] = 4_000
    drawdown_max: Decimal = Decimal(250)
    rates: dict[str, Decimal] = {}
    firm_gross_max: Decimal | None = None
    firm_drawdown_max: Decimal | None = None
    account_drawdown_max: Decimal | None = None
    base_gross_max: Decimal | None = None
    base_net_max: Decimal | None = None
    leverage_max: Decimal | None = None
    collar_bps: CollarBps = 0
    fat_finger_multiple: Multiple = 0
    typical_qty: Decimal | None = None
    duplicate_ms: DuplicateMs = 0
    messages_per_s: Messages = 0
    order_trade_ratio_max: Ratio = 0
    order_trade_window_s: Annotated[int, Meta(ge=1, le=86_400)] = 60
    order_trade_orders_min: Annotated[int, Meta(ge=0, le=1_000_000)] = 100
    self_trade: Literal["deny", "allow"] = "deny"
    hours: Hours = ()
    bases: dict[str, BaseRisk] = {}
    strategies: dict[str, StrategyRisk] = {}
    instruments: dict[str, InstrumentRisk] = {}
    venues: dict[str, InstrumentRisk] = {}
    accounts: dict[str, AccountRisk] = {}
    officers: dict[str, PublicKey] = {}


SCOPES = ("bases", "strategies", "instruments", "venues", "accounts")
"""The fields of Risk that are tables of tables."""
