"""Replay: one clock for all venues, order kept, damage named, times rewritten in place."""

import asyncio
import gzip
import lzma

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.clock import ManualClock
from alephtx.core.errors import SimulationError
from alephtx.twins.binance_market import scaled
from alephtx.twins.extract import BINANCE, TARGET, extract, load_window
from alephtx.twins.replay import Recording, Replay, Track, restamp
from tests.twins.clients import serving

PACKERS = {
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".txt": bytes,
}


class Sink:
    """Notes what it is given and when."""

    def __init__(self, clock):
        self.clock = clock
        self.primed, self.fed, self.seams = [], [], 0

    def prime(self, channel, raw):
        self.primed.append((channel, raw))

    def feed(self, channel, raw, now_ns):
        self.fed.append((self.clock.now(), channel, raw))

    def seam(self):
        self.seams += 1

    def congested(self):
        return False


def write(path, lines):
    path.write_bytes(PACKERS[path.suffix](b"".join(b"%d %b\n" % line for line in lines)))
    return path


@pytest.mark.parametrize("suffix", list(PACKERS))
def test_recording_reads_every_packing(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", [(1, b"{}"), (2, b'{"x":1}')])
    assert list(Recording(path, "A").lines()) == [(1, "A", b"{}"), (2, "A", b'{"x":1}')]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"12\n", ":1: not"),
        (b"1 {}\nx {}\n", ":2: not"),
        (b"5 {}\n4 {}\n", ":2: receive time goes back"),
        (b"-5 {}\n", ":1: not"),
        (b"1e5 {}\n", ":1: not"),
        (b"99999999999999999999 {}\n", ":1: not"),
        (b"\x00\xff\n", ":1: not"),
    ],
)
def test_damaged_recording_is_named_by_file_and_line(tmp_path, text, said):
    path = tmp_path / "bad.txt"
    path.write_bytes(text)
    with pytest.raises(SimulationError, match=f"bad.txt{said}"):
        list(Recording(path, "A").lines())


async def test_tracks_share_one_clock_through_speed_and_loops(tmp_path):
    clock = ManualClock()
    sinks, replays = [], []
    start = clock.now() + 1_000_000_000
    for name, offset in (("a", 0), ("b", 5_000_000)):
        lines = [(k * 10_000_000 + offset, b"%d" % k) for k in range(1, 12)]
        sink = Sink(clock)
        path = write(tmp_path / f"{name}.zst", lines)
        track = Track(sink, [Recording(path, name)], 50_000_000, 100_000_000)
        replay = Replay(track, clock, start_at_ns=start, speed=2.0)
        replay.prime()
        sinks.append(sink)
        replays.append(replay)
    task = asyncio.create_task(replays[0].run())
    while sinks[0].seams < 2:
        await asyncio.sleep(0)
    task.cancel()
    assert [raw for _, raw in sinks[0].primed[:4]] == [b"1", b"2", b"3", b"4"]
    first_lap = sinks[0].fed[:6]
    assert [raw for *_, raw in first_lap] == [b"5", b"6", b"7", b"8", b"9", b"10"]
    spacing = [at - start for at, *_ in first_lap]
    assert spacing == [k * 5_000_000 for k in range(6)]
    assert sinks[0].fed[6][0] - start == 25_000_000
    assert sinks[0].fed[6][2] == b"5"


async def test_replay_without_pacing_feeds_everything_once_and_stops(tmp_path):
    clock = ManualClock()
    sink = Sink(clock)
    path = write(tmp_path / "a.txt", [(k, b"%d" % k) for k in range(1, 501)])
    track = Track(sink, [Recording(path, "a")], 1, 400)
    replay = Replay(track, clock, start_at_ns=0, speed=0, loop=False)
    replay.prime()
    await replay.run()
    assert replay.finished.is_set()
    assert [int(raw) for *_, raw in sink.fed] == list(range(1, 401))


async def test_recording_without_a_line_at_its_origin_is_an_error(tmp_path):
    path = write(tmp_path / "a.txt", [(1, b"{}")])
    clock = ManualClock()
    track = Track(Sink(clock), [Recording(path, "a")], 5, 9)
    replay = Replay(track, clock, start_at_ns=0)
    replay.prime()
    with pytest.raises(SimulationError, match="no line"):
        await replay.run()
    with pytest.raises(SimulationError, match="negative"):
        Replay(track, clock, start_at_ns=0, speed=-1)


@given(
    st.integers(10**12, 10**13 - 1),
    st.integers(0, 5_000),
    st.integers(10**12 + 5_000, 10**13 - 1),
)
def test_restamp_keeps_length_distance_and_everything_else(event, behind, now):
    trade = max(10**12, event - behind)
    raw = b'{"e":"trade","E":%d,"T":%d,"s":"X","p":"1723161256299"}' % (event, trade)
    made = restamp(raw, now)
    assert len(made) == len(raw)
    told = msgspec.json.decode(made)
    assert told["E"] == now
    assert told["E"] - told["T"] == event - trade
    assert told["p"] == "1723161256299"
    assert restamp(b'{"u":1,"b":"2"}', now) == b'{"u":1,"b":"2"}'


def test_shipped_recordings_hold_the_window_with_every_stream_and_no_gap():
    """The first megabytes of each file: snapshot there, ids continuous, times ordered."""
    window = load_window()
    assert window.end_ns - window.origin_ns >= 245 * 10**9
    total = sum(path.stat().st_size for path in TARGET.glob("*.zst"))
    assert total <= 8_000_000
    for venue, files in BINANCE.items():
        for symbol, stem in files.items():
            last, snapshots, checked = 0, 0, 0
            for stamp, _, raw in Recording(TARGET / f"{stem}.zst", symbol).lines():
                snapshots += raw.startswith(b'{"lastUpdateId"')
                if b"depthUpdate" in raw[:120]:
                    event = msgspec.json.decode(raw)["data"]
                    joined = event["U"] == last + 1 if venue == "binance_spot" else None
                    joined = event["pu"] == last if joined is None else joined
                    assert joined or last == 0
                    last, checked = event["u"], checked + 1
                if stamp > window.origin_ns + 3 * 10**9:
                    break
            assert snapshots == 1
            assert checked > 20


def test_extract_cuts_at_the_window_and_keeps_bytes(tmp_path):
    source = tmp_path / "source"
    folder = source / "l2_binance_raw_20240808"
    folder.mkdir(parents=True)
    (source / "hyperliquid_l2_20250126").mkdir()
    hyper = source / "hyperliquid_l2_20250126" / "btcusd_20250126.gz"
    hyper.write_bytes(gzip.compress(b"1 {}\n"))
    names = [stem for files in BINANCE.values() for stem in files.values()]
    for k, stem in enumerate(names):
        lines = [(10**9 + k, b'{"lastUpdateId":1}'), (2 * 10**9, b"{}"), (9 * 10**9, b"{}")]
        write(folder / f"{stem}.gz", lines)
    sizes = extract(source, 3, tmp_path / "out")
    assert set(sizes) == {*names, "btcusd_20250126"}
    window = load_window(tmp_path / "out")
    assert window.origin_ns == 10**9 + len(names) - 1
    kept = list(Recording(tmp_path / "out" / f"{names[0]}.zst", "x").lines())
    assert [stamp for stamp, *_ in kept] == [10**9, 2 * 10**9]
    (folder / f"{names[0]}.gz").write_bytes(gzip.compress(b"1 {}\n"))
    with pytest.raises(SimulationError, match="no REST snapshot"):
        extract(source, 3, tmp_path / "out")


async def test_seam_cuts_market_links_and_serves_a_fresh_snapshot():
    async with serving("binance_spot") as served:
        twin = served.twins["binance_spot"]
        ws = await served.session.ws_connect(served.url("binance_spot", "/ws/btcusdt@depth"))
        await asyncio.sleep(0.05)
        before = twin.market_feed.books["BTCUSDT"].last_id
        twin.seam()
        assert twin.exchange.touch(twin.exchange.market("BTCUSDT")) == (0, 0)
        twin.replay.prime()
        assert twin.market_feed.books["BTCUSDT"].last_id == before
        message = await asyncio.wait_for(ws.receive(), 3)
        assert message.data == 1001
        await ws.close()


@pytest.mark.soak
async def test_whole_recording_leaves_the_matching_book_equal_to_the_venues_text():
    """Every line of all six files: both books of a symbol, level by level, never crossed."""
    venues = ("binance_spot", "binance_usdm", "binance_coinm")
    async with serving(*venues, start_at_ns=0, speed=0.0, loop=False) as served:
        for twin in served.twins.values():
            while not twin.replay.finished.is_set():
                await asyncio.sleep(0.2)
                served.server.check()
            for market in twin.exchange.markets:
                bid, ask = twin.exchange.touch(market)
                assert 0 < bid < ask
                book = twin.market_feed.books[market.symbol]
                for side, texts in ((1, book.bids), (-1, book.asks)):
                    wanted = {
                        (scaled(p, market.price_scale), scaled(q, market.qty_scale))
                        for p, q in texts.items()
                    }
                    # Matching also follows bookTicker, so it is ahead of the text at the touch.
                    apart = set(twin.exchange.depth(market, side, 1 << 20)) ^ wanted
                    assert len(apart) <= 8
                    assert all(abs(price - bid) * 1_000 < bid for price, _ in apart)
