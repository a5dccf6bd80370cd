"""Answers to Hyperliquid's orders: which order each status is about, and what stays unproven."""

import msgspec
import pytest

from alephtx.core import words
from alephtx.core.errors import Throttled, TransportError, VenueError
from alephtx.core.ports import Batch
from alephtx.testing.golden import intent_rows, rows_as_dicts
from alephtx.venues.hyperliquid_replies import REMEMBERED_MAX
from tests.venues.hyperliquid_golden import NONCE, NOW, ORDER_ID, PLACE, OverHttp, codec

UNREADABLE = [
    b"{}", b'{"status":"ok"}', b'{"status":"ok","response":{"data":{}}}',
    b'{"status":"ok","response":{"data":{"statuses":[]}}}', b'"<html>"', b"null",
    b'{"status":"ok","response":{"data":{"statuses":[{}]}}}',
    b'{"status":"ok","response":{"data":{"statuses":["odd"]}}}',
    b'{"status":"ok","response":{"data":{"statuses":[{"resting":{"oid":1}},{"error":"x"}]}}}',
    b'{"status":"odd","response":1}',
]  # fmt: skip


def test_answer_to_an_order_that_cannot_be_read_leaves_it_unproven():
    bound = codec(venue=OverHttp())
    (request,) = bound.encode(intent_rows([PLACE]), NOW, NONCE)
    for body in (b"", b"<html>", *UNREADABLE):
        out = Batch()
        with pytest.raises(TransportError):
            bound.reply(request, 200, {}, body, out)
        assert (out.update_count, out.controls) == (0, [])


# -- posts ---------------------------------------------------------------------------------------


def posted(bound, key, payload, kind="action"):
    """Return what the codec makes of an answer on the trade link."""
    out = Batch()
    body = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    frame = b'{"channel":"post","data":{"id":%s,"response":{"type":"%s","payload":%s}}}'
    assert bound.decode("trade", frame % (key.encode(), kind.encode(), body), NOW, out) >= 0
    return out


def statuses(*said):
    return {"status": "ok", "response": {"type": "order", "data": {"statuses": said}}}


@pytest.mark.parametrize("payload", UNREADABLE)
def test_post_answer_that_cannot_be_read_leaves_the_order_unproven(payload):
    """The gateway then asks for it; a refusal here would forget an order that may rest."""
    bound = codec()
    (request,) = bound.encode(intent_rows([PLACE]), NOW, NONCE)
    out = posted(bound, request.key, payload)
    assert out.update_count == 0
    assert [(c.kind, type(c.value), c.key) for c in out.controls] == [
        ("error", TransportError, request.key)
    ]


def test_post_answer_names_each_order_of_its_action():
    bound = codec()
    rows = intent_rows([PLACE | {"order_id": ORDER_ID + k} for k in range(3)])
    (request,) = bound.encode(rows, NOW, NONCE)
    cross = {"error": "Post only order would have immediately matched, bbo was 1@2. asset=0"}
    out = posted(bound, request.key, statuses({"resting": {"oid": 7}}, cross, "waitingForFill"))
    rows = rows_as_dicts(out.updates, out.update_count)
    assert [(row["order_id"] - ORDER_ID, row["kind"], row.get("reason", 0)) for row in rows] == [
        (0, words.ACK, 0), (1, words.REJECT, words.REASON_WOULD_CROSS), (2, words.ACK, 0),
    ]  # fmt: skip
    assert [(c.kind, c.key) for c in out.controls] == [("answer", request.key)]


def test_post_answers_come_in_any_order_and_are_read_once():
    """An answer that is played twice must not fill another order's place."""
    bound = codec()
    rows = intent_rows([PLACE, PLACE | {"instrument": 1, "order_id": ORDER_ID + 1}])
    first, second = bound.encode(rows, NOW, NONCE)
    assert first.key != second.key
    for request, order_id in ((second, ORDER_ID + 1), (first, ORDER_ID)):
        out = posted(bound, request.key, statuses({"resting": {"oid": 7}}))
        (row,) = rows_as_dicts(out.updates, out.update_count)
        assert (row["order_id"], row.get("instrument", 0)) == (order_id, request.instrument)
    again = posted(bound, first.key, statuses({"resting": {"oid": 7}}))
    assert (again.update_count, again.controls[0].kind) == (0, "error")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("503: Service unavailable", TransportError),
        ("500", TransportError),
        ("429: null", Throttled),
        ("422: Failed to deserialize", VenueError),
        ("Too many cumulative requests sent (2 > 1)", Throttled),
    ],
)
def test_post_that_failed_says_whether_it_may_have_been_done(text, kind):
    bound = codec()
    (request,) = bound.encode(intent_rows([PLACE]), NOW, NONCE)
    out = posted(bound, request.key, text, "error")
    assert [(c.kind, type(c.value), c.key) for c in out.controls] == [("error", kind, request.key)]
    assert posted(bound, request.key, statuses("waitingForFill")).update_count == 0, "forgotten"


def test_sent_gives_the_requests_of_rows_that_left_by_themselves():
    """The loop wrote and sent them; their answers come to the codec all the same."""
    bound = codec()
    rows = intent_rows(
        [PLACE | {"order_id": ORDER_ID + k, "nonce": NONCE, "tif": words.IOC} for k in range(2)]
        + [{"op": words.CANCEL, "target_order_id": ORDER_ID, "instrument": 1, "nonce": NONCE + 1}]
    )
    told = bound.sent(rows)
    made = codec().encode(rows, NOW, NONCE)
    assert told == [msgspec.structs.replace(one, body=b"") for one in made]
    filled = {"filled": {"oid": 7, "totalSz": "0.00100", "avgPx": "1"}}
    out = posted(bound, told[0].key, statuses(filled, {"error": "no"}))
    kinds = [row["kind"] for row in rows_as_dicts(out.updates, out.update_count)]
    assert kinds == [words.ACK, words.EXPIRE, words.REJECT]
    out = posted(bound, told[1].key, statuses("success"))
    assert out.updates[0]["kind"] == words.CANCEL_ACK


def test_unanswered_posts_are_forgotten_in_the_end():
    bound = codec()
    row = intent_rows([PLACE | {"nonce": 5}])
    bound.sent(row)
    for nonce in range(6, 6 + REMEMBERED_MAX):
        row["nonce"] = nonce
        bound.sent(row)
    assert posted(bound, "5", statuses("waitingForFill")).update_count == 0
    assert posted(bound, "6", statuses("waitingForFill")).update_count == 1
