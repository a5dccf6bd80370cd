"""Raw recordings through the venues' own codecs, against a book kept in plain Python."""

import gzip
import json
import lzma

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.records import EVENT
from alephtx.engine.ingest import importers, raw_importer
from alephtx.store.damage import DataError
from alephtx.store.importing import Nowhere, choose, import_file
from alephtx.store.reading import Options, Reading
from tests.store.market import GOLDEN, SHARED

FILES = {
    "binance_spot:BTC-USDT": GOLDEN / "binance" / "spot_btcusdt_20240808.gz",
    "binance_usdm:BTC-USDT-PERP": GOLDEN / "binance" / "usdm_btcusdt_20240808.gz",
    "binance_coinm:BTC-USD-PERP": GOLDEN / "binance" / "coinm_btcusd_perp_20240808.gz",
    "hyperliquid:BTC-USD-PERP": GOLDEN / "hyperliquid" / "btcusd_20250126.gz",
}


class Kept(Nowhere):
    """A sink that keeps the rows."""

    def __init__(self, instrument):
        self.instrument, self.parts = instrument, [np.zeros(0, EVENT)]

    def append(self, rows):
        self.parts.append(rows.copy())

    @property
    def rows(self):
        return np.concatenate(self.parts)


def imported(path, options=None, name=""):
    """Import a file; return what was told and the sinks by key."""
    sinks = {}

    def sink(instrument):
        return sinks.setdefault(instrument.key, Kept(instrument))

    importer = choose(path, importers(), name)
    return import_file(path, importer, options or Options(), sink), sinks


def lines_of(path):
    return gzip.decompress(path.read_bytes()).splitlines(keepends=True)


def write_lines(path, lines):
    path.write_bytes(gzip.compress(b"".join(lines)))
    return path


def book_of(rows):
    """Return the last book of a stream as we heard it, as {side: {price: qty}}."""
    book = {1: {}, -1: {}}
    for row in rows[(rows["flags"] & words.TICK_EXCHANGE) == 0]:
        if row["kind"] == words.CLEAR:
            book = {1: {}, -1: {}}
        elif row["kind"] == words.DELTA:
            book[int(row["side"])].pop(int(row["price"]), None)
            if row["qty"]:
                book[int(row["side"])][int(row["price"])] = int(row["qty"])
    return book


def book_of_lines(lines, instrument):
    """Return the last book of a Binance recording by the documents' rules, in plain Python."""
    book, last, frames, snapshot = {1: {}, -1: {}}, None, [], None
    for line in lines:
        message = json.loads(line.partition(b" ")[2])
        if "lastUpdateId" in message:
            snapshot = message
        elif message["data"].get("e") == "depthUpdate":
            frames.append(message["data"])

    def put(levels, side):
        for price, qty in levels:
            ticks = round(float(price) * 10**instrument.price_scale)
            lots = int(float(qty) * 10**instrument.qty_scale + 1e-6)
            book[side].pop(ticks, None)
            if lots:
                book[side][ticks] = lots

    put(snapshot["bids"], 1)
    put(snapshot["asks"], -1)
    last = snapshot["lastUpdateId"]
    for frame in frames:
        if frame["u"] > last or ("pu" in frame and frame["u"] >= last):
            put(frame["b"], 1)
            put(frame["a"], -1)
            last = frame["u"]
    return book


@pytest.mark.parametrize("key", FILES)
def test_recordings_become_sound_streams(key):
    told, sinks = imported(FILES[key])
    assert list(sinks) == [key]
    (stream,) = told.streams
    report = stream.report
    # The spot file ends with two frames of a later time, to which its sequence does not lead.
    gaps = 1 if "spot" in key else 0
    assert (told.format, told.damaged, report.gaps, report.crossed) == ("raw", 0, gaps, 0)
    assert report.snapshots >= 1
    assert report.clocks.recv_back == report.clocks.event_back == 0
    assert report.rows == len(sinks[key].rows) > 1_000


@pytest.mark.parametrize("key", [key for key in FILES if key.startswith("binance")])
def test_book_at_the_end_is_that_of_the_documents_rules(key):
    _, sinks = imported(FILES[key])
    expected = book_of_lines(lines_of(FILES[key]), sinks[key].instrument)
    assert book_of(sinks[key].rows) == expected


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz", ".txt"])
def test_every_packing_reads_the_same(tmp_path, suffix):
    source = FILES["binance_usdm:BTC-USDT-PERP"]
    text = gzip.decompress(source.read_bytes())
    pack = {".gz": gzip.compress, ".xz": lzma.compress, ".txt": bytes,
            ".zst": zstandard.ZstdCompressor().compress}[suffix]  # fmt: skip
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pack(text))
    assert imported(path)[0].rows == imported(source)[0].rows


def test_a_lost_message_becomes_a_gap_and_the_rest_is_kept(tmp_path):
    source = FILES["binance_usdm:BTC-USDT-PERP"]
    lines = lines_of(source)
    depth = [n for n, line in enumerate(lines) if b"depthUpdate" in line]
    at = depth[len(depth) // 2]
    lost = sum(len(json.loads(lines[at].partition(b" ")[2])["data"][s]) for s in "ab")
    told, _ = imported(write_lines(tmp_path / "a.gz", lines[:at] + lines[at + 1 :]))
    whole, _ = imported(source)
    (stream,) = told.streams
    assert stream.report.gaps == 1
    assert stream.report.stale_messages > 100
    assert told.damaged == 0
    # The GAP row is one more, and overtaking differs by a few messages.
    assert abs(told.rows - (whole.rows - lost + 1)) < 50


def test_without_a_snapshot_deltas_are_kept_behind_a_gap(tmp_path):
    source = FILES["binance_usdm:BTC-USDT-PERP"]
    lines = [line for line in lines_of(source) if b'{"lastUpdateId"' not in line]
    told, sinks = imported(write_lines(tmp_path / "a.gz", lines))
    assert told.streams[0].report.gaps == 1
    assert told.streams[0].report.snapshots == 0
    (sink,) = sinks.values()
    assert np.count_nonzero(sink.rows["kind"] == words.DELTA) > 1_000


def test_a_damaged_snapshot_loses_no_delta(tmp_path):
    source = FILES["binance_spot:BTC-USDT"]
    lines = [
        line[:400] + b"\n" if b'{"lastUpdateId"' in line else line for line in lines_of(source)
    ]
    told, _ = imported(write_lines(tmp_path / "a.gz", lines))
    assert told.damaged == 1
    assert told.damages[0].column == "frame"
    assert told.streams[0].report.gaps == 1
    assert told.streams[0].report.kinds["delta"] > 300


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"\n", "not `<receive ns> <raw JSON>`"),
        (b"hello\n", "not `<receive ns> <raw JSON>`"),
        (b"12 \xff\xfe{}\n", "frame"),
        (b"99999999999999999999 {}\n", "not `<receive ns>"),
        (b"9999999999999999999 {}\n", "not `<receive ns>"),
        (b'1723161255088169167 {"stream":"x","data":{"e":"depthUpdate"}}\n', "frame"),
        (b'1723161255088169167 {"stream":"x","data":{"e":"bookTicker","u":1,"s":"BTCUSDT",'
         b'"b":"NaN","B":"1","a":"2","A":"1"}}\n', "NaN"),
        (b'1723161255088169167 {"stream":"x","data":{"e":"bookTicker","u":1,"s":"BTCUSDT",'
         b'"b":"99999999999999999999","B":"1","a":"2","A":"1"}}\n', "frame"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_and_costs_only_itself(tmp_path, bad, said):
    source = FILES["binance_usdm:BTC-USDT-PERP"]
    lines = lines_of(source)
    told, _ = imported(write_lines(tmp_path / "a.gz", [*lines[:500], bad, *lines[500:]]))
    whole, _ = imported(source)
    assert told.damaged == 1
    assert told.damages[0].row == 501
    assert said in str(told.damages[0])
    assert (told.rows, told.messages) == (whole.rows, whole.messages)


def test_a_cut_file_keeps_what_stands_before_the_cut(tmp_path):
    source = FILES["binance_usdm:BTC-USDT-PERP"]
    packed = source.read_bytes()
    path = tmp_path / "a.gz"
    path.write_bytes(packed[: len(packed) * 3 // 4])
    told, _ = imported(path)
    assert told.damaged >= 1
    assert any("ends early" in str(damage) for damage in told.damages)
    assert told.rows > 0.6 * imported(source)[0].rows


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bits_are_told_and_never_kill(tmp_path, data):
    source = FILES["binance_usdm:BTC-USDT-PERP"]
    packed = data.draw(st.booleans())
    damaged = bytearray(source.read_bytes() if packed else gzip.decompress(source.read_bytes()))
    places = st.lists(st.integers(20, len(damaged) - 1), min_size=1, max_size=4, unique=True)
    for place in data.draw(places):  # each once: two flips of one bit are none
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "a.bin"
    path.write_bytes(damaged)
    try:
        told, _ = imported(path)
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert told.rows > 0
        if packed:
            assert told.damaged > 0


def test_a_damaged_letter_of_a_symbol_is_one_damaged_row(tmp_path):
    """Found by the fuzz test: another case of a letter names the same instrument once more."""
    lines = lines_of(FILES["binance_usdm:BTC-USDT-PERP"])[:60]
    lines[7] = lines[7].replace(b"btcusdt@", b"bTcusdt@").replace(b'"BTCUSDT"', b'"bTCUSDT"')
    told, sinks = imported(write_lines(tmp_path / "a.gz", lines))
    assert set(sinks) == {"binance_usdm:BTC-USDT-PERP"}
    assert told.rows > 0


def test_unknown_symbols_get_the_scales_that_they_show(tmp_path):
    lines = [line.replace(b"BTCUSDT", b"ABCUSDT") for line in
             lines_of(FILES["binance_usdm:BTC-USDT-PERP"])]  # fmt: skip
    told, sinks = imported(write_lines(tmp_path / "a.gz", lines))
    sink = sinks["binance_usdm:ABC-USDT-PERP"]
    assert (sink.instrument.price_scale, sink.instrument.qty_scale) == (1, 3)
    _, known = imported(FILES["binance_usdm:BTC-USDT-PERP"])
    assert sink.rows.tobytes() == known["binance_usdm:BTC-USDT-PERP"].rows.tobytes()
    assert told.damaged == 0


def test_two_symbols_in_one_file_become_two_streams(tmp_path):
    ours = lines_of(FILES["hyperliquid:BTC-USD-PERP"])
    other = [line.replace(b'"coin":"BTC"', b'"coin":"ABC"') for line in ours]
    mixed = [line for pair in zip(ours, other, strict=True) for line in pair]
    told, sinks = imported(write_lines(tmp_path / "a.gz", mixed))
    assert sorted(sinks) == ["hyperliquid:ABC-USD-PERP", "hyperliquid:BTC-USD-PERP"]
    assert {s.report.messages for s in told.streams} == {told.messages // 2}
    _, sinks = imported(tmp_path / "a.gz", Options(only=("ABC",)))
    assert list(sinks) == ["hyperliquid:ABC-USD-PERP"]


def test_other_files_are_not_taken_for_recordings(tmp_path):
    importer = raw_importer()
    for text in (b"", b"{}\n", b"a,b\n1,2\n", b"1723161255088169167,{\n", b"\xff" * 99):
        (tmp_path / "a").write_bytes(text)
        assert not importer.sniff(tmp_path / "a")
    (tmp_path / "a").write_bytes(b'1723161255088169167 {"foo":1}\n')
    with pytest.raises(DataError, match="--venue"):
        list(importer.read(tmp_path / "a", Reading(tmp_path / "a")))
    with pytest.raises(DataError, match="no format that is known"):
        imported(GOLDEN / "binance" / "README.md")


@pytest.mark.skipif(SHARED is None, reason="the full recordings are not here")
def test_the_whole_recording_is_without_a_gap_and_never_crossed():
    told, _ = imported(SHARED / "l2_binance_raw_20240808" / "cm_ethusd_perp_20240808.gz")
    report = told.streams[0].report
    assert (told.damaged, report.gaps, report.crossed, report.bad_rows) == (0, 0, 0, 0)
    assert 343 < report.span_ns / 1e9 < 346
    assert -1.35e9 < report.clocks.offset_median_ns < -1.2e9
