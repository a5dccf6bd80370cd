"""Error codes: the class says what to do, the reason says why, and unproven is never a refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from alephtx.venues.binance_errors import error_of

CASES = [
    (400, -2010, "Account has insufficient balance for requested action.", InsufficientMargin,
     words.REASON_INSUFFICIENT),
    (400, -2010, "Order would immediately match and take.", WouldCross, words.REASON_WOULD_CROSS),
    (400, -2010, "Duplicate order sent.", OrderRejected, words.REASON_DUPLICATE),
    (400, -2010, "Market is closed.", OrderRejected, words.REASON_NOT_TRADING),
    (400, -2010, "Something new.", OrderRejected, words.REASON_OTHER),
    (400, -1013, "Filter failure: LOT_SIZE", OrderRejected, words.REASON_FILTER),
    (400, -2011, "Unknown order sent.", OrderRejected, words.REASON_UNKNOWN_ORDER),
    (400, -2019, "Margin is insufficient.", InsufficientMargin, words.REASON_INSUFFICIENT),
    (400, -2022, "ReduceOnly Order is rejected.", OrderRejected, words.REASON_REDUCE_ONLY),
    (400, -5022, "Post Only order will be rejected.", WouldCross, words.REASON_WOULD_CROSS),
    (400, -4164, "notional must be no smaller than 100", OrderRejected, words.REASON_FILTER),
    (400, -1021, "Timestamp outside of the recvWindow.", Unauthorized, words.REASON_CLOCK),
    (400, -1022, "Signature for this request is not valid.", Unauthorized, words.REASON_AUTH),
    (401, -2015, "Invalid API-key, IP, or permissions.", Unauthorized, words.REASON_AUTH),
    (403, 0, "<html>firewall</html>", Unauthorized, words.REASON_AUTH),
    (429, -1003, "Too many requests.", Throttled, words.REASON_THROTTLED),
    (418, 0, "banned", Throttled, words.REASON_THROTTLED),
    (400, -1015, "Too many new orders.", Throttled, words.REASON_THROTTLED),
    (503, -1008, "Request throttled by system-level protection.", Throttled,
     words.REASON_THROTTLED),
    (503, 0, "Unknown error, please check your request.", TransportError, words.REASON_OTHER),
    (500, 0, "", TransportError, words.REASON_OTHER),
    (408, -1007, "Timeout waiting for response from backend server.", TransportError,
     words.REASON_OTHER),
    (400, 0, "", ProtocolError, words.REASON_OTHER),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "message", "kind", "reason"), CASES)
def test_error_documented_code_has_class_and_reason(status, code, message, kind, reason):
    error = error_of("binance_spot", status, code, message)
    assert type(error) is kind
    assert error.reason == reason
    assert (error.venue, error.code) == ("binance_spot", code)


def test_error_unproven_says_that_bytes_left():
    error = error_of("binance_usdm", 503, 0, "Unknown error")
    assert isinstance(error, TransportError)
    assert error.sent


@given(st.integers(100, 599), st.integers(-100_000, 100_000), st.text(max_size=300))
def test_error_any_answer_is_a_venue_error(status, code, message):
    """Whatever the venue says becomes an error of ours, and 5xx is never believed a refusal."""
    error = error_of("binance_spot", status, code, message)
    assert isinstance(error, VenueError)
    if status >= 500:
        assert isinstance(error, TransportError | Throttled)
