"""What importers share: what they are told, whom they tell, and what they promise."""

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.config_schema import INSTRUMENT_KEY, NAME
from alephtx.core.instruments import Instrument
from alephtx.store.damage import Damages, DataError

Rows = np.ndarray[Any, Any]
Stream = Iterator[tuple[Instrument, Rows]]

PRICE_SCALE_MAX, QTY_SCALE_MAX = 12, 9


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says about a file that it does not say itself; empty = find out.

    instrument: its rules, whole. date: YYYY-MM-DD, for formats that count from midnight. columns:
    our name of a column -> the file's, for `columns`; stamp: whether a bar's time is its "start" or
    "end", period_ns: how long it is; round_off: take what is finer than the scales, rounded. only:
    native symbols to take of a file that holds many. anonymous: a file may be of no venue or
    symbol, for those who only look at it.
    """

    instrument: Instrument | None = None
    venue: str = ""
    symbol: str = ""
    date: str = ""
    price_scale: int = -1
    qty_scale: int = -1
    columns: dict[str, str] = {}
    time_unit: str = ""
    stamp: str = ""
    period_ns: int = 0
    round_off: bool = False
    only: tuple[str, ...] = ()
    anonymous: bool = False


class Reading:
    """One file being read: its options, its damages, and how far it is.

    advance(done, whole) is called with bytes of the file, now and then.
    """

    def __init__(
        self,
        path: Path,
        options: Options | None = None,
        advance: Callable[[int, int], None] = lambda done, whole: None,
    ) -> None:
        self.path = path
        self.options = options or Options()
        self.damages = Damages()
        self.advance = advance
        try:
            self.size = path.stat().st_size
        except OSError as error:
            raise DataError(
                f"cannot read {path}: {error.strerror}", remedy="name a file"
            ) from error

    def damaged(self, row: int, column: str, problem: str) -> None:
        """Take note of a row that was passed over; row 0 = the file itself."""
        self.damages.add(self.path.name, row, column, problem)

    def note(self, text: str) -> None:
        """Take note of what the user should know and that is no damage."""
        self.damages.note(f"{self.path.name}: {text}")


class Importer(Protocol):
    """One format. `read` yields (instrument, EVENT rows) in the order of arrival.

    Each chunk's last row ends a message; rows are not arranged or numbered yet (`store.arrange`).
    What cannot be read is told to the reading by row and column, and passed over. The same
    instrument is the same object in every chunk.
    """

    name: str

    def sniff(self, path: Path) -> bool:
        """Say whether a file looks like this format; cheap, and never an error."""
        ...

    def read(self, path: Path, reading: Reading) -> Stream:
        """Read it."""
        ...


def scales_given(options: Options) -> tuple[int, int]:
    """Return the decimals of prices and quantities that the user gave, -1 where none."""
    if options.instrument is not None:
        return options.instrument.price_scale, options.instrument.qty_scale
    return options.price_scale, options.qty_scale


def plain_instrument(
    options: Options, *, venue: str, symbol: str, price_scale: int, qty_scale: int,
    contract: int = words.SPOT, quote: str = "", lot: int = 1, tick: int = 1, key: str = "",
) -> Instrument:  # fmt: skip
    """Return the options' instrument, else one that knows the scales that its file is read with.

    DataError when the user gave other scales. tick, lot: steps in units of the scales. Such an
    instrument has no fees and no limits: data of a file does not tell them.
    """
    used = ("prices", price_scale), ("sizes", qty_scale)
    for (what, mine), theirs in zip(used, scales_given(options), strict=True):
        if theirs not in (-1, mine):
            raise DataError(
                f"{symbol}: {what} are read with {mine} decimals here, {theirs} were given",
                remedy="give an instrument of these scales, or none",
            )
    if options.instrument is not None:
        return options.instrument
    venue, symbol = options.venue or house_name(venue), options.symbol or symbol
    if options.anonymous:
        venue, symbol = venue or "unknown", symbol or "unknown"
    if not venue or not symbol:
        raise DataError(
            "the file does not say of which venue and symbol it is",
            remedy="give --venue and --symbol",
        )
    if not 0 <= price_scale <= PRICE_SCALE_MAX or not 0 <= qty_scale <= QTY_SCALE_MAX:
        raise DataError(
            f"{symbol}: scales of {price_scale} and {qty_scale} decimals; at most "
            f"{PRICE_SCALE_MAX} and {QTY_SCALE_MAX}", remedy="give --price-scale and --qty-scale",
        )  # fmt: skip
    if not re.fullmatch(NAME, venue):
        raise DataError(
            f"{venue!r} is no name of a venue: no config could name it",
            remedy="give --venue in lower-case letters, digits and _, at most 32, a letter first",
        )
    key = key or f"{venue}:{key_part(symbol)}"
    if not re.fullmatch(INSTRUMENT_KEY, key):
        raise DataError(f"{key} is too long for a config to name", remedy="give a shorter --symbol")
    base, quote = (symbol, quote) if quote else split_symbol(symbol)
    hundred = venue == "binance_coinm" and base == "BTC"
    coin_margined = Decimal(100 if hundred else 10) if venue == "binance_coinm" else Decimal(1)
    return Instrument(
        key=key, venue=venue, symbol=symbol, base=base, quote=quote,
        settle=base if contract == words.INVERSE else quote, contract=contract,
        price_scale=price_scale, qty_scale=qty_scale,
        tick_size=Decimal(tick).scaleb(-price_scale), lot_size=Decimal(lot).scaleb(-qty_scale),
        contract_value=coin_margined if contract == words.INVERSE else Decimal(1),
    )  # fmt: skip


HOUSE_NAMES = {
    "binance": "binance_spot", "binance-futures": "binance_usdm",
    "binance-delivery": "binance_coinm",
}  # fmt: skip


def house_name(venue: str) -> str:
    """Return our name of a venue that a file names: `binance-futures` is `binance_usdm` here."""
    return HOUSE_NAMES.get(venue, re.sub(r"[^a-z0-9_]", "_", venue.lower()))


def key_part(symbol: str) -> str:
    """Return a native symbol as it stands in a key: what a config cannot hold becomes @ and hex.

    `ESH4 C4800` is `ESH4@20C4800`, so that it is not taken for `ESH4_C4800`.
    """
    kept = re.sub(r"[^A-Za-z0-9._:/@-]", lambda m: "".join(f"@{b:02X}" for b in m[0].encode()),
                  symbol)  # fmt: skip
    return kept if kept[:1].isalnum() or kept[:1] == "@" else f"@{ord(kept[0]):02X}{kept[1:]}"


QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD", "EUR", "JPY", "BTC", "ETH", "BNB")


def split_symbol(symbol: str) -> tuple[str, str]:
    """Guess base and quote of a native symbol; the quote is "" when it shows none."""
    name = symbol.upper()
    plain, _, kind = name.partition("_")
    if kind == "PERP" or (kind.isdigit() and split_symbol(plain)[1]):  # BTCUSD_PERP, BTCUSDT_240628
        return split_symbol(plain)
    for mark in ("-", "_", "/"):
        if mark in name:
            base, _, rest = name.partition(mark)
            return base, rest.partition(mark)[0]
    for quote in QUOTES:
        if name.endswith(quote) and len(name) > len(quote):
            return name[: -len(quote)], quote
    return name, ""
