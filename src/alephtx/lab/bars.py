"""Bar strategies: many sets of parameters over the same bars at once, with exact money.

    bars = bars_of(rows, 60_000_000_000)
    found = run_bars("sma_cross", bars, instrument, [{"fast": 20, "slow": 100, "qty_lots": 5}])

A bar strategy is a module with `COMPILED`, `PARAMS`, `STATE`, `config_to_params(section,
instruments)` and `on_bar(bars, k, position, params, state)`, which is called once when bar k has
closed and returns the lots to hold from now on; see docs/bars.md. It runs here and nowhere else.
"""

import hashlib
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import msgspec
import numpy as np

from alephtx.core.errors import ConfigError, PluginError, UnitError
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.records import BAR, POSITION
from alephtx.core.units import MAX_VALUE, MONEY_SCALE, to_decimal
from alephtx.lab import bar_walk as w
from alephtx.lab.bar_strategy import (
    Section,
    compiled,
    compiling,
    file_of,
    load_bar_strategy,
    params_of,
    read_only,
    table_of,
)
from alephtx.store.bars import check_bars

Rows = np.ndarray[Any, Any]

BLOCK = 1024
"""Bars that every set goes through before the next: 48 KiB."""

FAULTS = {
    w.FAR: ("wants {} lots", "the strategy could not compute, or has a mistake"),
    w.OFF_LOT: ("wants {} lots, no multiple of the lot", "round the target to the lot's step"),
    w.TOO_LARGE: ("wants {} lots, and the money is beyond 62 bits", "trade fewer lots"),
}


class BarResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one set came to; money in the settle currency, an open position at the last close.

    trades: positions that ended, by closing or turning. fills: orders. position: lots held at the
    end; pending: lots still to trade, for want of a next bar. net = gross - fees, rounded down to
    10^-8; drawdown: the deepest fall of net below its highest, at closes. digest: of every fill,
    the account and the strategy's state. curve: int64, net after every so many bars in 10^-8.
    """

    trades: int
    fills: int
    position: int
    pending: int
    gross: Decimal
    fees: Decimal
    net: Decimal
    drawdown: Decimal
    digest: int
    curve: Any = None


def run_bars(
    strategy: ModuleType | str | Path,
    bars: Rows,
    instrument: Instrument,
    sets: Sequence[Section],
    *,
    fill: Literal["open", "close"] = "open",
    slip_ticks: int = 0,
    fee_bps: Decimal | int | str | None = None,
    curve_every: int = 0,
) -> list[BarResult]:
    """Run every set of parameters over the bars; one result a set, in their order.

    strategy: a module, the name of a shipped one, or a file. bars: BAR (N,). fill: a target is
    reached at the next bar's open, or at the close it was decided on. slip_ticks: what every fill
    is worse by. fee_bps: of the value; None: the instrument's taker fee. curve_every: bars between
    points of equity, 0: none. DataError, ConfigError and PluginError say what cannot be run,
    UnitError which set's money does not fit 62 bits, and at which bar.
    """
    module = load_bar_strategy(strategy)
    table = table_of(instrument)
    terms = _terms(bars, instrument, fill, slip_ticks, fee_bps, curve_every)
    params, state = params_of(module, table, sets), np.zeros(len(sets), module.STATE)
    accounts, positions = np.zeros(len(sets), w.ACCOUNT), np.zeros(len(sets), POSITION)
    points = len(bars) // curve_every if curve_every else 0
    curve = np.zeros((len(sets), points), np.int64)
    shown = read_only(bars)
    walk = compiled(module, "walk")

    def lead(first: int, last: int) -> None:
        walk(shown, first, last, params, state, accounts, positions, row, terms, curve)

    row = table.rows()
    with compiling(module):
        lead(0, 0)
    before = _sum(shown)
    for first in range(0, len(bars), BLOCK):
        lead(first, min(first + BLOCK, len(bars)))
    _raise_fault(accounts)
    if _sum(shown) != before:
        raise PluginError(f"{file_of(module)}: on_bar wrote into the bars", remedy="it has a state")
    price = int(bars[-1]["close"]) if len(bars) else 0
    div = int(row[0]["money_div"])
    curve //= div
    return [
        _result(accounts[j], positions[j], state[j], price, div, curve[j] if points else None)
        for j in range(len(sets))
    ]


def peeks(
    strategy: ModuleType | str | Path, bars: Rows, instrument: Instrument, section: Section
) -> int | None:
    """Return the first bar at which a strategy decides by what comes after it; None: nowhere.

    Every decision is made again with the later bars far above, far below, in another order, and
    with no later bars; a strategy is caught where that changes what it says. Costs five runs.
    """
    module, table = load_bar_strategy(strategy), table_of(instrument)
    check_bars(bars, instrument)
    bars = np.ascontiguousarray(bars)
    params = params_of(module, table, [section])
    decide = compiled(module, "decide")
    wanted: Rows | None = None
    first = len(bars)
    above, below, turned = _other_futures(bars)
    futures = (
        (bars.copy(), False), (above, False), (below, False), (turned, False), (bars.copy(), True),
    )  # fmt: skip
    for hidden, cut in futures:
        targets, state = np.zeros(len(bars), np.int64), np.zeros(1, module.STATE)
        shown = read_only(hidden)
        with compiling(module):
            decide(bars, shown, hidden, params, state, targets, cut)
        if wanted is None:
            wanted = targets
        different = np.flatnonzero(targets != wanted)
        first = min(first, int(different[0])) if len(different) else first
    return first if first < len(bars) else None


def _other_futures(bars: Rows) -> list[Rows]:
    """Return what may stand for bars to come: above, below, turned; with room for wild indices."""
    n = len(bars)
    room = np.zeros((3, n + 2 * max(n, 4 * BLOCK)), BAR)
    prices = ("open", "high", "low", "close")
    above = min(2 * max((int(bars["high"].max()), 1)), MAX_VALUE - 1) if n else 1
    for name in prices:
        room[0][name], room[1][name] = above, 1
    room[0]["ts_ns"], room[0]["volume"] = MAX_VALUE - 1, MAX_VALUE - 1
    begin = max(n, 4 * BLOCK)
    room[2][begin : begin + n] = bars[::-1]
    return [one[begin : begin + n] for one in room]


# -- what is given -------------------------------------------------------------------------------


def _terms(
    bars: Rows, instrument: Instrument, fill: str, slip_ticks: int, fee_bps: Any, curve_every: int
) -> Rows:
    """Return the words of `bar_walk`, of checked bars and settings."""
    lowest, highest = check_bars(bars, instrument)
    if fill not in ("open", "close"):
        raise ConfigError(f"fill = {fill!r}", remedy='"open" or "close"')
    for name, value in (("slip_ticks", slip_ticks), ("curve_every", curve_every)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_VALUE:
            raise ConfigError(f"{name} = {value!r}", remedy="a whole number, 0 or more")
    if len(bars) and slip_ticks >= lowest:
        raise ConfigError(
            f"slip_ticks = {slip_ticks} is not below the lowest price, {lowest} ticks",
            remedy="a tick is a unit of the instrument's price_scale",
        )
    terms = np.zeros(w.TERMS, np.int64)
    terms[w.T_AT_OPEN], terms[w.T_SLIP] = fill == "open", slip_ticks
    terms[w.T_FEE_E8] = _fee_e8(instrument, fee_bps)
    terms[w.T_PRICE_MAX], terms[w.T_EVERY] = min(highest + slip_ticks, MAX_VALUE - 1), curve_every
    return terms


def _fee_e8(instrument: Instrument, fee_bps: Any) -> int:
    if fee_bps is None:
        return int(Instruments([instrument]).rows()[0]["taker_fee_e8"])
    try:
        if isinstance(fee_bps, bool) or not isinstance(fee_bps, str | int | Decimal):
            raise InvalidOperation
        fee = Decimal(fee_bps).scaleb(4)
        if not fee.is_finite() or abs(fee) > w.E8 or fee != int(fee):
            raise InvalidOperation
    except InvalidOperation:
        raise ConfigError(
            f"fee_bps = {fee_bps!r} is no number from -10000 to 10000 with four decimals",
            remedy='write it in quotes: fee_bps="1.5"',
        ) from None
    return int(fee)


# -- what came of it -----------------------------------------------------------------------------


def _sum(bars: Rows) -> int:
    return int(bars.view(np.int64).sum())


def _raise_fault(accounts: Rows) -> None:
    bad = np.flatnonzero(accounts["fault"])
    if len(bad):
        row = accounts[bad[0]]
        said, remedy = FAULTS[int(row["fault"])]
        told = said.format(int(row["target"]))
        raise UnitError(f"set {int(bad[0])}, bar {int(row['fault_at'])}: it {told}", remedy=remedy)


def _result(account: Any, held: Any, state: Any, price: int, div: int, curve: Any) -> BarResult:
    digest = hashlib.blake2b(digest_size=8)
    for row in (account, held, state):
        digest.update(row.tobytes())
    fees = int(account["fees"])
    net = (int(account["base"]) + int(account["slope"]) * price) // div
    wanted = int(account["target"])
    return BarResult(
        trades=int(account["trades"]),
        fills=int(held["fills"]),
        position=int(held["qty"]),
        pending=wanted - int(held["qty"]),
        gross=to_decimal(net + fees, MONEY_SCALE),
        fees=to_decimal(fees, MONEY_SCALE),
        net=to_decimal(net, MONEY_SCALE),
        drawdown=to_decimal(-(-int(account["fall"]) // div), MONEY_SCALE),
        digest=int.from_bytes(digest.digest(), "little") >> 1,
        curve=curve,
    )
