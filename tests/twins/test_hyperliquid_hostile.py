"""Whatever is sent to the Hyperliquid twin, it answers in the venue's words and goes on."""

import asyncio
import gzip
import io
import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx.core.errors import AlephError
from alephtx.twins.hyperliquid import make_hyperliquid
from alephtx.twins.replay import Replay
from tests.twins.clients import serving
from tests.twins.hyperliquid_clients import (
    ME,
    VENUE,
    book_frame,
    info,
    order,
    orders,
    place,
    post,
    signed,
    socket,
    trade_frame,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
QUERIES = sorted(make_hyperliquid().desk.queries)
FIELDS = (
    "user",
    "coin",
    "oid",
    "startTime",
    "endTime",
    "req",
    "dex",
    "nSigFigs",
    "aggregateByTime",
)
CHANNELS = (
    "l2Book", "bbo", "trades", "candle", "allMids", "activeAssetCtx", "orderUpdates",
    "userEvents", "userFills", "userFundings", "clearinghouseState", "webData2", "",
)  # fmt: skip

BODIES = [
    b"", b"{", b"null", b"[]", b"1", b'"x"', b"\xff\xfe\x00", b"{}", b'{"type":null}',
    b'{"type":[]}', b'{"type":{}}', b'{"type":"meta","dex":[]}', b'{"type":"nothing"}',
    b'{"type":"l2Book"}', b'{"type":"l2Book","coin":"NOPE"}', b'{"type":"l2Book","coin":[1]}',
    b'{"type":"userFills","user":"0x12"}', b'{"type":"userFills","user":7}',
    b'{"type":"orderStatus","user":"0x' + b"1" * 40 + b'","oid":true}',
    b'{"type":"orderStatus","user":"0x' + b"1" * 40 + b'","oid":[]}',
    b'{"type":"orderStatus","user":"0x' + b"1" * 40 + b'","oid":1e999}',
    b'{"type":"candleSnapshot","req":{"coin":"BTC","interval":[]}}',
    b'{"type":"fundingHistory","coin":"BTC","startTime":-1}',
    b'{"type":"fundingHistory","coin":"BTC","startTime":' + b"9" * 400 + b"}",
    b"[" * 100_000, b'{"a":' * 50_000, b'{"action":1,"nonce":1,"signature":1}',
]  # fmt: skip


@pytest.fixture
def quiet(capfd):
    """Nothing reached the log: a traceback there is a bug of the twin."""
    yield
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "request_failed" not in said.out + said.err


async def well(served):
    """The twin has not failed inside and still trades."""
    served.twins[VENUE].weights.windows = ()  # the fuzzing above used up the minute
    stats = await served.ask(VENUE, "stats")
    assert "internal_errors" not in stats["counts"]
    (status,) = await place(served, order())
    assert "resting" in status


async def test_garbage_by_http_is_refused_with_a_text_and_no_traceback(quiet):
    async with serving(VENUE) as served:
        for path in ("/info", "/exchange"):
            for body in BODIES:
                status, text = await post(served, path, body)
                assert status in (400, 422), (path, body[:60])
                assert text.startswith(("Failed to", "Aggregated")), text
        assert (await post(served, "/nothing", b"{}"))[0] == 404
        async with served.session.get(served.url(VENUE, "/info")) as answer:
            assert answer.status == 405
        await well(served)


async def test_body_beyond_the_limit_is_refused_with_413(quiet):
    async with serving(VENUE) as served:
        body = io.BytesIO(b" " * (2 << 20))
        async with served.session.post(served.url(VENUE, "/exchange"), data=body) as answer:
            assert answer.status == 413
        await well(served)


async def test_any_fields_of_any_query_are_answered_or_refused_as_unreadable(quiet):
    desk = make_hyperliquid().desk

    @given(st.sampled_from(QUERIES), st.dictionaries(st.sampled_from(FIELDS), JSON), st.booleans())
    @settings(max_examples=120, deadline=None)
    def ask(kind, fields, known):
        request = {"type": kind, **fields} | ({"user": ME, "coin": "BTC"} if known else {})
        try:
            answer = desk.answer(desk.read(json.dumps(request).encode()))
        except Exception as error:
            assert type(error).__name__ == "BadRequest", request
            return
        json.loads(msgspec.json.encode(answer))

    ask()


@given(JSON, st.sampled_from(["action", "nonce", "signature", "vaultAddress", "expiresAfter"]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_field_of_an_action_replaced_is_refused_and_places_nothing(value, field):
    twin = TWIN
    body = BODY | {field: value}
    try:
        answer = twin.act("fuzz", json.dumps(body).encode())
    except Exception as error:
        assert type(error).__name__ == "BadRequest", body
        return
    if field in ("vaultAddress", "expiresAfter") and value is None:
        assert answer["status"] == "ok" or "nonce" in answer["response"]
        return
    assert answer["status"] == "err", body
    assert len(twin.exchange.open_orders) <= 1


@given(st.dictionaries(st.sampled_from(["a", "b", "p", "s", "r", "t", "c"]), JSON, min_size=1))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_order_wire_is_read_to_the_end_or_refused(changes):
    wire = order() | changes
    body = {"action": orders(wire), "nonce": 1, "signature": BODY["signature"]}
    try:
        answer = TWIN.act("fuzz", json.dumps(body).encode())
    except Exception as error:
        assert type(error).__name__ == "BadRequest", wire
        return
    assert answer["status"] == "err"  # whoever it recovers to, it is not an account


TWIN = make_hyperliquid(weight_per_minute=1 << 30)
BODY = signed(orders(order()))

FRAMES = [
    "", "{", "null", "[]", "1", '"x"', "\x00", "{}", '{"method":null}', '{"method":"dance"}',
    '{"method":"subscribe"}', '{"method":"subscribe","subscription":[]}',
    '{"method":"subscribe","subscription":{}}', '{"method":"subscribe","subscription":{"type":[]}}',
    '{"method":"subscribe","subscription":{"type":"l2Book","coin":"NOPE"}}',
    '{"method":"subscribe","subscription":{"type":"l2Book","coin":{}}}',
    '{"method":"subscribe","subscription":{"type":"l2Book","coin":"BTC","nSigFigs":5}}',
    '{"method":"subscribe","subscription":{"type":"candle","coin":"BTC","interval":[]}}',
    '{"method":"subscribe","subscription":{"type":"userFills","user":"0x1"}}',
    '{"method":"subscribe","subscription":{"type":"x","big":' + "9" * 300 + "}}",
    '{"method":"unsubscribe","subscription":{"type":"l2Book","coin":"BTC"}}',
    '{"method":"post"}', '{"method":"post","id":1}', '{"method":"post","id":"x","request":{}}',
    "[" * 50_000, '{"method":' * 20_000, "😀", "x" * 100_000,
]  # fmt: skip


async def test_garbage_by_socket_is_answered_on_the_error_channel(quiet):
    async with serving(VENUE) as served, socket(served) as ws:
        for text in FRAMES:
            await ws.send(text)
            answer = await ws.next()
            assert answer["channel"] == "error", text[:80]
            assert len(answer["data"]) < 2_000
        await ws.send({"method": "post", "id": 3, "request": {"type": "x", "payload": {}}})
        assert (await ws.next())["data"]["response"]["type"] == "error"
        await well(served)


async def test_any_subscription_is_confirmed_or_refused_on_its_own_link(quiet):
    class Link:
        """A client that only keeps what it is sent."""

        def __init__(self):
            self.sent, self.subscriptions, self.carries = [], set(), {"market"}

        def send(self, frame, role=""):
            self.sent.append(json.loads(frame))

    twin = make_hyperliquid()
    twin.messages.windows = ()
    fields = st.dictionaries(st.sampled_from(["coin", "user", "interval", "nSigFigs", "x"]), JSON)

    @given(st.sampled_from(CHANNELS), fields, st.sampled_from(["subscribe", "unsubscribe", "post"]))
    @settings(max_examples=120, deadline=None)
    def send(kind, rest, method):
        link = Link()
        message = {"method": method, "subscription": {"type": kind, **rest}}
        twin.on_text(link, json.dumps(message))
        assert link.sent[0]["channel"] in ("error", "subscriptionResponse")
        twin.on_gone(link)
        assert not any(link in links for links in twin.market_feed.topics.values())

    send()


async def test_more_users_channels_or_messages_than_the_venue_allows_are_refused():
    async with serving(VENUE) as served, socket(served) as ws:
        for number in range(10):
            await ws.subscribe(type="userEvents", user=f"0x{number:040x}")
        await ws.send({"method": "subscribe", "subscription": {"type": "userEvents", "user": ME}})
        assert (await ws.until("error")) == "Cannot track more than 10 total users."
        for _ in range(1_990):
            await ws.send('{"method":"ping"}')
        assert (await ws.until("error")).startswith("Too many messages")


async def test_client_that_leaves_in_the_middle_is_forgotten(quiet):
    async with serving(VENUE) as served:
        async with socket(served) as ws:
            await ws.subscribe(type="userFills", user=ME)
            ws.ws._response.connection.transport.abort()
        twin = served.twins[VENUE]
        for _ in range(100):
            if not twin.clients:
                break
            await asyncio.sleep(0.02)
        assert not any(twin.market_feed.topics.values())
        await well(served)


RECORDED_WRONG = [
    b"1 {", b"1 []", b'1 {"channel":"l2Book"}', b'1 {"channel":"dance","data":1}',
    b"1 " + book_frame([("1", "x")], []), b"1 " + book_frame([("1.25", "1")], []),
    b"1 " + book_frame([("1", "NaN")], []), b"1 " + trade_frame("1e5", "1", "B"),
    b"1 " + trade_frame("1", "1", "B")[:-2], b"x " + trade_frame("1", "1", "B"), b"", b"7",
]  # fmt: skip


@pytest.mark.parametrize("line", RECORDED_WRONG, ids=range(len(RECORDED_WRONG)))
async def test_spoiled_recording_is_named_before_or_while_it_is_played(tmp_path, line):
    good = b"0 " + book_frame([("105000", "1")], [("105001", "1")])
    path = tmp_path / "spoiled.gz"
    path.write_bytes(gzip.compress(b"\n".join([good, line]) + b"\n"))

    async def play():
        twin = make_hyperliquid(recordings={"BTC": path})
        replay = Replay(twin.track(), twin.clock, start_at_ns=0, speed=0, loop=False)
        replay.prime()
        await replay.run()

    with pytest.raises(AlephError):
        await play()


async def test_book_with_an_empty_side_has_no_mid_and_refuses_takers():
    async with serving(VENUE) as served:
        served.twins[VENUE].market_feed.take("BTC", book_frame([], [("105056", "1")]), live=True)
        assert await info(served, "allMids") == {}
        (status,) = await place(served, order("100000", buy=False, tif="Ioc"))
        assert "could not immediately match" in status["error"]
        (context,) = (await info(served, "metaAndAssetCtxs"))[1]
        assert context["midPx"] is None
