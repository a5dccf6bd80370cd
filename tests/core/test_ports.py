"""The batch that decoders write, and what a request shows of itself."""

import pytest

from alephtx.core import words
from alephtx.core.errors import AlephError, VenueError
from alephtx.core.ports import Batch, Control, Request, What


@pytest.mark.smoke
def test_batch_rows_start_blank_every_time():
    batch = Batch(events=4, updates=2)
    batch.add_update(order_id=7, kind=words.ACK, cum_qty=3)
    batch.controls.append(Control("done"))
    batch.clear()
    batch.add_update(order_id=8)
    assert (batch.update_count, batch.controls) == (1, [])
    row = batch.updates[0]
    assert (row["order_id"], row["kind"], row["cum_qty"]) == (8, 0, -1)


def test_batch_that_is_full_or_asked_for_an_unknown_field_says_so():
    batch = Batch(events=1, updates=1)
    with pytest.raises(ValueError, match="no_such"):
        batch.add_update(no_such=1)
    batch.clear()
    batch.add_update(order_id=1)
    with pytest.raises(IndexError):
        batch.add_update(order_id=2)
    assert batch.update_count == 1


def test_request_shows_neither_query_nor_headers_nor_body():
    request = Request(
        what=What.ORDERS,
        path="/api/v3/openOrders?timestamp=1&signature=abcdef",
        headers=(("X-MBX-APIKEY", "hunter2"),),
        body=b"hunter3",
        key="k1",
    )
    assert repr(request) == "Request(orders http GET /api/v3/openOrders key=k1)"


def test_errors_carry_venue_code_and_remedy():
    error = VenueError("no such symbol", venue="okx", code=-1121, remedy="see the venue's list")
    assert str(error) == "okx: no such symbol. see the venue's list"
    assert (error.venue, error.code, error.retryable) == ("okx", -1121, False)
    assert isinstance(error, AlephError)
