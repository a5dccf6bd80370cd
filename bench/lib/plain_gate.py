"""The gate's rules as a person would write them in plain Python: ints, dicts and short loops.

The yardstick of bench/gate.py. Limit orders of known shape only; everything it needs stands in
ordinary attributes, which is kinder to Python than NumPy rows would be.
"""

from dataclasses import dataclass, field

E8 = 100_000_000


@dataclass
class Limits:
    """One number a rule; money in 10^-8 of the reference."""

    notional: int
    position: int
    gross: int
    net: int
    firm: int
    leverage: int
    drawdown: int
    qty: int
    band_bps: int
    collar_bps: int
    stale_ns: int
    fat_qty: int
    open_orders: int
    duplicate_ns: int
    interval_ns: int
    ratio: int


@dataclass
class Instrument:
    """Grid, worth of a lot, and what the market says."""

    base: int
    tick: int
    lot: int
    qty_max: int
    price_max: int
    mul: int
    div: int
    bid: int = 0
    ask: int = 0
    seen: int = 0
    last: int = 0
    mark: int = 0
    trading: bool = True


@dataclass
class State:
    """Positions and orders of every (account, instrument)."""

    held: dict[tuple[int, int], int]
    cost: dict[tuple[int, int], int]
    open: dict[tuple[int, int], tuple[int, int]]
    resting: list[tuple[int, int, int]]
    opening: int
    tokens: list[int] = field(default_factory=lambda: [10**9, 10**9])
    refilled: int = 0
    recent: list[tuple[int, tuple[int, int, int, int]]] = field(default_factory=list)
    orders: int = 0
    trades: int = 10**9
    halted: bool = False
    allowed: set[int] = field(default_factory=set)
    hours: set[int] = field(default_factory=set)


def check(
    now: int, account: int, i: int, side: int, price: int, qty: int, m: list[Instrument],
    state: State, most: Limits,
) -> str:  # fmt: skip
    """Return the rule that refuses an order, "" when none does."""
    it = m[i]
    mid = (it.bid + it.ask) >> 1
    if state.halted:
        return "halted"
    profit = 0
    for (_, j), lots in state.held.items():
        profit += (lots * ((m[j].bid + m[j].ask) >> 1)) * m[j].mul // m[j].div
    profit -= sum(cost * m[j].mul // m[j].div for (_, j), cost in state.cost.items())
    if profit <= -most.drawdown:
        return "drawdown"
    if i not in state.allowed or (now // 60_000_000_000 + 4320) % 10080 not in state.hours:
        return "allowed"
    if not it.trading or it.bid <= 0 or it.ask <= 0 or now - it.seen > most.stale_ns:
        return "stale"
    if qty <= 0 or qty % it.lot or qty > it.qty_max or price % it.tick or price > it.price_max:
        return "grid"
    if abs(2 * price - it.bid - it.ask) * 10_000 > most.band_bps * (it.bid + it.ask):
        return "band"
    for reference in (it.last, it.mark):
        if (price - reference) * side * 10_000 > most.collar_bps * reference:
            return "collar"
    if qty > most.qty or qty > most.fat_qty:
        return "size"
    if -(-price * qty * it.mul // it.div) > most.notional:
        return "notional"
    said = _repeats(now, i, side, price, qty, state, most)
    said = said or _sums(account, i, side, max(price, mid), qty, m, state, most, profit)
    return said or _pace(now, (i, side, price, qty), state, most)


def _repeats(now: int, i: int, side: int, price: int, qty: int, state: State, most: Limits) -> str:
    what = (i, side, price, qty)
    for at, seen in reversed(state.recent):
        if now - at >= most.duplicate_ns:
            break
        if seen == what:
            return "duplicate"
    for j, other, at_price in state.resting:
        if j == i and other == -side and (price - at_price) * side >= 0:
            return "self_trade"
    return ""


def _sums(
    account: int, i: int, side: int, price: int, qty: int, m: list[Instrument], state: State,
    most: Limits, profit: int,
) -> str:  # fmt: skip
    gross = firm = mine = net = before = after = 0
    for (a, j), lots in state.held.items():
        bids, asks = state.open[a, j]
        if a == account and j == i:
            before = max(abs(lots + bids), abs(lots - asks))
            bids, asks = (bids + qty, asks) if side > 0 else (bids, asks + qty)
            after = max(abs(lots + bids), abs(lots - asks))
            value = price * m[j].mul
            position = max(0, (lots + bids) if side > 0 else (asks - lots)) * value // m[j].div
            if position > most.position:
                return "position"
        else:
            value = ((m[j].bid + m[j].ask) >> 1) * m[j].mul
        worst = max(abs(lots + bids), abs(lots - asks)) * value // m[j].div
        firm += worst
        mine += worst if a == account else 0
        if m[j].base == m[i].base:
            gross += worst
            net += ((lots + bids) if side > 0 else (asks - lots)) * value // m[j].div
    if net > most.net or (after > before and (gross > most.gross or firm > most.firm)):
        return "exposure"
    if after > before and mine * 100 > most.leverage * (state.opening + profit):
        return "leverage"
    return ""


def _pace(now: int, what: tuple[int, int, int, int], state: State, most: Limits) -> str:
    if len(state.resting) + 1 > most.open_orders:
        return "open_orders"
    if state.orders + 1 > most.ratio * state.trades:
        return "order_ratio"
    gone, state.refilled = now - state.refilled, now
    for k in (0, 1):
        state.tokens[k] = min(10**9, state.tokens[k] + gone)
        if state.tokens[k] < most.interval_ns:
            return "rate"
        state.tokens[k] -= most.interval_ns
    state.orders += 1
    state.recent.append((now, what))
    if len(state.recent) > 256:
        del state.recent[0]
    return ""
