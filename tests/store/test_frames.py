"""Frames hold what the rows hold, and pandas copies nothing."""

import numpy as np
import pytest

from alephtx.store import frames
from alephtx.store.damage import DataError
from tests.store.market import INSTRUMENT, numbered, rows_of, trade


@pytest.fixture
def rows():
    return numbered(rows_of(*(trade(k, k, price=100 + k, qty=5 * k) for k in range(1, 4))))


@pytest.mark.parametrize("make", [frames.to_polars, frames.to_pandas])
def test_every_column_is_there_as_integers(rows, make):
    frame = make(rows)
    assert list(frame.columns) == list(rows.dtype.names)
    for name in frame.columns:
        assert np.asarray(frame[name]).tolist() == rows[name].tolist()
        assert np.asarray(frame[name]).dtype == rows.dtype[name]


@pytest.mark.parametrize("make", [frames.to_polars, frames.to_pandas])
def test_with_an_instrument_prices_are_in_its_units(rows, make):
    frame = make(rows, INSTRUMENT)
    assert np.asarray(frame["price"]).tolist() == [1.01, 1.02, 1.03]
    assert np.asarray(frame["qty"]).tolist() == [0.005, 0.01, 0.015]


def test_pandas_sees_the_rows_themselves(rows):
    assert np.shares_memory(frames.to_pandas(rows)["qty"].to_numpy(), rows)


def test_polars_takes_a_catalogues_columns_without_a_copy(rows):
    table = frames.to_arrow(rows)
    polars = pytest.importorskip("polars")
    frame = polars.from_arrow(table)
    address = table["price"].chunk(0).buffers()[1].address
    assert frame["price"].to_numpy(allow_copy=False).ctypes.data == address


def test_a_missing_library_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(DataError, match=r"alephtx\[polars\]"):
        frames.to_polars(rows_of(trade(1)))
