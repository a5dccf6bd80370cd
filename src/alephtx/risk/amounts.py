"""Amounts of a config as the gate's integers: exact, and rounded to the safe side."""

from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from alephtx.core.errors import ConfigError, UnitError
from alephtx.core.instruments import Instrument
from alephtx.core.units import MAX_VALUE, MONEY_SCALE
from alephtx.risk.state import NO_LIMIT

DOLLARS = ("USD", "USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USDE", "USDT0")


def money(name: str, value: Any, rate: Decimal = Decimal(1)) -> int:
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


def lots(instrument: Instrument, qty: Any, name: str = "qty_max") -> int:
    """Return a quantity as lots, rounded down; None is the most that the gate takes."""
    if qty is None:
        return NO_LIMIT - 1
    if isinstance(qty, bool) or not isinstance(qty, Decimal | int):
        raise ConfigError(f"risk.{name} = {qty!r} is not a decimal number")
    amount = Decimal(qty)
    if not amount.is_finite() or amount <= 0:
        raise ConfigError(
            f"risk.{name} = {qty} is not a positive quantity", remedy="remove it or mend it"
        )
    whole = amount.scaleb(instrument.qty_scale).to_integral_value(ROUND_FLOOR)
    if whole < 1:
        raise UnitError(f"risk.{name} = {qty} is less than one lot of {instrument.key}")
    return min(int(whole), NO_LIMIT - 1)


def usual_lots(instrument: Instrument, qty: Any) -> int:
    """Return a typical quantity as lots, one at least: it only ever is multiplied."""
    return max(1, int(Decimal(qty).scaleb(instrument.qty_scale)))


def currency_e8(currency: str, rates: Mapping[str, Decimal]) -> int:
    """Return what a unit of a currency is worth x 10^8; 0 where nobody says."""
    rate = rates.get(currency, Decimal(1) if currency in DOLLARS else Decimal(0))
    return _e8(currency, rate) if rate != 0 else 0


def rate_of(instrument: Instrument, rates: Mapping[str, Decimal]) -> Decimal:
    """Return what a unit of an instrument's quote currency is worth."""
    rate = rates.get(instrument.quote)
    if rate is None:
        if instrument.quote in DOLLARS:
            return Decimal(1)
        raise ConfigError(
            f"{instrument.key} is quoted in {instrument.quote}, whose worth is not stated",
            remedy=f"give risk.rates.{instrument.quote}, or leave the instrument out",
        )
    _e8(instrument.quote, rate)
    return rate


def _e8(currency: str, rate: Decimal) -> int:
    scaled = int(rate.scaleb(8)) if rate.is_finite() else 0
    if not 1 <= scaled < MAX_VALUE:
        raise ConfigError(f"risk.rates.{currency} = {rate} is not a usable rate")
    return scaled
