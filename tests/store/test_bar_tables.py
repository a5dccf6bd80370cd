"""Bars from tables: every price exactly or an error that names column, row and value."""

from decimal import Decimal

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from alephtx.store.bar_tables import read_bars
from alephtx.store.damage import DataError
from tests.store.test_bars import SPOT

MINUTE = 60_000_000_000
CLOSES = [100.1, 100.29, 0.07]


def table(**other):
    columns = {
        "ts": [60, 120, 180], "open": CLOSES, "high": CLOSES, "low": CLOSES, "close": CLOSES,
        "volume": [1.001, 2, 0], **other,
    }  # fmt: skip
    return {name: values for name, values in columns.items() if values is not None}


def read(source, **options):
    return read_bars(source, SPOT, **{"stamp": "end", "time_unit": "s", **options})


WANTED = [
    (MINUTE, 10_010, 10_010, 10_010, 10_010, 1_001),
    (2 * MINUTE, 10_029, 10_029, 10_029, 10_029, 2_000),
    (3 * MINUTE, 7, 7, 7, 7, 0),
]


@pytest.mark.smoke
@pytest.mark.parametrize("make", [lambda x: x, pa.table, pl.DataFrame, pd.DataFrame])
def test_frames_of_floats_become_ticks(make):
    assert read(make(table())).tolist() == WANTED


def test_files_become_ticks(tmp_path):
    frame = pl.DataFrame(table())
    frame.write_csv(tmp_path / "x.csv")
    frame.write_parquet(tmp_path / "x.parquet")
    assert read(tmp_path / "x.csv").tolist() == WANTED
    assert read(str(tmp_path / "x.parquet")).tolist() == WANTED


def test_text_decimals_and_whole_numbers_are_taken_by_their_digits():
    exact = [Decimal("100.1"), Decimal("100.290"), Decimal("0.07")]
    texts = ["100.1", "100.29000000000000000000", "0.07"]
    for closes in (exact, texts):
        given_ = table(open=closes, high=closes, low=closes, close=closes)
        assert read(given_).tolist() == WANTED
    whole = [3, 4, 5]
    found = read(table(open=whole, high=whole, low=whole, close=whole, volume=None))
    assert found["close"].tolist() == [300, 400, 500]
    assert found["volume"].tolist() == [0, 0, 0]


def test_part_of_an_arrow_table_is_read_from_where_it_begins():
    closes = [Decimal("9.99"), Decimal("100.1"), Decimal("100.29"), Decimal("0.07")]
    whole = pa.table(
        {"ts": [0, 60, 120, 180], "volume": [1.0, 1.001, 2.0, 0.0],
         **dict.fromkeys(("open", "high", "low", "close"), closes)}
    )  # fmt: skip
    assert read(whole.slice(1)).tolist() == WANTED


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30), st.sampled_from([0, 2, 5, 8]))
def test_any_float_of_a_price_is_that_price(ticks, scale):
    closes = [float(Decimal(t).scaleb(-scale)) for t in ticks]
    fine = msgspec.structs.replace(
        SPOT, price_scale=scale, tick_size=Decimal(1).scaleb(-scale), qty_scale=0,
        lot_size=Decimal(1),
    )  # fmt: skip
    columns = table(
        ts=list(range(len(ticks))), volume=None, open=closes, high=closes, low=closes, close=closes
    )
    assert read_bars(columns, fine, stamp="end", time_unit="s")["close"].tolist() == ticks


@pytest.mark.parametrize(
    ("times", "options"),
    [
        (["1970-01-01T00:01:00", "1970-01-01T00:02:00", "1970-01-01T00:03:00"], {}),
        (np.array([60, 120, 180], "M8[s]"), {}),
        (pd.to_datetime([60, 120, 180], unit="s", utc=True), {}),
        ([60_000, 120_000, 180_000], {"time_unit": "ms"}),
        (["60000", "120000", "180000"], {"time_unit": "ms"}),
        ([0, 60, 120], {"stamp": "start", "period_ns": MINUTE}),
    ],
)
def test_times_are_told_in_many_ways(times, options):
    unit = options.pop("time_unit", "" if not isinstance(times, list) or "T" in str(times) else "s")
    assert read(pa.table(table(ts=times)), time_unit=unit, **options).tolist() == WANTED


def test_columns_of_other_names_are_taken():
    theirs = {"when": "ts", "Open": "open", "High": "high", "Low": "low", "Close": "close",
              "amount": "volume"}  # fmt: skip
    ours = table()
    given_ = {name: ours[one] for name, one in theirs.items()}
    named = {one: name for name, one in theirs.items()}
    assert read(given_, columns=named).tolist() == WANTED


NAN = float("nan")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"close": [100.1, 100.295, 0.07]}, "column close, row 2: 100.295 cannot"),
        ({"close": [100.1, NAN, 0.07]}, "column close, row 2: nan cannot"),
        ({"close": [100.1, float("inf"), 0.07]}, "column close, row 2: inf cannot"),
        ({"close": [100.1, 1e300, 0.07]}, "column close, row 2: 1e[+]300 cannot"),
        ({"close": ["100.1", "100.291", "0.07"]}, "column close, row 2: '100.291' .* 2 decimals"),
        ({"close": ["100.1", "100,29", "0.07"]}, "column close, row 2: '100,29'"),
        ({"close": ["100.1", "", "0.07"]}, "column close, row 2: ''"),
        ({"close": ["100.1", "9" * 30, "0.07"]}, "column close, row 2: '9999.* 62 bits"),
        ({"close": [1, 1 << 62, 1]}, "column close, row 2: .*62 bits"),
        ({"close": [100.1, None, 0.07]}, "column close, row 2: nothing cannot"),
        ({"volume": [1.0, 2.0001, 3.0]}, "column volume, row 2: 2.0001 cannot"),
        ({"volume": [1.0, -2.0, 3.0]}, "bar 1 .* a volume below 0"),
        ({"high": [100.1, 100.28, 0.07]}, "bar 1 .* high < low"),
        ({"ts": [60, 180, 120]}, "bar 2 .* does not end after"),
        ({"ts": [60, 60, 180]}, "bar 1 .* does not end after"),
        ({"ts": [60, -1, 180]}, "column ts, row 2: -1 cannot"),
        ({"ts": [60, 1 << 50, 180]}, "column ts, row 2: .*another unit"),
        ({"ts": ["x", "y", "z"]}, "column ts: "),
        ({"ts": [1.5, 2.5, 3.5]}, "column ts"),
        ({"low": None}, "no column 'low' for low"),
    ],
)
def test_what_cannot_be_taken_exactly_is_named(other, said):
    with pytest.raises(DataError, match=said):
        read(table(**other))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"time_unit": ""}, "column ts holds numbers"),
        ({"time_unit": "h"}, "time_unit = 'h'"),
        ({"stamp": "start"}, "period_ns = 0"),
        ({"stamp": "middle"}, "stamp = 'middle'"),
        ({"columns": {"Close": "close"}}, "'Close' is none of ours"),
        ({"columns": {"close": "clos"}}, "no column 'clos' for close. did you mean close"),
    ],
)
def test_options_that_cannot_be_are_named(options, said):
    with pytest.raises(DataError, match=said):
        read(table(), **options)


def test_files_that_cannot_be_read_are_named(tmp_path):
    parquet.write_table(pa.table(table()), tmp_path / "x.parquet")
    data = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    (tmp_path / "ragged.csv").write_text("ts,open,high,low,close\n1,2,2,2,2\n2,3,3\n")
    (tmp_path / "empty.csv").write_text("")
    for name in ("none.csv", "cut.parquet", "ragged.csv", "empty.csv", "x.txt"):
        with pytest.raises(DataError, match=name):
            read(tmp_path / name)


def test_table_without_rows_has_no_bars():
    columns = dict.fromkeys(("open", "high", "low", "close"), pa.array([], pa.float64()))
    assert len(read(pa.table({"ts": pa.array([], pa.int64()), **columns}))) == 0
