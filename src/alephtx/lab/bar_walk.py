"""Sets of a bar strategy through bars, compiled: what `lab.bars` runs.

A call leads every set through some hundred bars before the next one, so that the bars stay in the
first-level cache; a set's whole state is its rows. Equity is a straight line of the price between
two fills, worth = base + slope x close in 1 / money_div units of money, exactly: a bar costs one
multiplication. A fill sees to it that no price of these bars can take that beyond 62 bits.
"""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, kernel
from alephtx.core.units import CEIL, FLOOR, MAX_VALUE, OVERFLOW, mul_div_checked, notional
from alephtx.ledger.positions import position_fill

Rows = np.ndarray[Any, Any]

ACCOUNT = np.dtype([
    ("held", "i8"),  # lots
    ("target", "i8"),  # what the strategy said last
    ("base", "i8"),  # equity = base + slope x ticks, see the module
    ("slope", "i8"),
    ("peak", "i8"),  # of equity at closes, at least 0; unit of base
    ("fall", "i8"),  # the deepest below a peak
    ("fees", "i8"),  # money
    ("trades", "i8"),  # times that a position ended, by closing or by turning
    ("hash", "i8"),  # of all fills in their order
    ("fault", "i8"),  # 0, or why this set stopped
    ("fault_at", "i8"),  # at which bar
])  # fmt: skip

# Words of the terms; GAIN is a place for what the position kernel says.
T_AT_OPEN, T_SLIP, T_FEE_E8, T_PRICE_MAX, T_EVERY, T_GAIN, TERMS = 0, 1, 2, 3, 4, 5, 6

# Faults.
FAR, OFF_LOT, TOO_LARGE = 1, 2, 3

E8 = 100_000_000


@kernel
def _mixed(hash_: Int, word: Int) -> int:
    """Return a hash with one more word in it, below 2^62; nothing wraps."""
    low = ((hash_ & 0xFFFFFFFFFFF) * 131 + (hash_ >> 44) * 65_599) & (MAX_VALUE - 1)
    return int((low + (word & (MAX_VALUE - 1))) & (MAX_VALUE - 1))


@kernel
def _mark(account: Rows, position: Rows, instrument: Rows, price_max: Int) -> int:
    """Write base and slope anew after a fill; 0 or TOO_LARGE."""
    held, mul, div = position[0], instrument[0]["money_mul"], instrument[0]["money_div"]
    gained = mul_div_checked(held["realized"], div, 1, FLOOR)
    spent = mul_div_checked(held["cost"], mul, 1, FLOOR)
    fees = mul_div_checked(account[0]["fees"], div, 1, FLOOR)
    slope = mul_div_checked(held["qty"], mul, 1, FLOOR)
    if OVERFLOW in (gained, spent, fees, slope):
        return TOO_LARGE
    base = gained + held["carry"]  # each part is below 2^62: two of them do not wrap, three may
    for part in (spent, fees):
        if abs(base) >= MAX_VALUE:
            return TOO_LARGE
        base -= part
    most = mul_div_checked(abs(slope), price_max, 1, FLOOR)
    if most == OVERFLOW or abs(base) >= MAX_VALUE or abs(base) + most >= MAX_VALUE:
        return TOO_LARGE
    account[0]["base"], account[0]["slope"] = base, slope
    return 0


@kernel
def trade(
    account: Rows, position: Rows, instrument: Rows, terms: Rows, k: Int, price: Int, target: Int
) -> int:
    """Bring a set to target lots at a price in ticks, worsened by the slip; 0 or a fault.

    account: ACCOUNT (1,); position: POSITION (1,); instrument: INSTRUMENT (1,), not inverse; terms:
    int64 (TERMS,); k: the bar. Fees are rounded up, as simulated venues do (`sim.lane`).
    """
    row, held = account[0], account[0]["held"]
    if not -MAX_VALUE < target < MAX_VALUE:
        return FAR
    if instrument[0]["lot_step"] > 1 and target % instrument[0]["lot_step"] != 0:
        return OFF_LOT
    side = 1 if target > held else -1
    qty, paid = abs(target - held), price + side * terms[T_SLIP]
    if position_fill(position, instrument, side, paid, qty, terms[T_GAIN : T_GAIN + 1]) != 0:
        return TOO_LARGE
    value = notional(instrument, paid, qty, CEIL)
    fee = mul_div_checked(value, terms[T_FEE_E8], E8, CEIL) if value != OVERFLOW else OVERFLOW
    if fee == OVERFLOW or abs(row["fees"] + fee) >= MAX_VALUE:
        return TOO_LARGE
    row["fees"] += fee
    if held != 0 and (target == 0 or (target > 0) != (held > 0)):
        row["trades"] += 1
    row["hash"] = _mixed(_mixed(_mixed(row["hash"], k), paid), target)
    row["held"] = target
    return _mark(account, position, instrument, terms[T_PRICE_MAX])


def on_bar(bars: Rows, k: Int, position: Int, params: Rows, state: Rows) -> int:
    """Stand for the strategy's own function, see `core.kernel.kernel_around`."""
    return int(position)


def walk(
    bars: Rows, first: Int, last: Int, params: Rows, state: Rows, accounts: Rows, positions: Rows,
    instrument: Rows, terms: Rows, curve: Rows,
) -> None:  # fmt: skip
    """Lead every set through bars first .. last - 1; a set with a fault stays where it is.

    params, state, accounts, positions: a row a set. curve: int64 (sets, points) of equity in units
    of base, after every T_EVERY bars; T_EVERY 0: none.
    """
    at_open, every = terms[T_AT_OPEN] != 0, terms[T_EVERY]
    for j in range(accounts.shape[0]):
        account, position = accounts[j : j + 1], positions[j : j + 1]
        own, memory, row = params[j : j + 1], state[j : j + 1], accounts[j]
        if row["fault"] != 0:
            continue
        held, target, base, slope = row["held"], row["target"], row["base"], row["slope"]
        peak, fall, fault = row["peak"], row["fall"], 0
        point = first // every if every > 0 else 0
        due = (point + 1) * every - 1
        for k in range(first, last):
            if at_open and target != held:
                fault = trade(account, position, instrument, terms, k, bars[k]["open"], target)
                held, base, slope = row["held"], row["base"], row["slope"]
            if fault == 0:
                target = on_bar(bars, k, held, own, memory) | 0  # of a float there is no `or`
                if not at_open and target != held:
                    fault = trade(account, position, instrument, terms, k, bars[k]["close"], target)
                    held, base, slope = row["held"], row["base"], row["slope"]
            if fault != 0:
                row["fault"], row["fault_at"] = fault, k
                break
            worth = base + slope * bars[k]["close"]
            peak = max(peak, worth)
            fall = max(fall, peak - worth)
            if k == due:
                curve[j, point] = worth
                point, due = point + 1, due + every
        row["target"], row["peak"], row["fall"] = target, peak, fall


def decide(
    bars: Rows, shown: Rows, hidden: Rows, params: Rows, state: Rows, targets: Rows, cut: bool
) -> None:
    """Write what a strategy decides at each bar while the bars after it are other ones.

    hidden: BAR (N,) of other bars; shown: the same memory, read-only; each bar is put there when it
    closes. cut: give the strategy the bars so far instead of all. params, state: one row; targets:
    int64 (N,).
    """
    held: Int = np.int64(0)
    for k in range(bars.shape[0]):
        hidden[k] = bars[k]
        end = k + 1 if cut else bars.shape[0]
        held = on_bar(shown[:end], k, held, params, state) | 0
        targets[k] = held
