"""The catalogue: days, sources, renumbering, refusals, DuckDB."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.records import EVENT
from alephtx.store import catalogue as c
from alephtx.store.asking import ask
from alephtx.store.catalogue import DAY_NS, Catalogue, renumber
from alephtx.store.damage import DataError
from alephtx.store.pack import make_survey, survey
from tests.store.market import INSTRUMENT, T0, numbered, rows_of, streams, trade

MIDNIGHT = (T0 // DAY_NS + 1) * DAY_NS - T0


@pytest.fixture
def catalogue(tmp_path):
    return Catalogue(tmp_path / "data")


def write(catalogue, rows, source="a" * 16, instrument=INSTRUMENT, cuts=()):
    writer = catalogue.writer(instrument, source, f"{source[0]}.gz")
    for part in np.split(rows, list(cuts)):
        writer.append(part)
    return writer.finish()


def scanned(catalogue, *dates):
    return np.concatenate([np.zeros(0, EVENT), *catalogue.scan(INSTRUMENT.key, *dates)])


def day_of(*times):
    return numbered(rows_of(*(trade(time, time, price=n) for n, time in enumerate(times))))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=streams())
def test_a_stream_comes_back_as_it_was(catalogue, rows):
    write(catalogue, rows)
    assert scanned(catalogue).tobytes() == rows.tobytes()


def test_days_are_folders_and_messages_stay_whole(catalogue):
    rows = numbered(rows_of(
        trade(1, 1), trade(MIDNIGHT - 1, MIDNIGHT - 1, open=True),
        trade(MIDNIGHT - 1, MIDNIGHT - 1), trade(MIDNIGHT, MIDNIGHT, open=True),
        trade(MIDNIGHT, MIDNIGHT),
    ))  # fmt: skip
    paths = write(catalogue, rows)
    assert [path.parent.name for path in paths] == ["date=2024-08-08", "date=2024-08-09"]
    assert [entry.rows for entry in catalogue.entries()] == [3, 2]
    assert scanned(catalogue).tobytes() == rows.tobytes()
    second = scanned(catalogue, "2024-08-09")
    assert second["kind"].tolist() == [words.GAP, words.TRADE, words.TRADE]
    assert second["seq"].tolist() == [0, 1, 1]
    assert len(scanned(catalogue, "", "2024-08-08")) == 3


def test_the_same_source_again_replaces_its_files(catalogue):
    write(catalogue, day_of(1, 2, MIDNIGHT))
    write(catalogue, day_of(5, 6))
    assert [path.parent.name for path in catalogue.files()] == ["date=2024-08-08"]
    assert len(scanned(catalogue)) == 2
    assert not [name for _, _, names in os.walk(catalogue.root) for name in names if "part" in name]


def test_sources_follow_one_another_behind_a_gap(catalogue):
    write(catalogue, day_of(10, 11), "b" * 16)
    write(catalogue, day_of(1, 2), "a" * 16)
    rows = scanned(catalogue)
    assert rows["kind"].tolist() == [words.TRADE] * 2 + [words.GAP] + [words.TRADE] * 2
    assert survey(rows, len(rows), make_survey()) == -1
    (entry,) = catalogue.entries()
    assert (entry.files, entry.rows, entry.sources) == (2, 4, ["a.gz", "b.gz"])


def test_sources_that_overlap_are_refused_by_name(catalogue):
    write(catalogue, day_of(1, 10), "a" * 16)
    write(catalogue, day_of(5, 11), "b" * 16)
    with pytest.raises(DataError, match=r"begins before .* ends"):
        scanned(catalogue)


def test_nothing_is_there_before_it_is_whole(catalogue):
    writer = catalogue.writer(INSTRUMENT, "a" * 16, "a.gz")
    writer.append(day_of(1, 2))
    assert catalogue.files() == []
    writer.drop()
    with pytest.raises(DataError, match="no data of toy:BTC-USD"):
        scanned(catalogue)


def test_odd_names_are_kept_apart(catalogue):
    import msgspec

    for name in ("a/b", "a*b", "a?b", "ü", "a%2Fb"):
        other = msgspec.structs.replace(INSTRUMENT, key=f"toy:{name}", symbol=name)
        write(catalogue, day_of(1), instrument=other)
    assert catalogue.listed() == sorted(f"toy:{n}" for n in ("a/b", "a*b", "a?b", "ü", "a%2Fb"))
    for key in catalogue.listed():
        assert catalogue.instrument(key).key == key
        assert len(list(catalogue.scan(key))) == 1


def test_duckdb_answers(catalogue):
    write(catalogue, day_of(1, 2, MIDNIGHT))
    found = ask(
        catalogue.root,
        "SELECT venue, instrument, date::VARCHAR, count(*), max(price) FROM events GROUP BY ALL "
        "ORDER BY ALL",
    )
    assert found.rows == [
        ("toy", "BTC-USD", "2024-08-08", 2, 1), ("toy", "BTC-USD", "2024-08-09", 1, 2),
    ]  # fmt: skip
    with pytest.raises(DataError, match="DuckDB: "):
        ask(catalogue.root, "SELECT nothing FROM nowhere")


def test_table_is_what_was_written(catalogue):
    rows = day_of(1, 2)
    write(catalogue, rows)
    table = catalogue.table(INSTRUMENT.key)
    assert table.column_names == list(c.COLUMNS)
    assert c.to_rows(table).tobytes() == rows.tobytes()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_refused_by_name_or_read_as_they_were(catalogue, data):
    rows = day_of(*range(1, 50))
    (path,) = write(catalogue, rows)
    whole = path.read_bytes()
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if damaged and len(damaged) == len(whole):
        damaged[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    try:
        found = scanned(catalogue)
    except DataError as error:
        assert path.name in str(error)
    else:  # a flip in what nobody reads: names in the footer, padding
        assert found[list(c.COLUMNS)].tobytes() == rows[list(c.COLUMNS)].tobytes()
    finally:
        path.unlink()


def test_a_flipped_bit_that_makes_a_page_empty_is_damage(catalogue):
    """Found by the test above: Arrow reads no row then and calls it well."""
    (path,) = write(catalogue, day_of(*range(1, 50)))
    whole = path.read_bytes()
    for at in range(4, 400):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            assert len(scanned(catalogue)) == 49
        except DataError as error:
            assert path.name in str(error)


def test_foreign_parquet_is_refused(catalogue, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no file of a catalogue"):
        c.read_part(tmp_path / "x.parquet")
    assert not c.is_part(tmp_path / "x.parquet")
    assert not c.is_part(tmp_path / "none.parquet")


@given(streams(), st.integers(0, 9))
def test_renumbering_counts_messages(rows, start):
    rows["seq"] = -1
    after = renumber(rows, start)
    seqs, number = [], start
    for row in rows:
        seqs.append(number)
        number += int(bool(row["flags"] & words.LAST_IN_MESSAGE))
    assert rows["seq"].tolist() == seqs
    assert after == number
