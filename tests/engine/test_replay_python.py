"""Strategies in plain Python, in a backtest: the compiled ones' equals, order by order."""

from pathlib import Path

import msgspec
import pytest

from alephtx.core import words
from alephtx.core.config_schema import Strategy
from alephtx.core.kernel import JIT
from alephtx.engine import context as c
from alephtx.engine.backtest import Backtest, Tape, Venue
from alephtx.testing.synthetic import synthetic
from tests.engine.test_replay import AS_THE_PEERS, FREE, MAKER, came_to, config

QUOTER = str(Path(__file__).with_name("quoter.py"))
KEY = "synthetic:BTC-USDT-PERP"


@pytest.fixture(scope="module")
def market():
    return synthetic(6_000 if JIT else 3_000)


@pytest.fixture
def plain(tmp_path):
    """Write a strategy's file again as plain Python, with changes; returns its path."""

    def write(source, **changes):
        text = Path(source).read_text()
        assert "COMPILED = True" in text
        text = text.replace("COMPILED = True", "COMPILED = False").replace("@inline_kernel\n", "")
        for old, new in changes.values():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"plain_{len(list(tmp_path.iterdir()))}.py"
        path.write_text(text)
        return str(path)

    return write


def run(market, *configs, **named):
    named.setdefault("venue", AS_THE_PEERS)
    return Backtest(list(configs), market[1], [Tape(market[0])], **named).run()


def several(risk=FREE, **uses):
    """Return the config with one strategy per keyword: name = (file, own keys)."""
    made = {
        name: Strategy(use=use, instruments=(KEY,), accounts=("main",), own=own)
        for name, (use, own) in uses.items()
    }
    return msgspec.structs.replace(config(risk=risk), strategies=made)


MAKING = {"half": 1.5, "skew": 0.5, "qty": 50, "most": 500}


@pytest.mark.kernel
@pytest.mark.parametrize(
    "venue", [AS_THE_PEERS, Venue(queue="power")], ids=["whole fills", "at once, power"]
)
def test_the_common_maker_in_plain_python_makes_the_fills_of_the_compiled_one(market, plain, venue):
    python = run(market, config(plain(MAKER)), venue=venue)
    compiled = run(market, config(), venue=venue)
    assert came_to(python) == came_to(compiled)
    assert came_to(python)[1] > 0
    assert python.bottle.digest.tolist() == compiled.bottle.digest.tolist()
    assert python.alarms == []


def test_hooks_of_every_kind_hear_what_compiled_ones_hear(market, plain):
    """Events, updates, timers, and denials of what the gate holds back."""
    own = {"qty": 50, "live_max": 4}
    states, digests = [], []
    for use in (QUOTER, plain(QUOTER)):
        for qty in (50, 10**9):
            test = run(market, several(quoter=(use, {**own, "qty": qty})))
            states.append(test.lanes[0].strategies[0].state[0].tolist())
            digests.append(int(test.bottle.digest[0]))
            assert test.lanes[0].ctx.strategies[0, c.S_EVENTS] > 100
    assert states[:2] == states[2:]
    assert digests[:2] == digests[2:]
    names = test.lanes[0].strategies[0].state.dtype.names
    heard = dict(zip(names, states[3], strict=True))
    assert heard["updates"] > 100
    assert heard["last_kind"] == words.REJECT  # a denial
    assert heard["timers"] > 1


def test_batches_change_nothing_and_lanes_are_their_own(market, plain):
    use = plain(MAKER)
    sets = [config(use), config(half=3.0), config(use, half=3.0)]
    runs = [run(market, *sets, batch_rows=batch) for batch in (7, 1_000, 1 << 20)]
    digests = {tuple(test.bottle.digest.tolist()) for test in runs}
    assert len(digests) == 1
    first, second, third = digests.pop()
    assert second == third != first
    assert came_to(runs[0], 1) == came_to(runs[0], 2)


def test_plain_and_compiled_strategies_share_a_run(market, plain):
    """Who of them is plain Python changes nothing, in either place."""
    use = plain(MAKER)
    wide = {**MAKING, "half": 3.0}
    digests = {
        int(run(market, several(a=(a, MAKING), b=(b, wide))).bottle.digest[0])
        for a, b in ((MAKER, MAKER), (use, MAKER), (MAKER, use), (use, use))
    }
    assert len(digests) == 1


BAD = {
    "1 // 0": "on_timer raised ZeroDivisionError",
    "-1": "returned -1, not a number of rows written",
    "65": "returned 65, not a number of rows written",
    "None": "on_timer raised TypeError",
    "1.5": "on_timer raised TypeError",
}


@pytest.mark.kernel
@pytest.mark.parametrize("said", BAD)
def test_a_hook_that_fails_ends_its_strategy_with_its_orders_and_nobody_else(market, plain, said):
    late = int(market[0][len(market[0]) * 2 // 3]["ts_recv"])
    before = (
        '    i = params[0]["instrument"]\n    bid',
        f"""\
    if now > {late}:
        return {said}
    i = params[0]["instrument"]
    bid""",
    )
    test = run(market, several(bad=(plain(MAKER, a=before), MAKING), good=(MAKER, MAKING)))
    (alarm,) = test.alarms
    assert alarm.startswith("strategy bad stopped: ")
    assert BAD[said] in alarm
    ctx = test.lanes[0].ctx
    assert ctx.table.open_count[0] == 0
    orders = [int(s.state[0]["orders"]) for s in test.lanes[0].strategies]
    assert 0 < orders[0] < orders[1]


@pytest.mark.kernel
def test_numpy_counts_are_counts(market, plain):
    as_numpy = "return _side(1,", "return np.int64(1) * _side(1,"
    assert came_to(run(market, config(plain(MAKER, a=as_numpy)))) == came_to(run(market, config()))


@pytest.mark.kernel
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_wants_out_gets_out(market, plain, error):
    wants = '    i = params[0]["instrument"]\n    bid', f"    raise {error.__name__}\n    bid"
    with pytest.raises(error):
        run(market, config(plain(MAKER, a=wants)))


def test_orders_beyond_one_batch_are_cancelled_too(market, plain):
    """A strategy that fails with more live orders than one hook may cancel."""
    fails = (
        '    state[0]["tops"] += 1\n',
        """\
    state[0]["tops"] += 1
    if state[0]["tops"] > 100:
        assert view.open_count[0] > 90, "too few orders for this test"
        raise ValueError
""",
    )
    deep = 'view.top[i]["bid"], params', 'view.top[i]["bid"] - 300, params'
    roomy = msgspec.structs.replace(FREE, open_orders_max=200)
    quoter = plain(QUOTER, a=fails, b=deep), {"qty": 1, "live_max": 150}
    test = run(market, several(roomy, quoter=quoter))
    assert "ValueError" in test.alarms[0]
    assert test.lanes[0].ctx.table.open_count[0] == 0
