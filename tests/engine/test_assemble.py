"""Putting an engine together: what a strategy may be, and how it is refused."""

from pathlib import Path

import pytest

from alephtx.core.config_schema import Strategy
from alephtx.core.errors import ConfigError, PluginError
from alephtx.core.kernel import JIT
from alephtx.engine import context as c
from alephtx.engine.assemble import place_strategy
from tests.engine.bench import QUOTER, Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp("engine"))
    yield made
    made.close()


def place(bench, tmp_path, text):
    path = tmp_path / "mine.py"
    source = Path(QUOTER).read_text()
    for old, new in text.items():
        assert old in source
        source = source.replace(old, new)
    path.write_text(source)
    section = Strategy(use=str(path), instruments=("alpha:BTC-USDT",), accounts=("a",))
    bench.config.strategies["quoter"] = section
    return place_strategy(bench.config, bench.instruments, bench.ctx, "quoter", 0)


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_a_strategy_that_numba_cannot_compile_is_one_error_with_its_place(bench, tmp_path):
    """A beginner's mistake must not be a page of Numba."""
    with pytest.raises(PluginError, match=r"mine\.py: on_event does not compile") as raised:
        place(bench, tmp_path, {'state[0]["tops"] += 1': 'state[0]["tops"] += {}["a"].b'})
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
@pytest.mark.parametrize("kind", ["f16", "V3"])
def test_a_state_that_numba_has_no_type_for_is_one_error_too(bench, tmp_path, kind):
    with pytest.raises(
        PluginError, match=r"mine\.py: on_start does not compile: .*dtype"
    ) as raised:
        place(bench, tmp_path, {'("last_kind", "i8")]': f'("last_kind", "i8"), ("odd", "{kind}")]'})
    assert "\n" not in str(raised.value)


def test_the_step_does_not_enter_a_strategy_that_is_not_compiled(bench, tmp_path):
    """Events are not routed to it and it has no address; `python_strategies` runs it."""
    loaded = place(bench, tmp_path, {"COMPILED = True": "COMPILED = False"})
    assert not loaded.compiled
    assert not any(loaded.entries[:5])
    assert not bench.ctx.routes.any()
    assert bench.ctx.account_of[0].tolist() == [0, -1]


def test_a_strategy_that_reads_deeper_than_the_matrix_is_refused(bench, tmp_path):
    """It would read levels that nobody fills."""
    with pytest.raises(ConfigError, match=r"reads 50 levels, the matrix holds 4"):
        place(bench, tmp_path, {"Needs(timer_ns": "Needs(depth=50, timer_ns"})


def test_routes_and_accounts_follow_the_config(bench, tmp_path):
    """Events of an instrument reach only who listed it; an account is found by its venue."""
    place(bench, tmp_path, {})
    assert bench.ctx.routes[:, 0].tolist() == [1, 0]
    assert bench.ctx.account_of[0].tolist() == [0, -1]
    assert bench.ctx.strategies[0, c.S_TIMER_NS] == 1_000_000_000
