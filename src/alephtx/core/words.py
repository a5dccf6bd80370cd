"""The vocabulary as small integers: what a row's kind, side or status field holds.

Plain module constants, because kernels freeze them at compile time. Names follow FIX where FIX has
one. Values are on disk (journal, input log), so they are never re-used or renumbered.
"""

# Sides: arithmetic reads, e.g. signed_qty = side * qty.
BUY, SELL = 1, -1

# Event kinds (Event.kind, and the kind byte of a hot-ring slot).
DELTA = 1  # one level of a book: price, absolute qty (0 removes), side
TRADE = 2  # public print: price, qty, side = aggressor
TOP = 3  # best bid and ask
CLEAR = 4  # forget the book; a snapshot follows
GAP = 5  # the sequence broke; the book is stale until its next CLEAR
SEQ = 6  # sequence numbers of one message: price = first, qty = previous (-1 none), seq = last
FUNDING = 7  # price = rate x 1e12, qty = next funding time in ns
MARK = 8  # price = mark in ticks
INDEX = 9  # price = index in ticks
STATUS = 10  # price = one of the TRADING... codes
BAR = 11
LIQUIDATION = 12
LAPPED = 13  # a reader was overrun: qty = slots lost, seq = where reading goes on
TIMER = 14
SIGNAL = 15
# Order by order (L3), always Event rows: seq = the resting order's id. Never in a matrix.
ORDER_ADD = 16  # a new order at the end of its price's queue: price, qty, side
ORDER_CHANGE = 17  # qty = what is left; less keeps its place, more or another price does not
ORDER_DELETE = 18  # gone, not traded
ORDER_FILL = 19  # qty of it traded at price; what is left stays in place

# Event.flags
LAST_IN_MESSAGE = 1  # rows of one message become visible together
SNAPSHOT = 2  # the row is part of a full book
EXCHANGE_CLOCK = 4  # ts_event is the venue's, not copied from ts_recv

# Tick.flags, beside the above: of a message that overtook another on its way, each row stands in
# the file twice, once where the venue sent it and once where we heard it.
TICK_EXCHANGE = 8  # only the exchange's side sees it, at ts_event
TICK_LOCAL = 16  # only our side sees it, at ts_recv

# Trading status of an instrument.
TRADING, HALTED, CANCEL_ONLY, DELISTED, MAINTENANCE = 1, 2, 3, 4, 5

# Flags in the aux word of a Top record: any of the low eight makes the book untradeable.
STALE = 1  # no proof of life from feeder or venue
CROSSED = 2
RESYNCING = 4
NOT_TRADING = 8
EMPTY_SIDE = 16
UNTRADEABLE_MASK = 0xFF
RETOLD_NS = 50_000_000
"""A message that leaves the touch as it was is told to strategies that read no depth when this long
has passed since they last were told: so they know that it stands."""
EPOCH_SHIFT = 32  # aux >> 32 is the feeder's book epoch

# Contracts.
SPOT, LINEAR, INVERSE, QUANTO, BINARY, OPTION = 1, 2, 3, 4, 5, 6

# Intent.op, Intent.type, Intent.tif, Intent.flags
PLACE, AMEND, CANCEL, CANCEL_ALL = 1, 2, 3, 4
LIMIT, MARKET, STOP = 1, 2, 3
GTC, IOC, FOK, GTD = 1, 2, 3, 4
POST_ONLY, REDUCE_ONLY, HEDGE = 1, 2, 4
"""HEDGE is said to our gate alone: the order closes what another leg opened, so limits on new risk
do not hold it back. It never reaches a wire; a venue's own hedge mode is not used."""

LEG_GROUP = -1
"""Group of the leg guard's orders and of hedges that name none; strategies use positive ones."""

# Order status, as FIX OrdStatus, plus DENIED (our gate; it never left) and UNKNOWN (sent, outcome
# unproven; its full quantity counts as open exposure).
PENDING_NEW, NEW, PARTIALLY_FILLED, FILLED = 1, 2, 3, 4
PENDING_CANCEL, PENDING_REPLACE, CANCELED, REJECTED, EXPIRED = 5, 6, 7, 8, 9
DENIED, UNKNOWN = 10, 11
TERMINAL = (FILLED, CANCELED, REJECTED, EXPIRED, DENIED)
STATUS_NAMES = {
    PENDING_NEW: "PENDING_NEW",
    NEW: "NEW",
    PARTIALLY_FILLED: "PARTIALLY_FILLED",
    FILLED: "FILLED",
    PENDING_CANCEL: "PENDING_CANCEL",
    PENDING_REPLACE: "PENDING_REPLACE",
    CANCELED: "CANCELED",
    REJECTED: "REJECTED",
    EXPIRED: "EXPIRED",
    DENIED: "DENIED",
    UNKNOWN: "UNKNOWN",
}

# Update kinds: the venue's words back, and what the gateway knows of the wire.
SENT = 1  # the bytes left; ts_recv = when
ACK = 2
REJECT = 3
CANCEL_ACK = 4  # the order is off the book
EXPIRE = 5
FILL = 6
REPLACE_ACK = 7
CANCEL_REJECT = 8
ORDER_STATE = 9  # answer to a query: status, cum_qty
AMBIGUOUS = 10  # time-out or lost socket after the send: outcome unproven
NOT_FOUND = 11  # answer to a query: the venue has never seen the order
FUNDING_PAID = 12  # money moved: realized = amount in settle currency
RESYNC_BEGIN = 13  # the private stream broke: no new risk on this account
RESYNC_END = 14  # queries agree again
MONEY_MOVED = 15  # a wallet moved without a fill: code = one of MONEY_..., see Update

# Update.code of MONEY_MOVED: why a wallet moved.
MONEY_TRANSFER = 1  # to or from another account of ours, or the world outside
MONEY_INTEREST = 2  # of a loan (negative) or on what is lent (positive)
MONEY_GAS = 3  # what a chain took
MONEY_SETTLEMENT = 4  # a dated contract or a binary market ended at a price; the position is gone
MONEY_REBATE = 5  # commissions paid back later, referral and maker programmes
MONEY_FEE = 6  # a fee that belongs to no fill
MONEY_LIQUIDATION = 7  # the fee of a forced liquidation
MONEY_INSURANCE = 8  # from (positive) or to the insurance fund, auto-deleveraging clawback
MONEY_AIRDROP = 9  # a gift of the venue or the chain
MONEY_CORRECTION = 10  # the venue mends its own books
MONEY_CONVERSION = 11  # one of the two legs of a swap between currencies at the venue's own price
MONEY_NAMES = {
    MONEY_TRANSFER: "transfer",
    MONEY_INTEREST: "interest",
    MONEY_GAS: "gas",
    MONEY_SETTLEMENT: "settlement",
    MONEY_REBATE: "rebate",
    MONEY_FEE: "fee",
    MONEY_LIQUIDATION: "liquidation",
    MONEY_INSURANCE: "insurance",
    MONEY_AIRDROP: "airdrop",
    MONEY_CORRECTION: "correction",
    MONEY_CONVERSION: "conversion",
}

# Update.flags
FOREIGN = 1  # a fill on the account of an order that no strategy placed
STILL_BLOCKED = 2  # RESYNC_END: all is known, but the account takes no new risk all the same

# Update.liquidity
MAKER, TAKER = 1, 2

# Verdicts of the gate (Intent.verdict); 0 passes.
PASS = 0
DENY_HALTED = 1
DENY_SIZE = 2
DENY_NOTIONAL = 3
DENY_POSITION = 4
DENY_BAND = 5
DENY_RATE = 6
DENY_STALE = 7
DENY_OVERFLOW = 8
DENY_TICK = 9  # price or qty off the instrument's grid, or outside its bounds
DENY_RESYNC = 10
DENY_WARMUP = 11
DENY_OPEN_ORDERS = 12
DENY_UNKNOWN_ORDER = 13
DENY_TABLE_FULL = 14
DENY_DUPLICATE = 15
DENY_SELF_TRADE = 16
DENY_EXPOSURE = 17
DENY_MESSAGES = 18
DENY_ORDER_RATIO = 19
DENY_NOT_ALLOWED = 20
DENY_HOURS = 21
DENY_NOT_TRADING = 22
DENY_COLLAR = 23
DENY_FAT_FINGER = 24
DENY_LEVERAGE = 25
DENY_LEGS = 26  # the leg guard is closing an open leg, or halted the strategy for one
DENY_ORDER_TYPE = 27  # a type that cannot be sent to this instrument's venue
VERDICT_NAMES = {
    PASS: "pass",
    DENY_HALTED: "halted",
    DENY_SIZE: "size",
    DENY_NOTIONAL: "notional",
    DENY_POSITION: "position",
    DENY_BAND: "band",
    DENY_RATE: "rate",
    DENY_STALE: "stale",
    DENY_OVERFLOW: "overflow",
    DENY_TICK: "tick",
    DENY_RESYNC: "resync",
    DENY_WARMUP: "warmup",
    DENY_OPEN_ORDERS: "open_orders",
    DENY_UNKNOWN_ORDER: "unknown_order",
    DENY_TABLE_FULL: "table_full",
    DENY_DUPLICATE: "duplicate",
    DENY_SELF_TRADE: "self_trade",
    DENY_EXPOSURE: "exposure",
    DENY_MESSAGES: "messages",
    DENY_ORDER_RATIO: "order_ratio",
    DENY_NOT_ALLOWED: "not_allowed",
    DENY_HOURS: "hours",
    DENY_NOT_TRADING: "not_trading",
    DENY_COLLAR: "collar",
    DENY_FAT_FINGER: "fat_finger",
    DENY_LEVERAGE: "leverage",
    DENY_LEGS: "legs",
    DENY_ORDER_TYPE: "order_type",
}

# Reasons of a venue's REJECT, mapped from its own codes by the venue file.
REASON_OTHER = 1
REASON_WOULD_CROSS = 2
REASON_INSUFFICIENT = 3
REASON_FILTER = 4
REASON_DUPLICATE = 5
REASON_THROTTLED = 6
REASON_NOT_TRADING = 7
REASON_UNKNOWN_ORDER = 8
REASON_REDUCE_ONLY = 9
REASON_AUTH = 10
REASON_NOT_FILLED = 11  # IOC or FOK found nothing
REASON_CLOCK = 12
REASON_SHADOW = 13  # shadow mode: signed, journaled, never sent
REASON_HALTED = 14  # we were halted before it was sent
REASON_WOULD_TRIGGER = 15  # a stop that would trigger at once
REASON_NAMES = {
    0: "",
    REASON_OTHER: "other",
    REASON_WOULD_CROSS: "would_cross",
    REASON_INSUFFICIENT: "insufficient",
    REASON_FILTER: "filter",
    REASON_DUPLICATE: "duplicate",
    REASON_THROTTLED: "throttled",
    REASON_NOT_TRADING: "not_trading",
    REASON_UNKNOWN_ORDER: "unknown_order",
    REASON_REDUCE_ONLY: "reduce_only",
    REASON_AUTH: "auth",
    REASON_NOT_FILLED: "not_filled",
    REASON_CLOCK: "clock",
    REASON_SHADOW: "shadow",
    REASON_HALTED: "halted",
    REASON_WOULD_TRIGGER: "would_trigger",
}
