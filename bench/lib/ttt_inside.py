"""From a message to the signed order, in memory: the stages of the product, and nothing between.

Scan, join, book, matrix, ring, step (view, strategy, gate, order table, journal), order, signature,
frame: the functions that the direct path calls, on the exchange's frames, in one compiled loop.
It plays a block of messages made beforehand, one after another, as a loop meets them: Python
between two messages would leave its own data in the caches, which costs the next some 250 ns. Every
order of a block is checked after it. Prints JSON: ns of each message, and the median of each part.
Reading the clock costs 16 to 30 ns, so parts are timed at half of the messages and the whole at the
others.

python ttt_inside.py '{"folder": ..., "core": 1, "shape": "short", "ticks": n, "warm": n}'
"""

import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import ttt_binance as binance
from ttt_links import client_frame
from ttt_plan import ABOVE_BID

from alephtx.core import words
from alephtx.core.atomics import monotonic_ns, pause
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
from alephtx.core.identity import first_order_id
from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, kernel
from alephtx.core.memory import copy_bytes
from alephtx.core.near import keep_near
from alephtx.core.packed import bytes_at, field
from alephtx.core.ports import (
    MARKET_ROWS,
    MARKET_TS_RECV,
    MARKET_WORDS,
    ORDER_FRAME,
    ORDER_NOW,
    ORDER_PAYLOAD,
    ORDER_WORDS,
    Batch,
    What,
)  # fmt: skip
from alephtx.core.records import EVENT, INTENT, UPDATE
from alephtx.core.secrets import resolve
from alephtx.core.stages import call_stage, stage_address
from alephtx.engine import context as c
from alephtx.engine.assemble import assemble
from alephtx.engine.step import step
from alephtx.engine.venues import load_venue
from alephtx.feed.intake import take_in
from alephtx.feed.outlet import Outlet
from alephtx.matrix import writers
from alephtx.matrix.inputlog import InputLog
from alephtx.matrix.journal import Journal, JournalHeader
from alephtx.matrix.layout import Geometry
from alephtx.matrix.ring import ring_head
from alephtx.matrix.shm import Matrix
from alephtx.matrix.spsc import spsc_pop, spsc_push
from alephtx.matrix.tops import top_read
from alephtx.signers.hmac_sha256 import HmacSigner

VENUE = "binance_usdm"
PARTS = ("scan", "join, book, matrix", "step: strategy, gate, journal", "order", "signature",
         "frame")  # fmt: skip
ORDER_MAX, FRAME_MAX = 1_024, 8_192
BLOCK, ROLL_EVERY = 200, 1_000
"""Messages played without Python between them; journal and input log have room for ROLL_EVERY."""
MARKET, WRITE, SIGN, SEAL = 0, 1, 2, 3
ADDRESS, STATE = 0, 1
_EVENTS, _I1 = np.zeros(1, EVENT), np.zeros(1, np.int64)


@kernel
def play(x: np.ndarray, now: np.ndarray, offset_ns: Int, matrix: np.ndarray, rule: Int,
         books: Any, state: Any, intake: Any, market: np.ndarray, write: np.ndarray,
         sign: np.ndarray, seal: np.ndarray, addresses: np.ndarray, rings: np.ndarray,
         intent: np.ndarray, update: np.ndarray, intent_at: Int, frame: Int, size: Int,
         out: np.ndarray, took: np.ndarray, apart: Int) -> int:  # fmt: skip
    """Make an order of one frame; returns the order's bytes, or < 0.

    took: when it began, when each part ended (with `apart`), and when the last one did.
    """
    took[0] = monotonic_ns()
    now[3] = took[0]
    now[0] = took[0] + offset_ns
    field(market, MARKET_WORDS, _I1)[MARKET_TS_RECV] = now[0]
    n = call_stage(addresses[MARKET], market, frame, size)
    if n <= 0:
        return -1
    if apart:
        took[1] = monotonic_ns()
    rows = field(market, MARKET_ROWS, _EVENTS)
    if take_in(matrix, 0, rule, 0, offset_ns, now[3], books, state, intake, rows, n) != 0:
        return -2
    if apart:
        took[2] = monotonic_ns()
    step(x, 64)
    if spsc_pop(rings[0], rings[2]) != 1:
        return -3
    if apart:
        took[3] = monotonic_ns()
    desk = field(write, ORDER_WORDS, _I1)
    desk[ORDER_NOW] = now[0]
    n = call_stage(addresses[WRITE], write, intent_at, 1)
    if n <= 0:
        return -4
    if apart:
        took[4] = monotonic_ns()
    n = call_stage(addresses[SIGN], sign, desk[ORDER_PAYLOAD], n)
    if n <= 0:
        return -5
    if apart:
        took[5] = monotonic_ns()
    n = call_stage(addresses[SEAL], seal, field(sign, 0, _I1)[0], n)
    took[6] = monotonic_ns()
    told = bytes_at(desk[ORDER_FRAME], n)
    for k in range(min(n, len(out))):
        out[k] = told[k]
    update[0]["order_id"] = intent[0]["order_id"]
    spsc_push(rings[1], rings[3])
    step(x, 64)
    return n


@kernel
def play_block(x: np.ndarray, now: np.ndarray, offset_ns: Int, matrix: np.ndarray, rule: Int,
               books: Any, state: Any, intake: Any, market: np.ndarray, write: np.ndarray,
               sign: np.ndarray, seal: np.ndarray, addresses: np.ndarray, rings: np.ndarray,
               intent: np.ndarray, update: np.ndarray, intent_at: Int, frames: np.ndarray,
               buffer: Int, orders: np.ndarray, sizes: np.ndarray,
               took: np.ndarray, wait_ns: Int, near: Int) -> None:  # fmt: skip
    """Make an order of every frame, one after another; each is first put where a read puts it.

    frames: address and bytes (n, 2). Receives orders, their bytes (or why not), and times. wait_ns:
    before each, as the loop waits; near: the address of its word for `keep_near`.
    """
    for k in range(len(frames)):
        if wait_ns > 0:
            until = monotonic_ns() + wait_ns
            while monotonic_ns() < until:
                keep_near(near)
                pause()
        size = frames[k, 1]
        copy_bytes(buffer, frames[k, 0], size)
        sizes[k] = play(
            x, now, offset_ns, matrix, rule, books, state, intake, market, write, sign, seal,
            addresses, rings, intent, update, intent_at, buffer, size, orders[k], took[k],
            k >> 1 & 1,
        )  # fmt: skip


class Inside:
    """An engine on a table, with one venue's stages beside it."""

    def __init__(self, folder: Path, shape: str) -> None:
        self.clock = MachineClock()
        self.near_word = np.zeros(1, np.int64)
        self.ticks = binance.Binance().ticks(shape)
        self.ticks.name("btcusdt@depth@0ms", wrapped=True)
        venue = load_venue(VENUE)
        twin = binance.Binance().make_twin(self.ticks.snapshot)
        listed = venue.parse_instruments(msgspec.json.encode(twin.info(None, {})), [binance.SYMBOL])
        self.instruments = Instruments(listed)
        self.config = self._config(folder)
        geometry = Geometry(instruments_max=16, depth=32, ring_slots=4096)
        self.matrix = Matrix.create(
            folder / "matrix", self.instruments, geometry, clock_offset_ns=self.clock.offset_ns
        )
        self._engine(folder)
        signer = HmacSigner(resolve("twin:key").reveal(), resolve("twin"))
        self.codec = venue.bind(self.instruments, signer, 0)
        orders = self.codec.order_stages()
        self.stages = [self.codec.market_stage(), orders.write, signer.stage(), orders.seal]
        entered = [stage_address(stage.function) for stage in self.stages]
        self.addresses = np.array([address for address, _ in entered], np.int64)
        self._owners = [owner for _, owner in entered]
        writer = writers.claim(self.matrix.map, writers.name_hash("bench"), os.getpid())
        self.outlet = Outlet(self.matrix, venue.spec, 0, writer, self.clock)

    def _config(self, folder: Path) -> Config:
        apart = ABOVE_BID["SELL"] - ABOVE_BID["BUY"]
        own = {"qty": 10, "above": ABOVE_BID["BUY"], "apart": apart, "step": 0}
        key = self.instruments[0].key
        use = str(Path(__file__).with_name("ttt_strategy.py"))
        return Config(
            node=Node(mode="live"),
            matrix=MatrixConfig(path=str(folder / "matrix"), depth=32, ring_slots=4096),
            risk=Risk(notional_max=100_000, position_notional_max=10_000_000, orders_per_s=10_000,
                      drawdown_max=100_000, stale_ms=60_000),
            venues={VENUE: VenueConfig(symbols=(binance.SYMBOL,))},
            accounts={"main": Account(venue=VENUE)},
            strategies={"ticker": Strategy(
                use=use, instruments=(key,), accounts=("main",), own=own)},
        )  # fmt: skip

    def _engine(self, folder: Path) -> None:
        header = JournalHeader(
            node="bench", engine=1, instruments=self.instruments.to_json(), accounts=b"[]"
        )
        self.journal = Journal.open(folder / "journal", header=header)
        self.inputs = InputLog.open(folder / "inputs")
        self.engine = assemble(
            self.config, self.instruments, self.matrix, self.journal.map, self.inputs.map
        )
        self.ctx = self.engine.ctx
        self.ctx.control[c.X_NEXT_ORDER] = first_order_id(1, 1) + 1
        self.ctx.strategies[:, c.S_ENABLED] = 1
        self.packed = c.pack(self.ctx)

    def start(self) -> None:
        """Give the book a snapshot, as the feeder does."""
        out = Batch()
        request = self.codec.request(What.SNAPSHOT, self.clock.now(), instrument=0)[0]
        told = self.ticks.snapshot(self.clock.now() // 1_000_000, 1_000)
        self.codec.reply(request, 200, {}, msgspec.json.encode(told), out)
        rows = out.events[: out.event_count].copy()
        rows["ts_recv"] = self.clock.now()
        first = binance.FIRST_ID + 1  # the next message is to contain the snapshot's number
        self.outlet.seed(0, rows, first)
        self.ctx.next_slot[0] = int(ring_head(self.matrix.map, 0)) + 1
        top_read(self.matrix.map, 0, self.ctx.top[:1])
        self.ctx.now[0], self.ctx.now[3] = self.clock.now(), self.clock.monotonic()

    def run(self, ticks: int, warm: int) -> dict[str, Any]:
        """Play ticks; returns what each took, and what was wrong."""
        checker = self.checker()
        total, parts, missed = [], [], 0
        for left in (*blocks(-warm), *blocks(ticks)):
            first, (orders, sizes, took) = self.ticks.k + 1, self.block(abs(left))
            if left < 0:
                continue
            for k, size in enumerate(sizes.tolist()):
                if size > 0:
                    checker.check(first + k, client_frame(orders[k, :size].tobytes()))
                    continue
                missed += 1
                checker.faults.append(f"tick {first + k}: the loop said {size}")
            good, apart = sizes > 0, np.arange(len(sizes)) >> 1 & 1 == 1
            parts.append(np.diff(took[good & apart]))
            total += (took[:, -1] - took[:, 0])[good & ~apart].tolist()
        told = {"took": total, "missed": missed, "bad": checker.bad, "strays": 0,
                "faults": checker.faults[:5]}  # fmt: skip
        medians = [statistics.median(column) for column in np.concatenate(parts).T.tolist()]
        return told | {"parts": dict(zip(PARTS, medians, strict=True))}

    def block(self, n: int, wait_ns: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Play n ticks, after a wait each; returns orders, their bytes, when their parts ended."""
        if self.ticks.k % ROLL_EVERY < BLOCK:
            self.journal.roll()
            self.inputs.grow()
        intent, update = np.zeros(1, INTENT), np.zeros(1, UPDATE)
        update["kind"], update["cum_qty"] = words.EXPIRE, 0
        rings = np.array([self.engine.rings.outbox.address, self.engine.rings.updates[0].address,
                          intent.ctypes.data, update.ctypes.data], np.int64)  # fmt: skip
        orders, sizes = np.zeros((n, ORDER_MAX), np.uint8), np.zeros(n, np.int64)
        took, buffer = np.zeros((n, len(PARTS) + 1), np.int64), np.zeros(FRAME_MAX, np.uint8)
        made = [np.frombuffer(self.ticks.next(self.clock.now() // 1_000_000), np.uint8)
                for _ in range(n)]  # fmt: skip
        assert max(frame.size for frame in made) <= FRAME_MAX
        frames = np.array([[frame.ctypes.data, frame.size] for frame in made], np.int64)
        outlet = self.outlet
        play_block(
            self.packed, self.ctx.now, self.clock.offset_ns, self.matrix.map, outlet.rule,
            outlet.books, outlet.state, outlet.intake, *(stage.state for stage in self.stages),
            self.addresses, rings, intent, update, intent.ctypes.data, frames,
            buffer.ctypes.data, orders, sizes, took, wait_ns, self.near_word.ctypes.data,
        )  # fmt: skip
        return orders, sizes, took

    def checker(self) -> Any:
        """Return what holds orders against their ticks."""
        return binance.BinanceChecker()

    def close(self) -> None:
        """Give back files and memory."""
        self.journal.close()
        self.inputs.close()
        self.matrix.unlink()
        self.matrix.close()


def blocks(ticks: int) -> list[int]:
    """Split ticks into blocks; those of fewer than none, which only warm up, are negative."""
    sign, left = (-1, -ticks) if ticks < 0 else (1, ticks)
    return [sign * min(BLOCK, left - done) for done in range(0, left, BLOCK)]


def main(kind: type[Inside] = Inside) -> None:
    """Measure once."""
    given = json.loads(sys.argv[1])
    os.sched_setaffinity(0, {given["core"]})
    inside = kind(Path(given["folder"]), given["shape"])
    try:
        inside.start()
        told = inside.run(given["ticks"], given["warm"])
    finally:
        inside.close()
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
