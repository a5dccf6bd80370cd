"""POST /exchange of the Hyperliquid twin: who signed, may they, and what becomes of it."""

from typing import Any

from alephtx.core import words
from alephtx.core.errors import UnitError
from alephtx.core.units import parse_scaled
from alephtx.sim import matching
from alephtx.twins import hyperliquid_actions as actions
from alephtx.twins.accounts import Account, Market
from alephtx.twins.exchange import Refused, TwinOrder
from alephtx.twins.hyperliquid_body import placed_body
from alephtx.twins.hyperliquid_exchange import MAX_LEVERAGE
from alephtx.twins.hyperliquid_ledger import Users
from alephtx.twins.hyperliquid_signing import (
    BadSignature,
    agent_digest,
    connection_id,
    recover,
)

TIF = {"Gtc": words.GTC, "Alo": words.GTC, "Ioc": words.IOC}
GONE = "Order was never placed, already canceled, or filled. asset={asset}"
DEFAULT = {"type": "default"}


class ActionRefused(Exception):
    """An action refused as a whole: `{"status":"err","response":text}`."""


class TradingDesk:
    """Runs signed actions; sources: the networks whose signatures are taken."""

    def __init__(self, users: Users, sources: tuple[str, ...]) -> None:
        self.users, self.exchange, self.sources = users, users.exchange, sources

    def act(self, envelope: actions.Envelope, action: actions.Action) -> dict[str, Any]:
        """Return the response of an action, or raise ActionRefused."""
        return self._run(self._signer(envelope, action), action)

    def _signer(self, envelope: actions.Envelope, action: actions.Action) -> Account:
        """Return the account that signed an action; ActionRefused in the venue's words."""
        vault = envelope.vaultAddress.lower() if envelope.vaultAddress else None
        packed = actions.pack(action)
        identity = connection_id(packed, envelope.nonce, vault, envelope.expiresAfter)
        try:
            signers = [recover(agent_digest(s, identity), envelope.signature) for s in self.sources]
        except BadSignature:
            raise ActionRefused("Unable to recover signer.") from None
        for signer in signers:
            account = self.users.account_of(signer)
            if account is None:
                continue
            if vault is not None:
                raise ActionRefused(f"Vault not registered: {vault}")
            now = self.exchange.now_ms()
            if envelope.expiresAfter is not None and envelope.expiresAfter < now:
                raise ActionRefused(f"Action expired: expiresAfter {envelope.expiresAfter} < {now}")
            if refusal := self.users.nonce_refusal(signer, envelope.nonce):
                raise ActionRefused(refusal)
            return account
        raise ActionRefused(f"User or API Wallet {signers[0]} does not exist.")

    def _run(self, account: Account, action: actions.Action) -> dict[str, Any]:
        count, cancels = actions.batch_size(action), actions.is_cancel(action)
        if refusal := self.users.charge(account, count, cancels=cancels):
            raise ActionRefused(refusal)
        if isinstance(action, actions.Order):
            if action.grouping != "na":
                raise ActionRefused(f"Grouping {action.grouping} is not simulated by this twin.")
            return _statuses("order", [self._place(account, wire) for wire in action.orders])
        if isinstance(action, actions.Cancel):
            wanted = [(one.a, one.o) for one in action.cancels]
            return _statuses("cancel", [self._cancel(account, a, o) for a, o in wanted])
        if isinstance(action, actions.CancelByCloid):
            named = [(one.asset, one.cloid) for one in action.cancels]
            return _statuses("cancel", [self._cancel(account, a, c) for a, c in named])
        if isinstance(action, actions.BatchModify):
            changes = action.modifies
            return _statuses("order", [self._modify(account, m.oid, m.order) for m in changes])
        if isinstance(action, actions.Modify):
            result = self._modify(account, action.oid, action.order)
            if "error" in result:
                raise ActionRefused(result["error"])
        elif isinstance(action, actions.ScheduleCancel):
            if refusal := self.users.schedule(account, action.time):
                raise ActionRefused(refusal)
        elif isinstance(action, actions.UpdateLeverage):
            self._set_leverage(account, action)
        return DEFAULT

    def _market(self, asset: int) -> Market | None:
        return self.exchange.markets[asset] if asset < len(self.exchange.markets) else None

    def _order_of(self, account: Account, market: Market, wire: actions.OrderWire) -> TwinOrder:
        """Turn the wire's order into ours; Refused where numbers are off the grid."""
        assert wire.t.limit is not None
        try:
            price = parse_scaled(wire.p, market.price_scale)
        except UnitError:
            raise Refused("tick") from None
        try:
            qty = parse_scaled(wire.s, market.qty_scale)
        except UnitError:
            raise Refused("size") from None
        tif = wire.t.limit.tif
        return TwinOrder(
            order_id=0,
            client_id=wire.c or "",
            account=account,
            market=market,
            side=words.BUY if wire.b else words.SELL,
            type=words.LIMIT,
            tif=TIF[tif],
            price=price,
            qty=qty,
            post_only=tif == "Alo",
            reduce_only=wire.r,
            stp=matching.STP_EXPIRE_MAKER,
            extra={"tif": tif},
        )

    def _place(
        self, account: Account, wire: actions.OrderWire, *, rests: bool = False
    ) -> dict[str, Any]:
        """Place one order of a batch and return its status; rests: it may not take."""
        market = self._market(wire.a)
        if market is None:
            return {"error": f"Invalid asset {wire.a}."}
        if wire.t.limit is None:
            return {"error": "Trigger orders are not simulated by this twin."}
        order = None
        try:
            order = self._order_of(account, market, wire)
            order.post_only = order.post_only or rests
            self.exchange.place(order)
        except Refused as refused:
            if order is not None:
                self.exchange.leave_refused(order, refused)
            return {"error": self.exchange.wording(refused, market)}
        if not order.open and not order.filled:  # it met only its owner's orders
            return {"error": self.exchange.wording(Refused("ioc"), market)}
        return placed_body(order)

    def _open_order(self, account: Account, asset: int, wanted: int | str) -> TwinOrder | None:
        try:
            order = self.users.find(account, wanted)
        except Refused:
            return None
        return order if order.open and order.market.index == asset else None

    def _cancel(self, account: Account, asset: int, wanted: int | str) -> Any:
        """Cancel one order of a batch and return its status."""
        order = self._open_order(account, asset, wanted)
        if order is None:
            return {"error": GONE.format(asset=asset)}
        self.exchange.cancel(order)
        return "success"

    def _modify(
        self, account: Account, wanted: int | str, wire: actions.OrderWire
    ) -> dict[str, Any]:
        """Replace one order: checks first, then the old one goes, then the new one rests."""
        old = self._open_order(account, wire.a, wanted)
        if old is None:
            return {"error": "Cannot modify canceled or filled order"}
        market = old.market
        if wire.t.limit is None or wire.t.limit.tif == "Ioc":
            return {"error": "Attempted to modify to invalid new order"}
        try:
            self.exchange.check(self._order_of(account, market, wire))
        except Refused as refused:
            return {"error": self.exchange.wording(refused, market)}
        self.exchange.cancel(old, "modified")
        result = self._place(account, wire, rests=True)
        if "error" in result:
            return {"error": f"Error placing new order during modify: {result['error']}"}
        return result

    def _set_leverage(self, account: Account, action: actions.UpdateLeverage) -> None:
        market = self._market(action.asset)
        if market is None:
            raise ActionRefused(f"Invalid asset {action.asset}.")
        if not action.isCross:
            raise ActionRefused("Isolated margin is not simulated by this twin.")
        if not 1 <= action.leverage <= MAX_LEVERAGE:
            raise ActionRefused(f"Invalid leverage value: {action.leverage}")
        account.leverage[market.symbol] = action.leverage
        account.position(market.symbol).leverage = action.leverage


def _statuses(kind: str, statuses: list[Any]) -> dict[str, Any]:
    return {"type": kind, "data": {"statuses": statuses}}
