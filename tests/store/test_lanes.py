"""Files that lie side by side: a book and its trades, and what is refused."""

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from alephtx.core import words
from alephtx.core.records import EVENT
from alephtx.store.catalogue import Catalogue, read_part, to_rows
from alephtx.store.damage import DataError
from alephtx.store.pack import make_survey, survey
from tests.store.market import INSTRUMENT, T0, numbered, rows_of
from tests.store.test_catalogue import MIDNIGHT

KEY = INSTRUMENT.key


@pytest.fixture
def catalogue(tmp_path):
    return Catalogue(tmp_path / "data")


def rows_at(kind, *times, **more):
    return numbered(rows_of(*(
        {"kind": kind, "ts_event": T0 + time, "ts_recv": T0 + time + 5, "price": 100 + n, "qty": 1,
         "side": 1, **more}
        for n, time in enumerate(times)
    )))  # fmt: skip


def write(catalogue, source, rows, instrument=INSTRUMENT):
    writer = catalogue.writer(instrument, source * 16, f"{source}.gz")
    writer.append(rows)
    return writer.finish()


def scanned(catalogue, *dates):
    rows = np.concatenate([np.zeros(0, EVENT), *catalogue.scan(KEY, *dates)])
    assert survey(rows, len(rows), make_survey()) == -1
    return rows


def brief(rows):
    return [(int(row["kind"]), int(row["ts_event"]) - T0) for row in rows]


def test_a_book_and_its_trades_are_one_stream_and_trades_come_first(catalogue):
    write(catalogue, "b", rows_at(words.DELTA, 10, 20, 30))
    write(catalogue, "t", rows_at(words.TRADE, 15, 20, 40))
    write(catalogue, "q", rows_at(words.TOP, 20))
    assert brief(scanned(catalogue)) == [
        (words.DELTA, 10), (words.TRADE, 15), (words.TRADE, 20), (words.TOP, 20),
        (words.DELTA, 20), (words.DELTA, 30), (words.TRADE, 40),
    ]  # fmt: skip
    assert to_rows(catalogue.table(KEY)).tobytes() == scanned(catalogue).tobytes()


def test_the_order_at_equal_times_does_not_hang_on_where_files_end(catalogue):
    """Found by the test of compaction: the second book overlaps the tops, the first does not."""
    write(catalogue, "b", rows_at(words.DELTA, 5))
    write(catalogue, "q", rows_at(words.TOP, 10, 30))
    write(catalogue, "c", rows_at(words.CLEAR, 20, 30, 40))
    assert brief(scanned(catalogue))[-3:] == [
        (words.TOP, 30), (words.CLEAR, 30), (words.CLEAR, 40)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (words.TRADE, words.TRADE, "trades"), (words.DELTA, words.CLEAR, "a book"),
        (words.DELTA, words.ORDER_ADD, "a book"), (words.TOP, words.TOP, "best prices"),
    ],
)  # fmt: skip
def test_two_tellings_of_the_same_are_refused_with_what_to_type(catalogue, first, second, told):
    write(catalogue, "a", rows_at(first, 1, 10))
    (path,) = write(catalogue, "b", rows_at(second, 5, 11))
    with pytest.raises(DataError, match=r"b\.gz\) begins before .*a\.gz\) ends") as error:
        scanned(catalogue)
    assert f"both hold {told}" in str(error.value)
    assert f"rm {path}" in str(error.value)
    path.unlink()
    assert len(scanned(catalogue)) == 2


def test_a_book_with_trades_and_trades_again_are_refused(catalogue):
    both = np.concatenate([rows_at(words.DELTA, 1), rows_at(words.TRADE, 9)])
    write(catalogue, "a", numbered(both))
    write(catalogue, "t", rows_at(words.TRADE, 5))
    with pytest.raises(DataError, match="both hold trades"):
        scanned(catalogue)


def test_files_of_before_kinds_were_kept_are_read_for_them(catalogue):
    write(catalogue, "b", rows_at(words.DELTA, 10, 30))
    write(catalogue, "t", rows_at(words.TRADE, 20))
    expected = scanned(catalogue)
    for path in catalogue.files():
        said = pq.read_metadata(path).metadata
        part = msgspec.json.decode(said[b"alephtx.part"])
        assert part.pop("kinds")
        table = pq.read_table(path, partitioning=None)
        with pq.ParquetWriter(path, table.schema) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({b"alephtx.part": msgspec.json.encode(part)})
        assert read_part(path)[1].kinds == 0
    assert scanned(catalogue).tobytes() == expected.tobytes()


def test_only_files_of_the_book_lose_it_where_they_do_not_join(catalogue):
    """Trades that begin anew, or have gaps of their own, say nothing of the book beside them."""
    write(catalogue, "b", rows_at(words.DELTA, 10, 50, MIDNIGHT + 10))
    write(catalogue, "t", rows_at(words.TRADE, 20))
    trades = np.concatenate([rows_at(words.TRADE, 30), rows_at(words.GAP, 31, price=0, qty=0)])
    write(catalogue, "u", numbered(trades))
    assert words.GAP not in scanned(catalogue)["kind"]
    write(catalogue, "c", rows_at(words.DELTA, MIDNIGHT + 20))
    assert brief(scanned(catalogue))[-2:] == [
        (words.GAP, MIDNIGHT + 20), (words.DELTA, MIDNIGHT + 20)
    ]  # fmt: skip
    write(catalogue, "v", rows_at(words.TRADE, MIDNIGHT + 5))
    write(catalogue, "w", rows_at(words.TOP, MIDNIGHT + 12))
    assert brief(scanned(catalogue, "2024-08-09")) == [
        (words.TRADE, MIDNIGHT + 5), (words.GAP, MIDNIGHT + 10), (words.DELTA, MIDNIGHT + 10),
        (words.TOP, MIDNIGHT + 12), (words.GAP, MIDNIGHT + 20), (words.DELTA, MIDNIGHT + 20),
    ]  # fmt: skip


def test_a_source_that_tells_a_book_on_its_second_day_only_has_no_gap(catalogue):
    """Found by the test that takes what went out in again."""
    both = [rows_at(words.TRADE, 10), rows_at(words.DELTA, MIDNIGHT + 10)]
    write(catalogue, "a", numbered(np.concatenate(both)))
    assert words.GAP not in scanned(catalogue)["kind"]
    write(catalogue, "b", rows_at(words.DELTA, 2 * MIDNIGHT))
    write(catalogue, "t", rows_at(words.TRADE, MIDNIGHT + 10))
    assert scanned(catalogue)["kind"].tolist().count(words.GAP) == 1


def test_sources_of_other_scales_meet_on_the_finest(catalogue):
    from decimal import Decimal

    coarse = msgspec.structs.replace(
        INSTRUMENT, price_scale=1, qty_scale=4, tick_size=Decimal("0.1"),
        lot_size=Decimal("0.0001"),
    )  # fmt: skip
    write(catalogue, "b", rows_at(words.DELTA, 10))
    write(catalogue, "t", rows_at(words.TRADE, 15), coarse)
    write(catalogue, "f", rows_at(words.FUNDING, 16, qty=77), coarse)
    found = catalogue.instrument(KEY)
    assert (found.price_scale, found.qty_scale) == (2, 4)
    assert (found.tick_size, found.lot_size) == (Decimal("0.01"), Decimal("0.0001"))
    rows = scanned(catalogue)
    assert rows["price"].tolist() == [100, 1_000, 100]  # the rate of FUNDING is no price
    assert rows["qty"].tolist() == [10, 1, 77]
    assert to_rows(catalogue.table(KEY)).tobytes() == rows.tobytes()


def test_a_number_that_the_finest_scale_cannot_hold_is_refused(catalogue):
    coarse = msgspec.structs.replace(INSTRUMENT, price_scale=1)
    write(catalogue, "b", rows_at(words.DELTA, 10))
    write(catalogue, "t", rows_at(words.TRADE, 15, price=(1 << 62) // 10 + 1), coarse)
    with pytest.raises(DataError, match=r"t{16}.parquet: a price does not fit 62 bits"):
        scanned(catalogue)


def test_no_day_between_is_no_row(catalogue):
    write(catalogue, "b", rows_at(words.DELTA, 10))
    assert len(scanned(catalogue, "2030-01-01")) == 0
