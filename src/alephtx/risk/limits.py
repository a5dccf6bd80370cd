"""Limits as the gate's arrays, built from the config, and built anew when one is changed.

Money limits are in a reference currency: the quote currency of an instrument times its rate.
Dollars and dollar coins count 1 here and only here (limits, never the books); any other quote
currency needs a stated rate. Inside, per-instrument limits are kept in 10^-8 of the instrument's
own quote currency, so that a check is one multiplication.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from alephtx.core.errors import ConfigError
from alephtx.core.instruments import Instruments
from alephtx.core.risk_schema import Risk
from alephtx.risk.amounts import DOLLARS, currency_e8, lots, money, rate_of, usual_lots
from alephtx.risk.scopes import hundredths, narrow, set_bucket
from alephtx.risk.state import (
    BURST,
    DRAWDOWN_MAX,
    FIRM_DRAWDOWN_MAX,
    GROSS,
    INTERVAL,
    LEVERAGE_MAX,
    LIMIT_COLUMNS,
    NET,
    NO_LIMIT,
    RATIO_MAX,
    RATIO_ORDERS_MIN,
    RATIO_WINDOW,
    REFILLED,
    RULE_NAMES,
    SELF_TRADE,
    TOKENS,
    TYPICAL_STATED,
    GateState,
    Rows,
    empty_state,
)

__all__ = ["BURST", "DOLLARS", "INTERVAL", "LIMIT_COLUMNS", "NO_LIMIT", "REFILLED", "RULE_NAMES"]
__all__ += ["TOKENS", "GateState", "RiskLimits", "Rows", "make_gate"]

SECOND_NS = 1_000_000_000
_OFF = Risk()


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


def make_gate(
    risk: RiskLimits,
    instruments: Instruments,
    accounts: int,
    strategies: int,
    *,
    account_names: Sequence[str] = (),
    strategy_names: Sequence[str] = (),
) -> GateState:
    """Build the gate: the limits for all, narrowed by those of every scope.

    risk: the config's [risk], or any object with the fields of `RiskLimits`; others it lacks are
    off. Names are those of the config, by index; a scope of a name that is not there is refused.
    ConfigError names the limit, its value and the remedy.
    """
    a, s, n = max(1, accounts), max(1, strategies), max(1, len(instruments))
    _check_counts(risk)
    instruments.rows()  # names every currency
    rates = risk.rates
    gate = empty_state(a, s, n, max(1, len(instruments.currencies)))
    gate.band_bps[:], gate.stale_ns[:] = risk.band_bps, risk.stale_ms * 1_000_000
    gate.open_orders_max[:] = risk.open_orders_max
    gate.drawdown_max[:] = money("drawdown_max", risk.drawdown_max)
    for c, currency in enumerate(instruments.currencies):
        gate.currency_e8[c] = currency_e8(currency, rates)
    for i, instrument in enumerate(instruments):
        rate = rate_of(instrument, rates)
        gate.rate_e8[i] = int(rate.scaleb(8))
        gate.qty_max[:, i] = lots(instrument, risk.qty_max)
        gate.notional_max[:, i] = money("notional_max", risk.notional_max, rate)
        position = money("position_notional_max", risk.position_notional_max, rate)
        gate.position_max[:, i] = gate.account_position_max[:, i] = position
    set_bucket(gate.buckets, risk.orders_per_s)
    _limit_more(risk, gate, instruments)
    narrow(risk, gate, instruments, account_names, strategy_names)
    return gate


def _limit_more(risk: Any, gate: GateState, instruments: Instruments) -> None:
    """Set the limits that are off unless they are stated."""

    def said(name: str) -> Any:
        return getattr(risk, name, getattr(_OFF, name))

    def amount(name: str) -> int:
        value = said(name)
        return NO_LIMIT if value is None else money(name, value)

    gate.firm_gross_max[0] = amount("firm_gross_max")
    gate.base_max[:, GROSS], gate.base_max[:, NET] = (
        amount("base_gross_max"),
        amount("base_net_max"),
    )
    gate.firm[SELF_TRADE] = said("self_trade") == "deny"
    gate.firm[FIRM_DRAWDOWN_MAX] = amount("firm_drawdown_max")
    rows = gate.accounts
    rows[:, DRAWDOWN_MAX] = amount("account_drawdown_max")
    rows[:, LEVERAGE_MAX] = hundredths(said("leverage_max"))
    rows[:, RATIO_MAX] = said("order_trade_ratio_max")
    rows[:, RATIO_WINDOW] = said("order_trade_window_s") * SECOND_NS
    rows[:, RATIO_ORDERS_MIN] = said("order_trade_orders_min")
    gate.collar_bps[:], gate.fat_multiple[:] = said("collar_bps"), said("fat_finger_multiple")
    gate.duplicate_ns[:] = said("duplicate_ms") * 1_000_000
    set_bucket(gate.messages, said("messages_per_s"))
    if said("typical_qty") is not None:
        for i, instrument in enumerate(instruments):
            gate.typical[:, i, TYPICAL_STATED] = usual_lots(instrument, said("typical_qty"))


def _check_counts(risk: RiskLimits) -> None:
    for name in ("band_bps", "orders_per_s", "stale_ms", "open_orders_max"):
        value = getattr(risk, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 1_000_000_000:
            raise ConfigError(
                f"risk.{name} = {value!r} is not a whole number of 1 to 1e9",
                remedy=f"set risk.{name} to a positive whole number",
            )
