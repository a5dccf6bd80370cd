"""LEAN's zipped days: minute bars of quotes and trades, and ticks of quotes and trades.

https://github.com/QuantConnect/Lean/tree/master/Data. Times are ms after midnight, of New York for
equities and of UTC for crypto; equity prices are dollars x 10,000. What a file is shows in the name
inside the zip, or in its own.

A minute's quote becomes the top of book at the minute's end (its closing bid and ask), a minute's
trades four BAR rows then: open, high, low, close, the last with the volume. Ticks of quotes carry
one side; the other is as it was last told.
"""

import re
import zipfile
from pathlib import Path

import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.store import rowmaking
from alephtx.store.columns import PRICES, SIZES, Batch, Column, Table
from alephtx.store.damage import DataError
from alephtx.store.lines import first_fields, packing
from alephtx.store.reading import Reading, Rows, Stream, plain_instrument
from alephtx.store.scan_csv import DECIMAL, MISSING
from alephtx.store.sessions import midnight_ns

INSIDE = re.compile(r"(\d{8})_([a-z0-9.]+)_(?:(minute|second)_(quote|trade)|(quote|trade)_(tick))",
                    re.IGNORECASE)  # fmt: skip
_KINDS = "(crypto|cryptofuture|future|equity|forex|cfd)"
OUTSIDE = re.compile(rf"{_KINDS}_([a-z]+)_", re.IGNORECASE)
FOLDERS = re.compile(rf"/{_KINDS}/([a-z]+)/(?:minute|second|tick)/[^/]+/[^/]+$", re.IGNORECASE)
MINUTE_NS, MS = 60_000_000_000, 1_000_000
_BARS = ("open", "high", "low", "close")
COLUMNS = {
    ("minute", "quote"): ["time", *(f"bid_{n}" for n in (*_BARS, "size")),
                          *(f"ask_{n}" for n in (*_BARS, "size"))],
    ("minute", "trade"): ["time", *_BARS, "volume"],
    ("tick", "quote"): ["time", "bid_close", "bid_size", "ask_close", "ask_size", "exchange",
                        "condition", "suspicious"],
    ("tick", "trade"): ["time", "price", "size", "exchange", "condition", "suspicious"],
}  # fmt: skip


class Lean:
    """Reads one zipped day."""

    name = "lean"

    def sniff(self, path: Path) -> bool:
        """Say whether the name inside the zip is one of LEAN's."""
        return _what(path) is not None

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield the messages in the order of the file."""
        what = _what(path)
        if what is None:
            raise DataError(f"{path}: its name is none of LEAN's", remedy="keep the original name")
        date, symbol, pace, kind = what
        names = COLUMNS[pace, kind]
        fields = len(first_fields(path))
        kind_of_market, venue, contract = _market(path, symbol.upper())
        equity = kind_of_market == "equity"
        wanted = [Column(n, DECIMAL, _scale_of(n, equity=equity), optional=True)
                  for n in names if n not in ("exchange", "condition")]  # fmt: skip
        table = Table(path, wanted, (names + [f"more_{k}" for k in range(fields)])[:fields])
        prices, lots = (4, 0) if equity else table.measure(reading)
        instrument = plain_instrument(
            reading.options, venue=venue, symbol=symbol.upper(), price_scale=prices,
            qty_scale=lots, quote="USD" if equity else "", contract=contract,
        )  # fmt: skip
        zone = "America/New_York" if equity else "UTC"
        dated = Path(date) if not reading.options.date else path
        yield from _rows(table, reading, instrument, midnight_ns(dated, reading.options, zone),
                         (pace, kind))  # fmt: skip


def _market(path: Path, symbol: str) -> tuple[str, str, int]:
    """Return the kind of market, our name of the venue and the contract.

    They show in the file's name, or in the folders that LEAN keeps it in. Spot and perpetuals of
    one exchange are two venues here, as its own dumps have them.
    """
    found = OUTSIDE.search(path.name) or FOLDERS.search(path.absolute().as_posix())
    if found is None:
        return "equity", "us_equity", words.SPOT
    kind, name = found[1].lower(), found[2].lower()
    if kind == "crypto":
        return kind, f"{name}_spot", words.SPOT
    if kind != "cryptofuture":
        venue = "us_equity" if (kind, name) == ("equity", "usa") else name
        return kind, venue, words.LINEAR if kind == "future" else words.SPOT
    inverse = name in ("binance", "bybit") and symbol.endswith("USD")
    if name == "binance":
        name = "binance_coinm" if inverse else "binance_usdm"
    return kind, name, words.INVERSE if inverse else words.LINEAR


def _scale_of(name: str, *, equity: bool) -> int:
    if equity or name in ("time", "suspicious"):
        return 0
    return SIZES if name.endswith("size") or name == "volume" else PRICES


def _what(path: Path) -> tuple[str, str, str, str] | None:
    """Return date, symbol, pace and kind of a file, None when it is none of LEAN's."""
    try:
        if packing(path) != ".zip":
            return None
        with zipfile.ZipFile(path) as archive:
            named = INSIDE.match(archive.namelist()[0])
    except (zipfile.BadZipFile, DataError, IndexError, ValueError, OSError, NotImplementedError):
        return None
    if named is None:
        return None
    pace = (named[3] or "tick").lower()
    kind = (named[4] or named[5]).lower()
    return (named[1], named[2], "minute", kind) if pace == "minute" else (
        (named[1], named[2], "tick", kind) if pace == "tick" else None
    )  # fmt: skip


def _rows(
    table: Table, reading: Reading, instrument: Instrument, midnight: int, what: tuple[str, str]
) -> Stream:
    sides = [0, 0, 0, 0]
    for batch in table.batches(reading):
        event = midnight + batch["time"] * MS
        if what == ("minute", "quote"):
            names = ("bid_close", "bid_size", "ask_close", "ask_size")
            fields = [np.maximum(batch[name], 0) for name in names]
            yield instrument, rowmaking.tops(event + MINUTE_NS, 0, *fields)
        elif what == ("minute", "trade"):
            prices, volume = [batch[name] for name in _BARS], np.maximum(batch["volume"], 0)
            yield instrument, rowmaking.bars(event + MINUTE_NS, 0, prices, volume)
        elif what == ("tick", "trade"):
            nothing = np.zeros(len(batch), np.int64)
            yield instrument, rowmaking.trades(event, 0, batch["price"], batch["size"], nothing)
        else:
            yield instrument, rowmaking.tops(event, 0, *_carried(batch, sides))


def _carried(batch: Batch, sides: list[int]) -> list[Rows]:
    """Return both sides of each row, the one that is not in it as it was last; sides: kept."""
    made = []
    for at, (price, size) in enumerate((("bid_close", "bid_size"), ("ask_close", "ask_size"))):
        told = (batch[price] != 0) & (batch[price] != MISSING)
        last = np.maximum.accumulate(np.where(told, np.arange(len(batch)), -1))
        for k, name in enumerate((price, size)):
            values = np.where(last >= 0, batch[name][last], sides[2 * at + k])
            sides[2 * at + k] = int(values[-1])
            made.append(values)
    return made
