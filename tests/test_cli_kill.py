"""What `alephtx kill` prints of a report, and its exit code's number, without a run."""

import argparse

import pytest

from alephtx.cli.kill import _lines, _told, arguments
from alephtx.engine.kill_words import KillReport, KillRequest
from alephtx.execution.killing import AccountReport

REQUEST = KillRequest("1", 2, 3, "a test")


def report(**fields):
    return KillReport("r1", REQUEST, said="so it is", **fields)


@pytest.mark.parametrize(
    ("fields", "live"),
    [
        ({"confirmed": True, "live_orders": 0}, 0),
        ({"confirmed": True, "live_orders": 7}, 0),  # proven: what an engine last said is old
        ({"confirmed": True, "flat": True}, 0),
        ({"confirmed": True, "flat": False}, -1),  # positions are left
        ({"confirmed": True, "flat": False, "live_orders": 4}, 4),
        ({"confirmed": False, "live_orders": 0}, -1),
        ({"confirmed": False, "live_orders": 3}, 3),
        ({"confirmed": False, "live_orders": -1}, -1),
    ],
)
def test_nothing_is_open_only_where_that_is_proven(fields, live):
    told = _told(report(**fields, halted=True))
    assert (told.run, told.halted, told.live_orders, told.said) == ("r1", True, live, "so it is")
    assert not _told(report(**fields)).halted


def test_each_account_has_a_line_with_all_that_is_known_of_it():
    accounts = [
        AccountReport("a", "x"),
        AccountReport("b", "y", cancels=3, requests=2, sent_ns=4_400_000, confirmed_ns=12_600_000,
                      confirmed=True),
        AccountReport("c", "z", open=[f"o{n}" for n in range(7)], error="silent"),
        AccountReport("d", "z", confirmed=True, positions={"z:A": "5", "z:B": "-7"}),
    ]  # fmt: skip
    assert _lines(_told(report(accounts=accounts))) == [
        "r1: so it is",
        "  a (x): 0 cancelled in 0 requests; not confirmed",
        "  b (y): 3 cancelled in 2 requests, the last sent after 4 ms; nothing open after 13 ms",
        "  c (z): 0 cancelled in 0 requests; not confirmed: o0, o1, o2, o3, o4; silent",
        "  d (z): 0 cancelled in 0 requests; nothing open; left: 5 z:A, -7 z:B",
    ]
    assert _lines(_told(report())) == ["r1: so it is"]


def test_kill_without_more_words_cancels_in_every_run_and_waits_half_a_minute():
    parser = argparse.ArgumentParser()
    arguments(parser)
    assert vars(parser.parse_args([])) == {
        "run": None, "runs": "runs", "reason": "no reason given", "flatten": False, "wait": 30.0,
        "resume": False, "json": False,
    }  # fmt: skip
