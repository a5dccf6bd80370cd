"""Recorded Hyperliquid books for `decode.py`: our two ways and ccxt's.

Every message is a whole book, so there is no snapshot. The compiled way is the feeder's; the typed
one is what the codec does without its scanner - msgspec into Structs, then rows - and the same
join, book and matrix behind it.
"""

import io
import re
from pathlib import Path
from types import SimpleNamespace

import ccxt.pro
import msgspec
import numpy as np
import zstandard

from alephtx.core.clock import MachineClock
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Batch
from alephtx.core.records import TOP_ROW
from alephtx.engine.tryout import load_venue
from alephtx.feed.outlet import Outlet
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_read
from alephtx.matrix.writers import claim, name_hash
from alephtx.twins.extract import HYPERLIQUID
from alephtx.twins.hyperliquid import RECORDINGS, make_hyperliquid

COIN, SYMBOL = "BTC", "BTC/USDC:USDC"
FIRST_MS = 1_737_849_600_000
TIME = re.compile(rb'"time":(\d+)')


def books_of(messages: int) -> list[bytes]:
    """Return so many l2Book messages: the recorded ones over and over, a second apart."""
    found: list[tuple[bytes, bytes]] = []
    with (RECORDINGS / f"{HYPERLIQUID}.zst").open("rb") as file:
        for line in io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file), 1 << 20):
            raw = line.rstrip(b"\n").partition(b" ")[2]
            if raw.startswith(b'{"channel":"l2Book"'):
                time = TIME.search(raw)
                assert time is not None
                found.append((raw[: time.start(1)], raw[time.end(1) :]))
    turns = ((FIRST_MS + 1_000 * k, *found[k % len(found)]) for k in range(messages))
    return [b"%b%d%b" % (before, ms, behind) for ms, before, behind in turns]


class Compiled:
    """The feeder's way: one call of a kernel."""

    def __init__(self, folder: Path) -> None:
        venue = load_venue("hyperliquid")
        rules = msgspec.json.encode(make_hyperliquid().desk.meta())
        self.instruments = Instruments(venue.parse_instruments(rules, [COIN]))
        geometry = Geometry(instruments_max=4, venues_max=1)
        self.matrix = Matrix.create(folder, self.instruments, geometry)
        self.codec = venue.bind(self.instruments, None, 0)
        writer = int(claim(self.matrix.map, name_hash("bench"), 1))
        stage = self.codec.market_stage()
        self.outlet = Outlet(self.matrix, self.codec.spec, 0, writer, MachineClock(),
                             stale_ns=1 << 62, stage=stage)  # fmt: skip
        self.batch = Batch(events=4_096)

    def seed(self, snapshot: bytes) -> None:
        """Begin with nothing; the newest message wins, so the recording can begin anew."""
        self.outlet.intake.states[:] = 0

    def run(self, frames: list[bytes]) -> None:
        """Take frames as the feeder does."""
        frame_in = self.outlet.frame_in
        for frame in frames:
            assert frame_in(0, frame, 1) == 0

    def touch(self) -> tuple[float, float]:
        """Return best bid and ask."""
        out = np.zeros(1, TOP_ROW)
        assert top_read(self.matrix.map, 0, out) == 0
        one = 10 ** self.instruments[0].price_scale
        return int(out[0]["bid"]) / one, int(out[0]["ask"]) / one


class Typed(Compiled):
    """As `Compiled`, without its scanner."""

    def run(self, frames: list[bytes]) -> None:
        """Decode into Structs, then take the rows in."""
        decode, batch, take_in = self.codec.decode_slow, self.batch, self.outlet.take_in
        for frame in frames:
            batch.clear()
            n = decode("market", frame, 1, batch)
            assert n > 0
            assert take_in(0, batch.events, n) == []


class Ccxt:
    """ccxt.pro's handler on the parsed message, with its own JSON parser."""

    def __init__(self) -> None:
        self.exchange = ccxt.pro.hyperliquid({"enableRateLimit": False})
        market = self.exchange.safe_market_structure({
            "id": COIN, "symbol": SYMBOL, "base": COIN, "quote": "USDC", "settle": "USDC",
            "type": "swap", "swap": True, "contract": True, "linear": True,
        })  # fmt: skip
        self.exchange.set_markets([market])
        self.client = SimpleNamespace(resolve=lambda *_: None)

    def seed(self, snapshot: bytes) -> None:
        """Begin with nothing."""
        self.exchange.orderbooks.clear()

    def run(self, frames: list[bytes]) -> None:
        """Parse and handle as the client does."""
        parse, handle = self.exchange.parse_json, self.exchange.handle_order_book
        for frame in frames:
            handle(self.client, parse(frame.decode()))

    def touch(self) -> tuple[float, float]:
        """Return best bid and ask."""
        book = self.exchange.orderbooks[SYMBOL]
        return book["bids"][0][0], book["asks"][0][0]
