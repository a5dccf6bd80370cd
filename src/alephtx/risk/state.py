"""What the gate keeps: limits and a little state, as arrays that kernels and commands share.

Every limit is an int64 in an array; a change is a store between two events. Which columns are
limits and which are state is said once, in `LIMIT_COLUMNS`: changes touch the former only.
"""

from typing import Any, NamedTuple

import numpy as np

Rows = np.ndarray[Any, Any]

NO_LIMIT = 1 << 60
"""Bound of every quantity and amount the gate adds up, so that no sum of a few overflows."""

# Columns of GateState.buckets and .messages.
TOKENS, REFILLED, INTERVAL, BURST = 0, 1, 2, 3

# Words of GateState.firm. From FIRM_GROSS on: what `exposure.survey` found for the order at hand.
SELF_TRADE, FIRM_DRAWDOWN_MAX, FIRM_LATCHED, FIRM_PROFIT, PROFIT_AT = 0, 1, 2, 3, 4
CELL_COUNT, RESCAN, FIRM_GROSS, BASE_GROSS, BASE_NET, ACCOUNT_GROSS, GROWS = 5, 6, 7, 8, 9, 10, 11
FIRM_WORDS = 12

# Columns of GateState.accounts.
LEVERAGE_MAX, DRAWDOWN_MAX, RATIO_MAX, RATIO_WINDOW, RATIO_ORDERS_MIN = 0, 1, 2, 3, 4
LATCHED, OPENING, PROFIT, RATIO_LATCHED, RATIO_SINCE = 5, 6, 7, 8, 9
ORDERS, TRADES, ORDERS_BEFORE, TRADES_BEFORE = 10, 11, 12, 13
ACCOUNT_WORDS = 14

# Columns of GateState.market.
LAST, LAST_AT, MARK_PRICE, MARK_AT, VENUE_STATUS, MIDDLE = 0, 1, 2, 3, 4, 5
STOPS = 6  # 1 = STOP orders can be sent to this instrument's venue
MARKET_WORDS = 7

# Columns of GateState.typical.
TYPICAL_STATED, TYPICAL_MEAN, TYPICAL_COUNT = 0, 1, 2

# Columns of GateState.recent; the row after the last one holds the count of all orders in word 0.
RECENT_AT, RECENT_WHAT, RECENT_PRICE, RECENT_QTY = 0, 1, 2, 3
RECENT = 256

GROSS, NET = 0, 1
WEEK_MINUTES = 7 * 24 * 60
WEEK_WORDS = -(-WEEK_MINUTES // 32)
"""A week of minutes, 32 to a word: a word of 64 would need the sign bit."""

# Intent.rule: which rule gave the verdict.
RULE_SHAPE, RULE_HALTED, RULE_DRAWDOWN, RULE_WARMUP, RULE_RESYNC = 1, 2, 3, 4, 5
RULE_STALE, RULE_GRID, RULE_BAND, RULE_SIZE, RULE_NOTIONAL = 6, 7, 8, 9, 10
RULE_POSITION, RULE_OPEN_ORDERS, RULE_RATE, RULE_KNOWN, RULE_GROUP = 11, 12, 13, 14, 15
RULE_DUPLICATE, RULE_SELF_TRADE, RULE_EXPOSURE, RULE_FIRM_GROSS, RULE_MESSAGES = 16, 17, 18, 19, 20
RULE_ORDER_RATIO, RULE_ALLOWED, RULE_HOURS, RULE_STATUS, RULE_ACCOUNT_DRAWDOWN = 21, 22, 23, 24, 25
RULE_FIRM_DRAWDOWN, RULE_COLLAR, RULE_FAT_FINGER, RULE_LEVERAGE, RULE_LEGS = 26, 27, 28, 29, 30
RULE_NAMES = (
    "", "shape", "halted", "drawdown", "warmup", "resync", "stale", "grid", "band", "size",
    "notional", "position", "open_orders", "rate", "known", "group", "duplicate", "self_trade",
    "exposure", "firm_gross", "messages", "order_ratio", "allowed", "hours", "status",
    "account_drawdown", "firm_drawdown", "collar", "fat_finger", "leverage", "legs",
)  # fmt: skip


class GateState(NamedTuple):
    """The gate's limits and its little state; S strategies, A accounts, I instruments.

    qty_max (S, I) lots in one order. notional_max (S, I), position_max (S, I) and
    account_position_max (A, I): 10^-8 of the quote currency. band_bps, stale_ns and rate_e8
    (reference value of one unit of quote x 10^8): (I,). open_orders_max (S,). drawdown_max (S,):
    10^-8 of the reference; latched (S,): 1 once it was reached, cleared by hand. warm_until (S,):
    monotonic ns before which a strategy may not trade. resync (A,): 1 while the account's truth is
    being asked for. buckets (A, 4): TOKENS and BURST in ns of INTERVAL each, REFILLED monotonic ns.

    firm_gross_max (1,): 10^-8 of the reference, 0 = only what reduces; may be stored between two
    events. base_max (C, 2): gross and net by underlying. firm (FIRM_WORDS,), accounts
    (A, ACCOUNT_WORDS), market (I, MARKET_WORDS): see the words above. messages (A, 4): like
    buckets; BURST 0 = no limit. duplicate_ns (S,), 0 = off. recent (S, RECENT + 1, 4): the orders
    that passed last. allowed (S, I) and account_allowed (A, I): 1 or 0. hours (I, WEEK_WORDS): a
    bit for each minute of the week from Monday 00:00 UTC. collar_bps (I,), 0 = off. fat_multiple
    (S,), 0 = off. typical (S, I, 3): lots stated, eight times the mean, orders counted. cells
    (A x I, 2): which accounts hold or may get what (account << 32 | instrument, CELL_COUNT of
    them), and whether a cell is among them. currency_e8 (C,): reference value
    of a currency x 10^8; C currencies.
    """

    qty_max: Rows
    notional_max: Rows
    position_max: Rows
    account_position_max: Rows
    band_bps: Rows
    stale_ns: Rows
    rate_e8: Rows
    open_orders_max: Rows
    drawdown_max: Rows
    latched: Rows
    warm_until: Rows
    resync: Rows
    buckets: Rows
    firm_gross_max: Rows
    base_max: Rows
    firm: Rows
    accounts: Rows
    messages: Rows
    duplicate_ns: Rows
    recent: Rows
    allowed: Rows
    account_allowed: Rows
    hours: Rows
    market: Rows
    collar_bps: Rows
    fat_multiple: Rows
    typical: Rows
    cells: Rows
    currency_e8: Rows


LIMIT_COLUMNS: dict[str, tuple[int, ...] | None] = {
    "qty_max": None, "notional_max": None, "position_max": None, "account_position_max": None,
    "band_bps": None, "stale_ns": None, "open_orders_max": None, "drawdown_max": None,
    "buckets": (INTERVAL, BURST), "firm_gross_max": None, "base_max": None,
    "firm": (SELF_TRADE, FIRM_DRAWDOWN_MAX),
    "accounts": (LEVERAGE_MAX, DRAWDOWN_MAX, RATIO_MAX, RATIO_WINDOW, RATIO_ORDERS_MIN),
    "messages": (INTERVAL, BURST), "duplicate_ns": None, "allowed": None, "account_allowed": None,
    "hours": None, "collar_bps": None, "fat_multiple": None, "typical": (TYPICAL_STATED,),
}  # fmt: skip
"""The arrays that hold limits, and which of their last axis' columns (None: all of them)."""


def empty_state(accounts: int, strategies: int, instruments: int, currencies: int) -> GateState:
    """Return a gate that limits nothing by the rules that are off unless a config sets them."""
    a, s, n, c = accounts, strategies, instruments, currencies

    def zeros(*shape: int) -> Rows:
        return np.zeros(shape, np.int64)

    gate = GateState(
        qty_max=np.full((s, n), NO_LIMIT, np.int64),
        notional_max=zeros(s, n), position_max=zeros(s, n), account_position_max=zeros(a, n),
        band_bps=zeros(n), stale_ns=zeros(n), rate_e8=zeros(n), open_orders_max=zeros(s),
        drawdown_max=zeros(s), latched=zeros(s), warm_until=zeros(s), resync=zeros(a),
        buckets=zeros(a, 4), firm_gross_max=np.full(1, NO_LIMIT, np.int64),
        base_max=np.full((c, 2), NO_LIMIT, np.int64), firm=zeros(FIRM_WORDS),
        accounts=zeros(a, ACCOUNT_WORDS), messages=zeros(a, 4), duplicate_ns=zeros(s),
        recent=zeros(s, RECENT + 1, 4), allowed=np.ones((s, n), np.int64),
        account_allowed=np.ones((a, n), np.int64),
        hours=np.full((n, WEEK_WORDS), (1 << 32) - 1, np.int64), market=zeros(n, MARKET_WORDS),
        collar_bps=zeros(n), fat_multiple=zeros(s), typical=zeros(s, n, 3), cells=zeros(a * n, 2),
        currency_e8=zeros(c),
    )  # fmt: skip
    gate.firm[[SELF_TRADE, RESCAN]] = 1
    gate.firm[FIRM_DRAWDOWN_MAX] = gate.accounts[:, DRAWDOWN_MAX] = NO_LIMIT
    return gate
