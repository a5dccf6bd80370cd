"""Close what one account holds, after a kill: reduce-only IOC orders near the touch, one at a time.

The one way to a send that does not pass the gate: it works with the engine hung, only a person
begins it, and what it sends can only make a position smaller. Contracts say so to the venue
(reduce-only); on spot the amount is what our own fills left. Every order is recorded, on disk,
before it is sent, and its outcome is asked for until it is proven.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.core.errors import TransportError, VenueError
from alephtx.core.exposure import quote_value
from alephtx.core.identity import KILLER_NONCE_LEAD_MS
from alephtx.core.instruments import Instrument
from alephtx.core.log import logger
from alephtx.core.ports import Request, What
from alephtx.core.records import INTENT
from alephtx.core.units import (
    FLOOR,
    OVERFLOW,
    format_scaled,
    mul_div_checked,
    round_price,
    round_qty,
)
from alephtx.execution.killing import AccountKill, touch_of
from alephtx.execution.resync import HORIZON_NS

log = logger("kill")

TRIES = 8
ASK_AGAIN_NS = 100_000_000
CROSS_E4 = 10_000  # a basis point is one of so many
MS = 1_000_000


def lots_to_close(
    instrument: Instrument, ours: int, theirs: int, free: Decimal, *, exclusive: bool
) -> int:
    """Return the signed lots to close. ours: by our books; theirs, free: by the venue's word.

    Contracts: what the venue states; where others trade too, what our own books say, as far as the
    venue has it. Spot: what our own fills left, never what was there before, and no more than is
    there: fees may have been taken from it.
    """
    if instrument.contract == words.SPOT:
        return min(ours, int(free * 10**instrument.qty_scale))
    if exclusive:
        return theirs
    if theirs > 0:
        return min(max(ours, 0), theirs)
    return max(min(ours, 0), theirs)


class Flatten:
    """Closes positions at one account.

    next_id(): a fresh order id. record(text fields): keeps an order on disk before it leaves.
    cross_bps: how far beyond the touch a closing order may go.
    """

    def __init__(
        self,
        kill: AccountKill,
        account: int,
        next_id: Callable[[], int],
        record: Callable[[dict[str, Any]], None],
        cross_bps: int,
    ) -> None:
        self._kill, self._account = kill, account
        self._next_id, self._record, self._cross_bps = next_id, record, cross_bps
        self.rows = kill.codec.instruments.rows()

    async def close(self, held: dict[int, int], deadline_ns: int) -> dict[int, int]:
        """Close positions, instrument -> signed lots, by a monotonic time; returns what is left.

        Where an order's outcome stays unproven no other is sent for that instrument.
        """
        left = {}
        for i, lots in held.items():
            rest = lots
            for _ in range(TRIES):
                try:
                    order = await self.order(i, rest)
                    if order is None or self._kill.clock.monotonic() >= deadline_ns:
                        break
                    closed = await self._send(i, order, deadline_ns)
                    if closed is None:
                        break
                    rest -= closed
                except VenueError as error:
                    log.warning("flatten_failed", instrument=i, error=str(error))
                    self._kill.report.error = str(error)
                    await self._kill.clock.sleep(ASK_AGAIN_NS)
            if rest:
                left[i] = rest
        return left

    async def order(self, i: int, lots: int) -> np.ndarray[Any, Any] | None:
        """Return the order that closes so many lots; None when the venue takes none so small."""
        side = words.SELL if lots > 0 else words.BUY
        one = self.rows[i : i + 1]
        qty = abs(int(round_qty(one, lots)))
        if one[0]["qty_max"] > 0:
            qty = min(qty, int(round_qty(one, one[0]["qty_max"])))
        (events,) = await self._kill.ask(What.SNAPSHOT, instrument=i)
        bid, ask = touch_of(events)
        touch = bid if side == words.SELL else ask
        if touch <= 0:
            raise VenueError("nobody is on the other side of the book", retryable=True)
        beyond = int(mul_div_checked(touch, self._cross_bps, CROSS_E4, FLOOR))
        # Rounded away from us, so that a coarse grid does not turn the order into a resting price.
        price = int(round_price(one, touch + side * beyond, -side))
        value = int(quote_value(self.rows, i, price, qty, FLOOR))
        contract = one[0]["contract"] != words.SPOT
        too_small = value == OVERFLOW or (not contract and value < one[0]["notional_min"])
        if qty <= 0 or qty < one[0]["qty_min"] or too_small:
            return None
        row = np.zeros(1, INTENT)
        row["op"], row["type"], row["tif"] = words.PLACE, words.LIMIT, words.IOC
        row["order_id"], row["instrument"], row["account"] = self._next_id(), i, self._account
        row["side"], row["price"], row["qty"] = side, price, qty
        row["flags"] = words.REDUCE_ONLY if contract else 0
        return row

    async def _send(self, i: int, row: np.ndarray[Any, Any], deadline_ns: int) -> int | None:
        """Send one order; returns the signed lots it took away, None when nobody can say."""
        order_id, side = int(row[0]["order_id"]), int(row[0]["side"])
        instrument = self._kill.codec.instruments[i]
        self._record(
            {
                "order_id": order_id,
                "instrument": instrument.key,
                "side": "buy" if side == words.BUY else "sell",
                "qty": format_scaled(int(row[0]["qty"]), instrument.qty_scale),
                "price": format_scaled(int(row[0]["price"]), instrument.price_scale),
            }
        )
        now = self._kill.venue_now()
        (request,) = self._kill.codec.encode(row, now, now // MS + KILLER_NONCE_LEAD_MS)
        try:
            answer = await self._kill.read(request)
        except TransportError as error:
            if not error.sent:
                return 0
        else:
            if len(answer) and answer[0]["kind"] == words.REJECT:
                return 0
        filled = await self._filled(request, i, deadline_ns)
        if filled is None:
            self._kill.report.error = f"order {order_id} on {instrument.key}: nobody can say"
            return None
        log.warning("position_closed", order_id=order_id, instrument=instrument.key, lots=filled)
        return -side * filled

    async def _filled(self, request: Request, i: int, deadline_ns: int) -> int | None:
        """Ask what became of an order until that is proven; returns the lots it filled."""
        order_id, sent_ns = request.order_ids[0], self._kill.clock.now()
        while self._kill.clock.monotonic() < deadline_ns + HORIZON_NS:
            try:
                (rows,) = await self._kill.ask(What.ORDER, instrument=i, order_id=order_id)
                late = self._kill.clock.now() - sent_ns >= HORIZON_NS
                for row in rows:
                    if row["kind"] == words.NOT_FOUND and late:
                        return 0
                    if row["kind"] != words.NOT_FOUND and row["status"] in words.TERMINAL:
                        return max(0, int(row["cum_qty"]))
            except VenueError as error:
                log.warning("flatten_not_proven", order_id=order_id, error=str(error))
            await self._kill.clock.sleep(ASK_AGAIN_NS)
        return None
