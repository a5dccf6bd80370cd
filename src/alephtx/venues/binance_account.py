"""The private side of the Binance dialect: reports, answers and queries to UPDATE rows.

Order ids come back through the client order id (`identity.to_text`); what is not ours has order_id
0 and is named by a `foreign` control as well. Answers to trade queries carry no client id: their
rows have order_id 0 and the venue's id, and the caller resolves it. Fees are positive when paid.
A funding payment's trade_id is `funding_id`, so that stream and query can be told to be the same.
"""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, field

from alephtx.core import words
from alephtx.core.errors import ProtocolError
from alephtx.core.identity import from_text
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Balance, Batch, Control, Holding
from alephtx.core.units import MAX_VALUE, MONEY_SCALE, parse_scaled
from alephtx.venues.binance_wire import MS, Millis, Symbols, positive, truncated

Id = Annotated[int, Meta(ge=-1, lt=1 << 62)]
AMOUNT_CHARACTERS_MAX, AMOUNT_DIGITS_MAX = 60, 30

STATUS = {
    "NEW": words.NEW,
    "PENDING_NEW": words.PENDING_NEW,
    "PARTIALLY_FILLED": words.PARTIALLY_FILLED,
    "FILLED": words.FILLED,
    "CANCELED": words.CANCELED,
    "PENDING_CANCEL": words.PENDING_CANCEL,
    "REJECTED": words.REJECTED,
    "EXPIRED": words.EXPIRED,
    "EXPIRED_IN_MATCH": words.EXPIRED,
    "NEW_INSURANCE": words.NEW,
    "NEW_ADL": words.NEW,
}
SIDES = {"BUY": words.BUY, "SELL": words.SELL}
_KINDS = {
    "NEW": words.ACK,
    "CANCELED": words.CANCEL_ACK,
    "REPLACED": words.REPLACE_ACK,
    "AMENDMENT": words.REPLACE_ACK,
    "REJECTED": words.REJECT,
    "EXPIRED": words.EXPIRE,
    "TRADE": words.FILL,
    "CALCULATED": words.FILL,  # a liquidation's print
}
_FORCED = ("autoclose-", "adl_autoclose", "settlement_autoclose-")
"""Client ids of orders that the venue itself places: liquidation, deleveraging, settlement."""

_EXPIRY = {
    "INSUFFICIENT_LIQUIDITY": words.REASON_NOT_FILLED,
    "INSUFFICIENT_BALANCE": words.REASON_INSUFFICIENT,
    "GTX_ORDER_REJECT": words.REASON_WOULD_CROSS,
}


class Report(Struct):
    """`executionReport` of spot, or the `o` of `ORDER_TRADE_UPDATE` of futures."""

    s: str
    c: str
    S: str
    x: str
    X: str
    i: Id
    z: str
    T: Millis
    l: str = "0"
    L: str = "0"
    q: str = "0"
    p: str = "0"
    n: str | None = "0"
    N: str | None = None
    t: Id = -1
    m: bool = False
    C: str | None = None
    f: str = ""
    r: str = ""
    eR: Any = None  # noqa: N815 - the wire's name
    rp: str = "0"


class OrderUpdate(Struct):
    """The envelope of a futures order report."""

    o: Report


class OrderState(Struct):
    """An order as order answers and order queries state it."""

    symbol: str
    order_id: Id = field(name="orderId", default=0)
    client: str = field(name="clientOrderId", default="")
    original: str = field(name="origClientOrderId", default="")
    status: str = ""
    side: str = ""
    price: str = "0"
    qty: str = field(name="origQty", default="0")
    done: str = field(name="executedQty", default="")
    time: Millis = 0
    update_time: Millis = field(name="updateTime", default=0)
    transact_time: Millis = field(name="transactTime", default=0)


class Trade(Struct):
    """One row of myTrades (spot) or userTrades (futures)."""

    symbol: str
    id: Id
    order_id: Id = field(name="orderId")
    price: str
    qty: str
    time: Millis
    commission: str = "0"
    commission_asset: str = field(name="commissionAsset", default="")
    is_buyer: bool = field(name="isBuyer", default=False)
    is_maker: bool = field(name="isMaker", default=False)
    maker: bool = False
    side: str = ""
    realized: str = field(name="realizedPnl", default="0")


class Income(Struct):
    """One row of income."""

    income: str
    asset: str
    time: Millis
    symbol: str = ""
    kind: str = field(name="incomeType", default="")
    id: int = field(name="tranId", default=0)


class PositionRisk(Struct):
    """One row of positionRisk."""

    symbol: str
    amount: str = field(name="positionAmt")
    entry: str = field(name="entryPrice", default="0")


class FuturesBalance(Struct):
    """One row of a futures balance."""

    asset: str
    balance: str
    available: str = field(name="availableBalance", default="0")


class SpotBalance(Struct):
    """One row of a spot account."""

    asset: str
    free: str
    locked: str


class SpotAccount(Struct):
    """The part of a spot account we read."""

    balances: list[SpotBalance]


class BalanceUpdate(Struct):
    """Spot's balanceUpdate: asset a moved by d at T."""

    a: str
    d: str
    T: Millis = 0
    E: Millis = 0


class BalanceChange(Struct):
    """A currency in ACCOUNT_UPDATE; bc = change."""

    a: str
    bc: str = "0"


class PositionChange(Struct):
    """A position in ACCOUNT_UPDATE."""

    s: str


class AccountBody(Struct):
    """The `a` of ACCOUNT_UPDATE."""

    m: str = ""
    B: list[BalanceChange] = []
    P: list[PositionChange] = []


class AccountUpdate(Struct):
    """ACCOUNT_UPDATE."""

    a: AccountBody
    T: Millis = 0
    E: Millis = 0


def amount(text: str) -> Decimal:
    """Return an amount of the control plane, exactly as stated; ProtocolError when it is none."""
    try:
        value = Decimal(text) if len(text) <= AMOUNT_CHARACTERS_MAX else Decimal("NaN")
    except InvalidOperation as error:
        raise ProtocolError(f"not an amount: {text[:40]!r}") from error
    if not value.is_finite() or (value and value.adjusted() > AMOUNT_DIGITS_MAX):
        raise ProtocolError(f"not an amount we can hold: {text[:40]!r}")
    return value


def money(text: str) -> int:
    """Return an amount as an integer of 10^-MONEY_SCALE, rounded half even."""
    scaled = amount(text).scaleb(MONEY_SCALE).to_integral_value(ROUND_HALF_EVEN)
    if abs(scaled) >= MAX_VALUE:
        raise ProtocolError(f"not an amount we can hold: {text[:40]!r}")
    return int(scaled)


def funding_id(time_ms: int) -> int:
    """Return the trade_id of a funding payment: minus its five seconds, which no trade id can be.

    The stream and the income query stamp one payment some milliseconds apart, and only the query
    numbers it; funding is paid on the hour, so a short span after it names the payment.
    """
    return -(time_ms // 5_000)


class Account:
    """Decodes the words about one account; needs the symbol table and the table of currencies."""

    def __init__(self, instruments: Instruments, venue: str, account: int) -> None:
        self.instruments = instruments
        self.symbols = Symbols(instruments, venue)
        self.account = account
        self.venue = venue
        self._settle: dict[str, list[int]] = {}
        for index in instruments.of_venue(venue):
            self._settle.setdefault(instruments[index].settle, []).append(index)

    def _lots(self, text: str, scale: int, out: Batch) -> int:
        """Read a quantity of ours: never lose a fill for a digit below the scale, but say so."""
        lots = truncated(text, scale)
        if text[text.find(".") + 1 + scale :].strip("0") and "." in text:
            error = ProtocolError(
                f"quantity {text[:40]} has more than {scale} decimals; the rest was dropped",
                venue=self.venue,
                remedy="reconcile the position",
            )
            out.controls.append(Control("error", error))
        return lots

    def _foreign(self, text: str, out: Batch, client: str | None = None) -> None:
        """Name what is not ours; client: the client id, where it is an order or a fill."""
        if client is not None and client.startswith(_FORCED):
            out.controls.append(Control("forced", text))
        else:
            out.controls.append(Control("foreign", text, "" if client is None else "order"))

    def put_report(self, report: Report, ts_recv: int, out: Batch) -> int:
        """Append the row of an order report; 0 rows for a report of another symbol."""
        client = report.C or report.c
        order_id = from_text(client)
        known = self.symbols.find(report.s)
        if not order_id or known is None:
            what = f"{report.x} of order {report.i} {client[:40]} on {report.s[:40]}"
            self._foreign(what, out, client)
        if known is None:
            return 0
        index, price_scale, qty_scale = known
        kind = _KINDS.get(report.x, 0)
        status = STATUS.get(report.X, 0)
        if kind == 0 and status == words.EXPIRED:
            kind = words.EXPIRE  # self-trade prevention took the rest
        if kind == words.FILL and not report.l.strip("0."):
            kind = words.ORDER_STATE  # a fill of nothing
        if report.S not in SIDES:
            raise ProtocolError(f"side {report.S[:20]!r} of order {report.i}", venue=self.venue)
        fields = {
            "order_id": order_id,
            "venue_order_id": report.i,
            "cum_qty": self._lots(report.z, qty_scale, out),
            "ts_event": report.T * MS,
            "ts_recv": ts_recv,
            "instrument": index,
            "account": self.account,
            "kind": kind or words.ORDER_STATE,
            "status": status,
            "side": SIDES[report.S],
        }
        if kind == words.FILL:
            fields |= self._fill(report, index, price_scale, qty_scale, out)
        else:
            fields["price"] = positive(report.p, price_scale)
            fields["qty"] = self._lots(report.q, qty_scale, out)
            if kind in (words.REJECT, words.EXPIRE):
                fields["reason"] = self._why(report)
        out.add_update(**fields)
        return 1

    def _fill(
        self, report: Report, index: int, price_scale: int, qty_scale: int, out: Batch
    ) -> dict[str, int]:
        """Return the fields of a fill."""
        if report.t < 0:
            raise ProtocolError(f"a fill of order {report.i} without trade id", venue=self.venue)
        currency = report.N or ""
        return {
            "trade_id": report.t,
            "price": positive(report.L, price_scale),
            "qty": self._lots(report.l, qty_scale, out),
            "fee": money(report.n or "0"),
            "fee_currency": self.instruments.currency(currency) if currency else 0,
            "realized": money(report.rp),
            "liquidity": words.MAKER if report.m else words.TAKER,
        }

    def _why(self, report: Report) -> int:
        """Return the reason of a rejection or an expiry."""
        for text in (report.r, report.eR):
            if isinstance(text, str) and text in _EXPIRY:
                return _EXPIRY[text]
        if report.x == "EXPIRED" and report.f == "GTX":
            return words.REASON_WOULD_CROSS
        if report.x == "EXPIRED" and report.f in ("IOC", "FOK"):
            return words.REASON_NOT_FILLED
        return words.REASON_OTHER

    def put_answer(self, state: OrderState, kind: int, out: Batch, order_id: int = 0) -> None:
        """Append the row of an order answer or query; order_id where the question knew it."""
        client = state.original or state.client
        order_id = order_id or from_text(client)
        known = self.symbols.find(state.symbol)
        if not order_id or known is None:
            what = f"order {state.order_id} {client[:40]} on {state.symbol[:40]}"
            self._foreign(what, out, client)
        if known is None:
            return
        index, price_scale, qty_scale = known
        stamp = state.update_time or state.transact_time or state.time
        out.add_update(
            order_id=order_id,
            venue_order_id=state.order_id,
            price=positive(state.price, price_scale),
            qty=self._lots(state.qty, qty_scale, out),
            cum_qty=self._lots(state.done, qty_scale, out) if state.done else -1,
            ts_event=stamp * MS,
            instrument=index,
            account=self.account,
            kind=kind,
            status=STATUS.get(state.status, 0),
            side=SIDES.get(state.side, 0),
        )

    def put_trade(self, trade: Trade, out: Batch) -> None:
        """Append the FILL row of a trade query; order_id stays 0, the caller resolves it."""
        index, price_scale, qty_scale = self.symbols.need(trade.symbol)
        buyer = trade.is_buyer if not trade.side else trade.side == "BUY"
        currency = trade.commission_asset
        out.add_update(
            venue_order_id=trade.order_id,
            trade_id=trade.id,
            price=positive(trade.price, price_scale),
            qty=self._lots(trade.qty, qty_scale, out),
            fee=money(trade.commission),
            fee_currency=self.instruments.currency(currency) if currency else 0,
            realized=money(trade.realized),
            ts_event=trade.time * MS,
            instrument=index,
            account=self.account,
            kind=words.FILL,
            side=words.BUY if buyer else words.SELL,
            liquidity=words.MAKER if trade.is_maker or trade.maker else words.TAKER,
        )

    def put_funding(
        self, text: str, asset: str, symbol: str, time_ms: int, ts_recv: int, out: Batch
    ) -> int:
        """Append a FUNDING_PAID row, where it is known for which instrument.

        Cross-margin events name only the currency: with one instrument of that settle currency it
        is that one, otherwise a `funding` control asks the caller for a FUNDING_SINCE query.
        """
        known = self.symbols.find(symbol)
        index = known[0] if known else -1
        if not symbol and len(self._settle.get(asset, [])) == 1:
            index = self._settle[asset][0]
        if index < 0:
            if symbol:
                self._foreign(f"funding of {symbol[:40]}", out)
            else:
                out.controls.append(Control("funding", asset))
            return 0
        out.add_update(
            trade_id=funding_id(time_ms),
            realized=money(text),
            ts_event=time_ms * MS,
            ts_recv=ts_recv,
            instrument=index,
            fee_currency=self.instruments.currency(asset),
            account=self.account,
            kind=words.FUNDING_PAID,
        )
        return 1

    def put_account(self, update: AccountUpdate, ts_recv: int, out: Batch) -> int:
        """Append what an ACCOUNT_UPDATE says beyond the order reports: funding, money moved."""
        body = update.a
        stamp = update.T or update.E
        if body.m == "FUNDING_FEE":
            symbol = body.P[0].s if len(body.P) == 1 else ""
            return sum(
                self.put_funding(change.bc, change.a, symbol, stamp, ts_recv, out)
                for change in body.B
            )
        if body.m not in ("", "ORDER", "MARGIN_TYPE_CHANGE"):
            # The stream does not number what moved, and a query does: it is asked for.
            moved = ", ".join(f"{change.bc[:30]} {change.a[:12]}" for change in body.B)
            out.controls.append(Control("funding", f"{body.m[:40]}: {moved}"))
        return 0

    def holdings(self, rows: list[PositionRisk], out: Batch) -> list[Holding]:
        """Return the open positions of our instruments; others are foreign."""
        found = []
        for row in rows:
            known = self.symbols.find(row.symbol)
            value = amount(row.amount)
            if not value:
                continue
            if known is None:
                self._foreign(f"position of {row.amount[:30]} {row.symbol[:40]}", out)
                continue
            lots = parse_scaled(format(value, "f"), known[2])
            found.append(Holding(instrument=known[0], qty=lots, entry_price=amount(row.entry)))
        return found


def spot_balances(body: bytes | Raw) -> list[Balance]:
    """Return the balances of a spot account; total is free and locked together."""
    account = msgspec.json.decode(body, type=SpotAccount)
    return [
        Balance(row.asset, amount(row.free) + amount(row.locked), amount(row.free))
        for row in account.balances
    ]


def futures_balances(body: bytes | Raw) -> list[Balance]:
    """Return the wallet balances of a futures account, open P&L not included."""
    rows = msgspec.json.decode(body, type=list[FuturesBalance])
    return [Balance(row.asset, amount(row.balance), amount(row.available)) for row in rows]
