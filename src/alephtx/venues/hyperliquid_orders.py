"""Hyperliquid's actions: INTENT rows to signed requests, over the socket or POST /exchange.

Over the socket a request's id is its nonce, which no other request of the account has. The order of
an action's keys is part of what is signed. There is no market order (an IOC with the engine's price
stands for it), no FOK, no GTD and no hedge mode.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Protocol

import msgspec

from alephtx.core import words
from alephtx.core.errors import ConfigError, OrderRejected
from alephtx.core.identity import KILLER_NONCE_LEAD_MS, to_cloid
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.ports import Request, Rows, Stage, What
from alephtx.core.units import format_scaled
from alephtx.venues.hyperliquid_replies import Asked, Posted
from alephtx.venues.hyperliquid_wire import JSON_HEADERS, NAME, WEIGHT

DEADMAN_MIN_NS = 5_000_000_000
MS = 1_000_000
BATCH_UNIT = 40  # so many orders of one action cost one more

_ENCODER = msgspec.json.Encoder()


class ActionSigner(Protocol):
    """What this venue needs of a signer: an address and signatures of L1 actions."""

    address: str

    def sign_l1(
        self,
        action: dict[str, Any],
        nonce: int,
        vault: str | None = None,
        expires: int | None = None,
        mainnet: bool = False,
    ) -> dict[str, str | int]:
        """Return r, s and v."""
        ...


def _beside(now_ns: int) -> int:
    """Return a nonce for what a killer does beside the engine that signs with the same key."""
    return now_ns // MS + KILLER_NONCE_LEAD_MS


def unsayable(row: Any) -> str:
    """Return why an INTENT row of op PLACE has no words here, or an empty text."""
    tif, flags, kind = int(row["tif"]), int(row["flags"]), int(row["type"])
    if kind not in (words.LIMIT, words.MARKET):
        return f"order type {kind} is not offered"
    if kind == words.LIMIT and tif not in (words.GTC, words.IOC):
        return f"time in force {tif} is not offered: GTC or IOC"
    if flags & words.POST_ONLY and (tif == words.IOC or kind == words.MARKET):
        return "post-only contradicts an order that must take"
    if int(row["side"]) not in (words.BUY, words.SELL):
        return f"side {int(row['side'])} is neither buy nor sell"
    if int(row["price"]) <= 0 or int(row["qty"]) <= 0:
        return "price and quantity must be above zero; a market order takes the engine's price"
    return ""


def takes_at_once(row: Any) -> bool:
    """Tell whether what an order does not take at once is gone: an IOC, or a market order."""
    kind, tif = int(row["type"]), int(row["tif"])
    return not int(row["flags"]) & words.POST_ONLY and (tif == words.IOC or kind == words.MARKET)


def costs(count: int) -> tuple[tuple[str, int], ...]:
    """Return what an action of so many orders costs of the rate limits."""
    return ((WEIGHT, 1 + count // BATCH_UNIT),)


def order_words(row: Any, instrument: Instrument) -> dict[str, Any]:
    """Return one order in the venue's words, keys in the signed order."""
    flags = int(row["flags"])
    tif = "Ioc" if takes_at_once(row) else "Alo" if flags & words.POST_ONLY else "Gtc"
    return {
        "a": instrument.venue_index,
        "b": int(row["side"]) == words.BUY,
        "p": format_scaled(int(row["price"]), instrument.price_scale, trim=True),
        "s": format_scaled(int(row["qty"]), instrument.qty_scale, trim=True),
        "r": bool(flags & words.REDUCE_ONLY),
        "t": {"limit": {"tif": tif}},
        "c": to_cloid(int(row["order_id"])),
    }


class OrderWriter:
    """Signs actions for one account; every request gets a nonce this account never used."""

    def __init__(
        self, instruments: Instruments, signer: ActionSigner | None, mainnet: bool, posted: Posted
    ) -> None:
        self.instruments = instruments
        self.mainnet = mainnet
        self.draw: Callable[[int], int] = self._next
        """Takes a nonce that was never used, at least as high as what it is given."""
        self._signer = signer
        self._posted = posted
        self._nonce = 0

    @property
    def can_sign(self) -> bool:
        """Tell whether there is a key."""
        return self._signer is not None

    def signing_stage(self) -> Stage:
        """Return the stage that signs an action for the network of this writer."""
        if self._signer is None:
            raise ConfigError(f"{NAME} was bound without a signer", remedy="give the account a key")
        signer: Any = self._signer
        made: Stage = signer.stage(self.mainnet)
        return made

    @property
    def nonce_pool(self) -> Any:
        """The signer's prepared nonces, None where it has none."""
        return getattr(self._signer, "pool", None)

    @property
    def last_nonce(self) -> int:
        """Return the last nonce that was drawn here."""
        return self._nonce

    def _next(self, least: int) -> int:
        self._nonce = max(self._nonce + 1, least)
        return self._nonce

    def encode(self, intents: Rows, nonce: int, *, posts: bool) -> list[Request]:
        """Return signed requests for INTENT rows: one per run of the same op and instrument.

        posts: they go over the socket.

        nonce: ms; each request takes the next one never used here. Raises OrderRejected, before
        anything is signed, for a row that the venue has no words for.
        """
        checked = [(self._check(intents[k]), intents[k]) for k in range(len(intents))]
        requests = []
        for (op, i), run in groupby(checked, key=lambda pair: pair[0]):
            rows = [row for _, row in run]
            ids = self._ids(op, rows)
            if op == words.PLACE:
                orders = [order_words(row, self.instruments[i]) for row in rows]
                action = {"type": "order", "orders": orders, "grouping": "na"}
            else:
                action = self._cancels(i, ids)
            made = self._signed(What.INTENT, action, nonce, len(ids), i, op, ids, posts=posts)
            if posts:
                self._remember(made.key, op, i, rows)
            requests.append(made)
        return requests

    def sent(self, intents: Rows) -> list[Request]:
        """Return the requests, without bodies, of rows that the loop sent; await their answers."""
        rows = [intents[k] for k in range(len(intents))]
        made = []
        for nonce, run in groupby(rows, key=lambda row: int(row["nonce"])):
            group = list(run)
            op, i = int(group[0]["op"]), int(group[0]["instrument"])
            self._remember(str(nonce), op, i, group)
            ids = self._ids(op, group)
            made.append(
                Request(
                    what=What.INTENT,
                    transport="trade",
                    key=str(nonce),
                    weights=costs(len(ids)),
                    order_ids=ids,
                    instrument=i,
                    op=op,
                )
            )
        return made

    def _ids(self, op: int, rows: list[Any]) -> tuple[int, ...]:
        name = "order_id" if op == words.PLACE else "target_order_id"
        return tuple(int(row[name]) for row in rows)

    def _remember(self, key: str, op: int, i: int, rows: list[Any]) -> None:
        takes = tuple(int(row["qty"]) if takes_at_once(row) else -1 for row in rows)
        self._posted.add(key, Asked(op, i, self._ids(op, rows), takes))

    def _cancels(self, i: int, ids: Iterable[int]) -> dict[str, Any]:
        asset = self.instruments[i].venue_index
        cancels = [{"asset": asset, "cloid": to_cloid(order_id)} for order_id in ids]
        return {"type": "cancelByCloid", "cancels": cancels}

    def _check(self, row: Any) -> tuple[int, int]:
        """Refuse a row that cannot be said; return its op and instrument."""
        op, i = int(row["op"]), int(row["instrument"])
        order_id = int(row["order_id"] if op == words.PLACE else row["target_order_id"])
        why = ""
        if i >= len(self.instruments) or self.instruments[i].venue != NAME:
            why = f"instrument {i} is not of this venue"
        elif op not in (words.PLACE, words.CANCEL):
            why = f"operation {op} is not offered: cancel and place"
        elif order_id <= 0:
            why = "it has no order id"
        elif op == words.PLACE:
            why = unsayable(row)
        if why:
            error = OrderRejected(f"order {order_id}: {why}", venue=NAME)
            error.reason = words.REASON_FILTER
            raise error
        return op, i

    def cancel_named(
        self, now_ns: int, instrument: int, venue_order_ids: Sequence[int]
    ) -> list[Request]:
        """Return the request that cancels orders by the venue's ids, ours or not; none for none."""
        if not venue_order_ids:
            return []
        asset = self.instruments[instrument].venue_index
        cancels = [{"a": asset, "o": int(oid)} for oid in venue_order_ids]
        action = {"type": "cancel", "cancels": cancels}
        count, op = len(cancels), words.CANCEL_ALL
        return [self._signed(What.CANCEL_ALL, action, _beside(now_ns), count, instrument, op)]

    def cancel_ours(self, now_ns: int, instrument: int, order_ids: Sequence[int]) -> list[Request]:
        """Return the request that cancels orders of an instrument by our ids; none for none."""
        if not order_ids:
            return []
        ids = tuple(order_ids)
        action, nonce, op = self._cancels(instrument, ids), _beside(now_ns), words.CANCEL
        return [self._signed(What.CANCEL_OURS, action, nonce, len(ids), instrument, op, ids)]

    def deadman(self, now_ns: int, timeout_ns: int) -> Request:
        """Return the request that cancels everything after timeout_ns; 0 takes it back."""
        action: dict[str, Any] = {"type": "scheduleCancel"}
        if timeout_ns:
            if timeout_ns < DEADMAN_MIN_NS:
                raise ConfigError(
                    f"dead-man time-out of {timeout_ns} ns", remedy="the venue takes 5 s or more"
                )
            action["time"] = (now_ns + timeout_ns) // MS
        return self._signed(What.DEADMAN, action, _beside(now_ns), 1, -1, 0)

    def _signed(
        self,
        what: What,
        action: dict[str, Any],
        nonce: int,
        count: int,
        instrument: int,
        op: int,
        ids: tuple[int, ...] = (),
        *,
        posts: bool = False,
    ) -> Request:
        """Return the request that carries an action, its nonce and its signature."""
        if self._signer is None:
            raise ConfigError(f"{NAME} was bound without a signer", remedy="give the account a key")
        nonce = self.draw(nonce)
        payload = {
            "action": action,
            "nonce": nonce,
            "signature": self._signer.sign_l1(action, nonce, None, None, self.mainnet),
            "vaultAddress": None,
        }
        common: dict[str, Any] = {
            "what": what,
            "key": str(nonce),
            "weights": costs(count),
            "order_ids": ids,
            "instrument": instrument,
            "op": op,
        }
        if posts:
            asked = {"type": "action", "payload": payload}
            frame = _ENCODER.encode({"method": "post", "id": nonce, "request": asked})
            return Request(transport="trade", body=frame, **common)
        body = _ENCODER.encode(payload)
        return Request(method="POST", path="/exchange", headers=JSON_HEADERS, body=body, **common)
