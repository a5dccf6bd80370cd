"""Try a strategy on the shipped recordings: the whole way of a live event, as fast as it goes.

One process and no sockets: recorded frames go through the venue's codec, the feeder's kernels and a
matrix of its own; the engine's step runs the strategy, the gate and the journal; paper accounts
fill, an order's latency later. All clocks are the recording's, so the same file gives the same
result. This shows what a strategy does, not what it would earn: a few minutes of one day, orders
that do not move the market, one latency for all.
"""

import asyncio
import heapq
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.clock import MachineClock, ManualClock
from alephtx.core.config_schema import Account, Config, MatrixConfig, Strategy, VenueConfig
from alephtx.core.errors import ConfigError
from alephtx.core.identity import first_order_id
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Batch, Codec, What
from alephtx.core.records import INTENT
from alephtx.engine import context as c
from alephtx.engine.assemble import Engine, assemble
from alephtx.engine.context import pack
from alephtx.engine.paper import LATENCY_NS, PaperGateway
from alephtx.engine.python_strategies import PythonStrategies
from alephtx.engine.status import counters_of, denied_by, ledger_of, strategies_of
from alephtx.engine.step import step
from alephtx.engine.venues import load_venue
from alephtx.feed.join import APPLY
from alephtx.feed.outlet import Outlet
from alephtx.ledger.book import Ledger
from alephtx.matrix.inputlog import null_inputs
from alephtx.matrix.journal import BALANCES, Journal, JournalHeader, journal_room, read, tail
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from alephtx.matrix.spsc import spsc_size
from alephtx.matrix.writers import beat, claim, name_hash
from alephtx.twins.main import make_twin
from alephtx.twins.options import TwinOptions
from alephtx.twins.replay import Track

OPENING = {
    "USDT": Decimal(1_000_000), "BTC": Decimal(20), "ETH": Decimal(400),
}  # fmt: skip
BUDGET = 256
ROOM_BYTES = 4 << 20
READ_MAX = 4096
PRIMING_NS = 60_000_000_000
BEAT_NS = 20_000_000
SNAPSHOT_MARK = b'{"lastUpdateId"'


class Tried(msgspec.Struct, kw_only=True):
    """What came of a try. frames: recorded messages; market_s: the time they span, in seconds."""

    strategy: str
    instruments: list[str]
    frames: int
    market_s: float
    took_s: float
    counters: dict[str, int]
    denied: dict[str, int]
    money: dict[str, Any]
    state: dict[str, int | float]
    reconciled: bool
    differences: list[str]


class PaperAccount(PaperGateway):
    """A paper account in the recording's time: the market moves it, not the event loop."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._under_way: list[tuple[int, int, Any]] = []
        self._count = 0

    def dispatch(self, row: Any) -> None:
        """Hold an order until its latency has passed."""
        self._count += 1
        heapq.heappush(self._under_way, (self.clock.now() + LATENCY_NS, self._count, row))

    def due(self, now_ns: int) -> int:
        """Let arrive what is due; return how many that were."""
        count = 0
        while self._under_way and self._under_way[0][0] <= now_ns:
            self.arrive(heapq.heappop(self._under_way)[2])
            count += 1
        return count


class _Source:
    """One recorded venue: its lines, its codec and its outlet into the matrix."""

    def __init__(self, track: Track, codec: Codec, matrix: Matrix, clock: ManualClock) -> None:
        venue = matrix.instruments.venues.index(codec.spec.name)
        self.track, self.codec = track, codec
        self.writer = int(claim(matrix.map, name_hash(f"feeder:{codec.spec.name}"), venue + 1))
        self.outlet = Outlet(matrix, codec.spec, venue, self.writer, clock)
        self._batch = Batch()
        self._held: dict[int, list[np.ndarray[Any, Any]]] = {}
        self._of_symbol = {
            matrix.instruments[i].symbol: i for i in matrix.instruments.of_venue(codec.spec.name)
        }

    def lines(self) -> Iterator[tuple[int, "_Source", str, bytes]]:
        """Yield the lines of this venue's wanted symbols."""
        for stamp, channel, raw in self.track.lines():
            if channel in self._of_symbol:
                yield stamp, self, channel, raw

    def take(self, stamp: int, channel: str, raw: bytes) -> None:
        """Publish one recorded frame; deltas wait for the recorded snapshot."""
        self._batch.clear()
        if raw.startswith(SNAPSHOT_MARK):
            self._snapshot(stamp, self._of_symbol[channel], raw)
        elif self.codec.decode("market", raw, stamp, self._batch) > 0:
            rows = self._batch.events[: self._batch.event_count]
            for start, end, verdict, i in self.outlet.take_in(0, rows, len(rows)):
                if verdict > APPLY:
                    self._held.setdefault(i, []).append(rows[start:end].copy())

    def _snapshot(self, stamp: int, i: int, raw: bytes) -> None:
        (request,) = self.codec.request(What.SNAPSHOT, stamp, instrument=i)
        self.codec.reply(request, 200, {}, raw, self._batch)
        rows = self._batch.events[: self._batch.event_count]
        rows["ts_recv"] = stamp
        self.outlet.seed(i, rows, int(rows[0]["seq"]))
        for held in self._held.pop(i, []):
            self.outlet.take_in(-1, held, len(held))


class Tryout:
    """One strategy on one recording. use: a file or a plugin's name; own: its config keys."""

    def __init__(
        self, folder: Path, use: str, instruments: tuple[str, ...], own: dict[str, Any]
    ) -> None:
        venues = tuple(dict.fromkeys(key.partition(":")[0] for key in instruments))
        twins = {venue: recorded(venue) for venue in venues}
        tracks = {venue: twin.track() for venue, twin in twins.items()}
        self.origin_ns = min(track.origin_ns for track in tracks.values())
        self.clock = ManualClock(self.origin_ns - PRIMING_NS)
        self.instruments = instruments_of(twins, instruments)
        self.config = Config(
            matrix=MatrixConfig(path=str(folder / "matrix")),
            venues={venue: VenueConfig(symbols=("X",)) for venue in venues},
            accounts={venue: Account(venue=venue) for venue in venues},
            strategies={
                "tried": Strategy(use=use, instruments=instruments, accounts=venues, own=own)
            },
        )
        geometry = Geometry(instruments_max=64, venues_max=4)
        self.matrix = Matrix.create(folder / "matrix", self.instruments, geometry)
        header = JournalHeader(
            node="try", engine=1, instruments=self.instruments.to_json(),
            accounts=msgspec.json.encode(list(venues)),
        )  # fmt: skip
        self.journal = Journal.open(folder / "journal", header=header, background=False)
        self.journal_path = folder / "journal"
        self.engine: Engine = assemble(
            self.config, self.instruments, self.matrix, self.journal.map, null_inputs()
        )
        self.ctx = self.engine.ctx
        self.ctx.control[c.X_NEXT_ORDER] = first_order_id(1, 1) + 1
        self.packed = pack(self.ctx)
        self.python = PythonStrategies(
            self.config, self.instruments, self.matrix, self.engine, self.clock
        )
        self._journal_tail = tail(self.journal_path)
        step(self.packed, 0)  # loads or compiles it, before anything is timed
        self.accounts = [
            PaperAccount(
                k, venue, OPENING, self.instruments, self.matrix, self.clock,
                self.engine.rings.updates[k].push,
            )
            for k, venue in enumerate(venues)
        ]  # fmt: skip
        self.sources = [
            _Source(
                track, load_venue(venue).bind(self.instruments, None, 0), self.matrix, self.clock
            )
            for venue, track in tracks.items()
        ]

    def close(self) -> None:
        """Give the matrix and the journal back."""
        self._journal_tail.close()
        self.journal.close()
        self.matrix.unlink()
        self.matrix.close()

    def run(self, market_s: float) -> Tried:
        """Replay so many seconds of the market and sum up."""
        machine = MachineClock()
        begun = machine.monotonic()
        for account in self.accounts:
            balances = [{"currency": n, "total": str(t)} for n, t in OPENING.items()]
            payload = {"account": account.account, "balances": balances}
            self.journal.append(BALANCES, msgspec.json.encode(payload), ts=self.clock.now())
        origin = self.origin_ns
        end = origin + int(market_s * 1e9)
        merged = heapq.merge(*(s.lines() for s in self.sources), key=lambda line: line[0])
        frames, enabled, next_beat = 0, False, 0
        for stamp, source, channel, raw in takewhile(lambda line: line[0] <= end, merged):
            self.clock.now_ns = stamp
            frames += 1
            if not enabled and stamp >= origin:
                enabled = True
                self._command(c.COMMAND_ENABLE)
                self.python.start()
            if stamp >= next_beat:
                next_beat = stamp + BEAT_NS
                for venue in self.sources:
                    beat(self.matrix.map, venue.writer, self.clock.monotonic())
            if sum(account.due(stamp) for account in self.accounts):
                self._step()
            source.take(stamp, channel, raw)
            for account in self.accounts:
                account.catch_up()
            self._step()
        self._stop()
        took = (machine.monotonic() - begun) / 1e9
        return self._summary(frames, max(0.0, (self.clock.now() - origin) / 1e9), took)

    def _command(self, kind: int) -> None:
        row = np.zeros(8, np.int64)
        row[0] = kind
        self.engine.rings.commands.push(row)

    def _step(self) -> None:
        """Run the step, then an uncompiled strategy, until they are idle."""
        self._run_step()
        while self.python:
            for record in self._journal_tail.poll(READ_MAX):
                self.python.take(record)
            self.python.round()
            if not spsc_size(self.engine.rings.python_intents.address):
                return
            self._run_step()

    def _run_step(self) -> None:
        """Run the step until it is idle, and hand its orders to the accounts."""
        self.ctx.now[0], self.ctx.now[3] = self.clock.now(), self.clock.monotonic()
        while reason := step(self.packed, BUDGET):
            if reason & c.R_JOURNAL or journal_room(self.journal.map) < ROOM_BYTES:
                self.journal.roll()
            if reason & c.R_OUTBOX:
                row = np.zeros(1, INTENT)
                while self.engine.rings.outbox.pop(row):
                    self.accounts[int(row[0]["account"])].submit(row)

    def _stop(self) -> None:
        """Let the strategy stop, then take off what it left."""
        self.python.stop()
        self._command(c.COMMAND_STOP)
        self._step()
        for _ in range(2):
            self.clock.advance(2 * LATENCY_NS)
            for account in self.accounts:
                account.due(self.clock.now())
                for order in list(account.live.values()):
                    row = np.zeros(1, INTENT)
                    row["op"], row["target_order_id"] = words.CANCEL, order.order_id
                    row["instrument"], row["account"] = order.instrument, account.account
                    account.submit(row)
            self._step()

    def _summary(self, frames: int, market_s: float, took_s: float) -> Tried:
        ledger = Ledger(self.instruments)
        ledger.fold(read(self.journal_path))
        differences: list[str] = []
        for account in self.accounts:
            asyncio.run(account.refresh())
            found = ledger.compare(account.account, account.balances, account.holdings)
            differences += [str(difference) for difference in found]
        return Tried(
            strategy=self.config.strategies["tried"].use,
            instruments=[instrument.key for instrument in self.instruments],
            frames=frames,
            market_s=market_s,
            took_s=took_s,
            counters=counters_of(self.engine),
            denied=denied_by(self.ctx.counters),
            money=ledger_of(ledger, self.engine, self.instruments),
            state=strategies_of(self.engine, self.instruments)[0]["state"],
            reconciled=not differences,
            differences=differences,
        )


def recorded(venue: str) -> Any:
    """Return the twin that knows a venue's recording and its symbols' rules."""
    twin = make_twin(venue, TwinOptions(venues=(venue,)))
    if not hasattr(twin, "info"):
        raise ConfigError(f"the recording of {venue} is too short to try on", remedy="see --help")
    return twin


def instruments_of(twins: dict[str, Any], wanted: tuple[str, ...]) -> Instruments:
    """Return the wanted instruments with the rules that the twins state for them."""
    table = Instruments()
    for venue, twin in twins.items():
        answer = twin.info
        symbols = [market.symbol for market in twin.exchange.markets]
        body = msgspec.json.encode(answer(None, {}))
        for instrument in load_venue(venue).parse_instruments(body, symbols):
            if instrument.key in wanted:
                table.add(instrument)
    known = {instrument.key for instrument in table}
    if missing := [key for key in wanted if key not in known]:
        raise ConfigError(f"no recording of {', '.join(missing)}", remedy="see --help")
    return table


def try_strategy(
    use: str, instruments: tuple[str, ...], own: dict[str, Any], market_s: float
) -> Tried:
    """Replay the shipped recording of these instruments through a strategy."""
    with tempfile.TemporaryDirectory(prefix="aleph-try-") as folder:
        tryout = Tryout(Path(folder), use, instruments, own)
        try:
            return tryout.run(market_s)
        finally:
            tryout.close()
