"""The compiled scanner against the typed decoder: equal where it accepts, silent elsewhere."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.errors import AlephError
from alephtx.core.kernel import JIT
from alephtx.core.ports import Batch
from alephtx.core.records import EVENT
from alephtx.venues import binance_scan as scan
from alephtx.venues.binance_depth import HEAD_MIN, OTHER, scan_depth
from alephtx.venues.binance_wire import Symbols, put_market, read_head
from tests.venues.binance_golden import VENUES, encode, frames, instruments

MARKETS = ("spot", "usdm", "coinm")
RECV = 1_723_161_256_000_000_000
_states = {m: scan.make_scan_state(instruments(), VENUES[m].spec.name) for m in MARKETS}
_symbols = {m: Symbols(instruments(), VENUES[m].spec.name) for m in MARKETS}
_rows = np.zeros(4096, EVENT)
_batch = Batch(events=4096, updates=1)
_few = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def scanned(market, frame, *, tail=b"", rows=_rows, first=0):
    return scan.scan_market(frame + tail, len(frame), _states[market], RECV, rows, first)


def oracle(market, frame):
    """Return the rows of the typed decoder, or None when it refuses the frame."""
    _batch.clear()
    try:
        head, body = read_head(frame)
        if put_market(head.e, body, _symbols[market], RECV, _batch) < 0:
            return None
    except (AlephError, ValueError):
        return None
    return _batch.events[: _batch.event_count]


def agree(market, frame):
    """Assert that the scanner declines or equals the oracle; return what it said."""
    count = scanned(market, frame)
    if count < 0:
        return count
    expected = oracle(market, frame)
    assert expected is not None, f"accepted what the oracle refuses: {frame!r}"
    assert expected.tolist() == _rows[:count].tolist(), frame
    return count


@pytest.mark.smoke
@pytest.mark.parametrize("market", MARKETS)
def test_scan_recorded_frames_equal_oracle(market):
    """No recorded frame is declined, but for quantities finer than a scale can hold."""
    counts = [agree(market, frame) for frame in frames(market)]
    assert min(counts) > 0
    assert len(counts) > 1000


@pytest.mark.kernel
@pytest.mark.parametrize("market", MARKETS)
def test_scan_some_recorded_frames_equal_oracle(market):
    for frame in frames(market)[::23]:
        assert agree(market, frame) > 0


@pytest.mark.kernel
def test_scan_depth_frame_gives_documented_rows():
    """The contract: SEQ (U, pu, u), then DELTA rows, the last one flagged; T before E."""
    frame = encode(
        {
            "stream": "btcusdt@depth@0ms",
            "data": {
                "e": "depthUpdate", "E": 1723161256299, "T": 1723161256298, "s": "BTCUSDT",
                "U": 10, "u": 20, "pu": 9,
                "b": [["58710.20", "0.014"], ["61496.5", "0"]], "a": [["61700", "12.5"]],
            },
        }
    )  # fmt: skip
    assert scanned("usdm", frame) == 4
    index = instruments().index("binance_usdm:BTC-USDT-PERP")
    ts = 1723161256298 * 1_000_000
    clock, last = words.EXCHANGE_CLOCK, words.LAST_IN_MESSAGE
    assert _rows[:4].tolist() == [
        (ts, RECV, 20, 10, 9, index, words.SEQ, 0, clock),
        (ts, RECV, 20, 587102, 14, index, words.DELTA, words.BUY, clock),
        (ts, RECV, 20, 614965, 0, index, words.DELTA, words.BUY, clock),
        (ts, RECV, 20, 617000, 12500, index, words.DELTA, words.SELL, clock | last),
    ]


@pytest.mark.kernel
def test_scan_empty_depth_flags_its_seq_row():
    frame = b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]}'
    assert agree("spot", frame) == 1
    row = _rows[0]
    assert (row["kind"], row["qty"]) == (words.SEQ, -1)
    assert row["flags"] == words.EXCHANGE_CLOCK | words.LAST_IN_MESSAGE


@pytest.mark.kernel
def test_scan_spot_ticker_has_no_clock():
    """Spot sends no time with bookTicker; a made-up one would poison latency figures."""
    frame = b'{"u":5,"s":"ETHUSDT","b":"2683.8","B":"3","a":"2683.81","A":"31.4395"}'
    assert agree("spot", frame) == 2
    assert _rows[:2]["ts_event"].tolist() == [0, 0]
    assert _rows[:2]["flags"].tolist() == [0, words.LAST_IN_MESSAGE]
    assert _rows[:2]["side"].tolist() == [words.BUY, words.SELL]


@pytest.mark.kernel
@pytest.mark.parametrize(("maker", "side"), [(True, words.SELL), (False, words.BUY)])
def test_scan_trade_side_is_the_aggressor(maker, side):
    frame = encode({"e": "trade", "E": 3, "T": 2, "s": "BTCUSDT", "t": 77, "p": "1.5", "q": "2",
                    "X": "MARKET", "m": maker})  # fmt: skip
    assert agree("usdm", frame) == 1
    assert (_rows[0]["side"], _rows[0]["seq"], _rows[0]["price"]) == (side, 77, 15)


DEPTH = b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]}'
TRADE = b'{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","m":true}'
DECLINED = {
    "blank": b'{"e":"trade", "E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","m":true}',
    "exponent": b'{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1e3","q":"1","m":true}',
    "negative": b'{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"-1","q":"1","m":true}',
    "finer than a tick": b'{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1.234567","q":"1","m":true}',
    "no digits": b'{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"","q":"1","m":true}',
    "19 digits": TRADE.replace(b'"p":"1"', b'"p":"1234567890123456789"'),
    "escape": b'{"e":"trade","E":1,"s":"BTC\\u0055SDT","t":1,"p":"1","q":"1","m":true}',
    "unknown symbol": b'{"e":"trade","E":1,"s":"XXXUSDT","t":1,"p":"1","q":"1","m":true}',
    "longer symbol": TRADE.replace(b"BTCUSDT", b"BTCUSDT" * 3 + b"X"),
    "unknown field": b'{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","m":true,"zz":1}',
    "twice": b'{"e":"trade","E":1,"E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","m":true}',
    "microseconds": TRADE.replace(b'"E":1', b'"E":1723161256299000'),
    "price before symbol": b'{"e":"trade","E":1,"p":"1","s":"BTCUSDT","t":1,"q":"1","m":true}',
    "missing": b'{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","m":true}',
    "insurance": b'{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","X":"ADL","m":true}',
    "asks first": b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"a":[],"b":[]}',
    "late id": b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"b":[],"a":[],"u":2}',
    "level of three": DEPTH.replace(b'"b":[]', b'"b":[["1","2",[]]]'),
    "other event": b'{"e":"aggTrade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","m":true}',
    "open envelope": b'{"stream":"x","data":{"u":5,"s":"BTCUSDT","b":"1","B":"3","a":"2","A":"3"}',
    "closed twice": b'{"u":5,"s":"BTCUSDT","b":"1","B":"3","a":"2","A":"3"}}',
    "number": b"123456789012345678",
    "empty": b"",
    "braces": b"{}",
    "leading zero": b'{"e":"trade","E":01,"s":"BTCUSDT","t":1,"p":"1","q":"1","m":true}',
    "control key": b'{"e":"trade","\x01":1,"E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","m":true}',
}


@pytest.mark.kernel
def test_scan_plain_frames_are_taken():
    """The frames that the unusual ones are made of."""
    assert agree("spot", TRADE) == 1
    assert agree("spot", DEPTH) == 1


@pytest.mark.kernel
@pytest.mark.parametrize("name", DECLINED)
def test_scan_unusual_frame_is_declined(name):
    """Everything that is not the plain shape goes to the slow path, with a code, not a guess."""
    assert scanned("spot", DECLINED[name]) < 0


@pytest.mark.kernel
def test_scan_full_rows_are_declined():
    frame = next(f for f in frames("usdm") if b"depthUpdate" in f)
    needed = scanned("usdm", frame)
    short = np.zeros(needed - 1, EVENT)
    assert scanned("usdm", frame, rows=short) == scan.FULL
    assert scanned("usdm", frame, rows=np.zeros(needed, EVENT)) == needed
    assert scanned("usdm", frame, rows=short, first=needed - 1) < 0


@pytest.mark.kernel
def test_scan_appends_behind_first():
    frame = next(f for f in frames("usdm") if b"bookTicker" in f)
    scanned("usdm", frame)
    alone = _rows[:2].copy()
    assert scanned("usdm", frame, first=5) == 2
    assert _rows[5:7].tolist() == alone.tolist()


# -- the quick way of depth messages ---------------------------------------------------------


def same_both_ways(market, frame):
    """Assert that the quick way gives what the slow one does, or leaves the frame to it."""
    if frame[:1] != b"{" or frame[-1:] != b"}":
        return False
    state, quick = _states[market], np.zeros(4096, EVENT)
    count = scan_depth(frame, len(frame), state, RECV, quick, 0)
    if count == OTHER:
        return False
    assert count == scan.scan_any(frame, len(frame), state, RECV, _rows, 0)
    assert quick[:count].tolist() == _rows[:count].tolist()
    return True


@pytest.mark.kernel
@pytest.mark.parametrize("market", MARKETS)
def test_recorded_depth_goes_the_quick_way(market):
    """Or nobody would notice that it has become the slow one."""
    depth = [frame for frame in frames(market) if b"depthUpdate" in frame][:: 1 if JIT else 9]
    quick = [frame for frame in depth if same_both_ways(market, frame)]
    assert len(quick) > 0.9 * len(depth)
    for frame in frames(market)[::31]:
        if b"depthUpdate" not in frame:
            assert not same_both_ways(market, frame)


@pytest.mark.kernel
def test_quick_way_learns_another_number_of_decimals():
    """A number of another shape than the last one's takes longer, once."""
    levels = [["58710.20", "0.014"], ["58710.2", "1"], ["58710", "12345.678"], ["5.1", "0.0140"]]
    frame = encode({"e": "depthUpdate", "E": 1723161256299, "T": 1723161256298, "s": "BTCUSDT",
                    "U": 10, "u": 20, "pu": 9, "b": levels * 3, "a": levels[::-1]})  # fmt: skip
    assert len(frame) > HEAD_MIN
    for _ in range(2):
        assert same_both_ways("usdm", frame)
        assert agree("usdm", frame) == 17


@pytest.mark.kernel
@_few
@given(
    st.sampled_from(MARKETS),
    st.integers(0, 10_000),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=2),
)
def test_quick_way_never_takes_what_the_slow_one_refuses(market, position, flips):
    depth = [f for f in frames(market) if b"depthUpdate" in f and len(f) < 900]
    frame = bytearray(depth[position % len(depth)])
    for at, byte in flips:
        frame[at % len(frame)] = byte
    same_both_ways(market, bytes(frame))


# -- mutations -------------------------------------------------------------------------------

_market = st.sampled_from(MARKETS)
_position = st.integers(0, 10_000)


def short_frame(market, position):
    found = [frame for frame in frames(market) if len(frame) < 900]
    return found[position % len(found)]


@pytest.mark.kernel
@_few
@given(
    _market, _position, st.lists(st.tuples(_position, st.integers(0, 255)), min_size=1, max_size=3)
)
def test_scan_flipped_bytes_decline_or_equal(market, position, flips):
    frame = bytearray(short_frame(market, position))
    for at, byte in flips:
        frame[at % len(frame)] = byte
    agree(market, bytes(frame))


@pytest.mark.kernel
@_few
@given(_market, _position, _position, st.sampled_from([b"", b"}", b"}}", b'"}', b'"}}', b"]}}"]))
def test_scan_truncated_frame_declines_or_equals(market, position, cut, ending):
    """A frame cut anywhere and closed again with braces still ends inside its bytes."""
    frame = short_frame(market, position)
    agree(market, frame[: cut % len(frame)] + ending)


@pytest.mark.kernel
@_few
@given(
    _market,
    _position,
    _position,
    st.sampled_from(
        [b"0", b"9" * 20, b"00", b".", b"e5", b"-", b'"', b"\\", b",", b"}", b"{", b"[", b"]", b" ",
         b'"E":1,', b'"s":"BTCUSDT",', b'"zz":{},', b'["1","2"],', b"\x00", b"\xff", b"NaN"]
    ),
)  # fmt: skip
def test_scan_inserted_bytes_decline_or_equal(market, position, at, extra):
    frame = short_frame(market, position)
    at %= len(frame)
    agree(market, frame[:at] + extra + frame[at:])


@pytest.mark.kernel
@_few
@given(_market, _position, st.randoms(use_true_random=False))
def test_scan_reordered_fields_decline_or_equal(market, position, source):
    """The order of fields is no promise of the venue's."""
    value = json.loads(short_frame(market, position))
    data = list(value["data"].items())
    source.shuffle(data)
    agree(market, encode({"stream": value["stream"], "data": dict(data)}))
    agree(market, encode(dict(data)))


@pytest.mark.kernel
@_few
@given(_market, _position, st.integers(0, 10**20), st.integers(0, 22), st.integers(0, 25))
def test_scan_any_number_declines_or_equals(market, position, digits, point, zeros):
    text = str(digits) + "0" * zeros
    text = text[: len(text) - point] + ("." + text[len(text) - point :] if point else "")
    value = json.loads(short_frame(market, position))
    for key in ("b", "p", "q", "A"):
        if isinstance(value["data"].get(key), str):
            value["data"][key] = text
        elif value["data"].get(key):
            value["data"][key][0][position % 2] = text
    agree(market, encode(value))


@pytest.mark.kernel
@_few
@given(_market, _position, _position, st.integers(0, 255))
def test_scan_never_reads_past_the_end(market, position, cut, byte):
    """What follows the frame in memory changes nothing; un-jitted, such a read would raise."""
    frame = short_frame(market, position)
    frame = frame[: cut % len(frame)] + b"}"
    alone = scanned(market, frame)
    rows = _rows[: max(alone, 0)].copy()
    for tail in (bytes([byte]) * 64, b'"' * 64, b"9" * 64):
        assert scanned(market, frame, tail=tail) == alone
        assert _rows[: max(alone, 0)].tolist() == rows.tolist()


@pytest.mark.kernel
def test_scan_state_finds_every_symbol_of_a_large_table():
    """Probing must find names that collide, share a prefix, or are as long as three words."""
    import msgspec

    from alephtx.core.instruments import Instruments

    base = instruments()["binance_spot:BTC-USDT"]
    names = [f"A{k}USDT" for k in range(200)] + ["A" * n for n in (7, 8, 14, 15, 21, 22)]
    table = Instruments(
        msgspec.structs.replace(base, key=f"binance_spot:{name}", symbol=name) for name in names
    )
    state = scan.make_scan_state(table, "binance_spot")
    for index, name in enumerate(names):
        frame = encode({"u": 1, "s": name, "b": "1", "B": "1", "a": "2", "A": "1"})
        count = scan.scan_market(frame, len(frame), state, RECV, _rows, 0)
        assert count == (2 if len(name) <= scan.NAME_MAX else scan.SYMBOL)
        assert count < 0 or _rows[0]["instrument"] == index
