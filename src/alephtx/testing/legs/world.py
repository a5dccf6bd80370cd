"""One engine's compiled step, gate, order table, journal and leg guard; venues played by choices.

Everything a venue, a link or a strategy may do is one number of a list: 0 is always what a good day
brings. A list that ends goes on with zeros, so a shorter list is a simpler story. Time is virtual,
in ticks of five milliseconds.
"""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.config_schema import Account, Config, MatrixConfig, Risk, Strategy, VenueConfig
from alephtx.core.identity import first_order_id
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.records import INTENT, UPDATE
from alephtx.engine import context as c
from alephtx.engine.assemble import assemble
from alephtx.engine.context import pack
from alephtx.engine.status import leg_alarms
from alephtx.engine.step import step
from alephtx.execution.orders import OUTCOME
from alephtx.matrix.inputlog import InputLog
from alephtx.matrix.journal import Journal, JournalHeader
from alephtx.matrix.layout import Geometry
from alephtx.matrix.ring import ring_head, ring_publish, slot_aux
from alephtx.matrix.shm import Matrix

MS = 1_000_000
TICK_NS = 5 * MS
STEPS_MAX = 64
DEADLINE_MS = 800
NOW = 1_800_000_000_000_000_000
SPOT, PERP = 0, 1
LOTS = 3
SPOT_LOT_E8, PERP_LOT_E8 = 1_000, 100_000
BID, ASK = 6_000_000, 6_000_100
DELAYS_MS = (5, 30, 150, 400)

# What may become of an order; the first is a good day.
FATES = (
    "filled", "acked, filled", "partly, rest", "partly, gone", "refused", "rests", "lost, filled",
    "lost, never came", "silent", "late fill after its end",
)  # fmt: skip
CANCEL_FATES = ("gone", "filled meanwhile", "refused", "unanswered")
EVENTS = (
    "nothing", "spot stale", "perp stale", "spot cut off", "perp cut off", "disabled", "halted",
    "thin", "larger minimum",
)  # fmt: skip


class Order(msgspec.Struct):
    """An order as its venue has it. done: lots filled; over: off the book by the venue's word."""

    order_id: int
    instrument: int
    side: int
    lots: int
    ioc: bool
    guards: bool
    done: int = 0
    over: bool = False
    told: int = 0


def instruments() -> Instruments:
    """Return a spot market and a perpetual of one coin."""
    common: dict[str, Any] = {
        "base": "BTC", "quote": "USDT", "settle": "USDT", "price_scale": 2,
        "tick_size": Decimal("0.01"), "qty_max": Decimal(100), "price_max": Decimal(1_000_000),
        "notional_min": Decimal(5),
    }  # fmt: skip
    return Instruments(
        [
            Instrument(key="alpha:BTC-USDT", venue="alpha", symbol="BTCUSDT", contract=words.SPOT,
                       qty_scale=5, lot_size=Decimal("0.00001"), **common),
            Instrument(key="beta:BTC-USDT-PERP", venue="beta", symbol="BTCUSDT", underlying="BTC",
                       contract=words.LINEAR, qty_scale=3, lot_size=Decimal("0.001"), **common),
        ]
    )  # fmt: skip


class Choices:
    """A list of numbers, read from its front; zeros after its end. used: what was asked for."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers, self._at = numbers, 0
        self.used: list[int] = []

    def of(self, count: int) -> int:
        """Return the next choice, below count."""
        number = self._numbers[self._at] if self._at < len(self._numbers) else 0
        self._at += 1
        self.used.append(number % count)
        return number % count


class LegsWorld:
    """The engine, set up once; `play` runs one story on a fresh state."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.table = folder, instruments()
        pair = str(Path(__file__).with_name("pair.py"))
        self.config = Config(
            matrix=MatrixConfig(path=str(folder / "matrix"), depth=4, ring_slots=1024),
            risk=Risk(
                notional_max=Decimal(100_000), position_notional_max=Decimal(500_000),
                orders_per_s=1000, stale_ms=60_000, drawdown_max=Decimal(100_000),
                leg_deadline_ms=DEADLINE_MS,
            ),
            venues={venue: VenueConfig(symbols=("BTCUSDT",)) for venue in ("alpha", "beta")},
            accounts={"a": Account(venue="alpha"), "b": Account(venue="beta")},
            strategies={"pair": Strategy(
                use=pair, instruments=tuple(i.key for i in self.table), accounts=("a", "b"))},
        )  # fmt: skip
        geometry = Geometry(
            instruments_max=4, venues_max=2, depth=4, ring_slots=1024, signals_max=4
        )
        self.matrix = Matrix.create(folder / "matrix", self.table, geometry)
        header = JournalHeader(
            node="legs", engine=1, instruments=self.table.to_json(), accounts=b"[]"
        )
        self.journal = Journal.open(
            folder / "journal", header=header, segment_bytes=64 << 20, background=False
        )
        self.inputs = InputLog.open(folder / "inputs")
        self.engine = assemble(
            self.config, self.table, self.matrix, self.journal.map, self.inputs.map
        )
        self.ctx = self.engine.ctx
        self.ctx.control[c.X_NEXT_ORDER] = first_order_id(1, 1) + 1
        self.packed = pack(self.ctx)
        self.now, self.restless = NOW, False
        own = [a for a in self.ctx if isinstance(a, np.ndarray)][3:]
        self._arrays = [*own, *self.ctx.table, *self.ctx.gate]
        self._fresh = [array.copy() for array in self._arrays]
        self._trade = 0

    def close(self) -> None:
        """Let everything go."""
        self.journal.close()
        self.inputs.close()
        self.matrix.unlink()
        self.matrix.close()

    def fresh(self) -> None:
        """Put the engine's state back to its beginning; order ids and time go on."""
        next_order = int(self.ctx.control[c.X_NEXT_ORDER])
        for array, before in zip(self._arrays, self._fresh, strict=True):
            array[...] = before
        self.ctx.control[c.X_NEXT_ORDER] = next_order
        self.engine.strategies[0].state[:] = 0
        self.ctx.strategies[:, c.S_ENABLED] = 1
        for venue in range(2):
            self.ctx.next_slot[venue] = int(ring_head(self.matrix.map, venue)) + 1

    # -- what goes in and out ----------------------------------------------------------------

    def top(self, instrument: int, *, flags: int = 0, lots: int = 1_000_000) -> None:
        """Publish an instrument's touch."""
        aux = slot_aux(instrument, words.TOP, flags, 0)
        ring_publish(self.matrix.map, instrument, self.now, self.now, BID, lots, ASK, lots, aux)

    def update(self, account: int, **fields: int) -> None:
        """Let an account hear something."""
        row = np.zeros(1, UPDATE)
        row["cum_qty"], row["ts_recv"], row["account"] = -1, self.now, account
        row["instrument"] = account
        for name, value in fields.items():
            row[name] = value
        if not self.engine.rings.updates[account].push(row):
            raise AssertionError("the ring of updates is full")

    def fill(self, order: Order, lots: int) -> None:
        """Fill so many lots of an order, and tell it."""
        self._trade += 1
        order.done += lots
        status = words.FILLED if order.done >= order.lots else words.PARTIALLY_FILLED
        self.update(
            order.instrument, kind=words.FILL, order_id=order.order_id, side=order.side, qty=lots,
            price=ASK if order.side == words.BUY else BID, trade_id=self._trade, status=status,
        )  # fmt: skip

    def tick(self) -> list[Any]:
        """Go on by one tick; returns the intents that left."""
        self.now += TICK_NS
        self.ctx.now[0], self.ctx.now[3] = self.now, self.now - NOW + 1_000_000_000
        self.restless = True
        for _ in range(STEPS_MAX):
            reason = step(self.packed, 256)
            if reason & c.R_JOURNAL:
                self.journal.roll()
                self.inputs.grow()
            if not reason:
                self.restless = False
                break
        row, left = np.zeros(1, INTENT), []
        while self.engine.rings.outbox.pop(row):
            left.append(row[0].copy())
        asked = np.zeros(1, OUTCOME)
        while self.engine.rings.asks.pop(asked):
            pass
        return left

    def command(self, kind: int, argument: int = 0) -> None:
        """Hand a command to the loop."""
        row = np.zeros(8, np.int64)
        row[0], row[1] = kind, argument
        self.engine.rings.commands.push(row)

    # -- what there is to see ----------------------------------------------------------------

    @property
    def lane(self) -> Any:
        """The strategy's lane of the coin."""
        return self.ctx.lanes[0, int(self.ctx.instruments[PERP]["underlying"])]

    def alarms(self) -> list[str]:
        """Return what a person hears."""
        return leg_alarms(self.engine, self.table)
