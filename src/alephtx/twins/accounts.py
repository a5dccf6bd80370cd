"""Markets, accounts and their exact money: balances, locks, positions, fees, P&L.

Everything is Decimal or int. Rounding, where a division or a fee makes it necessary, is half-even
to eight decimals (MONEY): stated here once, because client ledgers must agree to the last unit.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

import msgspec

from alephtx.core import words
from alephtx.core.secrets import resolve

MONEY = Decimal("0.00000001")
_EXACT = Context(prec=60)

TWIN_KEY = resolve("twin:key").reveal()
TWIN_SECRET = resolve("twin").reveal()
"""The credentials of every twin's default account: `twin:key` and `twin` in a config."""


def money(value: Decimal) -> Decimal:
    """Round to eight decimals, half-even."""
    with localcontext(_EXACT):
        return value.quantize(MONEY, rounding=ROUND_HALF_EVEN)


class Market(msgspec.Struct, kw_only=True):
    """One tradable symbol as the venue lists it. Prices in ticks of 10^-price_scale.

    tick and lot are in ticks and lots; notional_min is in quote. percent_up and percent_down bound
    a limit price against the last price, 0 for no bound. trading: whether new orders are taken.
    """

    symbol: str
    base: str
    quote: str
    settle: str
    contract: int = words.SPOT
    price_scale: int
    qty_scale: int
    tick: int = 1
    lot: int = 1
    price_min: int = 1
    price_max: int = 1 << 40
    qty_min: int = 1
    qty_max: int = 1 << 40
    notional_min: Decimal = Decimal(0)
    percent_up: Decimal = Decimal(0)
    percent_down: Decimal = Decimal(0)
    contract_value: Decimal = Decimal(1)
    leverage: int = 20
    trading: bool = True
    index: int = -1

    @property
    def spot(self) -> bool:
        """True where balances change hands, not positions."""
        return self.contract == words.SPOT

    def price(self, ticks: int) -> Decimal:
        """Return ticks as a price."""
        return Decimal(ticks).scaleb(-self.price_scale)

    def qty(self, lots: int) -> Decimal:
        """Return lots as a quantity."""
        return Decimal(lots).scaleb(-self.qty_scale)

    def value(self, ticks: int, lots: int) -> Decimal:
        """Return the value of a trade in the settle currency; an inverse one is a division."""
        with localcontext(_EXACT):
            qty = self.qty(lots) * self.contract_value
            return (
                qty / self.price(ticks)
                if self.contract == words.INVERSE
                else qty * self.price(ticks)
            )


class Position(msgspec.Struct):
    """Signed lots and their open cost in the settle currency (positive for both directions)."""

    qty: int = 0
    cost: Decimal = Decimal(0)
    realized: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
    leverage: int = 20

    def entry_price(self, market: Market) -> Decimal:
        """Return the average entry price, exact to 28 digits; 0 when flat."""
        if self.qty == 0:
            return Decimal(0)
        qty = market.qty(abs(self.qty)) * market.contract_value
        return qty / self.cost if market.contract == words.INVERSE else self.cost / qty

    def unrealized(self, market: Market, mark_ticks: int) -> Decimal:
        """Return the open P&L at a mark, in the settle currency, not rounded."""
        if self.qty == 0 or mark_ticks <= 0:
            return Decimal(0)
        gain = market.value(mark_ticks, abs(self.qty)) - self.cost
        direction = 1 if self.qty > 0 else -1
        return gain * direction * (-1 if market.contract == words.INVERSE else 1)

    def fill(self, market: Market, side: int, ticks: int, lots: int) -> Decimal:
        """Apply a fill and return what it realized, rounded to eight decimals."""
        realized = Decimal(0)
        with localcontext(_EXACT):
            closing = min(lots, abs(self.qty)) if self.qty * side < 0 else 0
            if closing:
                part = self.cost * closing / abs(self.qty)
                gain = market.value(ticks, closing) - part
                direction = -side * (-1 if market.contract == words.INVERSE else 1)
                realized = money(gain * direction)
                self.cost -= part
                self.qty += side * closing
                if self.qty == 0:
                    self.cost = Decimal(0)
            if lots > closing:
                self.cost += market.value(ticks, lots - closing)
                self.qty += side * (lots - closing)
        self.realized += realized
        return realized


class Account(msgspec.Struct, kw_only=True):
    """One account: how it signs, what it has. `total` includes what is locked by open orders."""

    name: str
    key: str = ""
    secret: str = ""
    index: int = 0
    total: dict[str, Decimal] = {}
    locked: dict[str, Decimal] = {}
    positions: dict[str, Position] = {}
    maker_fee: Decimal = Decimal("0.001")
    taker_fee: Decimal = Decimal("0.001")
    leverage: dict[str, int] = {}
    income: list[dict[str, str]] = []

    def __repr__(self) -> str:
        """Name the account, never its secret."""
        return f"Account({self.name})"

    def free(self, asset: str) -> Decimal:
        """Return what is not locked."""
        return self.total.get(asset, Decimal(0)) - self.locked.get(asset, Decimal(0))

    def add(self, asset: str, amount: Decimal) -> None:
        """Credit, or debit a negative amount."""
        self.total[asset] = self.total.get(asset, Decimal(0)) + amount

    def lock(self, asset: str, amount: Decimal) -> None:
        """Lock, or unlock a negative amount."""
        self.locked[asset] = self.locked.get(asset, Decimal(0)) + amount

    def position(self, symbol: str) -> Position:
        """Return the position of a symbol, made on first use."""
        if symbol not in self.positions:
            self.positions[symbol] = Position(leverage=self.leverage.get(symbol, 20))
        return self.positions[symbol]
