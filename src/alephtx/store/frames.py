"""Rows as frames: Arrow, Polars and pandas, with as few copies as their layouts allow.

EVENT and TICK rows lie one behind the other, Arrow's columns each for itself: one copy a column is
the least there can be for Arrow and Polars. pandas takes the fields of the rows as they lie,
without a copy, and sees the file itself where they are mapped. What comes from a catalogue's
Parquet (`Catalogue.table`) is columns already: Polars and Arrow take it without a copy.
"""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instrument
from alephtx.store.damage import DataError

Rows = np.ndarray[Any, Any]


def to_arrow(rows: Rows) -> Any:
    """Return rows as an Arrow table, one column a field."""
    import pyarrow as pa

    return pa.table({name: np.ascontiguousarray(rows[name]) for name in rows.dtype.names or ()})


def to_polars(rows: Rows, instrument: Instrument | None = None) -> Any:
    """Return rows as a Polars frame; with an instrument, prices and quantities as decimals say."""
    polars = _need("polars")
    frame = polars.from_arrow(to_arrow(rows))
    if instrument is None:
        return frame
    return frame.with_columns(
        polars.col("price") / 10**instrument.price_scale,
        polars.col("qty") / 10**instrument.qty_scale,
    )


def to_pandas(rows: Rows, instrument: Instrument | None = None) -> Any:
    """Return rows as a pandas frame; its columns are views of the rows unless scaled.

    With an instrument, price and qty are floats in its units, for analysis only.
    """
    pandas = _need("pandas")
    fields: dict[str, Any] = {name: rows[name] for name in rows.dtype.names or ()}
    if instrument is not None:
        fields["price"] = fields["price"] / 10**instrument.price_scale
        fields["qty"] = fields["qty"] / 10**instrument.qty_scale
    return pandas.DataFrame(fields, copy=False)


def _need(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise DataError(
            f"{name} is not installed", remedy=f"pip install 'alephtx[{name}]'"
        ) from None
