"""What is said of files that no importer knows: real files, cut, emptied and overwritten."""

import gzip
import lzma
import random
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from alephtx.engine.ingest import importers
from alephtx.store.checking import Check
from alephtx.store.damage import DataError
from alephtx.store.importing import choose
from alephtx.store.reading import Options
from tests.store.formats import columns_parquet

NOISE = random.Random(7).randbytes(40_000).hex().encode()


def said(path):
    with pytest.raises(DataError) as error:
        choose(path, importers())
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.gz", "a"])
def test_an_empty_file_is_empty(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert "is empty: 0 bytes. fetch it again" in said(tmp_path / name)


def test_parquet_that_was_cut_off_says_where(tmp_path):
    path = columns_parquet(tmp_path).path
    whole = path.read_bytes()
    for at in (4, 200, len(whole) - 1):
        path.write_bytes(whole[:at])
        told = said(path)
        assert f"no footer: it was cut off at byte {at:,}, or is still being written" in told
    damaged = bytearray(whole)
    damaged[-20:-8] = b"\xff" * 12
    path.write_bytes(damaged)
    assert "footer that cannot be read: " in said(path)
    path.write_bytes(b"<!DOCTYPE html>")
    assert "is named .parquet, and is none" in said(path)


def test_parquet_and_tables_of_no_format_name_their_columns(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"when": [1], "what": [2.0]}), path)
    assert "its columns: when, what. name them: --column time=" in said(path)
    path = tmp_path / "a.csv"
    path.write_text("Date;SP500\n1990-01-02;359.69\n")
    assert "no format that is known here; its columns: Date, SP500. name them: " in said(path)
    path.write_text(";".join(f"c{k}" for k in range(99)) + "\n")
    assert "c19 and 79 more" in said(path)


PACKERS = {
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("packer", PACKERS)
def test_what_is_packed_and_empty_or_cut_says_so(tmp_path, packer):
    path = tmp_path / f"a.csv.{packer}"
    path.write_bytes(PACKERS[packer](b""))
    assert "holds nothing: 0 bytes came out" in said(path)
    whole = PACKERS[packer](NOISE)
    path.write_bytes(whole[: len(whole) // 2])
    size = f"{len(whole) // 2:,}"
    told = said(path)
    assert (
        f"(.{packer}, {size} bytes) is damaged: not readable any further at byte {size} of" in told
    )
    assert "bytes came out. fetch it again" in told
    path.write_bytes(whole)
    assert "is of no format that is known here" in said(path)


def test_a_zip_that_was_cut_says_so(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", NOISE)
    path.write_bytes(path.read_bytes()[:500])
    assert "is damaged: not readable any further: File is not a zip file" in said(path)


def test_a_broken_file_in_a_folder_is_damage_and_a_strange_one_a_note(tmp_path):
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1" + bytes(99))
    (tmp_path / "README.md").write_text("# what this is\n")
    found = Check(importers(), Options()).run(tmp_path)
    assert [damage.file for damage in found.damages] == ["cut.parquet", "empty.csv"]
    assert (found.damaged, found.sound) == (2, False)
    assert found.notes == ["README.md is of no format that is known here"]


def test_a_cut_packed_table_says_at_which_byte(tmp_path):
    from tests.store.test_raw import imported

    path = tmp_path / "a.csv.gz"
    lines = b"".join(b"%d,5\n" % (1706659200_000 + k) for k in range(20_000))
    whole = gzip.compress(b"time,price\n" + lines)
    path.write_bytes(whole[:9_999])
    told, _ = imported(path, Options(venue="x", symbol="AB"))
    assert "not readable any further at byte 9,999 of 9,999" in told.damages[0].problem
