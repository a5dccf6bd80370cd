"""A machine whose clock is not the venue's: what is signed carries the venue's time."""

import pytest

from tests.flows.river import River, Twins, prove

pytestmark = pytest.mark.flow

VENUES = ("binance_spot", "binance_usdm")


def test_node_trades_where_its_clock_is_seven_seconds_behind_the_venues(warm, tmp_path):
    """The venues take nothing that was signed more than five seconds ago."""
    twins = Twins(tmp_path, VENUES, skew_ms=7_000)
    river = River(tmp_path, twins, makers=VENUES, coins=())
    try:
        life = river.start()
        life.trading(20, 2, reached=12)
        code, summary = life.end()
        prove(life.run, twins, summary, orders=12, fills=2)
        assert code == 0
    finally:
        river.close()
        twins.stop()
