"""What Binance's error codes mean to us: the class of the error, the reason, whether it is proven.

`{"code":-2010,"msg":"Account has insufficient balance for requested action."}`. A TransportError
here means that the outcome of a write is unknown and must be asked for; everything else is a
proven refusal. Spot and futures share the codes but for -2021 and -2022, which spot uses for
cancel-replace (not used by us). Sources: binance-spot-api-docs errors.md, the futures error code
page, ccxt 4.5.90.
"""

from typing import Any

from alephtx.core import words
from alephtx.core.errors import (
    InsufficientMargin,
    OrderRejected,
    ProtocolError,
    Throttled,
    TransportError,
    Unauthorized,
    VenueError,
    WouldCross,
)

WAIT_MS_MAX = 3_600_000

NO_SUCH_ORDER = -2013
CANCEL_REJECTED = -2011
NO_SUCH_LISTEN_KEY = -1125

_UNPROVEN = frozenset((-1000, -1001, -1006, -1007))
_THROTTLED = frozenset((-1003, -1008, -1015, -1034))
_AUTH = frozenset((-1002, -1005, -1011, -1022, -1099, -1109, -2008, -2014, -2015, -2017))
_REASONS = {
    -1013: words.REASON_FILTER,
    -1111: words.REASON_FILTER,
    -1116: words.REASON_OTHER,
    -1121: words.REASON_NOT_TRADING,
    -1122: words.REASON_NOT_TRADING,
    -2011: words.REASON_UNKNOWN_ORDER,
    -2013: words.REASON_UNKNOWN_ORDER,
    -2016: words.REASON_NOT_TRADING,
    -2018: words.REASON_INSUFFICIENT,
    -2019: words.REASON_INSUFFICIENT,
    -2022: words.REASON_REDUCE_ONLY,
    -2024: words.REASON_INSUFFICIENT,
    -2025: words.REASON_FILTER,
    -2026: words.REASON_UNKNOWN_ORDER,
    -2027: words.REASON_INSUFFICIENT,
    -2028: words.REASON_INSUFFICIENT,
    -4001: words.REASON_FILTER,
    -4002: words.REASON_FILTER,
    -4003: words.REASON_FILTER,
    -4004: words.REASON_FILTER,
    -4005: words.REASON_FILTER,
    -4013: words.REASON_FILTER,
    -4014: words.REASON_FILTER,
    -4016: words.REASON_FILTER,
    -4023: words.REASON_FILTER,
    -4024: words.REASON_FILTER,
    -4108: words.REASON_NOT_TRADING,
    -4112: words.REASON_REDUCE_ONLY,
    -4116: words.REASON_DUPLICATE,
    -4118: words.REASON_REDUCE_ONLY,
    -4131: words.REASON_FILTER,
    -4140: words.REASON_NOT_TRADING,
    -4141: words.REASON_NOT_TRADING,
    -4164: words.REASON_FILTER,
    -5021: words.REASON_NOT_FILLED,
    -5022: words.REASON_WOULD_CROSS,
    -5047: words.REASON_REDUCE_ONLY,
}
_SPOKEN = (
    ("insufficient balance", words.REASON_INSUFFICIENT),
    ("immediately match", words.REASON_WOULD_CROSS),
    ("duplicate order", words.REASON_DUPLICATE),
    ("unknown order", words.REASON_UNKNOWN_ORDER),
    ("market is closed", words.REASON_NOT_TRADING),
    ("not whitelisted", words.REASON_NOT_TRADING),
    ("filter failure", words.REASON_FILTER),
    ("too many", words.REASON_THROTTLED),
    ("not authorized", words.REASON_AUTH),
    ("disabled on this account", words.REASON_AUTH),
)


def reason_of(code: int, message: str) -> int:
    """Return the words.REASON_ of a refusal; -2010 says it only in its message."""
    if code in _REASONS:
        return _REASONS[code]
    if code in _THROTTLED:
        return words.REASON_THROTTLED
    if code == -1021:
        return words.REASON_CLOCK
    if code in _AUTH:
        return words.REASON_AUTH
    text = message.lower()
    for phrase, reason in _SPOKEN:
        if phrase in text:
            return reason
    return words.REASON_OTHER


def wait_asked_ns(data: Any) -> int:
    """Return how long the `data` of a WS API error asks us to send nothing, 0: it does not."""
    told = data if isinstance(data, dict) else {}
    now_ms, until_ms = told.get("serverTime"), told.get("retryAfter")
    if not isinstance(now_ms, int) or not isinstance(until_ms, int):
        return 0
    return max(0, min(WAIT_MS_MAX, until_ms - now_ms)) * 1_000_000


def error_of(venue: str, status: int, code: int, message: str) -> VenueError:
    """Return the error that an answer speaks of, its reason set.

    status: HTTP or WS API status. 5xx without a code that says otherwise is an unknown outcome, as
    the venue's documents ask to treat it.
    """
    said = f"{message[:200]} (code {code}, status {status})"
    reason = reason_of(code, message)
    error: VenueError
    if code in _UNPROVEN or (status >= 500 and code not in _THROTTLED):
        error = TransportError(said, venue=venue, code=code, sent=True)
    elif code in _THROTTLED or status in (429, 418):
        reason = words.REASON_THROTTLED
        error = Throttled(said, venue=venue, code=code, retryable=True)
    elif code == -1021:
        error = Unauthorized(
            said, venue=venue, code=code, retryable=True, remedy="check this machine's clock"
        )
    elif code in _AUTH or status in (401, 403):
        reason = words.REASON_AUTH
        error = Unauthorized(
            said, venue=venue, code=code, remedy="check the key, its permissions and its IP list"
        )
    elif reason == words.REASON_INSUFFICIENT:
        error = InsufficientMargin(said, venue=venue, code=code)
    elif reason == words.REASON_WOULD_CROSS:
        error = WouldCross(said, venue=venue, code=code)
    elif code == 0:
        error = ProtocolError(said, venue=venue, code=code)
    else:
        error = OrderRejected(said, venue=venue, code=code)
    error.reason = reason
    return error
