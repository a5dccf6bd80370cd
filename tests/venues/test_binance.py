"""The codec as a whole: links, both halves of the decoder, answers on the trade link."""

import msgspec
import pytest

from alephtx.core import words
from alephtx.core.errors import (
    ConfigError,
    InsufficientMargin,
    ProtocolError,
    TransportError,
    WouldCross,
)
from alephtx.core.identity import to_text
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Batch, JoinRule, What
from alephtx.venues.binance_orders import answer_key
from alephtx.venues.binance_usdm import BinanceUsdm
from tests.venues.binance_golden import (
    NOW,
    VENUES,
    codec,
    controls,
    encode,
    frames,
    instruments,
    updates,
)

OURS = (5 << 54) + 77


# -- links -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("market", "paths"),
    [
        ("spot", ["/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade/"
                  "ethusdt@depth@100ms/ethusdt@bookTicker/ethusdt@trade"]),
        ("usdm", ["/public/stream?streams=btcusdt@depth@0ms/btcusdt@bookTicker/btcusdt@trade/"
                  "ethusdt@depth@0ms/ethusdt@bookTicker/ethusdt@trade",
                  "/market/stream?streams=btcusdt@markPrice@1s/ethusdt@markPrice@1s"]),
    ],
)  # fmt: skip
def test_links_market_streams_by_traffic_class(market, paths):
    links = codec(market).links("market")
    assert [link.path for link in links] == paths
    assert len({link.name for link in links}) == len(links)


def test_links_private_and_trade():
    assert codec("usdm").links("private", "KEY")[0].path == "/private/ws?listenKey=KEY"
    assert codec("coinm").links("private", "KEY")[0].path == "/ws/KEY"
    assert codec("coinm").links("trade") == []
    spot = codec("spot").links("private")[0]
    assert (spot.path, spot.ping) == ("/ws-api/v3", b'{"id":"ping","method":"ping"}')
    with pytest.raises(ConfigError, match="listen key"):
        codec("usdm").links("private")
    with pytest.raises(ConfigError, match="role"):
        codec("usdm").links("other")


def test_links_long_list_travels_in_frames():
    """A URL of hundreds of streams would be refused; frames of a hundred are not."""
    base = instruments()["binance_usdm:BTC-USDT-PERP"]
    table = Instruments(
        msgspec.structs.replace(base, key=f"binance_usdm:X{k}", symbol=f"X{k}USDT")
        for k in range(250)
    )
    links = VENUES["usdm"].bind(table, None, 0).links("market")
    public = [link for link in links if link.path == "/public/stream"]
    asked = [s for link in public for f in link.frames for s in msgspec.json.decode(f)["params"]]
    assert len(asked) == len(set(asked)) == 750
    assert all(len(msgspec.json.decode(f)["params"]) <= 100 for link in links for f in link.frames)
    assert [len(link.frames) for link in public] == [6, 2]


def test_depth_speed_is_an_option():
    venue = BinanceUsdm(depth_speed="100ms")
    assert "btcusdt@depth@100ms/" in venue.bind(instruments(), None, 0).links("market")[0].path
    assert BinanceUsdm.dialect.depth_speed == "0ms"


def test_spec_names_join_rules_and_environments():
    assert VENUES["spot"].spec.join is JoinRule.SPOT
    assert VENUES["coinm"].spec.join is JoinRule.FUTURES
    for venue in VENUES.values():
        for place in venue.spec.endpoints.values():
            assert place.http.startswith("https://")
            assert place.market.startswith("wss://")
        used = {name for pair in venue.dialect.order_weights for name in pair[:1]}
        assert used <= {bucket.name for bucket in venue.spec.buckets}


# -- market frames ---------------------------------------------------------------------------


@pytest.mark.parametrize("market", VENUES)
def test_decode_market_takes_bytes_and_views_alike(market):
    bound, one, two = codec(market), Batch(), Batch()
    for frame in frames(market)[:50]:
        assert bound.decode("market", frame, 5, one) == bound.decode(
            "market", memoryview(bytearray(frame)), 5, two
        )
    assert one.event_count == two.event_count > 50
    assert one.events[: one.event_count].tolist() == two.events[: two.event_count].tolist()
    assert bound.counters == {"declined": 0, "not_understood": 0, "malformed": 0}


def test_decode_market_declined_frame_takes_the_slow_path():
    frame = frames("usdm")[0].replace(b'"data":{', b'"data":{ "new": [1, {"x": null}], ')
    bound, slow, fast = codec("usdm"), Batch(), Batch()
    assert bound.decode("market", frame, 5, slow) == codec("usdm").decode(
        "market", frames("usdm")[0], 5, fast
    )
    assert bound.counters["declined"] == 1
    assert slow.events[: slow.event_count].tolist() == fast.events[: fast.event_count].tolist()


@pytest.mark.parametrize(
    ("frame", "kinds"),
    [
        (b'{"result":null,"id":1}', ["subscribed"]),
        (b'{"error":{"code":2,"msg":"Invalid request"},"id":1}', ["error"]),
        (b'{"code":-1121,"msg":"Invalid symbol."}', ["error"]),
        (b'{"e":"serverShutdown","E":1}', ["reconnect"]),
        (b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}', ["reconnect"]),
    ],
)
def test_decode_market_notice_becomes_a_control(frame, kinds):
    out = Batch()
    assert codec("usdm").decode("market", frame, 5, out) == 0
    assert [control.kind for control in out.controls] == kinds


def test_decode_market_malformed_frame_keeps_the_batch():
    """A frame that fails half-way must not leave half a message behind."""
    bound, out = codec("usdm"), Batch()
    bound.decode("market", frames("usdm")[1], 5, out)
    before = out.event_count
    bad = (b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"pu":0,'
           b'"b":[["1","1"],["1","-1"]],"a":[]}')  # fmt: skip
    assert bound.decode("market", bad, 5, out) == -1
    assert out.event_count == before
    assert isinstance(controls(out, "error")[0], ProtocolError)
    assert bound.counters["malformed"] == 1


# -- the trade link --------------------------------------------------------------------------


def answer(market, key, **fields):
    out = Batch()
    frame = encode({"id": key, "status": 200, **fields})
    count = codec(market).decode("trade", frame, 5, out)
    assert count == out.update_count
    return out


LIMITS = [
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50, "count": 12},
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000,
     "count": 321},
]  # fmt: skip


@pytest.mark.smoke
def test_answer_to_place_is_an_ack_with_the_venues_id():
    key = answer_key(words.PLACE, OURS, 1, 0)
    result = {"symbol": "BTCUSDT", "orderId": 12569099453, "orderListId": -1,
              "clientOrderId": to_text(OURS), "transactTime": 1660801715639}  # fmt: skip
    out = answer("spot", key, result=result, rateLimits=LIMITS)
    (row,) = updates(out)
    assert (row["kind"], row["order_id"], row["venue_order_id"]) == (words.ACK, OURS, 12569099453)
    assert row["cum_qty"] == -1
    assert row["ts_event"] == 1660801715639 * 1_000_000
    assert [c.key for c in out.controls if c.kind == "answer"] == [key]
    assert controls(out, "limits") == [{"orders_10s": 12, "weight": 321}]


def test_answer_with_fills_takes_none_of_them():
    """FULL answers repeat what the private stream brings; a fill counts once."""
    result = {"symbol": "BTCUSDT", "orderId": 1, "clientOrderId": to_text(OURS), "status": "FILLED",
              "executedQty": "0.5",
              "fills": [{"price": "1", "qty": "0.5", "tradeId": 7}]}  # fmt: skip
    (row,) = updates(answer("spot", answer_key(words.PLACE, OURS, 1, 0), result=result))
    assert (row["kind"], row["status"], row["cum_qty"]) == (words.ACK, words.FILLED, 500_000)


def test_answer_to_cancel_is_a_cancel_ack_of_the_target():
    key = answer_key(words.CANCEL, OURS, 3, 0)
    result = {"symbol": "BTCUSDT", "origClientOrderId": to_text(OURS), "orderId": 5,
              "clientOrderId": "4d96324ff9d44481926157", "status": "CANCELED",
              "executedQty": "0.00000000", "price": "23416.1", "origQty": "0.00847000",
              "side": "SELL"}  # fmt: skip
    (row,) = updates(answer("spot", key, result=result))
    assert (row["kind"], row["order_id"], row["cum_qty"]) == (words.CANCEL_ACK, OURS, 0)


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (400, -2010, "Account has insufficient balance for requested action.", InsufficientMargin),
        (400, -5022, "Post only", WouldCross),
        (504, -1007, "Timeout", TransportError),
        (503, -1000, "Unknown error", TransportError),
    ],
)
def test_answer_refused_is_an_error_with_the_key_and_no_row(status, code, message, kind):
    """The gateway writes the row: only it knows what it sent."""
    key = answer_key(words.PLACE, OURS, 1, 0)
    out = answer("usdm", key, status=status, error={"code": code, "msg": message})
    (control,) = out.controls
    assert (control.kind, control.key, type(control.value)) == ("error", key, kind)
    assert updates(out) == []


def test_answer_without_key_of_ours_still_counts_as_an_answer():
    out = answer("spot", "ping", result={})
    assert [(c.kind, c.key) for c in out.controls] == [("answer", "ping")]


def test_spot_login_is_a_signed_frame_made_anew_each_time():
    bound = codec("spot")
    (first,) = bound.request(What.LOGIN, NOW)
    (second,) = bound.request(What.LOGIN, NOW + 10**9)
    frame = msgspec.json.decode(first.body)
    assert first.transport == "trade"
    assert frame["method"] == "userDataStream.subscribe.signature"
    assert {"apiKey", "timestamp", "signature", "recvWindow"} == set(frame["params"])
    assert first.body != second.body
    out = Batch()
    reply = {"id": first.key, "status": 200, "result": {"subscriptionId": 0}}
    assert bound.decode("private", encode(reply), 5, out) == 0
    assert [(c.kind, c.key) for c in out.controls] == [("subscribed", first.key)]


def test_venue_public_requests_need_no_table():
    for venue in VENUES.values():
        (info,) = venue.request(What.INSTRUMENTS, NOW)
        assert "exchangeInfo" in info.path
        (time,) = venue.request(What.TIME, NOW)
        assert time.path.endswith("/time")
        with pytest.raises(ConfigError, match="bound codec"):
            venue.request(What.ORDERS, NOW)
