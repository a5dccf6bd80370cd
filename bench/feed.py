"""A feeder under load: book messages a second from 24 connections into the matrix, and their age.

The sender (`lib/flood`) is a process of its own that pushes recorded Binance USD-M depth messages,
framed beforehand, at a set pace; the receiver is the product's feeder: picows on uvloop, the link
runner, sequence checks, snapshots over HTTP, books, ring, tops and levels in shared memory. A
message says when it was sent, so its lag is from then until it is in the matrix, every one counted
in the feeder's own histogram. Then ten times the pace for a second: it may take longer than that to
get through, but the books must be the sender's in the end. No message may be lost: the counts must
be equal, no sequence may break, no link may fall, and all 24 books are compared level by level with
those that plain dicts make of the same messages.

Recorded messages go round for a minute, so where the end meets the beginning a book is crossed for
a while: the feeder's remedy for that, a new snapshot, is off.
"""

import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
import uvloop
from decode import KEY, VENUE, frames_of
from lib.flood import STAMP_BASE, symbol_of
from lib.rounds import machine, options

from alephtx.core import log
from alephtx.core.clock import MachineClock
from alephtx.core.histogram import quantile
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Endpoints, Link
from alephtx.engine.tryout import instruments_of, load_venue, recorded
from alephtx.feed.feeder import Feeder, FeederOptions
from alephtx.matrix.layout import Geometry
from alephtx.matrix.levels import levels_read
from alephtx.matrix.shm import Matrix

LINKS, DEPTH, MESSAGES = 24, 32, 3_000
FLOOD = Path(__file__).parent / "lib" / "flood.py"
SECOND = 1_000_000_000
QUIET_S = 3.0


def table_of() -> Instruments:
    """Return one instrument a link, each like the recorded one."""
    (model,) = instruments_of({VENUE: recorded(VENUE)}, (KEY,))
    table = Instruments()
    for number in range(LINKS):
        symbol = symbol_of(number).decode()
        table.add(msgspec.structs.replace(model, key=f"{VENUE}:{symbol}", symbol=symbol))
    return table


def codec_of(table: Instruments):
    """Return the venue's codec with a link for every instrument."""
    codec = load_venue(VENUE).bind(table, None, 0)
    made = [Link(name=f"l{n}", role="market", path=f"/link{n}") for n in range(LINKS)]
    codec.links = lambda role, login="": made if role == "market" else []
    return codec


class Sender:
    """The flooding process."""

    def __init__(self, file: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            [sys.executable, FLOOD, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip
        self.port = self.answer()["port"]

    def answer(self):
        """Return what it says next."""
        line = self.process.stdout.readline()
        assert line, "the sender ended"
        return json.loads(line)

    async def ask(self, what: str, rate: float, seconds: float):
        """Let it flood; the loop goes on meanwhile."""
        self.process.stdin.write(f"{what} {rate} {seconds}\n")
        self.process.stdin.flush()
        return await asyncio.to_thread(self.answer)

    def end(self) -> None:
        """End it."""
        self.process.stdin.write("end\n")
        self.process.stdin.close()
        self.process.wait(10)


class Receiver:
    """The product's feeder; what it takes in is dated by when it was sent."""

    def __init__(self, matrix: Matrix, table: Instruments, port: int) -> None:
        self.matrix = matrix
        self.feeder = Feeder(
            codec_of(table), matrix, 0, MachineClock(matrix.clock_offset_ns),
            Endpoints(http=f"http://127.0.0.1:{port}", market=f"ws://127.0.0.1:{port}", private=""),
            source=random.Random(1),
            options=FeederOptions(stale_ns=60 * SECOND, crossed_max_ns=1 << 62, clock_ns=0),
        )  # fmt: skip
        self.outlet, self.offset = self.feeder.outlet, matrix.clock_offset_ns
        self.taken, self.outlet.frame_in = self.outlet.frame_in, self.frame_in

    def frame_in(self, link: int, frame: bytes, ts_recv: int) -> int:
        """Hand on a frame with the time of its sending in the place of that of its arrival."""
        at = frame.index(b'"u":') + 4
        sent = int(frame[at : at + 16]) - STAMP_BASE + self.offset
        return self.taken(link, frame, sent)

    def lags(self) -> dict[str, float]:
        """Return quantiles of the lag since the last call, ms."""
        counts = self.outlet.intake.latency
        names = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "most": 1.0}
        told = {name: quantile(counts, q) / 1e6 for name, q in names.items()}
        counts[:] = 0
        return told

    def levels(self, i: int):
        """Return the sides that any reader sees."""
        out = np.zeros((2, DEPTH, 2), np.int64)
        seq = int(levels_read(self.matrix.map, i, out))
        return seq, [[tuple(level) for level in side.tolist() if level[1]] for side in out]

    async def caught_up(self, wanted: int) -> None:
        """Wait until so many frames are in, at most a minute."""
        begun = time.monotonic()
        while self.feeder.counts.frames < wanted:
            assert time.monotonic() - begun < 60, (self.feeder.counts, wanted)
            await asyncio.sleep(0.005)


def books_of(snapshot: bytes, frames: list[bytes], sent: int, scales: tuple[int, int]):
    """Return the best levels that plain dicts come to after sent messages, one round at least."""
    price, qty = (10**scale for scale in scales)

    def number(text: str, one: int) -> int:
        return round(float(text) * one)

    whole = msgspec.json.decode(snapshot)
    sides = [{number(p, price): number(q, qty) for p, q in whole[k]} for k in ("bids", "asks")]
    for k in range(max(0, sent - len(frames)), sent):
        data = msgspec.json.decode(frames[k % len(frames)])["data"]
        for side, changes in zip(sides, (data["b"], data["a"]), strict=True):
            side.update((number(p, price), number(q, qty)) for p, q in changes)
    lists = [sorted((p, q) for p, q in side.items() if q) for side in sides]
    return [lists[0][::-1][:DEPTH], lists[1][:DEPTH]]


def check(receiver: Receiver, links, snapshot: bytes, frames: list[bytes]) -> None:
    """Compare every book with what the sender's messages come to."""
    made = {}
    for number in range(LINKS):
        sent, last = links[str(number)]
        instrument = receiver.matrix.instruments[number]
        scales = instrument.price_scale, instrument.qty_scale
        assert sent >= len(frames), "too short: not every message was sent once"
        if sent % len(frames) not in made:
            made[sent % len(frames)] = books_of(snapshot, frames, sent, scales)
        seq, found = receiver.levels(number)
        assert found == made[sent % len(frames)], f"the book of link {number} is not the sender's"
        assert seq == last or abs(last - seq) < SECOND, (seq, last)


def held_mib() -> float:
    """Return what this process holds now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def link_most_mib() -> float:
    """Return what a link's buffer may grow to, MiB: picows doubles it while one read fills it.

    A read is at most what the system keeps for a socket.
    """
    most = int(Path("/proc/sys/net/ipv4/tcp_rmem").read_text().split()[2])
    return 2 * most / 0.9 / (1 << 20)


async def measure(given, matrix: Matrix, table: Instruments, sender: Sender):
    """Warm up, pace, burst; returns the figures."""
    receiver = Receiver(matrix, table, sender.port)
    feeder = receiver.feeder
    task = asyncio.create_task(feeder.run())
    while len(feeder._up) < LINKS:  # noqa: SLF001
        assert not task.done(), task.exception()
        await asyncio.sleep(0.05)
    told = await sender.ask("pace", 20 * LINKS, QUIET_S)
    total = told["sent"]
    gc.collect()
    gc.freeze()
    gc.disable()  # as `feed.main` does
    told = await sender.ask("pace", 2 * MESSAGES * LINKS / QUIET_S / 2, QUIET_S)
    total += told["sent"]
    await receiver.caught_up(total)
    receiver.lags()
    before, busy, begun = held_mib(), time.process_time(), time.monotonic()
    told = await sender.ask("pace", given.rate, given.seconds)
    total += told["sent"]
    await receiver.caught_up(total)
    took = time.monotonic() - begun
    figures = {
        "messages a second": told["sent"] / took,
        "sender: most late, ms": told["late_ms"],
        **{f"lag {name}, ms": value for name, value in receiver.lags().items()},
        "receiver's processor time, %": 100 * (time.process_time() - busy) / took,
        "memory before, MiB": before, "memory after, MiB": held_mib(),
    }  # fmt: skip
    begun = time.monotonic()
    told = await sender.ask("burst", 10 * given.rate, 1)
    total += told["sent"]
    await receiver.caught_up(total)
    figures |= {
        "burst: messages": told["sent"],
        "burst: seconds until all are in": time.monotonic() - begun,
        **{f"burst: lag {name}, ms": value for name, value in receiver.lags().items()},
        "memory after the burst, MiB": held_mib(),
    }  # fmt: skip
    told = await sender.ask("burst", 10 * given.rate, 1)
    total += told["sent"]
    await receiver.caught_up(total)
    figures["memory after another burst, MiB"] = held_mib()
    assert held_mib() < before + LINKS * link_most_mib(), "memory grows without bound"
    counts = feeder.counts
    figures |= {
        "messages sent": total, "messages taken in": counts.frames, "sequence breaks": counts.gaps,
        "links lost": counts.link_losses, "not understood": counts.not_understood,
    }  # fmt: skip
    assert counts.frames == total, (counts, total)
    assert counts.gaps == counts.link_losses == counts.not_understood == 0, counts
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return receiver, told["links"], figures


def main() -> None:
    """Flood the feeder, compare the books, print."""
    parser = options(__doc__)
    parser.add_argument("--rate", type=float, default=50_000, help="messages a second")
    parser.add_argument("--seconds", type=float, default=60, help="for so long")
    given = parser.parse_args()
    log.configure(level="error")
    snapshot, frames = frames_of()
    frames = [frame for frame in frames if len(frame) < 65_000]
    table = table_of()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frames"
        file.write_bytes(b"\n".join([snapshot, *frames]))
        sender = Sender(file)
        geometry = Geometry(instruments_max=LINKS, venues_max=1, depth=DEPTH)
        path = Path(f"/dev/shm/aleph-bench-{os.getpid()}")
        with Matrix.create(path, table, geometry) as matrix:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    receiver, links, figures = runner.run(measure(given, matrix, table, sender))
                check(receiver, links, snapshot, frames)
            finally:
                sender.end()
                matrix.unlink()
    told = {"bench": f"feed: {LINKS} connections", "figures": figures, "machine": machine(),
            "load": os.getloadavg()[0]}  # fmt: skip
    if given.json:
        sys.stdout.write(json.dumps(told) + "\n")
        return
    sys.stdout.write(f"{told['bench']}  ({told['machine']}; load {told['load']:.1f})\n")
    for name, value in figures.items():
        sys.stdout.write(f"  {name:<42} {value:14.3f}\n")
    sys.stdout.write("  all 24 books are the sender's, level by level\n")


if __name__ == "__main__":
    main()
