"""Which formats show a flipped bit and which cannot: what docs/data.md says of it, bit by bit."""

import gzip
import lzma
import random
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from alephtx.store.damage import DataError
from alephtx.store.reading import Options
from tests.store.test_raw import imported

TABLE = Options(venue="x", symbol="AB")
COUNT = 2_000
PRICES = [round(100 + random.Random(3).random() * 50, 2) + k % 7 for k in range(COUNT)]
TEXT = "".join(
    ["time,price\n", *(f"{1706659200000 + k},{price:.2f}\n" for k, price in enumerate(PRICES))]
).encode()


def packed(pack):
    return lambda path: path.write_bytes(pack(TEXT))


def zipped(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", TEXT)


def parquet(*, checksums):
    def write(path):
        times = [1706659200000 + k for k in range(COUNT)]
        pq.write_table(pa.table({"time": times, "price": PRICES}), path, compression="none",
                       use_dictionary=False, write_page_checksum=checksums)  # fmt: skip

    return write


SEEN = {
    "gz": packed(gzip.compress), "xz": packed(lzma.compress), "zip": zipped,
    "zst": packed(zstandard.ZstdCompressor(write_checksum=True).compress),
    "parquet": parquet(checksums=True),
}  # fmt: skip
UNSEEN = {
    "csv": packed(bytes),
    "zst": packed(zstandard.ZstdCompressor(write_checksum=False).compress),
    "parquet": parquet(checksums=False),
}


def flips(path, count):
    """Yield what comes of a table with one bit flipped in its middle: (seen, rows)."""
    whole, drawn = path.read_bytes(), random.Random(11)
    for _ in range(count):
        damaged = bytearray(whole)
        at = drawn.randrange(len(whole) // 4, 3 * len(whole) // 4)
        damaged[at] ^= 1 << drawn.randrange(8)
        path.write_bytes(damaged)
        try:
            told, sinks = imported(path, TABLE)
        except DataError:
            yield True, []
            continue
        yield bool(told.damaged), sinks["x:AB"].rows["price"].tolist()


@pytest.mark.parametrize("suffix", SEEN)
def test_a_flipped_bit_is_seen_where_there_are_checksums(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    SEEN[suffix](path)
    _, sinks = imported(path, TABLE)
    whole = sinks["x:AB"].rows["price"].tolist()
    for seen, prices in flips(path, 40):
        assert seen or prices == whole


@pytest.mark.parametrize("suffix", UNSEEN)
def test_a_flipped_bit_may_go_unseen_where_there_are_none(tmp_path, suffix):
    """If this ever fails, something sees more: say so in docs/data.md."""
    path = tmp_path / f"a.{suffix}"
    UNSEEN[suffix](path)
    _, sinks = imported(path, TABLE)
    whole = sinks["x:AB"].rows["price"].tolist()
    assert any(not seen and prices != whole for seen, prices in flips(path, 60))
