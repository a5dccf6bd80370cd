"""One recorded Binance USD-M depth message, from its bytes to an updated book, called from Python.

Ours ends in the shared matrix: join, book, ring slot, top and levels. ccxt's is its own handler as
`watch_order_book` calls it, with its snapshot, unlimited; NautilusTrader's and cryptofeed's are in
environments of their own (`lib/peer_books`). The plain way is typed msgspec and a dict
for each side, without any check of the sequence. All must end with the same touch.

Then recorded Hyperliquid books (`lib/decode_hyper`): the compiled scanner, the typed decoder
without it, which is how a venue without a scanner is read, and ccxt's handler.
"""

import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import ccxt.pro
import msgspec
import numpy as np
from lib import decode_hyper
from lib.peer import PEERS, Peer
from lib.rounds import interleave, options, report

from alephtx.core.atomics import monotonic_ns
from alephtx.core.clock import MachineClock
from alephtx.core.kernel import kernel
from alephtx.core.ports import Batch, What
from alephtx.engine.tryout import instruments_of, load_venue, recorded
from alephtx.feed.outlet import Outlet
from alephtx.matrix.book import Books, book_apply
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_read
from alephtx.matrix.writers import claim, name_hash

MESSAGES = 3_000
VENUE, KEY = "binance_usdm", "binance_usdm:BTC-USDT-PERP"


class Depth(msgspec.Struct):
    """What the plain way reads."""

    u: int
    pu: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class Stream(msgspec.Struct):
    """A message of the combined stream."""

    data: Depth


def frames_of():
    """Return (snapshot, the first depth messages that follow it)."""
    snapshot, frames = b"", []
    for recording in recorded(VENUE).track().recordings:
        if recording.channel == "BTCUSDT":
            for _, _, raw in recording.lines():
                if raw.startswith(b'{"lastUpdateId"'):
                    snapshot = raw
                elif b"@depth" in raw[:40]:
                    frames.append(raw)
    last = msgspec.json.decode(snapshot)["lastUpdateId"]
    joined = [f for f in frames if msgspec.json.decode(f, type=Stream).data.u >= last]
    return snapshot, joined[:MESSAGES]


class Ours:
    """The feeder's way: codec, join, publish."""

    def __init__(self, folder: Path) -> None:
        self.instruments = instruments_of({VENUE: recorded(VENUE)}, (KEY,))
        geometry = Geometry(instruments_max=4, venues_max=1)
        self.matrix = Matrix.create(folder / "matrix", self.instruments, geometry)
        self.codec = load_venue(VENUE).bind(self.instruments, None, 0)
        writer = int(claim(self.matrix.map, name_hash("bench"), 1))
        self.outlet = Outlet(
            self.matrix,
            self.codec.spec,
            0,
            writer,
            MachineClock(),
            stale_ns=1 << 62,
            stage=self.codec.market_stage(),
        )
        self.batch = Batch(events=65_536)

    def seed(self, snapshot: bytes) -> None:
        """Begin with a recorded snapshot."""
        self.batch.clear()
        (request,) = self.codec.request(What.SNAPSHOT, 0, instrument=0)
        self.codec.reply(request, 200, {}, snapshot, self.batch)
        rows = self.batch.events[: self.batch.event_count]
        self.outlet.seed(0, rows, int(rows[0]["seq"]))

    def run(self, frames: list[bytes]) -> None:
        """Take frames as the feeder does."""
        frame_in = self.outlet.frame_in
        for frame in frames:
            assert frame_in(0, frame, 1) == 0

    def touch(self) -> tuple[float, float]:
        """Return best bid and ask."""
        top = self.matrix_top()
        one = 10 ** self.instruments[0].price_scale
        return int(top["bid"]) / one, int(top["ask"]) / one

    def matrix_top(self):
        """Read the top as any reader does."""
        import numpy as np

        from alephtx.core.records import TOP_ROW

        out = np.zeros(1, TOP_ROW)
        assert top_read(self.matrix.map, 0, out) == 0
        return out[0]


class Ccxt:
    """ccxt.pro's handler on the parsed message, with its own JSON parser."""

    def __init__(self) -> None:
        self.exchange = ccxt.pro.binanceusdm({"enableRateLimit": False})
        market = self.exchange.safe_market_structure({
            "id": "BTCUSDT", "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT",
            "settle": "USDT", "type": "swap", "swap": True, "contract": True, "linear": True,
        })  # fmt: skip
        self.exchange.set_markets([market])
        self.client = SimpleNamespace(
            url="wss://fstream.binance.com/ws", subscriptions={},
            resolve=lambda *_: None, reject=self.refused,
        )  # fmt: skip

    @staticmethod
    def refused(error, *_):
        """Raise: a refused message would make the comparison worthless."""
        raise error

    def seed(self, snapshot: bytes) -> None:
        """Begin with a recorded snapshot."""
        body = self.exchange.parse_order_book(msgspec.json.decode(snapshot), "BTC/USDT:USDT")
        body["nonce"] = msgspec.json.decode(snapshot)["lastUpdateId"]
        book = self.exchange.order_book({})
        book.reset(body)
        self.exchange.orderbooks["BTC/USDT:USDT"] = book

    def run(self, frames: list[bytes]) -> None:
        """Parse and handle as the client does."""
        parse, handle, client = (
            self.exchange.parse_json,
            self.exchange.handle_order_book,
            self.client,
        )
        for frame in frames:
            handle(client, parse(frame.decode())["data"])

    def touch(self) -> tuple[float, float]:
        """Return best bid and ask."""
        book = self.exchange.orderbooks["BTC/USDT:USDT"]
        return book["bids"][0][0], book["asks"][0][0]


class Plain:
    """Typed msgspec, float, a dict a side."""

    def __init__(self) -> None:
        self.decoder = msgspec.json.Decoder(Stream)

    def seed(self, snapshot: bytes) -> None:
        """Begin with a recorded snapshot."""
        whole = msgspec.json.decode(snapshot)
        self.bids = {float(p): float(q) for p, q in whole["bids"]}
        self.asks = {float(p): float(q) for p, q in whole["asks"]}

    def run(self, frames: list[bytes]) -> None:
        """Apply absolute quantities."""
        decode = self.decoder.decode
        for frame in frames:
            data = decode(frame).data
            for side, changes in ((self.bids, data.b), (self.asks, data.a)):
                for price, qty in changes:
                    size = float(qty)
                    if size:
                        side[float(price)] = size
                    else:
                        side.pop(float(price), None)

    def touch(self) -> tuple[float, float]:
        """Return best bid and ask."""
        return max(self.bids), min(self.asks)


@kernel
def apply_all(books: Books, rows: np.ndarray, starts: np.ndarray) -> int:
    """Apply recorded messages to a book, one after the other; returns ns."""
    begun = monotonic_ns()
    for k in range(len(starts) - 1):
        book_apply(books, rows, starts[k], starts[k + 1])
    return monotonic_ns() - begun


def level_of(way: Ours, snapshot: bytes, frames: list[bytes]):
    """Return a function that gives us per level of a book alone, in a kernel."""
    found, starts = [], [0]
    for frame in frames:
        way.batch.clear()
        way.codec.decode("market", frame, 1, way.batch)
        found.append(way.batch.events[: way.batch.event_count].copy())
        starts.append(starts[-1] + len(found[-1]))
    rows, ends = np.concatenate(found), np.array(starts)

    def once() -> float:
        way.seed(snapshot)
        return apply_all(way.outlet.books, rows, ends) / (len(rows) - len(frames)) / 1000

    return once


def peers_of(folder: Path, snapshot: bytes, frames: list[bytes]) -> dict[str, Peer]:
    """Return the peers that are installed; says which are not."""
    file, found = folder / "frames", {}
    file.write_bytes(b"\n".join([snapshot, *frames]))
    for name in ("nautilus", "cryptofeed", "hummingbot"):
        if (PEERS / name / "bin" / "python").exists():
            peer = Peer(name, "peer_books.py", file, name)
            found[peer.name] = peer
        else:
            sys.stderr.write(f"no {name} to compare with: run `make peers`\n")
    return found


def timed(way, snapshot: bytes, frames: list[bytes]):
    """Return a function that runs a way once and gives us per message."""

    def once() -> float:
        way.seed(snapshot)
        begun = time.perf_counter_ns()
        way.run(frames)
        return (time.perf_counter_ns() - begun) / len(frames) / 1000

    return once


def hyperliquid(rounds: int, *, as_json: bool) -> None:
    """Measure whole books of Hyperliquid: with its scanner, without, and ccxt."""
    frames = decode_hyper.books_of(MESSAGES // 3)
    with tempfile.TemporaryDirectory() as folder:
        scanned = decode_hyper.Compiled(Path(folder) / "scanned")
        typed, ccxt_way = decode_hyper.Typed(Path(folder) / "typed"), decode_hyper.Ccxt()
        ways = {"scanner": scanned, "typed decoder": typed, f"ccxt {ccxt.__version__}": ccxt_way}
        figures = interleave({name: timed(way, b"", frames) for name, way in ways.items()}, rounds)
        touches = {name: way.touch() for name, way in ways.items()}
        assert len(set(touches.values())) == 1, touches
        for way in (scanned, typed):
            way.matrix.unlink()
    *mine, other = figures
    report(f"decode: {len(frames)} Hyperliquid books", figures, "us",
           against=dict.fromkeys(mine, other), as_json=as_json)  # fmt: skip


def main() -> None:
    """Measure; the books must agree, or the figures are worth nothing."""
    given = options(__doc__).parse_args()
    snapshot, frames = frames_of()
    with tempfile.TemporaryDirectory() as folder:
        ways = {"alephtx, into the matrix": Ours(Path(folder)), "msgspec and dicts": Plain(),
                f"ccxt {ccxt.__version__}": Ccxt()}  # fmt: skip
        runs = {name: timed(way, snapshot, frames) for name, way in ways.items()}
        others = peers_of(Path(folder), snapshot, frames)
        for name, peer in others.items():
            runs[name] = lambda peer=peer: peer.ask("run") / 1000
        ours = ways["alephtx, into the matrix"]
        level = "one level into a book, in a kernel"
        figures = interleave({**runs, level: level_of(ours, snapshot, frames)}, given.rounds)
        touches = {name: way.touch() for name, way in ways.items()}
        touches |= {name: tuple(peer.told["run"]) for name, peer in others.items()}
        assert len(set(touches.values())) == 1, touches
        ways["alephtx, into the matrix"].matrix.unlink()
    ours, plain, ccxt_way, *_ = figures
    peers = {f"alephtx against {name}": (name, ours) for name in (ccxt_way, *others)}
    ratios = {title: figures[name] / figures[mine] for title, (name, mine) in peers.items()}
    title = f"decode: {len(frames)} messages of {sum(map(len, frames)) // len(frames)} bytes"
    against = {ours: ccxt_way, plain: ccxt_way, **dict.fromkeys(others, ccxt_way)}
    figures |= {f"{name} (ratio)": ratio for name, ratio in ratios.items()}
    report(title, figures, "us", against=against, as_json=given.json)
    hyperliquid(given.rounds, as_json=given.json)


if __name__ == "__main__":
    main()
