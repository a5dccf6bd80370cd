"""Decisions and reports of a journal in words, for whoever compares them."""

from typing import Any

import numpy as np

from alephtx.core.instruments import Instruments
from alephtx.core.records import INTENT, UPDATE
from alephtx.core.units import to_decimal
from alephtx.core.words import (
    ACK,
    AMEND,
    BUY,
    CANCEL,
    CANCEL_ACK,
    CANCEL_ALL,
    CANCEL_REJECT,
    EXPIRE,
    FILL,
    FUNDING_PAID,
    LIMIT,
    MARKET,
    MONEY_MOVED,
    PLACE,
    REJECT,
    REPLACE_ACK,
    STOP,
)
from alephtx.matrix.journal import INTENT as INTENT_RECORD

_OPS = {PLACE: "place", AMEND: "amend", CANCEL: "cancel", CANCEL_ALL: "cancel all"}
_REPORTS = {
    ACK: "accepted", REJECT: "rejected", CANCEL_ACK: "cancelled", EXPIRE: "expired", FILL: "fill",
    REPLACE_ACK: "amended", CANCEL_REJECT: "cancel refused", FUNDING_PAID: "funding paid",
    MONEY_MOVED: "money moved",
}  # fmt: skip
_TYPES = {LIMIT: "limit", MARKET: "market", STOP: "stop"}


def said(record: Any, instruments: Instruments) -> str:
    """Return what a record (kind, ts, payload) says; None is nothing."""
    if record is None:
        return "nothing"
    if record.kind == INTENT_RECORD:
        row = np.frombuffer(record.payload, INTENT)[0]
        first, after = _OPS.get(int(row["op"]), "?"), f"order {int(row['target_order_id'])}"
    else:
        row = np.frombuffer(record.payload, UPDATE)[0]
        kind = int(row["kind"])
        first, after = _REPORTS.get(kind, f"report {kind}"), f"order {int(row['order_id'])}"
    if int(row["instrument"]) >= len(instruments):
        return f"{record.ts} ns {first} {after}"
    one = instruments[int(row["instrument"])]
    words = [f"{record.ts} ns", first]
    if first in ("place", "amend", "fill"):
        price, qty = (
            to_decimal(int(row[name]), scale)
            for name, scale in (("price", one.price_scale), ("qty", one.qty_scale))
        )
        if record.kind == INTENT_RECORD:
            words.append(_TYPES.get(int(row["type"]), "?"))
        words += ["buy" if row["side"] == BUY else "sell", str(qty), "at", str(price)]
    if first != "place":
        words.append(after)
    return " ".join([*words, one.key])
