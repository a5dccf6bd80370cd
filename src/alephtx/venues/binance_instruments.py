"""exchangeInfo to Instruments: filters become grids and bounds, contract types become keys.

Filters read: PRICE_FILTER, LOT_SIZE, NOTIONAL or MIN_NOTIONAL. Fees are those of the lowest tier
without discounts; the config overrides them with `msgspec.structs.replace`.
"""

import difflib
from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import msgspec
from msgspec import Struct, field

from alephtx.core import words
from alephtx.core.errors import ConfigError, ProtocolError
from alephtx.core.instruments import Instrument
from alephtx.core.units import MAX_VALUE
from alephtx.venues.binance_account import amount
from alephtx.venues.binance_wire import UNREADABLE

QTY_SCALE_MAX = 8
_STATUS = {
    "TRADING": words.TRADING,
    "CANCEL_ONLY": words.CANCEL_ONLY,
    "CLOSE": words.DELISTED,
    "DELIVERED": words.DELISTED,
    "PRE_DELIVERING": words.CANCEL_ONLY,
    "BREAK": words.HALTED,
    "HALT": words.HALTED,
    "END_OF_DAY": words.HALTED,
}


class Listing(Struct):
    """One symbol of exchangeInfo, spot or futures."""

    symbol: str
    base: str = field(name="baseAsset")
    quote: str = field(name="quoteAsset")
    filters: list[dict[str, Any]]
    status: str = ""
    contract_status: str = field(name="contractStatus", default="")
    contract_type: str = field(name="contractType", default="")
    contract_size: int | str = field(name="contractSize", default=1)
    margin_asset: str = field(name="marginAsset", default="")
    delivery_date: int = field(name="deliveryDate", default=0)
    base_precision: int = field(name="baseAssetPrecision", default=0)


class ExchangeInfo(Struct):
    """The part of exchangeInfo we read."""

    symbols: list[Listing]


class Fees(Struct, frozen=True):
    """Fractions of the notional."""

    maker: Decimal
    taker: Decimal


def decimals(step: Decimal) -> int:
    """Return how many decimals a step has, trailing zeros aside."""
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _find(listing: Listing, *names: str) -> dict[str, Any]:
    for name in names:
        for found in listing.filters:
            if found.get("filterType") == name:
                return found
    return {}


def _number(listing: Listing, found: dict[str, Any], *names: str) -> Decimal:
    """Return a number of a filter, 0 where the filter does not have it."""
    for name in names:
        if name in found:
            try:
                value = amount(str(found[name]))
            except ProtocolError as error:
                raise ProtocolError(f"{listing.symbol}: filter field {name}: {error}") from error
            if value < 0:
                raise ProtocolError(f"{listing.symbol}: filter field {name} is negative")
            return value
    return Decimal(0)


def _qty_scale(listing: Listing, step: Decimal, price_max: int, qty_max: Decimal) -> int:
    """Return the finest scale of quantities that fits, at least the lot step's.

    Spot books hold quantities with more digits than the lot step, and such an order may fill ours,
    so spot takes all digits of the asset that price_max x qty_max leaves room for in 62 bits.
    """
    scale = decimals(step)
    while scale < min(listing.base_precision, QTY_SCALE_MAX):
        if price_max * int(qty_max.scaleb(scale + 1)) >= MAX_VALUE:
            break
        scale += 1
    return scale


def _expiry(listing: Listing) -> tuple[str, int]:
    """Return (suffix of the key, expiry in ns or 0)."""
    if "PERPETUAL" in listing.contract_type:
        return "PERP", 0
    return listing.symbol.rpartition("_")[2], listing.delivery_date * 1_000_000


def make_instrument(venue: str, contract: int, fees: Fees, listing: Listing) -> Instrument:
    """Return the instrument of one listing; ProtocolError when a filter is missing or senseless."""
    prices, lots = _find(listing, "PRICE_FILTER"), _find(listing, "LOT_SIZE")
    tick, step = _number(listing, prices, "tickSize"), _number(listing, lots, "stepSize")
    if tick <= 0 or step <= 0:
        raise ProtocolError(
            f"{listing.symbol}: tick size {tick} and step size {step} must be positive"
        )
    price_max, qty_max = _number(listing, prices, "maxPrice"), _number(listing, lots, "maxQty")
    price_scale = decimals(tick)
    price_ticks = int(price_max.scaleb(price_scale))
    spot = contract == words.SPOT
    qty_scale = _qty_scale(listing, step, price_ticks, qty_max) if spot else decimals(step)
    if price_ticks and price_ticks * int(qty_max.scaleb(qty_scale)) >= MAX_VALUE:
        room = Decimal((MAX_VALUE - 1) // price_ticks).scaleb(-qty_scale)
        qty_max = (room / step).to_integral_value(ROUND_FLOOR) * step  # smaller orders only: safe
    money = _find(listing, "NOTIONAL", "MIN_NOTIONAL")
    suffix, expiry_ns = ("", 0) if spot else _expiry(listing)
    name = "-".join(part for part in (listing.base, listing.quote, suffix) if part)
    settle = listing.quote if spot else listing.margin_asset or listing.quote
    status = listing.contract_status or listing.status
    return Instrument(
        key=f"{venue}:{name}",
        venue=venue,
        symbol=listing.symbol,
        base=listing.base,
        quote=listing.quote,
        settle=settle,
        contract=contract,
        price_scale=price_scale,
        qty_scale=qty_scale,
        tick_size=tick.normalize(),
        lot_size=step.normalize(),
        qty_min=_number(listing, lots, "minQty"),
        qty_max=qty_max,
        price_min=_number(listing, prices, "minPrice"),
        price_max=price_max,
        notional_min=_number(listing, money, "minNotional", "notional"),
        contract_value=Decimal(str(listing.contract_size)),
        maker_fee=fees.maker,
        taker_fee=fees.taker,
        status=_STATUS.get(status, words.HALTED),
        expiry_ns=expiry_ns,
    )


def parse_exchange_info(
    venue: str, contract: int, fees: Fees, body: bytes, symbols: Sequence[str]
) -> list[Instrument]:
    """Return the instruments of the wanted symbols, in that order; of all when none are named.

    ConfigError for a symbol the venue does not list, ProtocolError for a senseless answer.
    """
    try:
        listings = msgspec.json.decode(body, type=ExchangeInfo).symbols
    except UNREADABLE as error:
        raise ProtocolError(f"exchangeInfo cannot be read: {error}", venue=venue) from error
    known = {listing.symbol: listing for listing in listings}
    for symbol in symbols:
        if symbol not in known:
            near = ", ".join(difflib.get_close_matches(symbol.upper(), known, 5)) or "none"
            raise ConfigError(f"{venue} does not list {symbol!r}", remedy=f"near names: {near}")
    try:
        return [make_instrument(venue, contract, fees, known[s]) for s in symbols or known]
    except UNREADABLE as error:
        raise ProtocolError(f"exchangeInfo cannot be used: {error}", venue=venue) from error
