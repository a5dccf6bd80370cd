"""A toy venue, a real matrix and a feeder between them; what tests look at."""

import asyncio
import random
from contextlib import asynccontextmanager

import numpy as np

from alephtx.core.clock import MachineClock
from alephtx.core.instruments import Instruments
from alephtx.core.ports import JoinRule
from alephtx.core.records import TOP_ROW
from alephtx.core.words import UNTRADEABLE_MASK
from alephtx.feed.feeder import Feeder, FeederOptions
from alephtx.matrix.layout import Geometry
from alephtx.matrix.levels import levels_read
from alephtx.matrix.ring import ring_head, ring_read
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_read
from tests.feed.toy_venue import ToyCodec, ToyVenue, instrument
from tests.net.servers import until

MS = 1_000_000
DEPTH = 8
QUICK = FeederOptions(
    stale_ns=10_000 * MS,
    crossed_max_ns=60 * MS,
    beat_ns=3 * MS,
    clock_ns=0,
    backoff_base_ns=5 * MS,
    backoff_cap_ns=20 * MS,
    first_delta_ns=10 * MS,
    connect_timeout_ns=500 * MS,
)


class Scene:
    def __init__(self, venue, matrix, feeder):
        self.venue, self.matrix, self.feeder = venue, matrix, feeder
        self.instruments = matrix.instruments
        self._top = np.zeros(1, TOP_ROW)
        self._levels = np.zeros((2, DEPTH, 2), np.int64)

    def index(self, symbol):
        return self.instruments.find("toy", symbol)

    def top(self, symbol="AAA"):
        assert top_read(self.matrix.map, self.index(symbol), self._top) == 0
        row = self._top[0]
        return tuple(int(row[name]) for name in ("bid", "bid_qty", "ask", "ask_qty"))

    def flags(self, symbol="AAA"):
        assert top_read(self.matrix.map, self.index(symbol), self._top) == 0
        return int(self._top[0]["aux"]) & UNTRADEABLE_MASK

    def levels(self, symbol="AAA"):
        assert levels_read(self.matrix.map, self.index(symbol), self._levels) >= 0
        return [[(int(p), int(q)) for p, q in side if q] for side in self._levels]

    def expected(self, symbol="AAA"):
        picture = self.venue.picture(symbol)
        return [[tuple(level) for level in picture[side][:DEPTH]] for side in ("b", "a")]

    def equal(self, symbol="AAA"):
        return self.levels(symbol) == self.expected(symbol) and self.flags(symbol) == 0

    async def live(self, *symbols):
        await until(lambda: all(self.equal(s) for s in symbols or ("AAA",)))

    def ring(self):
        """Return (kind, instrument) of every slot still in the ring."""
        out = np.zeros(1, TOP_ROW)
        kinds = []
        for k in range(1, ring_head(self.matrix.map, 0) + 1):
            if ring_read(self.matrix.map, 0, k, out) == 1:
                aux = int(out[0]["aux"])
                kinds.append((aux >> 32 & 0xFF, aux & 0xFFFFFFFF))
        return kinds


@asynccontextmanager
async def scene(
    tmp_path,
    rule=JoinRule.SPOT,
    symbols=("AAA",),
    *,
    options=QUICK,
    recorder=None,
    run=True,
    **codec,
):
    table = Instruments([instrument(symbol) for symbol in symbols])
    matrix = Matrix.create(
        tmp_path / "matrix", table, Geometry(instruments_max=8, depth=DEPTH, ring_slots=1024)
    )
    try:
        async with ToyVenue(rule, symbols) as venue:
            for symbol in symbols:
                venue.change(symbol, [(99, 5), (98, 7)], [(101, 4), (103, 9)])
            feeder = Feeder(
                ToyCodec(rule, matrix.instruments, **codec),
                matrix,
                0,
                MachineClock(matrix.clock_offset_ns),
                venue.endpoints,
                source=random.Random(7),
                record_to=recorder,
                options=options,
            )
            made = Scene(venue, matrix, feeder)
            task = asyncio.create_task(feeder.run())
            made.task = task
            try:
                yield made
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
    finally:
        matrix.unlink()
        matrix.close()
