"""Instruments: what is traded, on which grid, and what one lot of it is worth."""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.errors import ConfigError, UnitError
from alephtx.core.records import INSTRUMENT
from alephtx.core.units import (
    FIXED_TICK,
    MAX_VALUE,
    MONEY_SCALE,
    SIGNIFICANT_FIGURES,
    STEPPED_TICK,
    TICK_BANDS_MAX,
    from_decimal,
    to_decimal,
)

CONTRACT_NAMES = {
    words.SPOT: "spot",
    words.LINEAR: "linear",
    words.INVERSE: "inverse",
    words.QUANTO: "quanto",
    words.BINARY: "binary",
    words.OPTION: "option",
}


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One tradable thing at one venue; all numbers are Decimal or ints of the stated scale.

    key: `binance_usdm:BTC-USDT-PERP`, unique. symbol: the venue's own name. contract_value: units
    of base (linear) or quote (inverse) in one unit of quantity. Prices have price_scale decimals at
    most, quantities qty_scale. Fees are fractions (0.0004 = 4 bps), negative for rebates.
    tick_bands: (price, tick size from there on), rising, for STEPPED_TICK; tick_size is the one
    below the first.
    """

    key: str
    venue: str
    symbol: str
    base: str
    quote: str
    settle: str
    contract: int
    price_scale: int
    qty_scale: int
    tick_size: Decimal
    lot_size: Decimal
    qty_min: Decimal = Decimal(0)
    qty_max: Decimal = Decimal(0)
    price_min: Decimal = Decimal(0)
    price_max: Decimal = Decimal(0)
    notional_min: Decimal = Decimal(0)
    contract_value: Decimal = Decimal(1)
    tick_rule: int = FIXED_TICK
    tick_bands: tuple[tuple[Decimal, Decimal], ...] = ()
    significant_figures: int = 0
    maker_fee: Decimal = Decimal(0)
    taker_fee: Decimal = Decimal(0)
    status: int = words.TRADING
    underlying: str = ""
    venue_index: int = 0
    expiry_ns: int = 0
    strike: Decimal = Decimal(0)

    @property
    def inverse(self) -> bool:
        """True when value and P&L are in the base coin."""
        return self.contract == words.INVERSE

    def price_ticks(self, price: Decimal) -> int:
        """Convert a price to ticks, exactly."""
        return from_decimal(price, self.price_scale)

    def qty_lots(self, qty: Decimal) -> int:
        """Convert a quantity to lots, exactly."""
        return from_decimal(qty, self.qty_scale)

    def price_decimal(self, ticks: int) -> Decimal:
        """Convert ticks to a price."""
        return to_decimal(ticks, self.price_scale)

    def qty_decimal(self, lots: int) -> Decimal:
        """Convert lots to a quantity."""
        return to_decimal(lots, self.qty_scale)

    def value(self, ticks: int, lots: int) -> Decimal:
        """Return the exact value of lots at ticks in the settle currency, unrounded.

        An inverse contract's value is a division; it is given to 28 significant digits.
        """
        qty = self.qty_decimal(lots) * self.contract_value
        price = self.price_decimal(ticks)
        return qty / price if self.inverse else qty * price

    def exposure_base(self, ticks: int, lots: int) -> Decimal:
        """Return signed lots as units of the underlying: the only way to compare instruments."""
        return (
            self.value(ticks, lots)
            if self.inverse
            else self.qty_decimal(lots) * (self.contract_value)
        )


def _money_factors(instrument: Instrument) -> tuple[int, int]:
    """Return (mul, div) that make a fill's money, in units of 10^-MONEY_SCALE, integer work."""
    if instrument.inverse:
        exponent = MONEY_SCALE - instrument.qty_scale + instrument.price_scale
        factor = instrument.contract_value.scaleb(exponent)
        if factor != factor.to_integral_value() or factor >= MAX_VALUE:
            raise UnitError(
                f"{instrument.key}: contract value {instrument.contract_value} is unfit"
            )
        return int(factor), 1
    factor = instrument.contract_value.scaleb(
        MONEY_SCALE - instrument.price_scale - instrument.qty_scale
    )
    numerator, denominator = factor.as_integer_ratio()
    if max(numerator, denominator) >= MAX_VALUE:
        raise UnitError(f"{instrument.key}: contract value {instrument.contract_value} is unfit")
    return numerator, denominator


def check_range(instrument: Instrument) -> None:
    """Refuse an instrument whose largest price x largest quantity does not fit 62 bits."""
    price = instrument.price_ticks(instrument.price_max)
    qty = instrument.qty_lots(instrument.qty_max)
    if price * qty >= MAX_VALUE:
        raise UnitError(
            f"{instrument.key}: price_max {instrument.price_max} x qty_max {instrument.qty_max} "
            "overflows 62 bits of ticks x lots",
            remedy="lower price_max or qty_max for this instrument in the config",
        )
    if instrument.qty_scale > 9:
        raise UnitError(f"{instrument.key}: {instrument.qty_scale} decimals of quantity; at most 9")


def tick_bands(instrument: Instrument) -> list[tuple[int, int]]:
    """Return the (start, step) of each band in ticks, or raise UnitError where they do not join.

    A band starts on the grid of both its sides, so that rounding never leaves a price off the grid.
    """
    bands = [
        (instrument.price_ticks(a), instrument.price_ticks(b)) for a, b in instrument.tick_bands
    ]
    if bool(bands) != (instrument.tick_rule == STEPPED_TICK):
        raise UnitError(f"{instrument.key}: tick_bands go with STEPPED_TICK, and only with it")
    if len(bands) > TICK_BANDS_MAX:
        raise UnitError(f"{instrument.key}: {len(bands)} tick bands; at most {TICK_BANDS_MAX}")
    above, below = 0, instrument.price_ticks(instrument.tick_size)
    for start, step in bands:
        if start <= above or step <= 0 or below <= 0 or start % step or start % below:
            raise UnitError(
                f"{instrument.key}: the tick band from {instrument.price_decimal(start)} "
                "does not join the one below it",
                remedy="bands rise, and each starts on a multiple of both tick sizes",
            )
        above, below = start, step
    return bands


class Instruments:
    """The append-only table: indices are given once and never re-used; stores address by key.

    Also holds the table of currencies (index <-> name) and of venues, both in order of appearance.
    """

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        self._list: list[Instrument] = []
        self._by_key: dict[str, int] = {}
        self._by_symbol: dict[tuple[str, str], int] = {}
        self.currencies: list[str] = [""]
        self.venues: list[str] = []
        self.on_currency: Callable[[], None] | None = None
        """Called when a currency was added, before anything names it: who keeps the table keeps it
        again."""
        for instrument in instruments:
            self.add(instrument)

    def add(self, instrument: Instrument) -> int:
        """Append an instrument and return its index; adding the same key twice is an error."""
        if instrument.key in self._by_key:
            raise ConfigError(f"instrument {instrument.key} is listed twice")
        check_range(instrument)
        tick_bands(instrument)
        index = len(self._list)
        self._list.append(instrument)
        self._by_key[instrument.key] = index
        self._by_symbol[instrument.venue, instrument.symbol] = index
        for name in (instrument.base, instrument.quote, instrument.settle):
            self.currency(name)
        if instrument.venue not in self.venues:
            self.venues.append(instrument.venue)
        return index

    def currency(self, name: str) -> int:
        """Return a currency's index, adding it when new; 0 is no currency."""
        if name not in self.currencies:
            self.currencies.append(name)
            if self.on_currency is not None:
                self.on_currency()
        return self.currencies.index(name)

    def __len__(self) -> int:
        return len(self._list)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._list)

    def __getitem__(self, which: int | str) -> Instrument:
        return self._list[which if isinstance(which, int) else self.index(which)]

    def index(self, key: str) -> int:
        """Return the index of a key; ConfigError names near misses."""
        if key not in self._by_key:
            known = ", ".join(sorted(self._by_key)[:12])
            raise ConfigError(f"unknown instrument {key!r}", remedy=f"known: {known}")
        return self._by_key[key]

    def find(self, venue: str, symbol: str) -> int:
        """Return the index of a venue's own symbol, or -1."""
        return self._by_symbol.get((venue, symbol), -1)

    def of_venue(self, venue: str) -> list[int]:
        """Return the indices of one venue's instruments."""
        return [i for i, instrument in enumerate(self._list) if instrument.venue == venue]

    def rows(self) -> np.ndarray[Any, Any]:
        """Return the kernels' view: an INSTRUMENT row per instrument, by index."""
        rows = np.zeros(len(self._list), INSTRUMENT)
        for index, instrument in enumerate(self._list):
            self._fill(rows[index], index, instrument)
        return rows

    def _fill(self, row: Any, index: int, instrument: Instrument) -> None:
        scale, size = instrument.price_scale, instrument.qty_scale
        row["index"], row["venue"] = index, self.venues.index(instrument.venue)
        row["contract"], row["status"] = instrument.contract, instrument.status
        row["price_scale"], row["qty_scale"] = scale, size
        row["tick_rule"] = instrument.tick_rule
        row["significant_figures"] = instrument.significant_figures
        row["settle"] = self.currency(instrument.settle)
        row["base"], row["quote"] = self.currency(instrument.base), self.currency(instrument.quote)
        row["underlying"] = self.currency(instrument.underlying or instrument.base)
        if instrument.tick_rule == SIGNIFICANT_FIGURES:
            row["tick_step"] = 1
        else:
            row["tick_step"] = from_decimal(instrument.tick_size, scale)
        for k, (start, step) in enumerate(tick_bands(instrument)):
            row["tick_from"][k], row["tick_steps"][k] = start, step
        row["lot_step"] = from_decimal(instrument.lot_size, size)
        row["price_min"] = from_decimal(instrument.price_min, scale)
        row["price_max"] = from_decimal(instrument.price_max, scale)
        row["qty_min"] = from_decimal(instrument.qty_min, size)
        row["qty_max"] = from_decimal(instrument.qty_max, size)
        row["notional_min"] = from_decimal(instrument.notional_min, MONEY_SCALE)
        row["money_mul"], row["money_div"] = _money_factors(instrument)
        row["contract_value"] = from_decimal(instrument.contract_value, MONEY_SCALE)
        row["maker_fee_e8"] = from_decimal(instrument.maker_fee, 8)
        row["taker_fee_e8"] = from_decimal(instrument.taker_fee, 8)

    def to_json(self) -> bytes:
        """Serialise the table, currencies in order, for the matrix and the journal's header."""
        return msgspec.json.encode({"instruments": self._list, "currencies": self.currencies})

    @classmethod
    def from_json(cls, data: bytes) -> "Instruments":
        """Read back what `to_json` wrote."""
        table = msgspec.json.decode(data, type=_Table)
        made = cls()
        made.currencies = list(table.currencies)
        for instrument in table.instruments:
            made.add(instrument)
        return made


class _Table(msgspec.Struct):
    instruments: list[Instrument]
    currencies: list[str]
