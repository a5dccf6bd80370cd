"""Compile every kernel of the river ahead of the first run, two processes at a time.

`ensure_warm` is called by all that starts a run: with a warm cache it costs a few look-ups, with a
cold one it compiles with a line of progress, so that no feeder or engine does it while the market
moves. `python -m alephtx.engine.warm PART..` compiles parts.
"""

import fcntl
import gc
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np

from alephtx.core import kernel, words
from alephtx.core.config_schema import Account, Config, MatrixConfig, Strategy, VenueConfig
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.kernel import PACKAGE, cache_root, toolchain_digest
from alephtx.core.ports import Rows
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix

Shares = tuple[tuple[str, ...], ...]

SHARES: Shares = (("step", "main"), ("feed", "twins", "strategies"))
"""Two processes' parts, which take about as long (measured); a third would only import again."""


REPLAY: Shares = (("market",), ("arrivals", "replay", "reading"))
"""What backtests need; apart, so that nobody who trades waits for it."""


ORDERS: Shares = (("orders",),)
"""What writes and signs orders without Python; only for runs that send any."""

DIRECT: Shares = (("direct",),)
"""What the direct path needs besides; only for runs that have one."""


def shares_of(config: Config) -> Shares:
    """Return what a run of this config compiles before it begins, in two processes' parts."""
    first, second = ["step", "main"], ["feed"]
    direct = bool(config.direct_venues or config.loop_accounts)
    compiled = direct or config.feeders_wait != "asyncio"
    if compiled:
        second.append("direct")  # much of it is the feeders'; it has what writes orders
    second.append("strategies")
    if config.node.mode == "live" and config.accounts and not compiled:
        second.append("orders")
    if config.node.mode == "paper":
        (first if direct else second).append("twins")
    return tuple(first), tuple(second)


@cache
def _version() -> str:
    """Return a digest of this very source."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def marker(part: str) -> Path:
    """Return the file that says that a part of this very source is compiled in this cache."""
    return cache_root() / toolchain_digest() / f"warm-{part}-{_version()}"


def missing(shares: Shares = SHARES) -> Shares:
    """Return what is left to compile."""
    left = (tuple(part for part in parts if not marker(part).exists()) for parts in shares)
    return tuple(parts for parts in left if parts)


def ensure_warm(
    progress: Callable[[str], None],
    shares: Shares = SHARES,
    meanwhile: Callable[[], None] | None = None,
) -> int:
    """Compile what is not compiled yet; returns how many kernels that were.

    Of processes that start at once one compiles and the others wait for it. meanwhile: what this
    process can compile itself while others compile the rest; its errors end them.
    """
    if not kernel.JIT or not missing(shares):
        return 0
    with _alone(marker("all").with_suffix(".lock"), progress):
        left = missing(shares)
        return _compile(progress, left, meanwhile) if left else 0


@contextmanager
def _alone(lock: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock that ends with its holder; where none can be had, every kernel has its own."""
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # no room, or no descriptor
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process, which compiles the kernels")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _compile(
    progress: Callable[[str], None], shares: Shares, meanwhile: Callable[[], None] | None
) -> int:
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "alephtx.engine.warm", *parts],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for parts in shares
    ]  # fmt: skip
    said: list[str] = []
    tails: list[list[str]] = [[] for _ in running]
    readers = [
        threading.Thread(target=_follow, args=(process, tail, said, progress), daemon=True)
        for process, tail in zip(running, tails, strict=True)
    ]
    try:
        for reader in readers:
            reader.start()
        if meanwhile is not None:
            meanwhile()
        for process, tail, reader in zip(running, tails, readers, strict=True):
            reader.join()
            if process.wait() != 0:
                sys.stderr.writelines(tail[-5:])
                return len(said)
    finally:
        for process, reader in zip(running, readers, strict=True):
            process.terminate()
            process.wait()
            reader.join()
    with suppress(OSError):
        for part in (part for parts in shares for part in parts):
            marker(part).touch()
    return len(said)


def _follow(
    process: "subprocess.Popen[str]",
    tail: list[str],
    said: list[str],
    progress: Callable[[str], None],
) -> None:
    """Read what a process says to its end; tail: what else than its progress that was."""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            if line.startswith("compiling "):
                said.append(line)
                progress(f"compiling kernels, once per version: {len(said)}  {line[10:].strip()}")
            else:
                tail.append(line)


def compile_hooks(config: Config) -> None:
    """Compile the hooks of a config's strategies, without its market, and what reads a run."""
    from alephtx.engine._call import compile_strategy
    from alephtx.engine.assemble import lay_out, load_strategy_module
    from alephtx.engine.context import view_of
    from alephtx.engine.vamp_record import config_to_record
    from alephtx.matrix.inputlog import null_inputs
    from alephtx.matrix.journal import null_journal

    with tempfile.TemporaryDirectory(prefix="aleph-warm-") as name:
        folder, table = Path(name), _pair()
        ours = config_to_record(table[0]).strategies
        with _matrix(folder, table) as matrix:
            ctx, _ = lay_out(_config(folder, {}), table, matrix, null_journal(), null_inputs())
            for section in (*config.strategies.values(), *ours.values()):
                module = load_strategy_module(section, config.node.plugins)
                if getattr(module, "COMPILED", True):
                    params, state = np.zeros(1, module.PARAMS), np.zeros(1, module.STATE)
                    compile_strategy(module, view_of(ctx, 0), params, state)
        _reading(folder)


def plain_instrument(venue: str, contract: int, symbol: str) -> Instrument:
    """Return an instrument that kernels may be run on."""
    return Instrument(
        key=f"{venue}:{symbol}", venue=venue, symbol=symbol, base="BTC", quote="USDT",
        settle="USDT", contract=contract, price_scale=2, qty_scale=3, tick_size=Decimal("0.01"),
        lot_size=Decimal("0.001"), qty_max=Decimal(100), price_max=Decimal(1_000_000),
    )  # fmt: skip


@contextmanager
def _matrix(folder: Path, table: Instruments) -> Iterator[Matrix]:
    geometry = Geometry(instruments_max=4, venues_max=2, depth=4, ring_slots=64, signals_max=4)
    with Matrix.create(folder / "matrix", table, geometry) as matrix:
        yield matrix
        matrix.unlink()


def _config(folder: Path, strategies: dict[str, Strategy]) -> Config:
    return Config(
        matrix=MatrixConfig(path=str(folder / "matrix"), depth=4),
        venues={name: VenueConfig(symbols=("X",)) for name in ("alpha", "beta")},
        accounts={name: Account(venue=name) for name in ("alpha", "beta")},
        strategies=strategies,
    )


def _pair() -> Instruments:
    return Instruments([plain_instrument("alpha", words.LINEAR, "BTC-A"),
                        plain_instrument("beta", words.LINEAR, "BTC-B")])  # fmt: skip


def _step(folder: Path) -> None:
    """Assemble an engine without strategies and spin it once."""
    from alephtx.core.kernel import entry
    from alephtx.engine import context as c
    from alephtx.engine.assemble import assemble
    from alephtx.engine.context import pack
    from alephtx.engine.layers import Layers
    from alephtx.engine.loop import ask_to_leave, drive, spin
    from alephtx.engine.recovery import fold
    from alephtx.engine.updates import replay_update
    from alephtx.matrix.inputlog import null_inputs
    from alephtx.matrix.journal import null_journal
    from alephtx.matrix.ring import ring_publish, slot_aux
    from alephtx.matrix.spsc import spsc_take

    table = _pair()
    with _matrix(folder, table) as matrix:
        engine = assemble(_config(folder, {}), table, matrix, null_journal(), null_inputs())
        engine.ctx.control[c.X_NEXT_ORDER] = 1
        for venue in (0, 1):
            aux = slot_aux(venue, words.TOP, 0, 0)
            ring_publish(matrix.map, venue, 1, 1, 100_00, 5_000, 100_01, 5_000, aux)
        packed = pack(engine.ctx)
        Layers(engine.ctx, [], measure=False, live=False)
        spin(packed, 2, 0)
        ask_to_leave(packed, 1)
        drive(packed, 2, 1, 0)
        replay_update(packed)
        fold(_journal(folder, _intents()), engine.ctx, table)
        engine.rings.commands.push(np.zeros(8, np.int64))
        rows = engine.ctx.intents
        entry(spsc_take, 0, 0, 0)(engine.rings.outbox.address, rows.ctypes.data, 1)


def _main(folder: Path) -> None:
    """Call what the processes of a run call from Python: their live ones load it without Numba."""
    from alephtx.core.clock import MachineClock
    from alephtx.core.near import show
    from alephtx.core.ports import Bucket
    from alephtx.core.records import TOP_ROW
    from alephtx.matrix import writers
    from alephtx.matrix.ring import ring_head
    from alephtx.matrix.tops import top_read
    from alephtx.net.buckets import Buckets
    from alephtx.net.wake import Wake

    with _matrix(folder, _pair()) as matrix:
        writers.halt_set(matrix.map, 0)
        writers.halt_read(matrix.map)
        writers.writer_starts(matrix.map, writers.find_writer(matrix.map, "nobody"))
        ring_head(matrix.map, 0)
        top_read(matrix.map, 0, np.zeros(1, TOP_ROW))
    buckets = Buckets((Bucket("weight", 10, 1_000_000_000),), MachineClock())
    buckets.try_take((("weight", 1),))
    buckets.learn({"weight": 1})
    wake = Wake()
    wake.taken()
    wake.close()
    word = np.zeros(1, np.int64)
    show(word.ctypes.data, 0)
    _walk_torn(_journal(folder))


def _walk_torn(place: Path) -> None:
    """Look at a journal as a start does whose predecessor was killed in the middle of a record."""
    from alephtx.matrix.journal_read import list_segments, read_header, walk_segment

    path = list_segments(place)[-1]
    with path.open("ab") as file:
        file.write(bytes(248) + b"torn, or ")
    walk = walk_segment(path, read_header(path), repair=True)
    assert walk.torn_bytes


def _journal(folder: Path, intents: Rows | None = None) -> Path:
    """Write a journal of one record and such intents, and read it; returns where it is."""
    from alephtx.matrix.journal import EPOCH, INTENT, Journal, JournalHeader, read

    header = JournalHeader(node="warm", engine=1, instruments=b"[]", accounts=b"[]")
    place = folder / "journal"
    with Journal.open(place, header=header, segment_bytes=1 << 16, background=False) as journal:
        journal.append(EPOCH, bytes(8), ts=1)
        for row in () if intents is None else intents:
            journal.append(INTENT, row.tobytes(), ts=1)
    list(read(place))
    return place


def _intents() -> Rows:
    """Return an order's life as a journal tells it: placed, amended, cancelled."""
    from alephtx.core.records import INTENT

    rows = np.zeros(3, INTENT)
    rows["op"] = words.PLACE, words.AMEND, words.CANCEL
    rows["verdict"], rows["qty"], rows["price"], rows["side"] = words.PASS, 1, 1, 1
    rows["order_id"][0] = rows["target_order_id"][1:] = rows["group_id"] = 1
    return rows


def _strategies(folder: Path) -> None:
    """Compile the strategies that come with the package."""
    from alephtx.engine.assemble import lay_out, place_strategies
    from alephtx.matrix.inputlog import null_inputs
    from alephtx.matrix.journal import null_journal

    table = _pair()
    keys = tuple(instrument.key for instrument in table)
    qty = {"qty_base": "0.01"}
    config = _config(folder, {
        "arb": Strategy(use="arbitrage", instruments=keys, accounts=("alpha", "beta"),
                        own={**qty, "position_max_base": "1", "trigger_bps": "1"}),
        "mm": Strategy(use="market_maker", instruments=keys[:1], accounts=("alpha",),
                       own={**qty, "inventory_max_base": "1"}),
    })  # fmt: skip
    with _matrix(folder, table) as matrix:
        ctx, _ = lay_out(config, table, matrix, null_journal(), null_inputs())
        place_strategies(config, table, ctx)


FRAMES = {
    "binance_spot": b'{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1.0","B":"1",'
    b'"a":"2.0","A":"1"}}',
    "hyperliquid": b'{"channel":"l2Book","data":{"coin":"BTC","time":1,"levels":'
    b'[[{"px":"1.0","sz":"1.0","n":1}],[{"px":"2.0","sz":"1.0","n":1}]]}}',
}
"""One frame a scanner: decoding it compiles the whole scanner."""


def _feed(folder: Path) -> None:
    """Make an outlet, which runs its kernels once, and decode a frame of every dialect."""
    from alephtx.core.clock import MachineClock
    from alephtx.core.ports import Batch
    from alephtx.engine.venues import load_venue
    from alephtx.feed.outlet import Outlet
    from alephtx.matrix.writers import claim, name_hash

    symbols = {"binance_spot": "BTCUSDT", "hyperliquid": "BTC"}
    table = Instruments(
        [plain_instrument(v, words.LINEAR, symbol) for v, symbol in symbols.items()]
    )
    with _matrix(folder, table) as matrix:
        for venue, name in enumerate(table.venues):
            codec = load_venue(name).bind(table, None, 0)
            writer = int(claim(matrix.map, name_hash(name), 1))
            stage = codec.market_stage()  # type: ignore[attr-defined]  # both have one
            outlet = Outlet(matrix, codec.spec, venue, writer, MachineClock(), stage=stage)
            outlet.gap(venue, stale=True)
            codec.decode("market", FRAMES[name], 1, Batch(events=256, updates=4))


def _twins(folder: Path) -> None:
    """Run the matching kernels once; also the paper accounts'."""
    from alephtx.sim import matching

    matching.warm(matching.make_exchange(1, 4, 8))


def _market(folder: Path) -> None:
    """Compile the market's loop, which is half of a backtest's code."""
    from alephtx.core.kernel import entry
    from alephtx.engine.replay import replay

    entry(replay, np.zeros(1, np.int64), np.zeros((1, 1), np.int64), 1)


def _arrivals(folder: Path) -> None:
    """Compile what the market's loop needs last, for whoever compiles that meanwhile."""
    from alephtx.core.compiling import compile_callee
    from alephtx.sim.arrivals import arrive

    compile_callee(arrive, (np.zeros(1, np.int64), 0, 0))


def _one_row() -> Rows:
    from alephtx.core.records import TICK

    rows = np.zeros(1, TICK)
    rows["ts_event"] = rows["ts_recv"] = rows["price"] = rows["qty"] = rows["side"] = 1
    rows["kind"], rows["flags"] = words.DELTA, words.LAST_IN_MESSAGE
    rows.flags.writeable = False  # as those of a file
    return rows


def _replay(folder: Path) -> None:
    """Run a market of one message."""
    from alephtx.engine.backtest import Backtest, Tape

    table = Instruments([plain_instrument("alpha", words.LINEAR, "BTC-A")])
    Backtest([_config(folder, {})], table, [Tape(_one_row())]).run()


def _reading(folder: Path) -> None:
    """Compile what looks at a tape before a backtest and reads touches and journal after it."""
    from alephtx.core.kernel import entry
    from alephtx.core.records import TOP_ROW
    from alephtx.engine.tape_check import Feed, check_tape
    from alephtx.engine.touches import pull
    from alephtx.matrix.crc32c import START, crc_words

    check_tape(_one_row(), "alpha:BTC-A", Feed(None))
    top = np.zeros(1, TOP_ROW)
    entry(pull, np.zeros(1, np.int64), 0, top, top, top)
    _journal(folder)
    crc_words(START, top.ctypes.data, 1)  # of the hash of what has run


def _say(name: str) -> None:
    sys.stdout.write(f"compiling {name}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Compile parts, saying each kernel's name."""
    from alephtx.engine.warm_direct import direct, orders

    kernel.listeners.append(_say)
    parts = {
        "step": _step, "main": _main, "strategies": _strategies, "feed": _feed, "twins": _twins,
        "market": _market, "arrivals": _arrivals, "replay": _replay, "reading": _reading,
        "orders": orders, "direct": direct,
    }  # fmt: skip
    for part in arguments:
        with tempfile.TemporaryDirectory(prefix="aleph-warm-") as folder:
            parts[part](Path(folder))
    return 0


if __name__ == "__main__":
    gc.disable()  # trees of live objects, looked through again after each kernel
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # giving back what half a minute made takes a second, which somebody waits for
