"""Which orders of ours may be open, read off a journal from outside its engine.

For the killer: an order counts as open until its end is journaled, so an order too many costs a
cancel that finds nothing, and none is forgotten.
"""

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.records import INTENT, UPDATE
from alephtx.matrix import journal

ENDING = (words.CANCEL_ACK, words.EXPIRE, words.REJECT, words.NOT_FOUND)
OVER = (words.FILLED, words.CANCELED, words.REJECTED, words.EXPIRED)
PROOFS = (words.ACK, words.FILL, words.REPLACE_ACK, words.ORDER_STATE)
ENDED_KEPT_MAX = 65_536


class OpenOrder(msgspec.Struct):
    """An order without a journaled end. ts: when its intent was; proven: the venue has it.

    revived: it came although it was said to be refused; nothing that ends it is believed for good.
    """

    order_id: int
    account: int
    instrument: int
    ts: int
    proven: bool = False
    revived: bool = False


class OpenOrders:
    """A fold over journal records. epoch: of the engine's last start that was journaled."""

    def __init__(self) -> None:
        self.epoch = 0
        self._open: dict[int, OpenOrder] = {}
        self._ended: dict[int, bool] = {}  # order id -> held for one that never was

    def take(self, record: journal.Record) -> None:
        """Apply one record; what is not about orders changes nothing."""
        if record.kind == journal.INTENT:
            self._intend(np.frombuffer(record.payload, INTENT, count=1)[0], record.ts)
        elif record.kind == journal.UPDATE:
            self._update(np.frombuffer(record.payload, UPDATE, count=1)[0], record.ts)
        elif record.kind == journal.EPOCH:
            self.epoch = max(self.epoch, int(np.frombuffer(record.payload, np.int64, count=1)[0]))

    def of(self, account: int) -> list[OpenOrder]:
        """Return an account's orders that may be open, oldest first."""
        return [order for order in self._open.values() if order.account == account]

    def _intend(self, row: np.void, ts: int) -> None:
        if row["op"] == words.PLACE and row["verdict"] == words.PASS:
            order_id = int(row["order_id"])
            self._open[order_id] = OpenOrder(
                order_id, int(row["account"]), int(row["instrument"]), ts
            )

    def _update(self, row: np.void, ts: int) -> None:
        order_id, kind = int(row["order_id"]), int(row["kind"])
        if not order_id:
            return
        status, order = int(row["status"]), self._open.get(order_id)
        if kind in ENDING or status in OVER:
            never_was = kind in (words.REJECT, words.NOT_FOUND) or status == words.REJECTED
            if order is not None and order.proven and never_was:
                return  # it was seen on the book: a contradiction, and no end
            self._open.pop(order_id, None)
            never_was = never_was or (order is not None and order.revived)
            while len(self._ended) >= ENDED_KEPT_MAX:
                del self._ended[next(iter(self._ended))]
            self._ended.setdefault(order_id, never_was)
            return
        if kind not in PROOFS:
            return
        if order is not None:
            order.proven = True
        elif self._ended.pop(order_id, False):  # it came all the same
            self._open[order_id] = OpenOrder(
                order_id, int(row["account"]), int(row["instrument"]), ts, proven=True, revived=True
            )
