"""Two engines on a table that hear the same frames: one by the loop itself, one by a feeder.

No network: the direct one's sockets are socket pairs, whose other ends are the venue's. Time
stands still between two frames, so that what both send can be held against each other.
"""

from decimal import Decimal
from pathlib import Path

import numpy as np

from alephtx.core.clock import MachineClock
from alephtx.core.config_schema import Account, Config, MatrixConfig, Risk, Strategy, VenueConfig
from alephtx.core.identity import first_order_id
from alephtx.core.kernel import kernel
from alephtx.core.packed import pack_fields
from alephtx.core.ports import Batch, What
from alephtx.core.records import INTENT, TOP_ROW
from alephtx.core.secrets import Secret
from alephtx.core.stages import call_stage, stage_address
from alephtx.engine import context as c
from alephtx.engine.assemble import assemble
from alephtx.engine.context import pack
from alephtx.engine.direct_turn import D_LANES, DIRECT_FIELDS, serve_links
from alephtx.engine.entry import Entry
from alephtx.engine.entry_out import D_ENTRIES, W_LINK, send_out
from alephtx.engine.step import step
from alephtx.engine.tryout import instruments_of, load_venue, recorded
from alephtx.engine.wire import AccountWire
from alephtx.execution.gateway import Gateway
from alephtx.feed.beat import W_DUE
from alephtx.feed.join import GAP
from alephtx.feed.lane import RARELY, Lane
from alephtx.feed.outlet import Outlet
from alephtx.matrix.inputlog import InputLog
from alephtx.matrix.journal import Journal, JournalHeader
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_read
from alephtx.matrix.writers import claim, name_hash
from alephtx.net.wake import Wake
from alephtx.signers.hmac_sha256 import HmacSigner
from tests.net import links

VENUE, KEY, SYMBOL = "binance_usdm", "binance_usdm:BTC-USDT-PERP", "BTCUSDT"
CLOCK = MachineClock()
OFFSET = CLOCK.offset_ns
QUOTER = str(Path(__file__).with_name("quoter.py"))


def framed(payload, opcode=1):
    """Return a server's frame around a payload."""
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | opcode, size])
    elif size < 1 << 16:
        head = bytes([0x80 | opcode, 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | opcode, 127]) + size.to_bytes(8, "big")
    return head + payload


@kernel
def _serve(address, x):
    return call_stage(address, x, 0, 0)


class Side:
    """One engine: matrix, journal, strategy, and an outlet that feeds it."""

    def __init__(self, folder, *, use=QUOTER, baton=None, journal=None, **own):
        folder.mkdir(parents=True)
        self.instruments = instruments_of({VENUE: recorded(VENUE)}, (KEY,))
        self.config = Config(
            matrix=MatrixConfig(path=str(folder / "matrix"), depth=8),
            risk=Risk(notional_max=Decimal(10**6), orders_per_s=1_000_000, open_orders_max=10_000,
                      band_bps=500,
                      position_notional_max=Decimal(10**8), stale_ms=60_000),
            venues={VENUE: VenueConfig(symbols=(SYMBOL,))},
            accounts={"a": Account(venue=VENUE)},
            strategies={"s": Strategy(use=use, instruments=(KEY,), accounts=("a",), own=own)},
        )  # fmt: skip
        geometry = Geometry(instruments_max=4, venues_max=1, depth=8)
        self.matrix = Matrix.create(folder / "matrix", self.instruments, geometry)
        header = JournalHeader(
            node="test", engine=1, instruments=self.instruments.to_json(), accounts=b"[]"
        )
        self.journal = Journal.open(
            journal or folder / "journal", header=header, segment_bytes=8 << 20,
            background=journal is not None,
        )  # fmt: skip
        self.inputs = InputLog.open(folder / "inputs")
        self.engine = assemble(
            self.config, self.instruments, self.matrix, self.journal.map, self.inputs.map
        )
        self.ctx = self.engine.ctx
        self.ctx.control[c.X_NEXT_ORDER] = first_order_id(1, 1) + 1
        self.ctx.strategies[:, c.S_ENABLED] = 1
        self.packed = pack(self.ctx)
        signer = HmacSigner("key", Secret("secret"))
        self.codec = load_venue(VENUE).bind(self.instruments, signer, 0)
        writer = int(claim(self.matrix.map, name_hash("feeder"), 1))
        self.batch, self.left = Batch(events=65_536), []
        self.outlet = Outlet(
            self.matrix,
            self.codec.spec,
            0,
            writer,
            MachineClock(),
            stale_ns=1 << 62,
            baton=baton,
            stage=self.codec.market_stage(),
        )

    def seed(self, snapshot):
        """Begin the book with a recorded snapshot."""
        batch = self.batch
        batch.clear()
        (request,) = self.codec.request(What.SNAPSHOT, 0, instrument=0)
        self.codec.reply(request, 200, {}, snapshot, batch)
        rows = batch.events[: batch.event_count]
        self.outlet.seed(0, rows, int(rows[0]["seq"]))

    def take(self, frame):
        """Take a frame as a feeder does."""
        self.batch.clear()
        if self.codec.decode("market", frame, CLOCK.now(), self.batch) > 0:
            rows = self.batch.events
            self.think(self.outlet.take_in(0, rows, self.batch.event_count), rows)

    def think(self, left, rows):
        """Do what a feeder does about a gap, but for the snapshot."""
        self.left += [verdict for _, _, verdict, _ in left]
        for _, _, verdict, i in left:
            if verdict == GAP:
                self.outlet.gap(i, stale=False)

    def top(self):
        """Return the touch and its flags as any reader sees them, without their times."""
        out = np.zeros(1, TOP_ROW)
        assert top_read(self.matrix.map, 0, out) == 0
        return tuple(int(out[0][name]) for name in ("bid", "bid_qty", "ask", "ask_qty", "aux"))

    def step(self, now):
        """Let time be now and take what there is."""
        self.ctx.now[0], self.ctx.now[3] = now, now - OFFSET
        return int(step(self.packed, 64))

    def handed(self):
        """Return the rows that the main thread gets."""
        out, row = [], np.zeros(1, INTENT)
        while self.engine.rings.outbox.pop(row):
            out.append(row[0].copy())
        return out

    def close(self):
        """Give everything back."""
        self.journal.close()
        self.inputs.close()
        self.matrix.unlink()
        self.matrix.close()


class Asyncio:
    """A link's other side: what the loop hands over is decoded here, as by a feeder."""

    def __init__(self, side, link):
        self.side, self.link = side, link

    def attend(self):
        """Take the messages that were handed over."""
        while (record := self.link.to_python.pop()) is not None:
            self.side.lane._taken += 1
            self.side.take(record[3])


class DirectSide(Side):
    """An engine whose loop has the sockets; the venue's ends of them are `market` and `trade`."""

    def __init__(self, folder, **own):
        self.wake = Wake()
        self.links = links.Bench(), links.Bench()
        codec = load_venue(VENUE).bind(instruments_of({VENUE: recorded(VENUE)}, (KEY,)), None, 0)
        self.lane = Lane(codec, lambda: False, self.wake)
        super().__init__(folder, baton=self.lane.baton, **own)
        self.lane.bind(self.outlet, 1, 1 << 62)
        self.lane._beat.words[W_DUE] = 1 << 62  # nobody of them looks at the real clock
        self.market, self.trade = (link.peer for link in self.links)
        self.lane._addresses[0] = self.links[0].address
        self.lane._links[0] = [Asyncio(self, self.links[0])]
        clock = MachineClock()
        wire = AccountWire(VENUE, load_venue(VENUE).spec.endpoints["testnet"],
                           self.codec.spec.buckets, clock, None)  # fmt: skip
        self.gateway = Gateway(
            0, self.codec, wire, clock, self.engine.rings.updates[0].push, traded=[0]
        )
        self.wire = wire
        self.entry = Entry("a", self.gateway, wire, self.wake)
        self.entry.words[W_LINK] = self.links[1].address
        self.places = np.zeros((1, 3), np.int64)
        self.places[0] = self.lane.stage, self.lane.packed.ctypes.data, len(self.lane.packed)
        self.accounts = np.array([self.entry.packed.ctypes.data], np.int64)
        fields = [None] * DIRECT_FIELDS
        fields[D_LANES], fields[D_ENTRIES] = self.places, self.accounts
        self.ctx.direct[: DIRECT_FIELDS * 6] = pack_fields(fields)
        self.serving, self.owners = stage_address(serve_links)
        self.ctx.addresses[c.A_SEND], self.sending = stage_address(send_out)
        self.lane.baton.run()
        for _ in range(RARELY):  # both links are the loop's then
            self.serve()

    def serve(self):
        """Make one turn of the links."""
        return int(_serve(self.serving, self.packed))

    def attend(self):
        """Do what the loop left to Python."""
        self.lane.attend(self.think)

    def hear(self, *frames):
        """Send frames to the market link, as a server does."""
        for frame in frames:
            self.market.sendall(framed(frame))

    def sent(self):
        """Return the text frames that arrived at the trade link's other end, unmasked."""
        self.trade.setblocking(False)
        data = b""
        while True:
            try:
                data += self.trade.recv(1 << 20)
            except BlockingIOError:
                return links.unmasked(data)

    def close(self):
        super().close()
        for link in self.links:
            link.__exit__()
        self.wake.close()
