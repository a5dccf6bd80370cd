"""Bars from tables: CSV and Parquet files, Arrow tables, Polars and pandas frames.

Every price becomes ticks exactly or is an error: text and decimals by their digits, and a float
only when it is the one nearest to a price on the scale (1.1 is, 1.1000001 is not at two decimals).
So nothing is rounded that was not rounded before.
"""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import numpy as np

from alephtx.core.config_words import near
from alephtx.core.errors import UnitError
from alephtx.core.instruments import Instrument
from alephtx.core.records import BAR
from alephtx.core.units import MAX_VALUE, parse_scaled
from alephtx.store.bars import check_bars
from alephtx.store.damage import DataError

Rows = np.ndarray[Any, Any]

PRICES = ("open", "high", "low", "close")
UNITS_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_FLOAT_EXACT = 1 << 53
_DECIMALS = 18


def read_bars(
    source: Any,
    instrument: Instrument,
    *,
    stamp: Literal["end", "start"],
    period_ns: int = 0,
    time_unit: str = "",
    columns: Mapping[str, str] | None = None,
) -> Rows:
    """Return a table's bars as checked BAR rows; DataError names column, row, value and remedy.

    source: a path to .csv or .parquet, or what Arrow takes for a table. stamp: what the time of a
    bar says; its start needs period_ns. time_unit: s, ms, us or ns, of times that are whole
    numbers. columns: our name (ts, open, high, low, close, volume) -> the table's. A table without
    a volume column gives 0.
    """
    table, named = _table_of(source), dict(columns or {})
    if odd := sorted(set(named) - {"ts", *PRICES, "volume"}):
        raise DataError(
            f"columns: {odd[0]!r} is none of ours", remedy="ts, open, high, low, close, volume"
        )
    if stamp not in ("end", "start") or (stamp == "start" and period_ns < 1):
        raise DataError(
            f"stamp = {stamp!r}, period_ns = {period_ns}",
            remedy='say stamp="end", or stamp="start" and the period',
        )
    bars = np.zeros(table.num_rows, BAR)
    bars["ts_ns"] = _times(_column(table, "ts", named), time_unit)
    bars["ts_ns"] += period_ns if stamp == "start" else 0
    for name in PRICES:
        bars[name] = _scaled(_column(table, name, named), instrument.price_scale, name)
    if "volume" in named or "volume" in table.column_names:
        bars["volume"] = _scaled(_column(table, "volume", named), instrument.qty_scale, "volume")
    check_bars(bars, instrument)
    return bars


def _table_of(source: Any) -> Any:
    import pyarrow as pa

    if not isinstance(source, str | Path):
        return pa.table(source)
    path = Path(source)
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return parquet.read_table(path)
        if path.suffix == ".csv":
            return _csv(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: {error}", remedy="is it whole, and what its name says?") from None
    raise DataError(f"{path} is neither .csv nor .parquet", remedy="rename or convert it")


def _csv(path: Path) -> Any:
    """Return a CSV file as a table of text, so that no digit is lost."""
    import pyarrow as pa
    from pyarrow import csv

    with path.open("rb") as file:
        names = [name.strip().strip('"') for name in file.readline().decode("utf-8").split(",")]
    as_text = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return csv.read_csv(path, convert_options=as_text)


def _column(table: Any, name: str, named: Mapping[str, str]) -> Any:
    """Return a column as one array without nulls."""
    theirs = named.get(name, name)
    if theirs not in table.column_names:
        raise DataError(
            f"there is no column {theirs!r} for {name}", remedy=near(theirs, table.column_names)
        )
    column = table.column(theirs).combine_chunks()
    if column.null_count:
        at = column.is_null().to_pylist().index(True)
        raise _wrong(name, at, "nothing", "leave the row out")
    return column


def _wrong(name: str, at: int, value: Any, remedy: str) -> DataError:
    return DataError(f"column {name}, row {at + 1}: {value} cannot be taken exactly", remedy=remedy)


def _scaled(column: Any, scale: int, name: str) -> Rows:
    """Return a column as integers of 10^-scale."""
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        return _from_floats(column, scale, name)
    try:
        wide = column.cast(pa.decimal128(38, _DECIMALS)).cast(pa.decimal128(38, scale))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _one_by_one(column, scale, name)
    words = np.frombuffer(wide.buffers()[1], np.int64).reshape(-1, 2)
    words = words[wide.offset : wide.offset + len(wide)]
    found = words[:, 0].copy()
    bad = (words[:, 1] != found >> 63) | (np.abs(found) >= MAX_VALUE)
    if bad.any():
        at = int(bad.argmax())
        raise _wrong(name, at, column[at], f"62 bits do not hold it at {scale} decimals")
    return found


def _from_floats(column: Any, scale: int, name: str) -> Rows:
    values = column.to_numpy(zero_copy_only=False).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.rint(values * 10.0**scale)
        # Both are exact, so the quotient is the float nearest to that decimal number.
        good = (np.abs(scaled) < _FLOAT_EXACT) & (scaled / 10.0**scale == values)
    if not good.all():
        at = int((~good).argmax())
        raise _wrong(
            name, at, repr(float(values[at])), f"the instrument has {scale} decimals: round it"
        )
    return scaled.astype(np.int64)


def _one_by_one(column: Any, scale: int, name: str) -> Rows:
    """Return what Arrow would not take at once, or say which row it was."""
    found = np.zeros(len(column), np.int64)
    for at, value in enumerate(column.to_pylist()):
        said = format(value, "f") if isinstance(value, Decimal) else str(value)
        try:
            found[at] = parse_scaled(said.strip(), scale)
        except UnitError as error:
            raise _wrong(name, at, f"{said[:40]!r}", f"{error}") from None
    return found


def _times(column: Any, unit: str) -> Rows:
    """Return a column of times as ns since the epoch; times without a zone are UTC."""
    import pyarrow as pa

    if unit not in ("", *UNITS_NS):
        raise DataError(f"time_unit = {unit!r}", remedy="s, ms, us or ns")
    try:
        if pa.types.is_string(column.type) and unit:
            column = column.cast(pa.int64())
        if not pa.types.is_integer(column.type):
            return np.array(column.cast(pa.timestamp("ns")).cast(pa.int64()).to_numpy())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"column ts: {error}", remedy="write 2026-01-01T00:00:00, or numbers and time_unit"
        ) from None
    if not unit:
        raise DataError("column ts holds numbers", remedy='say time_unit="ms", or s, us, ns')
    found = np.array(column.cast(pa.int64()).to_numpy())
    bad = (found < 0) | (found >= MAX_VALUE // UNITS_NS[unit])
    if bad.any():
        at = int(bad.argmax())
        raise _wrong("ts", at, int(found[at]), f"as {unit} it is no time of ours: another unit?")
    return found * UNITS_NS[unit]
