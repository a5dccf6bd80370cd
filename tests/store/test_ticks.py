"""Replay files: what is written comes back; what is cut, foreign or damaged is refused by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.records import EVENT, TICK
from alephtx.store import ticks as t
from alephtx.store.damage import DataError
from alephtx.store.ticks import is_ticks, open_ticks, read_header, write_ticks
from tests.store.market import INSTRUMENT, T0, numbered, rows_of, streams, trade


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ticks")


@pytest.fixture
def small(tmp_path):
    rows = numbered(rows_of(*(trade(k, k + 1, price=100 + k) for k in range(5))))
    path = tmp_path / "a.ticks"
    write_ticks(path, INSTRUMENT, rows)
    return path, rows


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def events(path):
    return np.concatenate([np.zeros(0, EVENT), *open_ticks(path).events()])


@settings(max_examples=40)
@given(rows=streams(), cut=st.integers(0, 30))
def test_rows_come_back_whole_or_chunk_by_chunk(folder, rows, cut):
    whole = write_ticks(folder / "whole.ticks", INSTRUMENT, rows)
    parts = write_ticks(folder / "parts.ticks", INSTRUMENT, iter([rows[:cut], rows[cut:]]))
    assert whole == parts
    assert (folder / "whole.ticks").read_bytes() == (folder / "parts.ticks").read_bytes()
    found = open_ticks(folder / "parts.ticks")
    found.verify()
    assert events(found.path).tobytes() == rows.tobytes()
    assert found.instrument == INSTRUMENT
    assert (found.first_recv_ns, found.last_recv_ns) == (rows[0]["ts_recv"], rows[-1]["ts_recv"])
    assert names_in(folder) == ["parts.ticks", "whole.ticks"]


def test_kind_of_rows_is_the_narrowest_that_fits(small, tmp_path):
    path, rows = small
    assert open_ticks(path).rows.dtype == TICK
    rows["price"][0], rows["price"][1] = 1, (1 << 40) + 1
    write_ticks(tmp_path / "wide.ticks", INSTRUMENT, iter([rows]))
    assert open_ticks(tmp_path / "wide.ticks").rows.dtype == EVENT
    assert events(tmp_path / "wide.ticks").tobytes() == rows.tobytes()


def test_rows_are_aligned_to_pages_and_read_only(small):
    found = open_ticks(small[0])
    assert found.rows.ctypes.data % 4096 == 0
    with pytest.raises(ValueError, match="read-only"):
        found.rows["price"][0] = 1


def test_a_file_may_be_empty(tmp_path):
    header = write_ticks(tmp_path / "none.ticks", INSTRUMENT, np.zeros(0, EVENT))
    assert header.count == header.last_recv_ns == 0
    assert len(open_ticks(tmp_path / "none.ticks")) == 0


def test_counts_are_in_the_header(tmp_path):
    rows = numbered(rows_of(
        {"kind": words.DELTA, "price": 5, "qty": 1, "side": 1, "ts_recv": T0, "ts_event": T0},
        {"kind": words.DELTA, "price": 4, "qty": 1, "side": -1, "ts_recv": T0, "ts_event": T0},
        {"kind": words.GAP, "ts_recv": T0, "ts_event": T0},
    ))  # fmt: skip
    header = write_ticks(tmp_path / "a.ticks", INSTRUMENT, rows)
    assert (header.gaps, header.crossed, header.messages) == (1, 1, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows["seq"].__setitem__(1, 5), "row 1 .* seq is not the number"),
        (lambda rows: rows["ts_recv"].__setitem__(2, 5), "row 2 .* ts_recv is earlier"),
        (lambda rows: rows["flags"].__setitem__(4, 0), "does not end its message"),
    ],
)
@pytest.mark.parametrize("chunked", [True, False])
def test_no_stream_is_refused_and_leaves_nothing(small, change, said, chunked):
    path, rows = small
    before = path.read_bytes()
    change(rows)
    with pytest.raises(DataError, match=said):
        write_ticks(path, INSTRUMENT, iter([rows[:2], rows[2:]]) if chunked else rows)
    assert path.read_bytes() == before
    assert names_in(path.parent) == [path.name]


def test_other_rows_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        write_ticks(tmp_path / "a.ticks", INSTRUMENT, np.zeros(1, TICK))


def test_every_cut_is_refused(small):
    path, _ = small
    whole = path.read_bytes()
    for size in {0, 1, 7, 8, 40, 200, 4095, 4096, 4097, len(whole) - 1}:
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=str(path)):
            open_ticks(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match="cut or added to"):
        open_ticks(path)


@settings(max_examples=60)
@given(data=st.data())
def test_every_flipped_bit_is_found(folder, data):
    path = folder / "flipped.ticks"
    write_ticks(path, INSTRUMENT, numbered(rows_of(*(trade(k, k + 1) for k in range(5)))))
    damaged = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"flipped\.ticks"):
        open_ticks(path).verify()


def test_foreign_newer_and_missing_files_are_told_apart(small, tmp_path):
    path, _ = small
    whole = bytearray(path.read_bytes())
    (tmp_path / "b.ticks").write_bytes(b"ts,price\n" * 900)
    with pytest.raises(DataError, match="no replay file"):
        read_header(tmp_path / "b.ticks")
    whole[8] = 9
    path.write_bytes(whole)
    with pytest.raises(DataError, match="version 9; this AlephTX reads 1"):
        read_header(path)
    with pytest.raises(DataError, match="No such file"):
        read_header(tmp_path / "c.ticks")
    assert is_ticks(path)
    assert not is_ticks(tmp_path / "b.ticks")
    assert not is_ticks(tmp_path / "c.ticks")
    with pytest.raises(DataError, match="cannot write"):
        write_ticks(tmp_path / "no" / "a.ticks", INSTRUMENT, np.zeros(0, EVENT))


def test_the_golden_file_of_version_1_reads_as_ever():
    """Written by the first version of this format; it must stay readable."""
    path = t.Path(__file__).parents[1] / "golden" / "store" / "version1.ticks"
    found = open_ticks(path)
    found.verify()
    rows = np.concatenate(list(found.events()))
    assert (found.header.row_kind, len(rows), found.header.messages) == ("tick", 3_991, 360)
    assert rows["price"].sum() == 2_442_406_051
    assert found.instrument.key == "binance_usdm:BTC-USDT-PERP"
