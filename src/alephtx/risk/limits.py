"""Limits as the gate's arrays, built once from the config.

Money limits are in a reference currency: the quote currency of an instrument times its rate.
Dollars and dollar coins count 1 here and only here (limits, never the books); any other quote
currency needs a stated rate. Inside, per-instrument limits are kept in 10^-8 of the instrument's
own quote currency, so that a check is one multiplication.
"""

from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import Any, NamedTuple, Protocol

import numpy as np

from alephtx.core.errors import ConfigError, UnitError
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.units import MAX_VALUE, MONEY_SCALE

Rows = np.ndarray[Any, Any]

NO_LIMIT = 1 << 60
"""Bound of every quantity and amount the gate adds up, so that no sum of a few overflows."""

# Columns of GateState.buckets.
TOKENS, REFILLED, INTERVAL, BURST = 0, 1, 2, 3

# Intent.rule: which rule gave the verdict.
RULE_SHAPE, RULE_HALTED, RULE_DRAWDOWN, RULE_WARMUP, RULE_RESYNC = 1, 2, 3, 4, 5
RULE_STALE, RULE_GRID, RULE_BAND, RULE_SIZE, RULE_NOTIONAL = 6, 7, 8, 9, 10
RULE_POSITION, RULE_OPEN_ORDERS, RULE_RATE, RULE_KNOWN, RULE_GROUP = 11, 12, 13, 14, 15
RULE_NAMES = (
    "", "shape", "halted", "drawdown", "warmup", "resync", "stale", "grid", "band", "size",
    "notional", "position", "open_orders", "rate", "known", "group",
)  # fmt: skip

DOLLARS = ("USD", "USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USDE", "USDT0")


class RiskLimits(Protocol):
    """What `make_gate` reads: the config's [risk] table, or any object with these."""

    @property
    def qty_max(self) -> Decimal | None: ...  # noqa: D102
    @property
    def notional_max(self) -> Decimal: ...  # noqa: D102
    @property
    def position_notional_max(self) -> Decimal: ...  # noqa: D102
    @property
    def band_bps(self) -> int: ...  # noqa: D102
    @property
    def orders_per_s(self) -> int: ...  # noqa: D102
    @property
    def stale_ms(self) -> int: ...  # noqa: D102
    @property
    def open_orders_max(self) -> int: ...  # noqa: D102
    @property
    def drawdown_max(self) -> Decimal: ...  # noqa: D102
    @property
    def rates(self) -> Mapping[str, Decimal]: ...  # noqa: D102


class GateState(NamedTuple):
    """The gate's limits and its little state; S strategies, A accounts, I instruments.

    qty_max (S, I) lots in one order. notional_max (S, I), position_max (S, I) and
    account_position_max (A, I): 10^-8 of the quote currency. band_bps, stale_ns and rate_e8
    (reference value of one unit of quote x 10^8): (I,). open_orders_max (S,). drawdown_max (S,):
    10^-8 of the reference; latched (S,): 1 once it was reached, cleared by hand. warm_until (S,):
    monotonic ns before which a strategy may not trade. resync (A,): 1 while the account's truth is
    being asked for. buckets (A, 4): TOKENS and BURST in ns of INTERVAL each, REFILLED monotonic ns.
    """

    qty_max: Rows
    notional_max: Rows
    position_max: Rows
    account_position_max: Rows
    band_bps: Rows
    stale_ns: Rows
    rate_e8: Rows
    open_orders_max: Rows
    drawdown_max: Rows
    latched: Rows
    warm_until: Rows
    resync: Rows
    buckets: Rows


def make_gate(
    risk: RiskLimits, instruments: Instruments, accounts: int, strategies: int
) -> GateState:
    """Build the gate; every strategy and account gets the same limits, edit the arrays for others.

    ConfigError names the limit, its value and the remedy.
    """
    a, s, n = max(1, accounts), max(1, strategies), max(1, len(instruments))
    _check_counts(risk)
    gate = GateState(
        qty_max=np.full((s, n), NO_LIMIT, np.int64),
        notional_max=np.zeros((s, n), np.int64),
        position_max=np.zeros((s, n), np.int64),
        account_position_max=np.zeros((a, n), np.int64),
        band_bps=np.full(n, risk.band_bps, np.int64),
        stale_ns=np.full(n, risk.stale_ms * 1_000_000, np.int64),
        rate_e8=np.zeros(n, np.int64),
        open_orders_max=np.full(s, risk.open_orders_max, np.int64),
        drawdown_max=np.full(s, _money("drawdown_max", risk.drawdown_max), np.int64),
        latched=np.zeros(s, np.int64),
        warm_until=np.zeros(s, np.int64),
        resync=np.zeros(a, np.int64),
        buckets=np.zeros((a, 4), np.int64),
    )
    for i, instrument in enumerate(instruments):
        rate = _rate(instrument, risk.rates)
        gate.rate_e8[i] = int(rate.scaleb(8))
        gate.qty_max[:, i] = _lots(instrument, risk.qty_max)
        gate.notional_max[:, i] = _money("notional_max", risk.notional_max, rate)
        position = _money("position_notional_max", risk.position_notional_max, rate)
        gate.position_max[:, i] = gate.account_position_max[:, i] = position
    interval = -(-1_000_000_000 // risk.orders_per_s)
    gate.buckets[:, INTERVAL] = interval
    gate.buckets[:, TOKENS] = gate.buckets[:, BURST] = interval * risk.orders_per_s
    return gate


def _check_counts(risk: RiskLimits) -> None:
    for name in ("band_bps", "orders_per_s", "stale_ms", "open_orders_max"):
        value = getattr(risk, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 1_000_000_000:
            raise ConfigError(
                f"risk.{name} = {value!r} is not a whole number of 1 to 1e9",
                remedy=f"set risk.{name} to a positive whole number",
            )


def _money(name: str, value: Any, rate: Decimal = Decimal(1)) -> int:
    """Return an amount of the reference as 10^-8 of a currency worth `rate`, rounded down."""
    remedy = f'write risk.{name} as a positive amount, e.g. "1000"'
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise ConfigError(f"risk.{name} = {value!r} is not a decimal number", remedy=remedy)
    amount = Decimal(value)
    if not amount.is_finite() or amount <= 0:
        raise ConfigError(f"risk.{name} = {value} is not a positive amount", remedy=remedy)
    units = int((amount / rate).scaleb(MONEY_SCALE).to_integral_value(ROUND_FLOOR))
    if units >= NO_LIMIT:
        raise ConfigError(
            f"risk.{name} = {value} is beyond what the gate can add up", remedy=remedy
        )
    return units


def _lots(instrument: Instrument, qty_max: Any) -> int:
    if qty_max is None:
        return NO_LIMIT - 1
    if isinstance(qty_max, bool) or not isinstance(qty_max, Decimal | int):
        raise ConfigError(f"risk.qty_max = {qty_max!r} is not a decimal number")
    amount = Decimal(qty_max)
    if not amount.is_finite() or amount <= 0:
        raise ConfigError(
            f"risk.qty_max = {qty_max} is not a positive quantity", remedy="remove it or mend it"
        )
    lots = amount.scaleb(instrument.qty_scale).to_integral_value(ROUND_FLOOR)
    if lots < 1:
        raise UnitError(f"risk.qty_max = {qty_max} is less than one lot of {instrument.key}")
    return min(int(lots), NO_LIMIT - 1)


def _rate(instrument: Instrument, rates: Mapping[str, Decimal]) -> Decimal:
    rate = rates.get(instrument.quote)
    if rate is None:
        if instrument.quote in DOLLARS:
            return Decimal(1)
        raise ConfigError(
            f"{instrument.key} is quoted in {instrument.quote}, whose worth is not stated",
            remedy=f"give risk.rates.{instrument.quote}, or leave the instrument out",
        )
    scaled = rate.scaleb(8) if rate.is_finite() else rate
    if not rate.is_finite() or rate <= 0 or int(scaled) < 1 or int(scaled) >= MAX_VALUE:
        raise ConfigError(f"risk.rates.{instrument.quote} = {rate} is not a usable rate")
    return rate
