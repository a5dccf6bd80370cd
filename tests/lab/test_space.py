"""Spaces say exactly what they will try, and refuse what they cannot."""

import tomllib
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.errors import ConfigError
from alephtx.lab.space import Parameter, decimals_of, fit, listed, read_space

D = Decimal


def space(body):
    return read_space(tomllib.loads(f"[strategies.m]\n{body}", parse_float=Decimal))


def only(body):
    return [next(iter(chosen.values())) for chosen in space(body).grid()]


def test_values_and_ranges_are_exact():
    assert only("a = [0.5, 1.0]") == [D("0.5"), D("1.0")]
    assert only("a = { from = 0.1, to = 0.5, step = 0.1 }") == [
        D("0.1"), D("0.2"), D("0.3"), D("0.4"), D("0.5"),
    ]  # fmt: skip
    assert only("a = { from = 1, to = 6, step = 2 }") == [1, 3, 5]
    assert only("a = { from = 1, to = 1000, count = 4, log = true }") == [1, 10, 100, 1000]
    assert only("a = { from = 1.0, to = 2.0, count = 3 }") == [D(1), D("1.5"), D(2)]


def test_conditions_leave_out_what_does_not_apply():
    sets = list(
        space('mode = ["flat", "deep"]\nn = { values = [2, 3], when = { mode = ["deep"] } }').grid()
    )
    assert sets == [
        {"strategies.m.mode": "flat"},
        {"strategies.m.mode": "deep", "strategies.m.n": 2},
        {"strategies.m.mode": "deep", "strategies.m.n": 3},
    ]


def test_draws_repeat_and_differ():
    made = space(
        "a = { from = 0, to = 500 }\nb = { from = 0.1, to = 10.0, log = true }\nc = [1, 2]"
    )
    sets = made.draw(50, 3)
    assert sets == made.draw(50, 3) != made.draw(50, 4)
    assert len(sets) == 50
    assert all(isinstance(s["strategies.m.a"], int) for s in sets)
    assert all(D("0.1") <= s["strategies.m.b"] <= 10 for s in sets)
    below = sum(s["strategies.m.b"] < 1 for s in sets)
    assert 10 < below < 40  # half of a log range is below its geometric middle
    assert len(space("a = [1, 2, 3]").draw(10, 1)) == 3


@settings(max_examples=50, deadline=None)
@given(st.integers(-1000, 1000), st.integers(1, 1000), st.floats(0, 1))
def test_what_is_drawn_lies_between(low, width, share):
    whole = Parameter(path="x", low=low, high=low + width)
    assert low <= whole.at(share) <= low + width
    fine = Parameter(path="x", low=D(low) / 7, high=D(low + width) / 7)
    assert fine.low <= fine.at(share) <= fine.high


@settings(max_examples=200, deadline=None)
@given(st.decimals("0.0001", 100, places=4), st.decimals("0.001", 5_000, places=3),
       st.integers(4, 8), st.floats(0, 1), st.booleans())  # fmt: skip
def test_what_is_made_up_can_be_kept_and_has_four_figures_where_it_can(low, width, kept, at, log):
    given_space = read_space(
        {"strategies": {"m": {"a": {"from": low, "to": low + width, "log": log}}}}
    )
    (axis,) = fit(given_space, {"strategies.m.a": kept}).parameters
    value = axis.at(at)
    assert low <= value <= low + width
    assert decimals_of(value) <= kept
    exact = msgspec.structs.replace(axis, low=low, high=low + width, kept=None).at(at)
    assert abs(value - exact) <= max(abs(exact) / 1000, D(1).scaleb(-kept))


def test_ranges_are_spread_over_what_can_be_kept_and_too_fine_ends_are_named():
    wide = space("a = { from = 0.01, to = 10.0, count = 4, log = true }\nb = [0.00001, 1.0]")
    assert fit(wide, {"strategies.m.b": 4}) == wide  # a list is as it was written
    assert [str(v) for v in fit(wide, {"strategies.m.a": 4}).parameters[0].values] == [
        "0.0100", "0.1000", "1.0000", "10.00",
    ]  # fmt: skip
    for body, value in (
        ("a = { from = 0.00001, to = 1.0 }", "0.00001"),
        ("a = { from = 0.5, to = 1.00001 }", "1.00001"),
        ("a = { from = 0.5, to = 1.0, step = 0.00001 }", "0.50001"),
    ):
        with pytest.raises(ConfigError, match=rf"{value} has more decimals .* keep \(4\)"):
            fit(space(body), {"strategies.m.a": 4})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "strategies.m is empty"),
        ("a = []", "no values"),
        ("a = 3", "strategies.m.a: is 3"),
        ("a = [1, 1]", "listed twice"),
        ("a = [1, 'x']", "several kinds"),
        ("a = [[1]]", "no single value"),
        ("a = { form = 1, to = 2 }", "did you mean from"),
        ("a = { from = 1 }", "to is missing"),
        ("a = { from = 2, to = 1 }", "is not below"),
        ("a = { from = 'x', to = 1 }", "is not a number"),
        ("a = { from = 1, to = inf }", "is not finite"),
        ("a = { from = 0, to = 1, log = true }", "not above 0"),
        ("a = { from = 0, to = 1, step = 0 }", "not above 0"),
        ("a = { from = 0, to = 1, step = 0.000001 }", "at most"),
        ("a = { from = 1, to = 2, count = 1 }", "from 2 to"),
        ("a = { values = [1], to = 2 }", "beside to"),
        ("a = { values = [1], when = { b = [1] } }", "no parameter stated before"),
        ("b = [1]\na = { values = [1], when = { b = [2] } }", "never holds"),
        ("use = ['x']", "cannot be swept"),
    ],
)  # fmt: skip
def test_mistakes_are_named(body, said):
    with pytest.raises(ConfigError, match=said):
        space(body)


@pytest.mark.parametrize(
    ("table", "said"),
    [({}, "space is empty"), (3, "space is empty"), ({"strategies": {}}, "space is empty"),
     ({"strategies": {"m": {"a": [1]}}, "risk": {}}, "only parameters of strategies")],
)  # fmt: skip
def test_a_space_of_something_else_is_refused(table, said):
    with pytest.raises(ConfigError, match=said):
        read_space(table)


def test_a_grid_needs_points_and_has_an_end():
    with pytest.raises(ConfigError, match="has no step"):
        list(space("a = { from = 0, to = 1 }").grid())
    with pytest.raises(ConfigError, match="more than 5 sets"):
        listed(space("a = [1, 2, 3]\nb = [1, 2]"), 5)
