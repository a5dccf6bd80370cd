"""Market maker: one post-only quote a side around the fair price, leaning against inventory.

Fair is the microprice (the touch weighted by the other side's size) or the middle. Bid and ask
stand `half_spread` away, both shifted by `skew_bps` times inventory / inventory_max, and a side
that would pass inventory_max is not quoted. A quote is moved when it is more than `requote_bps`
from where it should be: cancelled first, placed again once the cancel is confirmed, and left alone
while anything about it is in flight. An untradeable or old touch cancels everything.
"""

from typing import Any

import numpy as np

from alephtx.core.exposure import base_lots, middle
from alephtx.core.instruments import Instruments
from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.units import (
    CEIL,
    FLOOR,
    OVERFLOW,
    TRUNCATE,
    mul_div_checked,
    price_grid,
    round_price,
)
from alephtx.core.view import Needs, View
from alephtx.core.words import (
    BUY,
    FILL,
    SELL,
)
from alephtx.strategies.legs import held_base, usable
from alephtx.strategies.quoting import pull, quote_side
from alephtx.strategies.sections import INSTRUMENTS_MAX, put_instruments, reading

Rows = np.ndarray[Any, Any]

COMPILED = True
NEEDS = Needs(depth=0, timer_ns=50_000_000)

PARAMS = np.dtype([
    ("instruments", "i8", (INSTRUMENTS_MAX,)),
    ("instrument_count", "i8"),
    ("half_spread_e8", "i8"),
    ("half_spread_ticks", "i8"),  # when above 0, instead of half_spread_e8
    ("skew_e8", "i8"),
    ("requote_e8", "i8"),
    ("qty_base_e8", "i8"),
    ("inventory_max_e8", "i8"),
    ("max_age_ns", "i8"),
    ("rest_ns", "i8"),
    ("microprice", "i8"),
])  # fmt: skip

STATE = np.dtype([
    ("placed_ns", "i8", (2 * INSTRUMENTS_MAX,)),  # per instrument and side
    ("quotes", "i8"),
    ("requotes", "i8"),
    ("pulled", "i8"),  # cancels because the touch was not usable
    ("fills", "i8"),
    ("held_back", "i8"),  # quotes not placed: they would have met our own
])  # fmt: skip

FINE = 256
"""Fair prices are kept in 1/256 tick."""

PRICE_MAX, QTY_MAX = 1 << 48, 1 << 60
WHOLE_E8 = 100_000_000


def config_to_params(section: dict[str, Any], instruments: Instruments) -> Rows:
    """Turn a config section into params; ConfigError names the key, the value and the remedy.

    instruments: 1 to 8, each quoted by itself. half_spread_bps or half_spread_ticks; skew_bps at
    full inventory; requote_bps. qty_base per quote and inventory_max_base per instrument.
    max_age_ms of the touch; rest_ms between two quotes of one side. fair = microprice unless
    microprice = false.
    """
    with reading(section, "market_maker") as read:
        row = np.zeros(1, PARAMS)
        put_instruments(row, read.instruments(instruments, 1, INSTRUMENTS_MAX))
        row["half_spread_ticks"] = read.count("half_spread_ticks", 0, 0, 1_000_000)
        if "half_spread_bps" in section and row[0]["half_spread_ticks"] > 0:
            raise read.fail("half_spread_bps", "is given beside half_spread_ticks", "keep one")
        row["half_spread_e8"] = read.bps("half_spread_bps", "5", "0.01", "1000")
        row["skew_e8"] = read.bps("skew_bps", "0", "0", "1000")
        row["requote_e8"] = read.bps("requote_bps", "1", "0", "1000")
        row["qty_base_e8"] = read.base("qty_base")
        row["inventory_max_e8"] = read.base("inventory_max_base")
        if row[0]["inventory_max_e8"] < row[0]["qty_base_e8"]:
            raise read.fail("inventory_max_base", "is less than qty_base")
        row["max_age_ns"] = read.milliseconds("max_age_ms", 1_500, 1, 600_000)
        row["rest_ns"] = read.milliseconds("rest_ms", 100, 0, 600_000)
        row["microprice"] = read.flag("microprice", default=True)
    return row


def on_event(event: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Quote the instrument that moved."""
    for k in range(params[0]["instrument_count"]):
        if params[0]["instruments"][k] == np.int64(event[0]["instrument"]):
            return _quote(k, view, params, state, intents, 0)
    return 0


def on_update(update: Rows, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Quote again what was filled, cancelled or refused."""
    state[0]["fills"] += 1 if update[0]["kind"] == FILL else 0
    for k in range(params[0]["instrument_count"]):
        if params[0]["instruments"][k] == np.int64(update[0]["instrument"]):
            return _quote(k, view, params, state, intents, 0)
    return 0


def on_timer(now: Int, view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Pull quotes from markets that went quiet, and quote those that came back."""
    n = 0
    for k in range(params[0]["instrument_count"]):
        n = _quote(k, view, params, state, intents, n)
    return n


def on_stop(view: View, params: Rows, state: Rows, intents: Rows) -> int:
    """Cancel every quote."""
    n = 0
    for k in range(params[0]["instrument_count"]):
        n = pull(params[0]["instruments"][k], view, intents, n)
    return n


@inline_kernel
def _quote(k: Int, view: View, params: Rows, state: Rows, intents: Rows, n: Int) -> Int:
    """Bring both quotes of one instrument to where they should be; returns intents so far."""
    i = params[0]["instruments"][k]
    high = max(view.top[i]["bid"], view.top[i]["ask"])
    if not usable(view, i, params[0]["max_age_ns"]) or high >= PRICE_MAX:
        before = n
        n = pull(i, view, intents, n)
        state[0]["pulled"] += n - before
        return n
    for side in (BUY, SELL):
        price, lots = target(view, params, i, side), quote_lots(view, params, i, side)
        n = quote_side(k, i, side, price, lots, view, params, state, intents, n)
    return n


@inline_kernel
def fair_price(view: View, params: Rows, i: Int) -> Int:
    """Return the fair price in 1/256 tick: microprice or middle."""
    bid, ask = view.top[i]["bid"], view.top[i]["ask"]
    if params[0]["microprice"] == 0:
        return (bid + ask) * (FINE // 2)
    bid_qty: Int = min(view.top[i]["bid_qty"], QTY_MAX)
    ask_qty: Int = min(view.top[i]["ask_qty"], QTY_MAX)
    return bid * FINE + mul_div_checked((ask - bid) * FINE, bid_qty, bid_qty + ask_qty, FLOOR)


@inline_kernel
def target(view: View, params: Rows, i: Int, side: Int) -> Int:
    """Return where a side should be quoted, in ticks on the grid and never crossing; 0 nowhere."""
    fair = fair_price(view, params, i)
    away = mul_div_checked(fair, params[0]["half_spread_e8"], WHOLE_E8, CEIL)
    if params[0]["half_spread_ticks"] > 0:
        away = params[0]["half_spread_ticks"] * FINE
    lean = mul_div_checked(fair, params[0]["skew_e8"], WHOLE_E8, FLOOR)
    held = held_base(view, i)
    if held == OVERFLOW:
        return 0
    most = params[0]["inventory_max_e8"]
    lean = mul_div_checked(lean, min(max(held, -most), most), most, TRUNCATE)
    exact = fair - side * away - lean
    price = exact // FINE if side == BUY else -(-exact // FINE)
    row = view.instruments[i : i + 1]
    if side == BUY:
        ask = view.top[i]["ask"]
        price = min(price, ask - price_grid(row, ask))
    else:
        bid = view.top[i]["bid"]
        price = max(price, bid + price_grid(row, bid))
    return max(round_price(row, price, side), 0)


@inline_kernel
def quote_lots(view: View, params: Rows, i: Int, side: Int) -> Int:
    """Return the lots to quote: qty_base, less where inventory_max leaves less."""
    held = held_base(view, i)
    if held == OVERFLOW:
        return 0
    room = min(params[0]["inventory_max_e8"] - side * held, params[0]["qty_base_e8"])
    if room <= 0:
        return 0
    return max(base_lots(view.instruments, i, middle(view.top, i), room), 0)
