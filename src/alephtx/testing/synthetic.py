"""A seeded market for tests and benches: an order-driven book with regimes, the same everywhere.

    rows, instruments = synthetic(1_000_000)     # TICK rows of one linear perpetual, 0.1 tick

Limit orders, cancels and market orders come at random around a touch whose volatility and flow
wander; what they did in a burst is told in one depth message, as a venue does every few
milliseconds, after the prints. Quantities and prices are integers driven by splitmix64, so that
every machine makes the same rows: what a strategy must earn on them is known to the unit. A million
rows are 1,300 s of market; a shorter feed is a prefix of a longer one. About 1 us a row, compiled.
"""

import math
from decimal import Decimal
from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.kernel import inline_kernel, kernel
from alephtx.core.records import TICK
from alephtx.core.words import BUY, DELTA, LAST_IN_MESSAGE, SELL, SNAPSHOT, TRADE

Rows = np.ndarray[Any, Any]

START_NS = 1_700_000_000_000_000_000
MIDDLE = 600_000
SPAN = 1 << 18
"""Ticks of the window that prices stay in."""
_TOUCHED = 4096

# Words of the market's integers; reals are (volatility, flow).
_BID, _ASK, _N, _MESSAGE, _TS, _HEARD, _COUNT = 0, 1, 2, 3, 4, 5, 6


def synthetic(count: int, seed: int = 7) -> tuple[Rows, Instruments]:
    """Return `count` TICK rows and the table of their one instrument."""
    rows = np.zeros(count, TICK)
    random = np.array([seed], np.uint64)
    books, marks = np.zeros((2, SPAN), np.int64), np.zeros((2, SPAN), np.int64)
    touched = np.zeros(_TOUCHED, np.int64)
    whole, real = np.zeros(8, np.int64), np.zeros(2)
    whole[_BID], whole[_ASK] = SPAN // 2 - 1, SPAN // 2
    whole[_TS], whole[_HEARD] = START_NS, START_NS + 2_000_000
    with np.errstate(over="ignore"):  # splitmix64 wraps on purpose; uncompiled, NumPy minds
        left = _generate(rows, random, books, marks, touched, whole, real)
    if left != 0:
        raise ValueError(f"{count} rows: the price left its window; use fewer, or another seed")
    table = Instruments()
    table.add(
        Instrument(
            key="synthetic:BTC-USDT-PERP", venue="synthetic", symbol="BTCUSDT", base="BTC",
            quote="USDT", settle="USDT", contract=words.LINEAR, price_scale=1, qty_scale=3,
            tick_size=Decimal("0.1"), lot_size=Decimal("0.001"), qty_max=Decimal(1_000),
            maker_fee=Decimal("0.0002"), taker_fee=Decimal("0.0005"),
        )
    )  # fmt: skip
    return rows, table


@inline_kernel
def _unit(random: Rows) -> float:
    """Return the next number in (0, 1), by splitmix64."""
    random[0] = random[0] + np.uint64(0x9E3779B97F4A7C15)
    word = random[0]
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    word = word ^ (word >> np.uint64(31))
    return (np.float64(word >> np.uint64(11)) + 0.5) * (1.0 / 9007199254740992.0)


@inline_kernel
def _exponential(random: Rows, mean: float) -> float:
    return -mean * math.log(_unit(random))


@inline_kernel
def _normal(random: Rows) -> float:
    radius = math.sqrt(-2.0 * math.log(_unit(random)))
    return radius * math.cos(2.0 * math.pi * _unit(random))


@kernel
def _distance(random: Rows) -> int:
    """Return how far from the touch an order or cancel is, in ticks."""
    draw = _unit(random)
    if draw < 0.24:
        return 0
    if draw < 0.34:
        return 1
    if draw < 0.40:
        return 2
    return min(int(math.exp(6.3 + 1.2 * _normal(random))), 20_000)


@inline_kernel
def _write(rows: Rows, whole: Rows, ts: int, index: int, qty: int, kind: int, side: int) -> None:
    n = whole[_N]
    if n < rows.shape[0]:
        rows[n]["ts_event"], rows[n]["ts_recv"] = ts, whole[_HEARD]
        rows[n]["price"], rows[n]["qty"] = index + MIDDLE - SPAN // 2, qty
        rows[n]["message"], rows[n]["kind"], rows[n]["side"] = whole[_MESSAGE], kind, side
    whole[_N] = n + 1


@inline_kernel
def _end_message(rows: Rows, whole: Rows) -> None:
    if whole[_N] <= rows.shape[0]:
        rows[whole[_N] - 1]["flags"] |= LAST_IN_MESSAGE
    whole[_MESSAGE] += 1


@inline_kernel
def _touch(touched: Rows, whole: Rows, s: int, index: int) -> None:
    touched[whole[_COUNT]] = index * 2 + s
    whole[_COUNT] += 1


@kernel
def _best_again(books: Rows, whole: Rows, s: int) -> None:
    """Find the best level of a side anew after one of it went."""
    step = -1 if s == 0 else 1
    while books[s, whole[_BID + s]] == 0:
        whole[_BID + s] += step


@kernel
def _market_order(
    rows: Rows, random: Rows, books: Rows, touched: Rows, whole: Rows, buys: int, ts: int
) -> None:
    """Walk the book and print; eight levels at most."""
    qty = 1 + int(math.exp(4.0 + 1.6 * _normal(random)))
    s = 1 if buys else 0
    for _ in range(8):
        if qty <= 0:
            break
        index = whole[_BID + s]
        take = min(qty, books[s, index])
        _write(rows, whole, ts, index, take, TRADE, BUY if buys else SELL)
        _end_message(rows, whole)
        books[s, index] -= take
        qty -= take
        if whole[_COUNT] < _TOUCHED:
            _touch(touched, whole, s, index)
        _best_again(books, whole, s)


@kernel
def _limit_order(random: Rows, books: Rows, touched: Rows, whole: Rows, buys: int) -> None:
    away = _distance(random)
    qty = 1 + int(math.exp(4.5 + 1.3 * _normal(random)))
    gap = whole[_ASK] - whole[_BID] - 1
    if gap > 0 and away == 0:
        away = max(-1 - int(_unit(random) * min(gap, 3)), -gap)
    s = 0 if buys else 1
    index = whole[_BID] - away if buys else whole[_ASK] + away
    books[s, index] += qty
    if buys:
        whole[_BID] = max(whole[_BID], index)
    else:
        whole[_ASK] = min(whole[_ASK], index)
    _touch(touched, whole, s, index)


@kernel
def _cancel(random: Rows, books: Rows, touched: Rows, whole: Rows) -> None:
    away = _distance(random)
    s = 0 if _unit(random) < 0.5 else 1
    step = -1 if s == 0 else 1
    index = whole[_BID + s] + step * away
    for _ in range(50):
        if books[s, index] != 0:
            break
        index += step
    there = books[s, index]
    if there == 0:
        return
    gone = there if _unit(random) < 0.25 else 1 + int(_unit(random) * 0.5 * float(there))
    books[s, index] -= min(gone, there)
    _touch(touched, whole, s, index)
    _best_again(books, whole, s)


@kernel
def _tell_depth(rows: Rows, books: Rows, marks: Rows, touched: Rows, whole: Rows) -> None:
    """Tell every touched level once, bids before asks, in one message."""
    first, stamp = whole[_N], whole[_TS]
    for s in range(2):
        for k in range(whole[_COUNT]):
            index = touched[k] >> 1
            if touched[k] & 1 != s or marks[s, index] == stamp:
                continue
            marks[s, index] = stamp
            _write(rows, whole, stamp, index, books[s, index], DELTA, BUY if s == 0 else SELL)
    if whole[_N] > first:
        _end_message(rows, whole)


@kernel
def _open(rows: Rows, random: Rows, books: Rows, whole: Rows) -> None:
    """Make the book that is there at the start."""
    for away in range(1000):
        for s in range(2):
            if away < 20 or _unit(random) < 0.7:
                index = whole[_BID] - away if s == 0 else whole[_ASK] + away
                books[s, index] = 1 + int(_exponential(random, 800.0))
                side = BUY if s == 0 else SELL
                _write(rows, whole, whole[_TS], index, books[s, index], DELTA, side)
                if whole[_N] <= rows.shape[0]:
                    rows[whole[_N] - 1]["flags"] |= SNAPSHOT
    _end_message(rows, whole)


@kernel
def _generate(
    rows: Rows, random: Rows, books: Rows, marks: Rows, touched: Rows, whole: Rows, real: Rows
) -> int:
    """Fill the rows; -1 when the price left its window."""
    _open(rows, random, books, whole)
    while whole[_N] < rows.shape[0]:
        real[0] += -0.002 * real[0] + 0.05 * _normal(random)
        pull = 2e-6 * np.float64(whole[_BID] - SPAN // 2)
        real[1] += -0.05 * real[1] + 0.08 * _normal(random) - pull
        pace = math.exp(min(max(real[0], -2.0), 2.0))
        burst = 2 + int(_exponential(random, 34.0))
        whole[_TS] += max(int(_exponential(random, 30_000_000.0 / pace)), 2000 * burst)
        ts = whole[_TS] - 1000 * burst
        late = 1_500_000 + int(math.exp(13.5 + 0.6 * _normal(random)))
        if _unit(random) < 0.002:
            late += int(_exponential(random, 30_000_000.0))
        whole[_HEARD] = max(whole[_HEARD], whole[_TS] + late)
        whole[_COUNT] = 0
        for _ in range(burst):
            draw = _unit(random)
            buys = 1 if _unit(random) < 0.5 + 0.35 * math.tanh(real[1]) else 0
            if draw < 0.05:
                ts += 1000
                _market_order(rows, random, books, touched, whole, buys, ts)
            elif draw < 0.54:
                _limit_order(random, books, touched, whole, buys)
            else:
                _cancel(random, books, touched, whole)
            if whole[_COUNT] > 4000:
                break
        _tell_depth(rows, books, marks, touched, whole)
        if whole[_BID] < 21_000 or whole[_ASK] > SPAN - 21_000:
            return -1
    rows[rows.shape[0] - 1]["flags"] |= LAST_IN_MESSAGE
    return 0
