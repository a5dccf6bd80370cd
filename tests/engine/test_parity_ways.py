"""The ways of a session, as a config's tables: what was measured is what a backtest is given."""

from pathlib import Path

import numpy as np
import pytest

from alephtx.cli import CONFIG, OK, main
from alephtx.core.backtest_schema import POINTS_MAX
from alephtx.core.config import parse_config
from alephtx.engine.market import venue_of
from alephtx.engine.parity.session import read_session
from alephtx.engine.parity.stamps import read_stamps
from alephtx.engine.parity.ways import ways_lines
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.tapes import Delay, Ways, check_venue
from tests.core.test_config import GOOD

GOLDEN = Path(__file__).parents[1] / "golden" / "sessions" / "maker"
VENUE = "binance_usdm"


@pytest.fixture(scope="module")
def stamps():
    return read_stamps(read_session(RunDirectory(GOLDEN)))


def taken(text):
    """What a config makes of the tables."""
    plan = parse_config(f"{GOOD}[backtest]\n{text}", "/somewhere/c.toml").backtest
    return venue_of(plan)


def test_a_sessions_ways_are_tables_that_a_config_takes(stamps, capsys):
    assert main(["diff", str(GOLDEN), "--ways"]) == OK
    venue = taken(capsys.readouterr().out.replace(VENUE, "binance_spot"))
    check_venue(venue, ["binance_spot"])
    assert venue.ways["binance_spot"] == stamps.ways[VENUE]
    assert len(venue.ways["binance_spot"].entry.points) > 40


def test_they_can_be_moved_to_another_day(stamps, capsys):
    assert main(["diff", str(GOLDEN), "--ways", "--from", "2025-01-02T03:04:05Z"]) == OK
    ways = taken(capsys.readouterr().out.replace(VENUE, "binance_spot")).ways["binance_spot"]
    start = 1_735_787_045 * 10**9
    measured = stamps.ways[VENUE]
    first = min(way.points[0][0] for way in (measured.entry, measured.cancel, measured.response))
    for name in ("entry", "cancel", "response"):
        old, new = (np.array(getattr(one, name).points) for one in (measured, ways))
        assert (new - old == (start - first, 0)).all()


def test_a_time_that_is_none_is_refused(capsys):
    assert main(["diff", str(GOLDEN), "--ways", "--from", "tomorrow"]) == CONFIG
    assert "--from" in capsys.readouterr().err


def test_more_points_than_a_table_takes_are_thinned_to_medians(stamps):
    points = tuple((1_000 * k, k % 7) for k in range(3 * POINTS_MAX + 5))
    many = stamps._replace(ways={"binance_spot": Ways(entry=Delay(kind="table", points=points))})
    entry = taken("\n".join(ways_lines(many))).ways["binance_spot"].entry
    assert POINTS_MAX // 2 < len(entry.points) <= POINTS_MAX
    assert {ns for _, ns in entry.points} <= set(range(7))
    assert entry.points[0] == (1_500, 1)


def test_a_session_without_orders_has_none(stamps):
    assert list(ways_lines(stamps._replace(ways={VENUE: Ways()}))) == []
