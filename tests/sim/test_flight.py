"""Messages under way against a sorted list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.kernel import kernel
from alephtx.sim import flight as f

ROW = np.dtype([("n", "i8")])


@kernel
def take(place, ring, free):
    return f.flight_take(place, ring, free)


@kernel
def next_of(place, ring):
    return f.flight_next(place, ring)


@pytest.mark.kernel
@given(st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=80))
def test_messages_arrive_by_time_and_equals_as_they_were_sent(steps):
    """None: take one; a number: send one that arrives then. Room is made when none is left."""
    flight, under_way = f.make_flight(ROW, 16), []
    for number, time in enumerate(steps):
        if time is not None:
            slot = f.flight_send(
                flight.place, flight.ring, flight.free, flight.lane, time, number % 3
            )
            if len(under_way) == len(flight.rows):
                assert slot == -1
                flight = f.grow_flight(flight)
                slot = f.flight_send(
                    flight.place, flight.ring, flight.free, flight.lane, time, number % 3
                )
            flight.rows[slot]["n"] = number
            under_way.append((time, number))
        elif under_way:
            first = min(under_way)
            assert next_of(flight.place, flight.ring) == first[0]
            slot = take(flight.place, flight.ring, flight.free)
            assert (flight.rows[slot]["n"], flight.lane[slot]) == (first[1], first[1] % 3)
            under_way.remove(first)
        if not under_way:
            assert next_of(flight.place, flight.ring) == f.NEVER
