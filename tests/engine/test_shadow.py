"""Shadow accounts: orders are encoded and signed as real ones, stamped, and end unsent."""

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.clock import ManualClock
from alephtx.core.records import INTENT
from alephtx.engine.shadow import ShadowGateway
from tests.execution.toy import ToyCodec, oid


class Shadow:
    def __init__(self, room=100):
        self.rows, self.stamps, self.room = [], [], room
        self.codec = ToyCodec("http")
        self.gateway = ShadowGateway(
            4, self.codec, ManualClock(), self._push,
            on_sent=lambda op, order_id, ns: self.stamps.append((op, order_id, ns)),
        )  # fmt: skip

    def _push(self, row):
        if len(self.rows) >= self.room:
            return False
        self.rows.append(row[0].copy())
        return True

    def submit(self, *ops, price=1):
        intents = np.zeros(len(ops), INTENT)
        intents["op"], intents["price"] = ops, price
        intents["order_id"] = intents["target_order_id"] = oid(1)
        self.gateway.submit(intents)


async def test_account_is_ready_at_once_and_has_nothing_to_agree_on():
    shadow = Shadow()
    await shadow.gateway.start()
    assert shadow.gateway.ready.is_set()
    assert [row["kind"] for row in shadow.rows] == [words.RESYNC_BEGIN, words.RESYNC_END]
    await shadow.gateway.synchronise()
    await shadow.gateway.refresh()
    shadow.gateway.fetch_fills_soon(0)
    await shadow.gateway.close()
    assert (shadow.gateway.balances, shadow.gateway.holdings) == ([], [])


def test_order_is_encoded_stamped_and_ends_expired():
    shadow = Shadow()
    shadow.submit(words.PLACE)
    assert [(row["kind"], row["reason"]) for row in shadow.rows] == [
        (words.SENT, 0), (words.EXPIRE, words.REASON_SHADOW),
    ]  # fmt: skip
    assert all(row["account"] == 4 for row in shadow.rows)
    assert [told[:2] for told in shadow.stamps] == [(words.PLACE, oid(1))]
    assert shadow.gateway.encoded == 1


def test_cancel_is_encoded_and_changes_nothing():
    shadow = Shadow()
    shadow.submit(words.CANCEL)
    assert shadow.rows == []
    assert [told[0] for told in shadow.stamps] == [words.CANCEL], "its way is measured all the same"
    assert shadow.gateway.encoded == 1


def test_order_the_venue_has_no_word_for_still_ends():
    shadow = Shadow()
    shadow.codec.unspeakable = {1}
    shadow.submit(words.PLACE)
    assert [row["kind"] for row in shadow.rows] == [words.SENT, words.EXPIRE]
    assert shadow.gateway.encoded == 0


def test_full_ring_is_an_error_not_a_silent_loss():
    shadow = Shadow(room=1)
    with pytest.raises(AssertionError, match="ring is full"):
        shadow.submit(words.PLACE)
