"""Parquet files of others as batches of integer columns, decimals found exactly in doubles.

A double that was written for a decimal of up to 15 digits has one shortest decimal form; the scale
of a column is the smallest at which every value comes back as itself. Text is hashed nowhere: what
is a word stays Arrow's dictionary.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alephtx.store.damage import DataError
from alephtx.store.reading import PRICE_SCALE_MAX, QTY_SCALE_MAX, Reading, scales_given

Rows = np.ndarray[Any, Any]

GROUP_ROWS = 1 << 16


def parquet_names(path: Path) -> list[str]:
    """Return a Parquet file's columns, none when it is no such file; never an error."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            if file.read(4) != b"PAR1":
                return []
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError):
        return []


def parquet_batches(path: Path, reading: Reading, columns: list[str]) -> Iterator[tuple[int, Any]]:
    """Yield (number of the first row, record batch); a damage is told and ends them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 1
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise DataError(f"{path} has no column {missing[0]}", remedy="is the format right?")
        whole = file.metadata.num_rows
        for batch in file.iter_batches(GROUP_ROWS, columns=columns):
            yield row, batch
            row += batch.num_rows
            reading.advance(reading.size * row // max(1, whole), reading.size)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reading.damaged(row, "", f"not readable from here on: {str(error)[:200]}")


def scales_of(
    path: Path, reading: Reading, prices: list[str], sizes: list[str], flat: Callable[[Any], Rows]
) -> tuple[int, int]:
    """Return the decimals that columns use, or that the user gave; flat: a column's doubles."""
    given = scales_given(reading.options)
    if min(given) >= 0:
        return given
    found = [0, 0]
    for _, batch in parquet_batches(path, Reading(path, reading.options), prices + sizes):
        for at, names in enumerate((prices, sizes)):
            for name in names:
                found[at] = decimals_of(flat(batch.column(name)), found[at])
    found = [f if g < 0 else g for f, g in zip(found, given, strict=True)]
    return found[0], min(found[1], QTY_SCALE_MAX)


def decimals_of(values: Rows, least: int = 0) -> int:
    """Return the smallest scale, from `least`, at which every finite double is a whole number."""
    finite = values[np.isfinite(values)]
    for scale in range(least, PRICE_SCALE_MAX):
        power = 10.0**scale
        if (np.rint(finite * power) / power == finite).all():
            return scale
    return PRICE_SCALE_MAX


def scaled(values: Rows, scale: int) -> Rows:
    """Return doubles as integers of 10^-scale; what is not finite, too big or finer is -2^63."""
    power = 10.0**scale
    with np.errstate(invalid="ignore", over="ignore"):
        made = np.rint(values * power)
        fits = (np.abs(made) < 2.0**62) & (made / power == values)
        return np.where(fits, made, -(2.0**63)).astype(np.int64)
