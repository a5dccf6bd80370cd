"""Hyperliquid's compiled stages against the codec: the same rows, the same bytes, or a refusal."""

import gzip
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hyperliquid.utils.signing import recover_agent_or_user_from_l1_action
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.errors import VenueError
from alephtx.core.instruments import Instruments
from alephtx.core.nonce import nonce_address
from alephtx.core.ports import ORDER_NONCE, Batch, What
from alephtx.core.records import INTENT
from alephtx.core.secrets import Secret
from alephtx.signers.evm import EvmSigner, keccak256, l1_digest
from alephtx.venues.hyperliquid import Hyperliquid
from alephtx.venues.hyperliquid_entry import ROWS_MAX
from alephtx.venues.hyperliquid_orders import costs
from tests.venues.entry import Desk, Scanner, agree

GOLDEN = Path(__file__).parent.parent / "golden" / "hyperliquid"
META = (GOLDEN / "instruments.json").read_bytes()
KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
ADDRESS = "0x14791697260E4c9A71f18484C9f997B308e59325"
SIGNER = EvmSigner(Secret(KEY))
SYMBOLS = ["BTC", "ETH", "DOGE"]
NOW = 1_760_000_000_000_000_000
MS = 1_000_000
_few = settings(max_examples=200, deadline=None)


def codec(**options):
    venue = Hyperliquid()
    table = Instruments(venue.parse_instruments(META, options.pop("symbols", SYMBOLS)))
    return venue.bind(table, options.pop("signer", SIGNER), 1, **options)


CODEC = codec()
DESK, SCANNER = Desk(CODEC), Scanner(CODEC)

ROW = {
    "order_id": (5 << 54) + 77, "op": words.PLACE, "type": words.LIMIT, "tif": words.GTC,
    "side": words.BUY, "price": 1_050_555, "qty": 123,
}  # fmt: skip


def rows_of(*changes):
    rows = np.zeros(len(changes), INTENT)
    for k, fields in enumerate(changes):
        for name, value in {**ROW, **fields}.items():
            rows[k][name] = value
    return rows


def signature_of(payload, *, mainnet=False):
    return SIGNER.sign_digest(l1_digest(keccak256(payload), mainnet))


# -- market --------------------------------------------------------------------------------------


def recorded():
    with gzip.open(GOLDEN / "btcusd_20250126.gz") as lines:
        return [line.rstrip(b"\n").partition(b" ")[2] for line in lines]


@pytest.mark.kernel
@pytest.mark.smoke
def test_market_stage_gives_the_rows_of_decode():
    """The direct path and the feed build the same book from the same bytes."""
    frames = recorded()
    taken, declined = agree(SCANNER, CODEC, frames, NOW)
    assert taken == len(frames)
    golden = msgspec.json.decode((GOLDEN / "conformance.json").read_bytes())["frames"]
    texts = [case["frame"] for case in golden if case.get("role", "market") == "market"]
    frames = [t.encode() if isinstance(t, str) else msgspec.json.encode(t) for t in texts]
    taken, declined = agree(SCANNER, CODEC, frames, NOW)
    assert min(taken, declined) > 2


@pytest.mark.kernel
@pytest.mark.parametrize(
    "frame",
    [b"", b"}", b"{}", b'{"channel":"pong"}', b"Websocket connection established.",
     b'{"channel":"error","data":"Invalid subscription"}', b'{"channel":"l2Book","data":{}}'],
)  # fmt: skip
def test_market_stage_declines_what_python_is_to_read(frame):
    assert SCANNER(frame, NOW) < 0


# -- orders --------------------------------------------------------------------------------------


def compared(rows, desk=DESK):
    """Assert that the stages write what encode writes, or refuse; return the frame or the code."""
    reference, before = codec(), rows.copy()
    payload = desk.written(rows, NOW)
    if isinstance(payload, int):
        assert desk.sealed(bytes(65)) < 0, "nothing may leave after a refusal"
        assert (rows["nonce"] == before["nonce"]).all()
        return payload
    frame = desk.sealed(signature_of(payload))
    nonce = int(rows["nonce"][0])
    (request,) = reference.encode(before, NOW, nonce)
    assert frame == request.body
    assert CODEC.sent(rows) == [msgspec.structs.replace(request, body=b"")]
    assert desk.stages.costs[int(rows["op"][0])] == request.weights
    return frame


WORDS = st.one_of(st.integers(1, 10**9), st.integers(1, 2**62), st.integers(-2, 1))
IDS = st.one_of(st.integers(1, 2**63 - 1), st.integers(1, 9), st.sampled_from([0, -7]))
ORDERS = st.fixed_dictionaries(
    {
        "type": st.sampled_from([words.LIMIT] * 5 + [words.MARKET, words.STOP, 0]),
        "tif": st.sampled_from([words.GTC] * 3 + [words.IOC, words.IOC, words.FOK, words.GTD, 0]),
        "side": st.sampled_from([words.BUY, words.SELL, words.BUY, words.SELL, 0]),
        "flags": st.integers(0, 7),
        "price": WORDS,
        "qty": WORDS,
        "order_id": IDS,
        "target_order_id": IDS,
    }
)


def sayable(rows):
    try:
        return len(codec().encode(rows, NOW, 1)) == 1
    except VenueError:
        return False


@pytest.mark.kernel
@pytest.mark.smoke
@_few
@given(
    st.sampled_from([words.PLACE] * 3 + [words.CANCEL, words.AMEND, words.CANCEL_ALL, 0]),
    st.integers(0, 3),
    st.lists(ORDERS, min_size=1, max_size=3),
)
def test_order_stages_write_the_bytes_of_encode_or_refuse(op, instrument, changes):
    """One other byte is another order, or a signature of an address that nobody knows."""
    rows = rows_of(*(fields | {"op": op, "instrument": instrument} for fields in changes))
    expected = sayable(rows.copy())
    assert isinstance(compared(rows), bytes) == expected, "what can be said is said here"


@pytest.mark.kernel
@pytest.mark.parametrize("op", [words.PLACE, words.CANCEL])
@pytest.mark.parametrize("count", [1, 2, 15, 16])
def test_orders_of_one_action_up_to_the_most(op, count):
    """Sixteen are a longer list in msgpack than fifteen; the longest numbers must fit."""
    last = 2**63 - 1
    changes = [
        {"op": op, "order_id": last - k, "target_order_id": last - k, "price": last - k,
         "qty": last - 10 * k, "flags": words.REDUCE_ONLY, "side": words.SELL, "instrument": 2}
        for k in range(count)
    ]  # fmt: skip
    assert isinstance(compared(rows_of(*changes)), bytes)


@pytest.mark.kernel
def test_runs_that_are_no_request_are_refused():
    assert DESK.stages.rows_max == ROWS_MAX
    for rows in (
        rows_of(), rows_of(*[{}] * (ROWS_MAX + 1)), rows_of({}, {"instrument": 1}),
        rows_of({}, {"op": words.CANCEL, "target_order_id": 5}), rows_of({"instrument": 2**32 - 1}),
        rows_of({}, {"price": 0}),
    ):  # fmt: skip
        payload = DESK.written(rows, NOW)
        assert isinstance(payload, int)
        assert payload < 0
        assert (rows["nonce"] == 0).all()
    assert DESK.written(rows_of({}), 0) < 0


@pytest.mark.kernel
def test_seal_takes_one_signature_for_one_request():
    """A frame that is sealed twice would be an order that leaves twice."""
    for wrong in (b"", bytes(64), bytes(66)):
        assert isinstance(DESK.written(rows_of({}), NOW), bytes)
        assert DESK.sealed(wrong) < 0
        assert DESK.sealed(bytes(65)) < 0, "the refused one is gone"
    payload = DESK.written(rows_of({}), NOW)
    assert isinstance(DESK.sealed(signature_of(payload)), bytes)
    assert DESK.sealed(signature_of(payload)) < 0


@pytest.mark.kernel
def test_leading_zeros_of_a_signature_stay():
    """The vendor's SDK drops them, the venue takes both; the bytes must be the codec's."""
    DESK.written(rows_of({}), NOW)
    frame = msgspec.json.decode(DESK.sealed(bytes(31) + b"\x07" + bytes(31) + b"\x08" + b"\x1b"))
    assert frame["request"]["payload"]["signature"] == {
        "r": f"0x{7:064x}", "s": f"0x{8:064x}", "v": 27,
    }  # fmt: skip


@pytest.mark.parametrize("mainnet", [True, False])
def test_order_is_ours_by_the_vendors_sdk(mainnet):
    payload = DESK.written(rows_of({}), NOW)
    frame = DESK.sealed(signature_of(payload, mainnet=mainnet))
    said = msgspec.json.decode(frame)["request"]["payload"]
    assert (
        recover_agent_or_user_from_l1_action(
            said["action"], said["signature"], None, said["nonce"], None, mainnet
        )
        == ADDRESS
    )


def nonce_of(request):
    said = msgspec.json.decode(request.body)
    return said.get("nonce") or said["request"]["payload"]["nonce"]


def test_loop_and_gateway_never_sign_with_the_same_nonce():
    """The venue refuses the second of two, or takes the killer's for the engine's."""
    bound = codec()
    early = nonce_of(bound.encode(rows_of({}), NOW, NOW // MS + 5)[0])
    desk = Desk(bound)
    assert bound.order_stages() is desk.stages, "one account, one word"
    taken = [early]
    for _ in range(3):
        rows = rows_of({})
        desk.written(rows, NOW)
        taken.append(int(rows["nonce"][0]))
        taken.append(nonce_of(bound.encode(rows_of({}), NOW, NOW // MS)[0]))
    taken.append(nonce_of(bound.request(What.CANCEL_OURS, NOW, instrument=0, order_ids=[5])[0]))
    taken.append(nonce_of(bound.encode(rows_of({}, {"instrument": 1}), NOW, NOW // MS)[1]))
    assert taken == sorted(set(taken))
    assert nonce_address(desk.stages) == desk.words[ORDER_NONCE:].ctypes.data
    assert desk.words[ORDER_NONCE] == taken[-1]


def test_answers_to_sent_orders_are_understood():
    rows = rows_of({"tif": words.IOC}, {"order_id": 9})
    DESK.written(rows, NOW)
    (request,) = CODEC.sent(rows)
    said = [{"error": "Order has invalid price."}, {"resting": {"oid": 7}}]
    answer = {"status": "ok", "response": {"type": "order", "data": {"statuses": said}}}
    body = {"id": int(request.key), "response": {"type": "action", "payload": answer}}
    out = Batch()
    CODEC.decode("trade", msgspec.json.encode({"channel": "post", "data": body}), NOW, out)
    assert [int(kind) for kind in out.updates["kind"][:2]] == [words.REJECT, words.ACK]
    assert [c.key for c in out.controls] == [request.key]


def test_stages_are_none_without_a_signer_or_a_trade_link():
    assert codec(signer=None).order_stages() is None
    bound = codec()
    bound.spec = msgspec.structs.replace(bound.spec, transport="http")
    assert bound.order_stages() is None
    assert DESK.stages.costs == {words.PLACE: costs(1), words.CANCEL: costs(1)}
