"""Hyperliquid's message to a signed order, in memory: `ttt_inside` with its stages and whole books.

Nonces are prepared (`nonce_pool`, opt-in), and every signature takes one. They are made before the
first message and orders are checked after the last: in a run other threads do that, on cores of
their own. Arguments and answer are those of `ttt_inside`; at most NONCES messages.
"""

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import ttt_hyper as hyper
from ttt_inside import Inside, main
from ttt_plan import ABOVE_BID

from alephtx.core.clock import MachineClock
from alephtx.core.config_schema import (
    Account,
    Config,
    MatrixConfig,
    Node,
    Risk,
    Strategy,
    VenueConfig,
)  # fmt: skip
from alephtx.core.instruments import Instruments
from alephtx.core.secrets import resolve
from alephtx.core.stages import stage_address
from alephtx.engine.venues import load_venue
from alephtx.feed.outlet import Outlet
from alephtx.matrix import writers
from alephtx.matrix.layout import Geometry
from alephtx.matrix.ring import ring_head
from alephtx.matrix.shm import Matrix
from alephtx.signers.evm import EvmSigner
from alephtx.signers.nonce_pool import ENTRIES_MAX

VENUE, KEY = "hyperliquid", "hyperliquid:BTC-USD-PERP"
NONCES = ENTRIES_MAX


class Kept:
    """Orders that wait to be checked."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.bad = 0
        self.faults: list[str] = []

    def check(self, k: int, message: bytes) -> None:
        """Keep an order of tick k."""
        self.messages.append((k, message))


class HyperInside(Inside):
    """An engine on a table, with Hyperliquid's stages beside it."""

    def __init__(self, folder: Path, shape: str) -> None:
        self.clock = MachineClock()
        self.ticks = hyper.BookTicks()
        self._kept = Kept()
        venue = load_venue(VENUE)
        twin = hyper.Hyperliquid().make_twin(None)
        meta = msgspec.json.encode(twin.desk.meta())
        self.instruments = Instruments(venue.parse_instruments(meta, [hyper.COIN]))
        self.config = self._config(folder)
        geometry = Geometry(instruments_max=16, depth=32, ring_slots=4096)
        self.matrix = Matrix.create(
            folder / "matrix", self.instruments, geometry, clock_offset_ns=self.clock.offset_ns
        )
        self._engine(folder)
        signer = EvmSigner(resolve("twin"), NONCES)
        self.codec = venue.bind(self.instruments, signer, 0)
        self.codec.nonce_pool.fill(NONCES)
        orders = self.codec.order_stages()
        assert orders is not None
        sign = self.codec.signing_stage()
        self.stages = [self.codec.market_stage(), orders.write, sign, orders.seal]
        entered = [stage_address(stage.function) for stage in self.stages]
        self.addresses = np.array([address for address, _ in entered], np.int64)
        self._owners = [owner for _, owner in entered]
        writer = writers.claim(self.matrix.map, writers.name_hash("bench"), os.getpid())
        self.outlet = Outlet(self.matrix, venue.spec, 0, writer, self.clock)

    def _config(self, folder: Path) -> Config:
        instrument = self.instruments[0]
        own = {
            "qty": instrument.qty_lots(Decimal(hyper.PLAN.qty)), "above": ABOVE_BID["BUY"],
            "apart": ABOVE_BID["SELL"] - ABOVE_BID["BUY"],
            "step": instrument.price_ticks(hyper.PLAN.step),
        }  # fmt: skip
        use = str(Path(__file__).with_name("ttt_strategy.py"))
        return Config(
            node=Node(mode="live"),
            matrix=MatrixConfig(path=str(folder / "matrix"), depth=32, ring_slots=4096),
            risk=Risk(notional_max=100_000, position_notional_max=10_000_000, orders_per_s=10_000,
                      drawdown_max=100_000, stale_ms=60_000),
            venues={VENUE: VenueConfig(symbols=(hyper.COIN,))},
            accounts={"main": Account(venue=VENUE, nonce_pool=NONCES)},
            strategies={"ticker": Strategy(
                use=use, instruments=(KEY,), accounts=("main",), own=own)},
        )  # fmt: skip

    def start(self) -> None:
        """Begin with nothing: every message is a whole book."""
        self.ctx.next_slot[0] = int(ring_head(self.matrix.map, 0)) + 1
        self.ctx.now[0], self.ctx.now[3] = self.clock.now(), self.clock.monotonic()

    def checker(self) -> Kept:
        """Return what keeps orders until the end."""
        return self._kept

    def run(self, ticks: int, warm: int) -> dict[str, Any]:
        """Play ticks, then hold every order against its tick."""
        assert ticks + warm <= NONCES, "the library would sign the rest"
        told, checker = super().run(ticks, warm), hyper.HyperliquidChecker()
        for k, message in self._kept.messages:
            checker.check(k, message)
        faults = (told["faults"] + checker.faults)[:5]
        return told | {"bad": checker.bad, "faults": faults}


if __name__ == "__main__":
    main(HyperInside)
