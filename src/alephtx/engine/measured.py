"""What a backtest is measured by after it has run: its touches, its signals, its tear sheets.

All of a tear sheet is on the venue's clock: fills, quotes and public trades.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from alephtx.analysis.equity_curve import period_ns
from alephtx.analysis.mids import mid_at
from alephtx.analysis.story import Story
from alephtx.analysis.tables import Fills, Quotes, fills_of, funding_of, orders_of, quotes_of
from alephtx.analysis.tearsheet import Options, Run, TearSheet, tear_sheet
from alephtx.analysis.transaction_cost import MarketTrades
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Rows
from alephtx.core.words import DELTA, ORDER_ADD, TICK_LOCAL, TRADE
from alephtx.engine.market import Market
from alephtx.engine.run_tables import write_table
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.tape_check import Seen
from alephtx.engine.tapes import Tape
from alephtx.engine.touches import all_touches

SECOND = 1_000_000_000
PART_ROWS = 1 << 20
"""Of a tape, looked at together for its trades."""


class Vamp(NamedTuple):
    """VAMP in ticks just before every fill, of so many levels a side at most."""

    ticks: Rows
    levels: int


def measure(
    directory: RunDirectory, story: Story, market: Market, seen: list[Seen], names: tuple[str, ...]
) -> dict[str, TearSheet]:
    """Write every instrument's touches and signals; returns the tear sheets by its key."""
    for name in ("market", "signals"):
        (directory.path / name).mkdir(exist_ok=True)
    heard = all_touches(market.instruments, market.tapes, market.venue)
    kept = _signals(market, names)
    sheets = {}
    for k, tops in enumerate(heard):
        instrument, quotes = market.instruments[k], quotes_of(tops)
        columns = {name: tops[name] for name in ("bid", "bid_qty", "ask", "ask_qty")}
        times = {"ts_ns": tops["ts_recv"], "ts_venue_ns": tops["ts_event"]}
        known = {"known": quotes.known.astype(np.int8)}
        write_table(directory, f"market/{k}.parquet", {**times, **columns, **known})
        fair = _microprice(tops)
        if not kept:
            sampled = _each_second(tops["ts_recv"])
            columns = {"ts_ns": tops["ts_recv"][sampled], "microprice": fair[sampled]}
        write_table(directory, f"signals/{k}.parquet", kept[k] if kept else columns)
        fills = fills_of(story.fills, k)
        vamp = _vamp(market, k, seen[k], fills, quotes, fair)
        begin, end = (int(quotes.ts[0]), int(quotes.ts[-1])) if len(quotes.ts) else (0, 0)
        sheets[instrument.key] = tear_sheet(
            Run(
                instrument, fills, orders_of(story.orders.values(), fills, k), quotes,
                funding=funding_of(story.funding, k), vamp=vamp.ticks, vamp_levels=vamp.levels,
                trades=trades_of(market.tapes[k]), amends=story.amends[k],
            ),
            Options(step_ns=period_ns(begin, end)),
        )  # fmt: skip
    return sheets


def trades_of(tape: Tape) -> Iterator[MarketTrades]:
    """Yield the public trades of a tape on the venue's clock, a part of it at a time."""
    for first in range(0, len(tape.rows), PART_ROWS):
        rows = tape.rows[first : first + PART_ROWS]
        rows = rows[(rows["kind"] == TRADE) & (rows["flags"] & TICK_LOCAL == 0)]
        price = tape.base + rows["price"].astype(np.int64) * tape.unit
        yield MarketTrades(rows["ts_event"], price, rows["qty"].astype(np.int64) * tape.qty_unit)


def _signals(market: Market, names: tuple[str, ...]) -> list[dict[str, Rows]]:
    """Return the signals of each instrument; none where the touches alone make them."""
    if names == ("microprice",):
        return []
    from alephtx.engine.signal_record import record_signals

    return record_signals(market.instruments, market.tapes, market.venue, names)


def _vamp(market: Market, k: int, seen: Seen, fills: Fills, quotes: Quotes, fair: Rows) -> Vamp:
    """Return the VAMP that fills met; of tapes with best prices alone that is the microprice."""
    if not len(fills.ts) or not seen.has(DELTA, ORDER_ADD):
        return Vamp(mid_at(fills.ts, quotes.ts, fair, before=True).mid, 1)
    from alephtx.engine.vamp_record import vamp_before
    from alephtx.engine.vamp_recorder import LEVELS

    only = Instruments([market.instruments[k]])
    return Vamp(vamp_before(only, market.tapes[k], market.venue, fills.ts), LEVELS)


def _microprice(tops: Rows) -> Rows:
    """Return VAMP of the best level in ticks, NaN without two sides; see `signals.microprice`."""
    bid_qty, ask_qty = tops["bid_qty"].astype(float), tops["ask_qty"].astype(float)
    both = (bid_qty > 0) & (ask_qty > 0)
    total = np.where(both, bid_qty + ask_qty, 1.0)
    return np.where(both, (tops["bid"] * ask_qty + tops["ask"] * bid_qty) / total, np.nan)


def _each_second(ts: Rows) -> Rows:
    """Return the places of the last touch of every second of a rising clock."""
    return np.flatnonzero(np.diff(ts // SECOND, append=-1)) if len(ts) else np.zeros(0, np.int64)
