"""The tables of a backtest's run directory, as Parquet, written whole or not at all."""

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from alephtx.analysis.story import Fill, OrderLine, Story
from alephtx.core.instruments import Instruments
from alephtx.engine.rundir import RunDirectory


def write_story(directory: RunDirectory, story: Story, instruments: Instruments) -> None:
    """Write orders, fills and funding as a journal's story tells them."""
    tables: tuple[tuple[str, Any, list[Any]], ...] = (
        ("orders", OrderLine, list(story.orders.values())),
        ("fills", Fill, story.fills),
    )
    for name, kind, lines in tables:
        columns: dict[str, Any] = {
            field.name: np.array([getattr(line, field.name) for line in lines], np.int64)
            for field in msgspec.structs.fields(kind)
        }
        columns["instrument_key"] = _keys(instruments, [line.instrument for line in lines])
        write_table(directory, f"{name}.parquet", columns)
    paid = np.array(story.funding, np.int64).reshape(-1, 3)
    names = ("instrument", "ts", "received")
    columns = {name: paid[:, k] for k, name in enumerate(names)}
    write_table(directory, "funding.parquet", columns)


def write_table(directory: RunDirectory, name: str, columns: dict[str, Any]) -> None:
    """Write columns to a file of the run; a reader sees the old one or the whole new one."""
    whole = directory.path / name
    draft = whole.with_suffix(".part")
    table = pa.Table.from_arrays(list(map(_column, columns.values())), names=list(columns))
    parquet.write_table(table, draft, compression="zstd")
    draft.replace(whole)


def _keys(instruments: Instruments, places: list[int]) -> Any:
    """Return the keys of the instruments at these places of the table, as Arrow's dictionary."""
    keys = [instrument.key.encode() for instrument in instruments]
    ends = np.cumsum([0, *map(len, keys)], dtype=np.int32)
    named = pa.StringArray.from_buffers(len(keys), pa.py_buffer(ends), pa.py_buffer(b"".join(keys)))
    return pa.DictionaryArray.from_arrays(_column(np.array(places, np.int32)), named)


def _column(column: Any) -> Any:
    """Return an array for Arrow. Given NumPy's, Arrow would import pandas to ask whether it is."""
    if not isinstance(column, np.ndarray):
        return column
    plain = np.ascontiguousarray(column)
    kind = pa.from_numpy_dtype(plain.dtype)
    return pa.Array.from_buffers(kind, len(plain), [None, pa.py_buffer(plain)])
