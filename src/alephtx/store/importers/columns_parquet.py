"""Parquet files by named columns, whatever types their writers chose."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alephtx.store.columns import Batch, hash_of
from alephtx.store.damage import DataError
from alephtx.store.importers.columns_rows import (
    PRICED,
    RATE_SCALE,
    SIZED,
    TIMED,
    sound,
    tell_fine,
)
from alephtx.store.importers.columns_text import (
    FLAGS,
    SIDES,
    UNITS,
    by_their_size,
    in_unit,
    times_of,
)
from alephtx.store.reading import Reading, Rows
from alephtx.store.scan_csv import BIG, EMPTY, FINE, LIMIT, MISSING, PROBLEMS, UNKNOWN
from alephtx.store.tables import parquet_batches, scaled, scales_of

_OPTIONAL = ("bid", "ask", *SIZED)


def parquet_source(
    path: Path, reading: Reading, named: dict[str, str]
) -> tuple[int, int, Iterator[Batch]]:
    """Return the scales of prices and sizes, and the batches by our names."""
    prices, lots = scales_of(
        path, reading, [named[n] for n in PRICED if n in named],
        [named[n] for n in SIZED if n in named], lambda column: _doubles(column, path, "a column"),
    )  # fmt: skip
    scales = dict.fromkeys(PRICED, prices) | dict.fromkeys(SIZED, lots)
    return prices, lots, _batches(path, reading, named, scales)


def _batches(
    path: Path, reading: Reading, named: dict[str, str], scales: dict[str, int]
) -> Iterator[Batch]:
    unit, near = reading.options.time_unit, reading.options.round_off
    for row, batch in parquet_batches(path, reading, list(named.values())):
        made: dict[str, Rows] = {}
        texts: dict[int, str] = {}
        lines = np.arange(batch.num_rows) + row
        bad = np.zeros(batch.num_rows, np.bool_)

        def without(which: Rows, name: str, problem: str) -> None:
            nonlocal bad
            for line in lines[which & ~bad].tolist():  # noqa: B023 - called within its turn only
                reading.damaged(line, name, problem)
            bad |= which

        for ours, theirs in named.items():
            column = batch.column(theirs)
            if ours in scales or ours == "rate":
                values = _doubles(column, path, theirs)
                rounds = near or ours == "rate"
                made[ours] = (_nearest if rounds else scaled)(values, scales.get(ours, RATE_SCALE))
                missing, empty = made[ours] == MISSING, np.isnan(values)
                if ours not in _OPTIONAL:
                    without(missing & empty, theirs, PROBLEMS[EMPTY])
                fits = np.abs(values) * 10.0 ** scales.get(ours, RATE_SCALE) < LIMIT
                without(missing & ~empty & ~fits, theirs, PROBLEMS[BIG])
                without(missing & ~empty & fits, theirs, PROBLEMS[FINE])
            elif ours in TIMED:
                made[ours] = _times(column, unit, path, theirs)
            elif ours == "level":
                made[ours] = np.zeros(batch.num_rows, np.int64)
            elif ours == "symbol":
                made[ours], texts = _symbols(column)
                without(made[ours] == 0, theirs, PROBLEMS[EMPTY])
            else:
                made[ours] = _words(column, FLAGS if ours == "is_snapshot" else SIDES)
                without(made[ours] == MISSING, theirs, PROBLEMS[UNKNOWN])
        yield sound(Batch(made, lines, texts).take(~bad), reading)
    tell_fine(reading)


def _doubles(column: Any, path: Path, name: str) -> Rows:
    import pyarrow as pa

    try:
        return np.asarray(_plain(column).cast(pa.float64()).to_numpy(zero_copy_only=False), float)
    except pa.ArrowException as error:
        raise DataError(
            f"{path}: {name} holds what is no number: {str(error)[:200]}",
            remedy="name the right columns",
        ) from None


def _nearest(values: Rows, scale: int) -> Rows:
    """Return doubles as the nearest integers of 10^-scale; what is not finite or too big: -2^63."""
    with np.errstate(invalid="ignore", over="ignore"):
        made = np.rint(values * 10.0**scale)
        return np.where(np.abs(made) < 2.0**62, made, -(2.0**63)).astype(np.int64)


def _plain(column: Any) -> Any:
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _times(column: Any, unit: str, path: Path, name: str) -> Rows:
    """Return a column of times as ns, 0 where there is none."""
    import pyarrow as pa

    column = _plain(column)
    kind = column.type
    try:
        if pa.types.is_date(kind):
            column = column.cast(pa.timestamp("ms"))
            kind = column.type
        if pa.types.is_timestamp(kind):
            return in_unit(np.asarray(column.cast(pa.int64()).fill_null(0)), kind.unit)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return times_of([text or "" for text in column.to_pylist()], unit)
        if pa.types.is_floating(kind):
            return _of_doubles(np.asarray(column.cast(pa.float64()).fill_null(0.0)), unit)
        stamps = np.asarray(column.cast(pa.int64()).fill_null(0))
    except pa.ArrowException as error:
        raise DataError(
            f"{path}: {name} holds what is no time: {str(error)[:200]}",
            remedy="name the right column as time",
        ) from None
    return in_unit(stamps, unit) if unit else by_their_size(stamps)


def _of_doubles(stamps: Rows, unit: str) -> Rows:
    """Return times kept as doubles, as exact as they are; 0 where they are none."""
    good = np.where(np.isfinite(stamps), stamps, 0.0)
    if not unit:
        size = float(np.median(good)) if len(good) else 0.0
        unit = next((u for u, below in (("s", 1e10), ("ms", 1e13), ("us", 1e16)) if size < below),
                    "ns")  # fmt: skip
    good = np.where(np.abs(good) < LIMIT // UNITS[unit], good, 0.0)
    whole = np.floor(good)
    part = np.rint((good - whole) * UNITS[unit]).astype(np.int64)
    return in_unit(whole.astype(np.int64), unit) + part


def _coded(column: Any) -> tuple[Rows, list[Any]]:
    """Return which of its words each row of a column has, -1 where none, and the words."""
    found = _plain(column).dictionary_encode()
    return np.asarray(found.indices.fill_null(-1)).astype(np.int64), found.dictionary.to_pylist()


def _words(column: Any, known: dict[str, int]) -> Rows:
    """Return what words mean; -2^63 where they are not known, 0 where there is none."""
    codes, words = _coded(column)
    meant = [known.get(str(word).lower().removesuffix(".0"), MISSING) for word in words]
    return np.array([*meant, 0], np.int64)[codes]


def _symbols(column: Any) -> tuple[Rows, dict[int, str]]:
    """Return a hash of each row's symbol, 0 where there is none, and what they are."""
    codes, words = _coded(column)
    hashes = [hash_of(str(word)) if str(word) else 0 for word in words]
    named = dict(zip(hashes, map(str, words), strict=True))
    return np.array([*hashes, 0], np.int64)[codes], named
