"""Any table, CSV or Parquet, whose columns the user names: --column price=px --column time=ts ...

What our names are, and what they make, is in `KINDS`. With `level`, rows of equal time are one
message of a book; is_snapshot says which begin a whole book. Sizes that are not there are one lot;
rows without a symbol are of one instrument. Times are numbers (their unit shows in their size, or
--time-unit) or ISO dates, of UTC unless they say otherwise. A CSV's separator is what parts the
names in its first line.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.store.columns import Batch, group_starts, header_of, separator_of
from alephtx.store.damage import DataError
from alephtx.store.importers.columns_parquet import parquet_source
from alephtx.store.importers.columns_rows import MAKERS
from alephtx.store.importers.columns_text import text_source
from alephtx.store.reading import Options, Reading, Stream, plain_instrument
from alephtx.store.tables import parquet_names

KINDS = {
    "bars": ("open", "high", "low", "close", "volume"),
    "levels": ("price", "side", "level", "qty", "is_snapshot"),
    "trades": ("price", "qty", "side"),
    "tops": ("bid", "ask", "bid_qty", "ask_qty"),
    "funding": ("rate", "next"),
}
"""Columns beside time, recv and symbol; those that must be there: `_NEEDED`."""
_ALWAYS = ("time", "recv", "symbol")
_NEEDED = {
    "bars": ("open", "high", "low", "close"), "levels": ("price", "side", "level"),
    "trades": ("price",), "tops": ("bid", "ask"), "funding": ("rate",),
}  # fmt: skip
OURS = (*_ALWAYS, *dict.fromkeys(name for names in KINDS.values() for name in names))
GUESSES = {
    "time": ("time", "timestamp", "ts", "ts_event", "date", "datetime", "time_ms", "ts_ms",
             "open_time", "funding_time", "fundingtime"),
    "recv": ("local_timestamp", "ts_recv", "recv", "received"),
    "symbol": ("symbol", "instrument", "ticker"),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "close": ("close",),
    "volume": ("volume", "vol"),
    "price": ("price", "px", "last", "p"),
    "qty": ("qty", "quantity", "amount", "size", "volume", "sz", "q"),
    "side": ("side", "direction"),
    "bid": ("bid", "bid_price", "best_bid", "bid_px"),
    "ask": ("ask", "ask_price", "best_ask", "ask_px"),
    "bid_qty": ("bid_qty", "bid_size", "bid_amount", "bid_sz"),
    "ask_qty": ("ask_qty", "ask_size", "ask_amount", "ask_sz"),
    "rate": ("funding_rate", "funding rate", "fundingrate"),
    "next": ("next_funding_time", "nextfundingtime", "next funding time"),
}  # fmt: skip


class ColumnsMap:
    """Reads a table by the options' columns, else by names that are usual."""

    name = "columns"

    def sniff(self, path: Path) -> bool:
        """Say whether a table has a time and what makes rows, by usual names."""
        named = _guessed(_names(path))
        return "time" in named and _kind_of(named) is not None

    def portion(self, path: Path, options: Options) -> str:
        """Name what is taken of a table that may give something else, too, "" for all it gives.

        Bars and funding rates of one file are two sources: neither replaces the other.
        """
        kind = _kind_of(options.columns)
        return "" if kind is None or kind == _kind_of(_guessed(_names(path))) else kind

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield the messages in the order of the file."""
        kind, named = _named(path, reading.options, _names(path))
        make = MAKERS[kind](reading)
        source = parquet_source if parquet_names(path) else text_source
        prices, lots, batches = source(path, reading, named)
        instruments = _Instruments(path, reading.options, kind, (prices, lots))
        if kind == "levels":
            batches = _grouped(batches)
        for batch in batches:
            for instrument, part in instruments.split(batch):
                rows = make.rows(instrument.key, part)
                if len(rows):
                    yield instrument, rows


class _Instruments:
    """The instruments of a table, made when their symbol is met first."""

    def __init__(self, path: Path, options: Options, kind: str, scales: tuple[int, int]) -> None:
        self._path, self._options, self._scales = path, options, scales
        self._contract = words.LINEAR if kind == "funding" else words.SPOT
        self._found: dict[str, Instrument] = {}

    def split(self, batch: Batch) -> list[tuple[Instrument, Batch]]:
        """Return a batch's rows by instrument."""
        if not len(batch):
            return []
        if "symbol" not in batch:
            return [(self._of(""), batch)]
        values = batch["symbol"]
        return [
            (self._of(batch.texts[value]), batch.take(values == value))
            for value in np.unique(values).tolist()
        ]

    def _of(self, symbol: str) -> Instrument:
        if symbol not in self._found:
            forced = self._options.symbol or self._options.instrument is not None
            if self._found and forced:
                raise DataError(
                    f"{self._path} holds several symbols ({next(iter(self._found))}, {symbol}), "
                    "and one was given",
                    remedy=f"leave --symbol and --instrument out; --only {symbol} takes one",
                )
            self._found[symbol] = plain_instrument(
                self._options, venue="", symbol=symbol, contract=self._contract,
                price_scale=self._scales[0], qty_scale=self._scales[1],
            )  # fmt: skip
        return self._found[symbol]


def _names(path: Path) -> list[str]:
    return parquet_names(path) or header_of(path, separator_of(path))


def _kind_of(named: Sequence[str] | dict[str, str]) -> str | None:
    """Return what columns make, the surest first."""
    return next((kind for kind, needed in _NEEDED.items() if set(needed) <= set(named)), None)


def _guessed(names: list[str]) -> dict[str, str]:
    """Return our names and the file's: those of one kind, by names that are usual."""
    lowered = {name.lower(): name for name in names}
    found = {}
    for ours, guesses in GUESSES.items():
        for guess in guesses:
            if guess in lowered:
                found[ours] = lowered[guess]
                break
    kind = _kind_of(found)
    wanted = (*_ALWAYS, *KINDS[kind]) if kind else _ALWAYS
    return {ours: theirs for ours, theirs in found.items() if ours in wanted}


def _named(path: Path, options: Options, names: list[str]) -> tuple[str, dict[str, str]]:
    """Return what the columns make, our names and the file's, checked."""
    given = dict(options.columns) or _guessed(names)
    for ours, theirs in given.items():
        if ours not in OURS:
            raise DataError(f"--column {ours}: no such column", remedy=f"ours: {', '.join(OURS)}")
        if theirs not in names:
            raise DataError(
                f"{path} has no column {theirs!r}", remedy=f"it has: {', '.join(names[:20])}"
            )
        if names.count(theirs) > 1:
            raise DataError(
                f"{path} has {names.count(theirs)} columns {theirs!r}", remedy="rename one of them"
            )
        if list(given.values()).count(theirs) > 1:
            raise DataError(
                f"--column {ours}={theirs}: another of ours is {theirs!r} already",
                remedy="name each column once",
            )
    kind = _kind_of(given)
    if "time" not in given or kind is None:
        raise DataError(
            f"{path}: time, and what there was then, must be named: price; bid and ask; open, "
            "high, low and close; or rate; its columns are " + ", ".join(names[:20]),
            remedy="--column time=... --column price=...",
        )
    if "level" in given and "side" not in given:
        raise DataError(f"{path}: levels need a side", remedy="--column side=...")
    if odd := [ours for ours in given if ours not in (*_ALWAYS, *KINDS[kind])]:
        raise DataError(
            f"--column {odd[0]}={given[odd[0]]} does not go with "
            + " and ".join(n for n in _NEEDED[kind] if n in given),
            remedy=f"of {kind} there are {', '.join((*_ALWAYS, *KINDS[kind]))}",
        )
    return kind, given


def _grouped(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield the rows, but never split a message: rows in a row of one time and symbol."""
    rest: Batch | None = None
    for batch in batches:
        joined = batch if rest is None else rest.followed_by(batch)
        keys = [name for name in ("time", "recv", "is_snapshot", "symbol") if name in joined]
        cut = int(group_starts(joined, keys)[-1])
        rest = joined.take(slice(cut, None))
        if cut:
            yield joined.take(slice(0, cut))
    if rest is not None:
        yield rest
