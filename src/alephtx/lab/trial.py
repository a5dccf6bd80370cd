"""One task of a sweep: some sets, side by side, over one window of the market.

What runs in worker processes and on a cluster is `run_task`. A task carries configs and moments;
market data is opened where it runs, mapped into memory, so that workers of one machine share it.
"""

import hashlib
import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce
from importlib.metadata import version
from operator import xor
from pathlib import Path

import msgspec
import numpy as np

import alephtx
from alephtx.analysis.equity_curve import value_of
from alephtx.core.config_schema import Config, MatrixConfig, Node
from alephtx.core.errors import AlephError, ConfigError, SimulationError
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.units import MONEY_SCALE
from alephtx.engine import context as c
from alephtx.engine.backtest import Backtest
from alephtx.engine.market import Market, load_market
from alephtx.lab.plan import with_set
from alephtx.lab.space import Set
from alephtx.lab.walk import Window
from alephtx.ledger.readings import traded_currency


class Task(msgspec.Struct, frozen=True):
    """Sets that share a pass. ids: theirs, in the same order."""

    config: Config
    window: Window
    period_ns: int
    sets: list[Set]
    ids: list[str]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a set came to. error: why it could not run; then the rest says nothing.

    net: P&L after fees, open positions at the middle as heard last, in the settle currency.
    values: net of each whole period; ratios are made of them. digest: half its `state_hash`.
    """

    id: str
    params: dict[str, bool | int | str]
    start_ns: int
    end_ns: int
    net: float = 0.0
    values: list[float] = []
    orders: int = 0
    fills: int = 0
    denied: int = 0
    digest: int = 0
    error: str = ""


def run_task(task: Task) -> list[Outcome]:
    """Run a task and return an outcome a set; a set that cannot run does not hinder the others."""
    try:
        return _run(task)
    except (MemoryError, OSError):
        raise  # the machine's fault, not the set's: another try may do
    except Exception as error:  # noqa: BLE001 - whatever a strategy raises is its set's outcome
        if len(task.sets) == 1:
            ours = isinstance(error, AlephError)
            return [
                _named(task, 0, error=str(error) if ours else f"{type(error).__name__}: {error}")
            ]
    found = []
    for chosen, name in zip(task.sets, task.ids, strict=True):
        found += run_task(msgspec.structs.replace(task, sets=[chosen], ids=[name]))
    return found


def joined(parts: Sequence[Outcome]) -> Outcome:
    """Return what a set came to in several stretches, one after the other, as one outcome."""
    if len(parts) == 1:
        return parts[0]
    return Outcome(
        id=parts[0].id, params=parts[0].params,
        start_ns=parts[0].start_ns, end_ns=parts[-1].end_ns,
        net=sum(one.net for one in parts), values=[value for one in parts for value in one.values],
        orders=sum(one.orders for one in parts), fills=sum(one.fills for one in parts),
        denied=sum(one.denied for one in parts), digest=reduce(xor, (one.digest for one in parts)),
        error=next((one.error for one in parts if one.error), ""),
    )  # fmt: skip


def _named(task: Task, k: int, **fields: object) -> Outcome:
    told = {
        path: value if isinstance(value, bool | int) else str(value)
        for path, value in task.sets[k].items()
    }
    start, end = task.window
    return Outcome(id=task.ids[k], params=told, start_ns=start, end_ns=end, **fields)  # type: ignore[arg-type]


def _run(task: Task) -> list[Outcome]:
    market = open_window(task.config, task.window)
    configs = [with_set(task.config, chosen) for chosen in task.sets]
    test = Backtest(
        configs, market.instruments, market.tapes, venue=market.venue, start_ns=market.start_ns
    )
    equity = _equities(test, market, task)
    if test.alarms:  # a strategy ended on the way: what it came to before is no result
        raise SimulationError(test.alarms[0])
    values = np.diff(equity[:-1], axis=0, prepend=0.0)
    hashes = [int(one, 16) >> 1 for one in test.state_hashes()]
    return [
        _named(
            task, k, net=round(float(equity[-1, k]), MONEY_SCALE),
            values=[round(float(value), MONEY_SCALE) for value in values[:, k]],
            orders=int(lane.ctx.counters[c.C_ORDERS]), fills=int(lane.ctx.counters[c.C_FILLS]),
            denied=int(lane.ctx.counters[c.C_DENIED]), digest=hashes[k],
        )
        for k, lane in enumerate(test.lanes)
    ]  # fmt: skip


def open_window(config: Config, window: Window | None) -> Market:
    """Open the market of a window; None = all that the config's [backtest] takes."""
    assert config.backtest is not None
    if window is not None:
        start, end = (_text(moment) for moment in window)
        plan = msgspec.structs.replace(config.backtest, start=start, end=end)
        config = msgspec.structs.replace(config, backtest=plan)
    market = load_market(config)
    settled = {traded_currency(instrument) for instrument in market.instruments}
    if len(settled) > 1:
        raise ConfigError(
            f"the instruments settle in {', '.join(sorted(settled))}: one net is no number",
            remedy="sweep what settles in one currency",
        )
    return market


def _text(moment_ns: int) -> str:
    at = datetime.fromtimestamp(moment_ns // 10**9, UTC)
    return at.replace(microsecond=moment_ns % 10**9 // 1000).isoformat()


def span_of(market: Market) -> Window:
    """Return the market time that a market has rows for, from its start on, whole microseconds."""
    rows = [tape.rows["ts_event"] for tape in market.tapes if len(tape.rows)]
    if not rows:
        raise SimulationError("the tapes are empty", remedy="`alephtx data ls` shows what is there")
    first = max(min(int(ts[0]) for ts in rows), market.start_ns)
    last = max(int(ts[-1]) for ts in rows)
    return Window(-(-first // 1000) * 1000, (last // 1000 + 1) * 1000)


def _equities(test: Backtest, market: Market, task: Task) -> np.ndarray:
    """Run, and return equity at the end of each whole period and at the end: (periods + 1, lanes).

    A period's equity is read at the first event at or after its end.
    """
    start, end = task.window
    edges = np.arange(start + task.period_ns, end + 1, task.period_ns)
    counts = sum(np.searchsorted(t.rows["ts_event"], edges, "left") for t in market.tapes)
    marks = [math.nan] * len(market.instruments)
    seen, going = [], True
    for count in np.atleast_1d(counts) if len(edges) else []:
        while going and test.rows < count:
            going = test.step(int(count) - test.rows)
        seen.append(_equity(test, market.instruments, marks))
    while going:
        going = test.step()
    seen.append(_equity(test, market.instruments, marks))
    return np.array(seen)


def _equity(test: Backtest, instruments: Instruments, marks: list[float]) -> list[float]:
    """Return the equity of every lane; marks: the middles last known, in ticks, brought up."""
    top = test.lanes[0].ctx.top
    for i in range(len(marks)):
        if top[i]["bid_qty"] > 0 and top[i]["ask_qty"] > 0:
            marks[i] = (int(top[i]["bid"]) + int(top[i]["ask"])) / 2
    return [
        sum(
            _gain(instrument, held, marks[i])
            for i, instrument in enumerate(instruments)
            for held in lane.ctx.positions[:, i]
        )
        for lane in test.lanes
    ]


def _gain(instrument: Instrument, held: np.void, mark: float) -> float:
    done = (int(held["realized"]) - int(held["fees"])) / 10**MONEY_SCALE
    if held["qty"] == 0:
        return done
    cost, qty = np.array([float(held["cost"])]), np.array([float(held["qty"])])
    worth = float(value_of(instrument, np.array([mark]), qty)[0])
    if instrument.inverse:
        return done + float(cost[0]) / 10**MONEY_SCALE + worth
    return done + worth - float(value_of(instrument, np.ones(1), cost)[0])


# -- identity ------------------------------------------------------------------------------------


def base_digest(config: Config, market: Market, period_ns: int) -> str:
    """Return what results depend on beside set and window: config, data, code."""
    digest = hashlib.blake2b(digest_size=16)
    assert config.backtest is not None
    plan = msgspec.structs.replace(config.backtest, data="data", tapes={}, start="", end="")
    plain = msgspec.structs.replace(config, node=Node(), matrix=MatrixConfig(), backtest=plan)
    digest.update(f"{plain.dump()}\n{period_ns}\n{sys.version}\n".encode())
    digest.update(f"{np.__version__} {version('numba')}\n".encode())
    for instrument, tape in zip(market.instruments, market.tapes, strict=True):
        digest.update(msgspec.json.encode(instrument))
        for at in range(0, len(tape.rows), 1 << 18):
            digest.update(np.ascontiguousarray(tape.rows[at : at + (1 << 18)]).view(np.uint8).data)
        digest.update(f"{tape.base} {tape.unit} {tape.qty_unit}\n".encode())
    sources = sorted(Path(alephtx.__file__).parent.rglob("*.py"))
    files = [Path(s.use) for s in config.strategies.values() if s.is_file]
    for path in (*sources, *files):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def id_of(base: str, window: Window, chosen: Set) -> str:
    """Return the id of a set in a window: the same whenever everything is the same."""
    told = sorted((path, type(value).__name__, str(value)) for path, value in chosen.items())
    return hashlib.blake2b(f"{base} {window} {told}".encode(), digest_size=16).hexdigest()
