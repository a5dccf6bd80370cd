"""The compiled scanner against the msgspec path: same rows or a refusal, no read past the end."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Batch
from alephtx.core.records import EVENT
from alephtx.testing.golden import read_recording
from alephtx.venues.hyperliquid import Hyperliquid
from alephtx.venues.hyperliquid_scan import (
    FULL,
    NAME_MAX,
    NUMBER,
    SHAPE,
    SYMBOL,
    make_scan_state,
    scan_market,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "hyperliquid"
META = json.dumps(
    {"universe": [{"name": name, "szDecimals": scale} for name, scale in (
        ("BTC", 5), ("ETH", 4), ("kPEPE", 0), ("FOURTEENLETTER", 2), ("FIFTEENLETTERSS", 3))]}
).encode()  # fmt: skip
TABLE = Instruments(Hyperliquid().parse_instruments(META, []))
CODEC = Hyperliquid().bind(TABLE, None, 0)
STATE = make_scan_state(TABLE, "hyperliquid")
NOW = 1_760_000_000_123_456_789
TIME = 1_760_000_000_000
FAST, SLOW = Batch(events=4096), Batch(events=4096)
pytestmark = pytest.mark.filterwarnings("error")


def compact(message):
    return json.dumps(message, separators=(",", ":")).encode()


def level(px="105055.0", sz="1.5", n=3):
    return {"px": px, "sz": sz, "n": n}


def book(bids, asks, coin="BTC", time=TIME):
    return {"channel": "l2Book", "data": {"coin": coin, "time": time, "levels": [bids, asks]}}


def bbo(bid, ask, coin="BTC", time=TIME):
    return {"channel": "bbo", "data": {"coin": coin, "time": time, "bbo": [bid, ask]}}


def trade(**change):
    return {"coin": "ETH", "side": "A", "px": "2000.55", "sz": "0.0125", "time": TIME,
            "hash": "0xc8", "tid": 981894269203506, "users": ["0x11", "0x22"]} | change  # fmt: skip


def trades(*rows):
    return {"channel": "trades", "data": list(rows)}


def scan(frame, room=64):
    rows = np.zeros(room, EVENT)
    return scan_market(frame, STATE, rows, 0, NOW), rows


def agree(frame):
    """Hold the scanner to the slow path: the same rows, or a refusal; return its code."""
    FAST.clear()
    SLOW.clear()
    code = scan_market(frame, STATE, FAST.events, 0, NOW)
    returned = CODEC.decode_slow("market", frame, NOW, SLOW)
    if code > 0:
        assert code == returned, frame
        assert (FAST.events[:code] == SLOW.events[:code]).all(), frame
    return code


@pytest.mark.kernel
@pytest.mark.smoke
def test_book_is_a_sequence_a_clear_and_its_levels():
    frame = compact(book([level(), level("105054.0", "0.1428", 1)], [level("105056", "6")]))
    count, rows = scan(frame)
    assert count == 5
    kinds = [words.SEQ, words.CLEAR, words.DELTA, words.DELTA, words.DELTA]
    assert rows["kind"][:5].tolist() == kinds
    assert rows["price"][:5].tolist() == [TIME, 0, 1_050_550, 1_050_540, 1_050_560]
    assert rows["qty"][:5].tolist() == [-1, 0, 150_000, 14_280, 600_000]
    assert rows["side"][:5].tolist() == [0, 0, 1, 1, -1]
    assert rows["seq"][:5].tolist() == [TIME] * 5
    assert rows["ts_event"][:5].tolist() == [TIME * 1_000_000] * 5
    assert rows["ts_recv"][:5].tolist() == [NOW] * 5
    clock, snapshot = words.EXCHANGE_CLOCK, words.EXCHANGE_CLOCK | words.SNAPSHOT
    assert rows["flags"][:5].tolist() == [
        clock, clock, snapshot, snapshot, snapshot | words.LAST_IN_MESSAGE,
    ]  # fmt: skip
    assert agree(frame) == 5


@pytest.mark.kernel
def test_both_orders_of_keys_are_read_alike():
    live = compact(book([level(n=5)], [level("105056.0")]))
    bid, ask = {"n": 5, "px": "105055.0", "sz": "1.5"}, {"n": 3, "px": "105056.0", "sz": "1.5"}
    turned = {"coin": "BTC", "levels": [[bid], [ask]], "time": TIME}
    recorded = compact({"channel": "l2Book", "data": turned})
    (count, rows), (other, again) = scan(live), scan(recorded)
    assert count == other == 4
    assert (rows == again).all()


@pytest.mark.kernel
def test_bbo_is_a_pair_and_an_empty_side_is_zero():
    count, rows = scan(compact(bbo(None, level("105056.0", "2"))))
    assert count == 2
    assert rows["kind"][:2].tolist() == [words.TOP] * 2
    assert rows["price"][:2].tolist() == [0, 1_050_560]
    assert rows["side"][:2].tolist() == [1, -1]
    assert rows["flags"][:2].tolist() == [4, 5]
    assert agree(compact(bbo(level(), None))) == 2
    assert agree(compact(bbo(None, None))) == 2


@pytest.mark.kernel
def test_trades_carry_id_and_aggressor():
    count, rows = scan(compact(trades(trade(), trade(side="B", tid=7, coin="BTC", px="1"))))
    assert count == 2
    assert rows["seq"][:2].tolist() == [981894269203506, 7]
    assert rows["side"][:2].tolist() == [words.SELL, words.BUY]
    assert rows["price"][:2].tolist() == [200_055, 10]
    assert rows["instrument"][:2].tolist() == [1, 0]
    assert rows["flags"][:2].tolist() == [4, 5]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", SHAPE),
        (b"}", SHAPE),
        (b'{"channel":"pong"}', SHAPE),
        (b'{"channel":"l2Books","data":{"coin":"BTC"}}', SHAPE),
        (b" " + compact(book([], [])), SHAPE),
        (compact(book([], [])) + b" ", SHAPE),
        (compact(book([], [])) + b"}", SHAPE),
        (compact(book([], []))[:-1], SHAPE),
        (json.dumps(book([level()], [])).encode(), SHAPE),
        (compact(book([level()], [], coin="DOGE")), SYMBOL),
        (compact(book([], [], coin="")), SYMBOL),
        (compact(book([], [], coin="B\\u0054C")), SYMBOL),
        (compact(book([], [], coin="X" * (NAME_MAX + 1))), SYMBOL),
        (compact(book([], [], time=9_000_000_000_001)), NUMBER),
        (compact(book([], [], time=-1)), NUMBER),
        (compact(book([], [], time=1.5)), SHAPE),
        (compact(book([level("105055.05")], [])), NUMBER),
        (compact(book([level("-1")], [])), NUMBER),
        (compact(book([level("+1")], [])), NUMBER),
        (compact(book([level("1e3")], [])), NUMBER),
        (compact(book([level("")], [])), NUMBER),
        (compact(book([level(".5")], [])), NUMBER),
        (compact(book([level("1" * 19)], [])), NUMBER),
        (compact(book([level(sz="9" * 14)], [])), NUMBER),
        (compact(book([level(n=-1)], [])), NUMBER),
        (compact(book([level(n=1.5)], [])), NUMBER),
        (compact(book([level() | {"x": 1}], [])), NUMBER),
        (compact(book([{"px": "1", "sz": "1"}], [])), NUMBER),
        (compact(book([], [])).replace(b'"time":1760', b'"time":01760'), NUMBER),
        (compact(trades()), SHAPE),
        (compact(trades(trade(coin="DOGE"))), SYMBOL),
        (compact(trades(trade(side="X"))), SHAPE),
        (compact(trades(trade(tid=-1))), NUMBER),
        (compact(trades(trade(tid=2**63))), NUMBER),
        (compact(trades(trade(hash='a"b'))), SHAPE),
        (compact(trades(trade(users=[]))), SHAPE),
        (compact(trades(trade(liquidation={}))), SHAPE),
        (compact(bbo(level(), level())).replace(b'"bbo":[', b'"levels":['), SHAPE),
    ],
)  # fmt: skip
def test_frame_that_is_not_the_plain_shape_is_declined(frame, code):
    assert scan(frame)[0] == code
    assert agree(frame) == code


@pytest.mark.kernel
def test_frame_without_room_is_declined_and_writes_nothing_beyond():
    frame = compact(book([level()] * 3, [level()] * 3))
    for room in range(8):
        rows = np.zeros(room + 4, EVENT)
        rows["price"][room:] = 77
        assert scan_market(frame, STATE, rows[:room], 0, NOW) == FULL
        assert rows["price"][room:].tolist() == [77] * 4
    assert scan(frame, 8)[0] == 8
    two = compact(trades(trade(), trade()))
    assert scan(two, 1)[0] == FULL
    assert scan(two, 2)[0] == 2


@pytest.mark.kernel
def test_rows_before_the_first_stay():
    rows = np.zeros(12, EVENT)
    rows["price"][:3] = 77
    assert scan_market(compact(bbo(level(), level())), STATE, rows, 3, NOW) == 2
    assert rows["price"][:3].tolist() == [77] * 3
    assert rows["price"][3] == 1_050_550


@pytest.mark.kernel
@pytest.mark.parametrize(
    "frame",
    [
        compact(book([level(n=5)], [level("105056.0", "2")])),
        compact(bbo(level(), None)),
        compact(trades(trade(), trade(side="B"))),
    ],
)
def test_cut_frame_is_declined_without_a_read_past_its_end(frame):
    """Each cut, as it is and closed by a brace; un-jitted, a read past the end is an IndexError."""
    for end in range(len(frame)):
        for tail in (b"", b"}", b"}}", b"]}", b'"}'):
            cut = frame[:end] + tail
            code = agree(cut)
            # A list of trades may be cut behind a trade and closed well; nothing else may pass.
            assert code <= 0 or cut == frame or (code == 1 and cut.endswith(b"]}]}")), cut


@pytest.mark.kernel
def test_longest_known_coin_is_read_and_longer_ones_left_to_the_slow_way():
    assert agree(compact(book([level("1.5")], [], coin="FOURTEENLETTER"))) == 3
    frame = compact(book([level("1.5")], [], coin="FIFTEENLETTERSS"))
    assert agree(frame) == SYMBOL
    FAST.clear()
    assert CODEC.decode("market", frame, NOW, FAST) == 3


@pytest.mark.kernel
def test_hash_table_finds_each_of_many_coins():
    names = [f"C{k}" for k in range(300)]
    meta = json.dumps({"universe": [{"name": name, "szDecimals": 2} for name in names]}).encode()
    state = make_scan_state(Instruments(Hyperliquid().parse_instruments(meta, [])), "hyperliquid")
    rows = np.zeros(4, EVENT)
    for k in range(0, 300, 7):
        frame = compact(bbo(level("1.5", "2"), None, coin=names[k]))
        assert scan_market(frame, state, rows, 0, NOW) == 2
        assert rows[0]["instrument"] == k
    assert scan_market(compact(bbo(None, None, coin="C300")), state, rows, 0, NOW) == SYMBOL


@pytest.mark.parametrize("n", [-1, -(10**30)])
@pytest.mark.parametrize("kind", ["l2Book", "bbo"])
def test_fewer_than_no_orders_at_a_level_are_refused(kind, n):
    for sides in ([level(n=n)], [level("105056")]), ([level()], [level(), level("105056", n=n)]):
        frame = compact(book(*sides))
        if kind == "bbo":
            data = {"coin": "BTC", "time": TIME, "bbo": [side[-1] for side in sides]}
            frame = compact({"channel": "bbo", "data": data})
        SLOW.clear()
        assert CODEC.decode_slow("market", frame, NOW, SLOW) == -1
        assert SLOW.event_count == 0
        assert [control.kind for control in SLOW.controls] == ["error"]
        assert CODEC.decode("market", frame, NOW, SLOW) == -1


NUMBERS = st.one_of(
    st.decimals(0, 10**8, places=6, allow_nan=False).map(lambda d: format(d, "f")),
    st.integers(0, 10**13).map(str),
    st.sampled_from(["0", "0.0", "00012.50", "1.", "0.00000", "999999999999.99", "1.10000000000"]),
)
LEVELS = st.lists(
    st.tuples(NUMBERS, NUMBERS, st.integers(0, 999), st.permutations(["px", "sz", "n"])),
    max_size=6,
).map(lambda rows: [{key: {"px": px, "sz": sz, "n": n}[key] for key in keys}
                    for px, sz, n, keys in rows])  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(bids=LEVELS, asks=LEVELS, coin=st.sampled_from(["BTC", "ETH", "kPEPE", "NONE"]),
       time=st.integers(0, 10**13), keys=st.permutations(["time", "levels"]))  # fmt: skip
def test_random_book_is_read_as_the_slow_way_reads_it(bids, asks, coin, time, keys):
    data = {"time": time, "levels": [bids, asks]}
    frame = compact(
        {"channel": "l2Book", "data": {"coin": coin} | {key: data[key] for key in keys}}
    )
    code = agree(frame)
    FAST.clear()
    SLOW.clear()
    returned = CODEC.decode("market", frame, NOW, FAST)
    assert returned == CODEC.decode_slow("market", frame, NOW, SLOW)
    if code < 0 < returned:
        # Up to 12 digits and the scale's own fit a word; beyond, declining is right.
        plain = all(len(one[key]) < 13 for one in bids + asks for key in ("px", "sz"))
        assert not plain or "." in str(bids + asks), "declined a plain book"


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(NUMBERS, NUMBERS, st.sampled_from(["A", "B"]),
                               st.integers(0, 2**60), st.permutations(sorted(trade())[1:])),
                     min_size=1, max_size=4))  # fmt: skip
def test_random_trades_are_read_as_the_slow_way_reads_them(rows):
    made = []
    for px, sz, side, tid, keys in rows:
        fields = trade(px=px, sz=sz, side=side, tid=tid)
        made.append({"coin": "ETH"} | {key: fields[key] for key in keys})
    agree(compact(trades(*made)))


PIECES = [b'"', b"}", b"]", b",", b"{", b"0", b".", b"null", b'"px":"1"', b"9" * 18]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_edited_recording_never_reads_differently(data):
    frames = RECORDED[:3] + [frame for frame in RECORDED if b'"trades"' in frame][1:3]
    frame = bytearray(data.draw(st.sampled_from(frames))[:1200] + b"}")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame)))
        piece = data.draw(st.binary(max_size=3) | st.sampled_from(PIECES))
        frame[at : at + data.draw(st.integers(0, 4))] = piece
    agree(bytes(frame))


RECORDED = [frame for _, frame in read_recording(GOLDEN / "btcusd_20250126.gz")]


def test_recording_is_scanned_whole_and_equal():
    assert len(RECORDED) == 55
    messages = [json.loads(frame) for frame in RECORDED]
    books = [one for one in messages if one["channel"] == "l2Book"]
    prints = sum(len(one["data"]) for one in messages if one["channel"] == "trades")
    assert (len(books), prints) == (46, 64)
    assert sum(agree(frame) for frame in RECORDED) == 46 * 42 + 64
    rng = random.Random(1)
    for frame in RECORDED:
        turned = json.loads(frame)
        if turned["channel"] == "l2Book":
            data = turned["data"]
            for side in data["levels"]:
                for k, one in enumerate(side):
                    side[k] = {key: one[key] for key in rng.sample(sorted(one), 3)}
            assert agree(compact(turned)) == 42
