"""A strategy's world in miniature: real order table, real gate, a venue that a test plays."""

from decimal import Decimal as Dec

import msgspec
import numpy as np

from alephtx.core import words as w
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.kernel import JIT, kernel
from alephtx.core.records import EVENT, INTENT, POSITION, SIGNAL_ROW, TOP_ROW, UPDATE
from alephtx.core.view import View
from alephtx.execution import orders as o
from alephtx.ledger.positions import position_fill
from alephtx.risk.gate import gate_check
from alephtx.risk.limits import make_gate

NOW = 1_700_000_000_000_000_000
MS = 1_000_000
SPOT, PERP, COIN, ETH = 0, 1, 2, 3
SPOT_KEY, PERP_KEY, COIN_KEY = "a:BTC-USDT", "b:BTC-USDT-PERP", "c:BTC-USD-PERP"
ETH_KEY = "b:ETH-USDT-PERP"

_compiled = {}


def hooks(module):
    """Return the module's functions, compiled when the JIT is on."""
    if module.__name__ not in _compiled:
        names = ("on_start", "on_event", "on_update", "on_timer", "on_stop")
        made = {name: getattr(module, name, None) for name in names}
        _compiled[module.__name__] = {
            name: kernel(function) if JIT and function is not None else function
            for name, function in made.items()
        }
    return _compiled[module.__name__]


class Risk:
    qty_max = None
    notional_max = position_notional_max = Dec(10_000_000)
    band_bps, orders_per_s, stale_ms, open_orders_max = 500, 10_000, 1500, 16
    drawdown_max = Dec(1_000_000)
    rates: dict = {}  # noqa: RUF012


def instruments(taker="0.0004"):
    """BTC: spot lots of 0.00001, linear of 0.001, inverse contracts of 100 USD."""
    fees = {"maker_fee": Dec("0.0001"), "taker_fee": Dec(taker), "underlying": "BTC"}
    return Instruments([
        Instrument(
            key=SPOT_KEY, venue="a", symbol="BTCUSDT", base="BTC", quote="USDT", settle="USDT",
            contract=w.SPOT, price_scale=2, qty_scale=5, tick_size=Dec("0.01"),
            lot_size=Dec("0.00001"), qty_min=Dec("0.00001"), notional_min=Dec(5), **fees,
        ),
        Instrument(
            key=PERP_KEY, venue="b", symbol="BTCUSDT", base="BTC", quote="USDT", settle="USDT",
            contract=w.LINEAR, price_scale=1, qty_scale=3, tick_size=Dec("0.1"),
            lot_size=Dec("0.001"), qty_min=Dec("0.001"), notional_min=Dec(5), **fees,
        ),
        Instrument(
            key=COIN_KEY, venue="c", symbol="BTCUSD_PERP", base="BTC", quote="USD", settle="BTC",
            contract=w.INVERSE, price_scale=1, qty_scale=0, tick_size=Dec("0.1"), lot_size=Dec(1),
            qty_min=Dec(1), contract_value=Dec(100), **fees,
        ),
    ])  # fmt: skip


def with_eth(taker="0.0004"):
    """The same, and a linear contract of ETH: ticks of 0.01, lots of 0.001."""
    perp = instruments(taker)[PERP]
    eth = msgspec.structs.replace(
        perp, key=ETH_KEY, symbol="ETHUSDT", base="ETH", underlying="ETH", price_scale=2,
        tick_size=Dec("0.01"),
    )  # fmt: skip
    return Instruments([*instruments(taker), eth])


class World:
    """One strategy over an order table, a gate and positions, as the engine joins them."""

    def __init__(self, module, section, *, taker="0.0004", risk=None, gate=True, table=None):
        self.instruments = table or instruments(taker)
        self.module, self.hooks = module, hooks(module)
        self.params = module.config_to_params(section, self.instruments)
        self.state = np.zeros(1, module.STATE)
        n = len(self.instruments)
        self.table = o.make_order_table(1, 16, 64, instruments=n, accounts=1, trades=1024)
        self.gate = make_gate(risk or Risk(), self.instruments, 1, 1)
        self.use_gate = gate
        self.account_positions = np.zeros((1, n), POSITION)
        self.view = View(
            now=np.array([NOW, 1, 0, 10**12], np.int64),
            top=np.zeros(n, TOP_ROW),
            levels=np.zeros((n, 2, 1, 2), np.int64),
            signals=np.zeros(1, SIGNAL_ROW),
            positions=np.zeros(n, POSITION),
            orders=self.table.orders[0],
            open_count=self.table.open_count[0],
            instruments=self.instruments.rows(),
        )
        self.intents = np.zeros(16, INTENT)
        self.out = np.zeros(1, o.OUTCOME)
        self.realized = np.zeros(1, np.int64)
        self.next_id, self.next_trade = 100, 1
        self.sent = []  # (op, instrument, side, price, qty, flags) of what passed the gate
        self.denied = []
        for i in range(n):
            scale = 10 ** int(self.view.instruments[i]["price_scale"])
            self.quote(i, 50_000 * scale, 50_000 * scale + 1, tell=False)
        self.run("on_start")

    # -- what a test says ---------------------------------------------------------------

    def quote(self, i, bid, ask, bid_qty=10**6, ask_qty=10**6, *, tell=True, aux=0):
        """Set a touch, now; tell: let the strategy see the event."""
        row = self.view.top[i]
        row["bid"], row["ask"], row["bid_qty"], row["ask_qty"] = bid, ask, bid_qty, ask_qty
        row["ts_recv"], row["aux"] = self.view.now[0], aux
        if tell:
            event = np.zeros(1, EVENT)
            event["instrument"], event["kind"] = i, w.TOP
            return self.run("on_event", event)
        return 0

    def fresh(self):
        """Let every touch be as of now."""
        self.view.top["ts_recv"] = self.view.now[0]

    def wait(self, ns, *, tell=True):
        self.view.now[0] += ns
        self.view.now[3] += ns
        return self.run("on_timer", int(self.view.now[0])) if tell else 0

    def live(self):
        return [self.table.orders[0, k].copy() for k in range(int(self.table.open_count[0, 0]))]

    def order(self, instrument, side):
        """The one live order of an instrument and side."""
        found = [r for r in self.live() if r["instrument"] == instrument and r["side"] == side]
        assert len(found) == 1, found
        return found[0]

    def tell(self, kind, order, **fields):
        """Play the venue: one report about an order; the strategy hears it unless it is no news."""
        row = np.zeros(1, UPDATE)
        row["kind"], row["order_id"], row["cum_qty"] = kind, order["order_id"], -1
        row["instrument"], row["ts_recv"] = order["instrument"], self.view.now[0]
        for name, value in fields.items():
            row[name] = value
        result = o.orders_apply(self.table, row, self.out)
        fill_qty = int(self.out[0]["fill_qty"])
        if fill_qty:
            i, side, price = (int(self.out[0][n]) for n in ("instrument", "side", "fill_price"))
            for rows in (self.view.positions, self.account_positions[0]):
                position_fill(
                    rows[i : i + 1], self.view.instruments[i : i + 1], side, price, fill_qty,
                    self.realized,
                )  # fmt: skip
        if result in (o.APPLIED, o.OVERFILL):
            self.run("on_update", row)
        return result

    def fill(self, order, qty=None, price=None):
        self.next_trade += 1
        qty = order["leaves_qty"] if qty is None else qty
        price = order["price"] if price is None else price
        return self.tell(w.FILL, order, trade_id=self.next_trade, qty=qty, price=price)

    # -- the engine's part --------------------------------------------------------------

    def run(self, hook, *first):
        function = self.hooks[hook]
        if function is None:
            return 0
        self.intents[:] = np.zeros(1, INTENT)[0]
        n = int(function(*first, self.view, self.params, self.state, self.intents))
        assert 0 <= n <= len(self.intents)
        if n:
            self.emit(n)
        return n

    def emit(self, n):
        batch = self.intents[:n].copy()
        for k in range(n):
            if batch[k]["op"] == w.PLACE:
                batch[k]["order_id"] = self.next_id
                self.next_id += 1
        if self.use_gate:
            gate_check(batch, n, self.view, self.gate, self.table, self.account_positions, 0)
        refused = []
        for k in range(n):
            row = batch[k : k + 1]
            if row[0]["verdict"] != w.PASS:
                self.denied.append(int(row[0]["verdict"]))
                refused.append(row)
                continue
            if row[0]["op"] == w.PLACE:
                assert o.orders_place(self.table, row, int(self.view.now[0])) == 0
            else:
                target = int(row[0]["target_order_id"])
                assert o.orders_cancelling(self.table, target, 1) == 0
            names = ("op", "instrument", "side", "price", "qty", "flags")
            self.sent.append(tuple(int(row[0][name]) for name in names))
        for row in refused:
            if row[0]["op"] == w.PLACE:
                update = np.zeros(1, UPDATE)
                o.orders_denied(row, int(self.view.now[0]), update)
                self.run("on_update", update)

    def qty(self, i):
        return int(self.view.positions[i]["qty"])

    def of(self, name):
        return int(self.state[0][name])
