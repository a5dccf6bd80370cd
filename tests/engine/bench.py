"""An engine on a table: a real matrix, journal and input log, one strategy, no network."""

from decimal import Decimal
from pathlib import Path

import numpy as np

from alephtx.core import words
from alephtx.core.config_schema import Account, Config, MatrixConfig, Risk, Strategy, VenueConfig
from alephtx.core.identity import first_order_id
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.records import INTENT, UPDATE
from alephtx.engine import context as c
from alephtx.engine.assemble import assemble
from alephtx.engine.context import pack
from alephtx.engine.step import step
from alephtx.matrix.inputlog import InputLog
from alephtx.matrix.journal import Journal, JournalHeader
from alephtx.matrix.layout import Geometry
from alephtx.matrix.ring import ring_publish, slot_aux
from alephtx.matrix.shm import Matrix

QUOTER = str(Path(__file__).with_name("quoter.py"))
NOW = 1_800_000_000_000_000_000


def instrument(venue: str) -> Instrument:
    return Instrument(
        key=f"{venue}:BTC-USDT", venue=venue, symbol="BTCUSDT", base="BTC", quote="USDT",
        settle="USDT", contract=words.LINEAR, price_scale=2, qty_scale=5,
        tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"), qty_max=Decimal(100),
        price_max=Decimal(1_000_000), taker_fee=Decimal("0.0004"),
    )  # fmt: skip


class Bench:
    """The engine under test and the hands that feed it."""

    def __init__(
        self,
        folder: Path,
        *,
        risk: Risk | None = None,
        ring_slots: int = 64,
        engine: int = 1,
        epoch: int = 1,
        use: str = QUOTER,
        **own,
    ) -> None:
        self.folder = folder
        self.instruments = Instruments([instrument("alpha"), instrument("beta")])
        self.config = Config(
            matrix=MatrixConfig(path=str(folder / "matrix"), depth=4, ring_slots=ring_slots),
            risk=risk or Risk(notional_max=Decimal(10_000), orders_per_s=1000),
            venues={"alpha": VenueConfig(symbols=("BTCUSDT",)),
                    "beta": VenueConfig(symbols=("BTCUSDT",))},
            accounts={"a": Account(venue="alpha"), "b": Account(venue="beta")},
            strategies={"quoter": Strategy(
                use=use, instruments=("alpha:BTC-USDT",), accounts=("a",), own=own)},
        )  # fmt: skip
        geometry = Geometry(
            instruments_max=4, venues_max=2, depth=4, ring_slots=ring_slots, signals_max=4
        )
        self.matrix = Matrix.create(folder / "matrix", self.instruments, geometry)
        header = JournalHeader(
            node="test", engine=engine, instruments=self.instruments.to_json(), accounts=b"[]"
        )
        self.journal = Journal.open(
            folder / "journal", header=header, segment_bytes=8 << 20, background=False
        )
        self.inputs = InputLog.open(folder / "inputs")
        self.engine = assemble(
            self.config, self.instruments, self.matrix, self.journal.map, self.inputs.map
        )
        self.ctx = self.engine.ctx
        self.ctx.control[c.X_NEXT_ORDER] = first_order_id(engine, epoch) + 1
        self.packed = pack(self.ctx)
        self.ctx.strategies[:, c.S_ENABLED] = 1
        self.now = NOW

    @property
    def state(self):
        return self.engine.strategies[0].state[0]

    def step(self, budget: int = 64, *, after_ns: int = 1_000) -> int:
        self.now += after_ns
        self.ctx.now[0], self.ctx.now[3] = self.now, self.now - NOW + 1_000_000_000
        return int(step(self.packed, budget))

    def top(self, bid: int, ask: int, *, venue: int = 0, flags: int = 0) -> int:
        aux = slot_aux(venue, words.TOP, flags, 0)
        return int(
            ring_publish(
                self.matrix.map, venue, self.now, self.now, bid, 1_000_000, ask, 1_000_000, aux
            )
        )

    def update(self, account: int = 0, **fields) -> None:
        row = np.zeros(1, UPDATE)
        row["cum_qty"], row["ts_recv"], row["account"] = -1, self.now, account
        for name, value in fields.items():
            row[name] = value
        assert self.engine.rings.updates[account].push(row)

    def sent(self) -> list:
        out, row = [], np.zeros(1, INTENT)
        while self.engine.rings.outbox.pop(row):
            out.append(row[0].copy())
        return out

    def command(self, kind: int, argument: int = 0) -> None:
        row = np.zeros(8, np.int64)
        row[0], row[1] = kind, argument
        self.engine.rings.commands.push(row)

    def close(self) -> None:
        self.journal.close()
        self.inputs.close()
        self.matrix.unlink()
        self.matrix.close()
