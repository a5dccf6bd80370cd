"""Bar strategies against a slow account of fractions, sets against single runs, hostile input."""

from decimal import Decimal
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.errors import AlephError, ConfigError, PluginError, UnitError
from alephtx.core.instruments import Instrument
from alephtx.core.kernel import JIT
from alephtx.core.records import BAR
from alephtx.core.units import OVERFLOW
from alephtx.lab import bars as lab_bars
from alephtx.lab.bar_strategy import load_bar_strategy
from alephtx.lab.bars import peeks, run_bars
from alephtx.store.damage import DataError
from tests.lab import bar_chance, naive_bars

PERP = Instrument(
    key="x:A-B", venue="x", symbol="AB", base="A", quote="B", settle="B", contract=words.LINEAR,
    price_scale=2, qty_scale=3, tick_size=Decimal("0.01"), lot_size=Decimal("0.001"),
    taker_fee=Decimal("0.0005"),
)  # fmt: skip
FINE = msgspec.structs.replace(
    PERP, price_scale=6, qty_scale=8, tick_size=Decimal("0.000001"), lot_size=Decimal("0.00000001")
)
ODD = msgspec.structs.replace(PERP, contract_value=Decimal("0.0625"))

compiled_only = pytest.mark.skipif(not JIT, reason="says what the compiler says")


def bars_of_closes(closes, opens=None):
    bars = np.zeros(len(closes), BAR)
    bars["ts_ns"] = np.arange(1, len(closes) + 1) * 60_000_000_000
    bars["close"] = closes
    bars["open"] = closes if opens is None else opens
    bars["high"] = np.maximum(bars["open"], bars["close"])
    bars["low"] = np.minimum(bars["open"], bars["close"])
    return bars


def walk(count, seed=1, start=10_000, step=40):
    dice = np.random.default_rng(seed)
    closes = np.maximum(start + np.cumsum(dice.integers(-step, step + 1, count)), 100)
    return bars_of_closes(closes, np.maximum(closes + dice.integers(-5, 6, count), 100))


def strategy(on_bar):
    return SimpleNamespace(
        COMPILED=True, on_bar=on_bar, __file__=__file__, PARAMS=np.dtype([("size", "i8")]),
        STATE=np.dtype([("n", "i8")]),
        config_to_params=lambda section, _: np.array([(section.get("size", 1),)], [("size", "i8")]),
    )  # fmt: skip


def units(amount):
    return int(amount.scaleb(8))


def same(found, account, pending):
    assert (found.trades, found.fills) == (account.trades, account.fills)
    assert (found.position, found.pending) == (account.held, pending)
    assert units(found.fees) == account.fees
    assert units(found.net) == account.net()
    assert units(found.gross) == account.net() + account.fees
    assert units(found.drawdown) == account.drawdown()


# -- by hand -------------------------------------------------------------------------------------


@pytest.mark.kernel
@pytest.mark.smoke
def test_crossing_is_filled_by_hand():
    """Averages of 1 and 2: up at bar 2, down at bar 4; 0.500 at 100 bps of fee, 1 tick worse.

    At the next open: bought at 105.01, sold at 98.99: -3.01, fees 0.52505 + 0.49495.
    At the close: bought at 104.01, sold at 99.99: -2.01, fees 0.52005 + 0.49995.
    """
    bars = bars_of_closes(
        [10_200, 10_100, 10_400, 10_600, 10_000, 9_900],
        [10_200, 10_150, 10_200, 10_500, 10_500, 9_900],
    )
    sets = [{"fast": 1, "slow": 2, "qty_lots": 500}]
    (found,) = run_bars("sma_cross", bars, PERP, sets, slip_ticks=1, fee_bps=100)
    assert (found.trades, found.fills, found.position, found.pending) == (1, 2, 0, 0)
    assert (found.gross, found.fees) == (Decimal("-3.01"), Decimal("1.02"))
    assert found.net == found.gross - found.fees
    # Highest after bar 3: 0.5 x 106 - 52.505 - 0.52505 < 0, so the fall is from nothing.
    assert found.drawdown == Decimal("4.03")
    (found,) = run_bars("sma_cross", bars, PERP, sets, slip_ticks=1, fee_bps=100, fill="close")
    assert (found.gross, found.fees) == (Decimal("-2.01"), Decimal("1.02"))


@pytest.mark.kernel
def test_last_decision_is_pending_without_a_next_bar():
    bars = bars_of_closes([10_200, 10_100, 10_400])
    sets = [{"fast": 1, "slow": 2, "qty_lots": 7}]
    (found,) = run_bars("sma_cross", bars, PERP, sets)
    assert (found.fills, found.position, found.pending, found.net) == (0, 0, 7, 0)
    (found,) = run_bars("sma_cross", bars, PERP, sets, fill="close", fee_bps=0)
    assert (found.fills, found.position, found.pending, found.net) == (1, 7, 0, 0)


@pytest.mark.kernel
def test_rebate_earns_and_is_rounded_against_us():
    bars = bars_of_closes([10_001] * 2)
    chance = {"a": 1, "b": 0, "span": 0, "size": 1, "every": 1}
    assert run_bars(bar_chance, bars, PERP, [chance], fee_bps="-0.5")[0].fees == 0
    bars = bars_of_closes([10_200, 10_100, 10_400])
    sets = [{"fast": 1, "slow": 2, "qty_lots": 1}]
    (found,) = run_bars("sma_cross", bars, PERP, sets, fill="close", fee_bps="-0.0001")
    assert found.fees == Decimal("-0.00000000")  # 1.04e-9, rounded up


@pytest.mark.kernel
@pytest.mark.parametrize("count", [0, 1, 5])
def test_fewer_bars_than_the_window_trade_nothing(count):
    sets = [{"fast": 3, "slow": 6, "qty_lots": 7}] * 2
    found = run_bars("sma_cross", walk(count), PERP, sets, curve_every=2)
    assert [(one.fills, one.net, one.position) for one in found] == [(0, 0, 0)] * 2
    assert [0 if one.curve is None else len(one.curve) for one in found] == [count // 2] * 2


@pytest.mark.kernel
def test_no_sets_give_no_results():
    assert run_bars("sma_cross", walk(5), PERP, []) == []


# -- against the slow one ------------------------------------------------------------------------

PRICES = st.lists(st.tuples(st.integers(50, 20_000), st.integers(50, 20_000)), max_size=60)
TERMS = st.fixed_dictionaries({
    "fill": st.sampled_from(["open", "close"]), "slip_ticks": st.integers(0, 40),
    "fee_bps": st.decimals(-3, 30, places=4),
})  # fmt: skip
CHANCE = st.fixed_dictionaries({
    "a": st.integers(1, 10**6), "b": st.integers(0, 10**6), "span": st.integers(0, 4),
    "size": st.integers(1, 10**7), "every": st.integers(1, 4),
})  # fmt: skip


def naively(bars, decide, instrument, terms):
    prices = [(int(bar["open"]), int(bar["close"])) for bar in bars]
    return naive_bars.run(
        prices, decide, instrument, fill=terms["fill"], slip=terms["slip_ticks"],
        fee_e8=int(terms["fee_bps"].scaleb(4)),
    )  # fmt: skip


def chance_of(bars, section):
    """Return the strategy's own function, as plain Python on its own rows."""
    params = bar_chance.config_to_params(section, None)
    state = np.zeros(1, bar_chance.STATE)
    return lambda k, position: int(bar_chance.on_bar(bars, k, position, params, state))


@settings(max_examples=60)
@given(PRICES, st.lists(CHANCE, min_size=1, max_size=3), TERMS, st.sampled_from([PERP, FINE, ODD]))
def test_any_trading_comes_to_what_the_slow_account_says(prices, sets, terms, instrument):
    bars = bars_of_closes([last for _, last in prices], [first for first, _ in prices])
    if not prices:
        bars = bars_of_closes([])
    found = run_bars(bar_chance, bars, instrument, sets, curve_every=1, **terms)
    for one, section in zip(found, sets, strict=True):
        account, pending = naively(bars, chance_of(bars, section), instrument, terms)
        same(one, account, pending)
        if len(bars):
            assert one.curve.tolist() == [worth.__floor__() for worth in account.worths]


@settings(max_examples=60)
@given(st.lists(st.integers(50, 80), max_size=60), st.integers(1, 6), st.integers(1, 9), TERMS)
def test_crossings_are_those_of_exact_averages(closes, fast, more, terms):
    bars, slow = bars_of_closes(closes), fast + more
    (found,) = run_bars(
        "sma_cross", bars, PERP, [{"fast": fast, "slow": slow, "qty_lots": 3}], **terms
    )
    same(found, *naively(bars, naive_bars.crossings(closes, fast, slow, 3), PERP, terms))


@settings(max_examples=60)
@given(
    st.lists(st.integers(50, 1 << 40), min_size=3, max_size=30),
    st.lists(st.integers(1, 1 << 40), min_size=1, max_size=2),
    st.sampled_from([PERP, FINE]),
)
def test_large_money_is_exact_or_an_error(closes, sizes, instrument):
    bars = bars_of_closes(closes)
    terms = {"fill": "close", "slip_ticks": 0, "fee_bps": Decimal(100)}
    sets = [{"a": 3, "b": 1, "span": 2, "size": size, "every": 2} for size in sizes]
    slow = [naively(bars, chance_of(bars, section), instrument, terms) for section in sets]
    try:
        found = run_bars(bar_chance, bars, instrument, sets, **terms)
    except UnitError:
        most = max(abs(worth) for account, _ in slow for worth in account.worths)
        turned = max(account.fees for account, _ in slow)
        lots = max(sizes) * max(closes) * 4
        assert max(most, turned, lots * 10**8) > 1 << 50
        return
    for one, (account, pending) in zip(found, slow, strict=True):
        same(one, account, pending)


# -- sweeps --------------------------------------------------------------------------------------


def sets_of(count):
    return [{"fast": 2 + k % 5, "slow": 9 + k, "qty_lots": 1 + k % 3} for k in range(count)]


def test_set_of_a_sweep_is_its_single_run():
    bars, sets = walk(3_000), sets_of(20)
    swept = run_bars("sma_cross", bars, PERP, sets)
    alone = [run_bars("sma_cross", bars, PERP, [one])[0] for one in sets]
    assert [one.digest for one in swept] == [one.digest for one in alone]
    assert swept == alone
    assert len({one.digest for one in swept}) == len(sets)


def test_digest_tells_runs_apart():
    bars, sets = walk(500), sets_of(1)
    digests = {
        run_bars("sma_cross", bars, PERP, sets, **terms)[0].digest
        for terms in ({}, {"fill": "close"}, {"slip_ticks": 1}, {"fee_bps": 1})
    }
    assert len(digests) == 4


@pytest.mark.parametrize("block", [1, 7, 4096])
def test_blocks_do_not_show(monkeypatch, block):
    bars = walk(1_500)
    before = run_bars("sma_cross", bars, PERP, sets_of(3), curve_every=11)
    monkeypatch.setattr(lab_bars, "BLOCK", block)
    after = run_bars("sma_cross", bars, PERP, sets_of(3), curve_every=11)
    assert [one.digest for one in before] == [one.digest for one in after]
    assert [one.curve.tolist() for one in before] == [one.curve.tolist() for one in after]


def test_bars_are_left_as_they_were():
    bars = walk(300)
    before = bars.copy()
    run_bars("sma_cross", bars, PERP, sets_of(2))
    peeks("sma_cross", bars, PERP, sets_of(1)[0])
    assert (bars == before).all()


# -- who looks ahead -----------------------------------------------------------------------------


def reads_next(bars, k, position, params, state):
    if k + 1 < bars.shape[0] and bars[k + 1]["close"] > bars[k]["close"]:
        return params[0]["size"]
    return 0


def reads_far(bars, k, position, params, state):
    return params[0]["size"] if k == 40 and bars[k + 17]["volume"] > 5 else 0


def reads_the_end(bars, k, position, params, state):
    return params[0]["size"] if bars[-1]["close"] > bars[k]["close"] else 0


def counts_what_comes(bars, k, position, params, state):
    return 0 if k == bars.shape[0] - 1 else params[0]["size"]


def reads_before_the_first(bars, k, position, params, state):
    return params[0]["size"] if bars[k - 3]["close"] > bars[k]["close"] else 0


def is_honest(bars, k, position, params, state):
    state[0]["n"] += bars[k]["close"]
    return params[0]["size"] if k > 3 and state[0]["n"] % 3 == 0 else 0


@pytest.mark.parametrize(
    "cheat", [reads_next, reads_far, reads_the_end, counts_what_comes, reads_before_the_first]
)
def test_strategy_that_peeks_is_caught(cheat):
    at = peeks(strategy(cheat), walk(80), PERP, {})
    assert at is not None
    if cheat is reads_far:
        assert at == 40


@pytest.mark.kernel
def test_first_peek_is_named():
    assert peeks(strategy(reads_next), bars_of_closes([100, 100, 90, 95, 95]), PERP, {}) == 0


@pytest.mark.parametrize("fast", [1, 4])
def test_honest_strategies_are_not_accused(fast):
    section = {"fast": fast, "slow": 9, "qty_lots": 2}
    assert peeks("sma_cross", walk(400), PERP, section) is None
    assert peeks(strategy(is_honest), walk(400), PERP, {}) is None
    assert peeks(strategy(is_honest), walk(0), PERP, {}) is None


# -- hostile -------------------------------------------------------------------------------------


def gives_a_float(bars, k, position, params, state):
    return 0.5 * params[0]["size"]


def writes_into_the_bars(bars, k, position, params, state):
    bars[k]["close"] = 1
    return 0


def cannot_compute(bars, k, position, params, state):
    return OVERFLOW if k == 3 and params[0]["size"] == 1 else 0


def wants_too_much(bars, k, position, params, state):
    return params[0]["size"]


@compiled_only
def test_what_does_not_compile_is_said_in_a_line():
    with pytest.raises(PluginError, match="on_bar does not compile"):
        run_bars(strategy(gives_a_float), walk(5), PERP, [{}])


@compiled_only
def test_strategy_that_writes_into_the_bars_is_caught():
    with pytest.raises(PluginError, match="wrote into the bars"):
        run_bars(strategy(writes_into_the_bars), walk(5), PERP, [{}])


@pytest.mark.kernel
def test_fault_names_set_and_bar():
    with pytest.raises(UnitError, match=r"set 1, bar 3: it wants -9223372036854775808 lots"):
        run_bars(strategy(cannot_compute), walk(5), PERP, [{"size": 0}, {}], fill="close")


@pytest.mark.parametrize("size", [1 << 61, 1 << 62, -(1 << 62), (1 << 63) - 1, 10**15])
def test_money_beyond_62_bits_is_an_error(size):
    with pytest.raises(UnitError, match="set 0, bar 1: it wants"):
        run_bars(strategy(wants_too_much), walk(5), PERP, [{"size": size}])


@pytest.mark.kernel
def test_fill_that_a_later_price_could_take_beyond_62_bits_is_an_error():
    """1.000 lots are worth 10^6 units a tick, and the cost is the last straw."""
    bars = bars_of_closes([100, (1 << 62) // 10**6, 100])
    with pytest.raises(UnitError, match="set 0, bar 0: it wants 1000 lots, and the money"):
        run_bars(strategy(wants_too_much), bars, PERP, [{"size": 1_000}], fill="close")
    assert run_bars(strategy(wants_too_much), bars, PERP, [{"size": 999}], fill="close")


@pytest.mark.kernel
def test_target_off_the_lot_is_an_error():
    coarse = msgspec.structs.replace(PERP, lot_size=Decimal("0.010"))
    with pytest.raises(UnitError, match="no multiple of the lot"):
        run_bars(strategy(wants_too_much), walk(5), coarse, [{"size": 15}])
    assert run_bars(strategy(wants_too_much), walk(5), coarse, [{"size": 20}])[0].position == 20


@pytest.mark.kernel
def test_price_beyond_the_sums_is_an_error():
    bars = bars_of_closes([1 << 50] * 3)
    sets = [{"fast": 999, "slow": 9_999}]
    with pytest.raises(UnitError, match="set 0, bar 0: it wants"):
        run_bars("sma_cross", bars, PERP, sets, fill="close")


TERMS_THAT_CANNOT_BE = [
    ({"fill": "middle"}, "fill = 'middle'"),
    ({"slip_ticks": -1}, "slip_ticks = -1"),
    ({"slip_ticks": 1.5}, "slip_ticks = 1.5"),
    ({"slip_ticks": 10**6}, "is not below the lowest price"),
    ({"curve_every": True}, "curve_every = True"),
    ({"fee_bps": 0.1}, "fee_bps = 0.1"),
    ({"fee_bps": "0.00001"}, "fee_bps = '0.00001'"),
    ({"fee_bps": "nan"}, "fee_bps = 'nan'"),
    ({"fee_bps": Decimal("Infinity")}, "fee_bps"),
    ({"fee_bps": "10001"}, "fee_bps"),
    ({"fee_bps": "two"}, "fee_bps = 'two'"),
]


@pytest.mark.parametrize(("terms", "said"), TERMS_THAT_CANNOT_BE)
def test_terms_that_cannot_be_are_named(terms, said):
    with pytest.raises(ConfigError, match=said):
        run_bars("sma_cross", walk(5), PERP, sets_of(1), **terms)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"fast": 9, "slow": 9}, "fast = 9 is not below slow"),
        ({"fast": 0}, "fast = 0 is outside"),
        ({"slow": 10**6}, "slow = 1000000 is outside"),
        ({"fats": 3}, "did you mean fast"),
        ({"fast": 2.5}, "fast = 2.5"),
        ({"qty_lots": "0.5"}, "qty_lots = '0.5' is outside"),
    ],
)
def test_parameters_that_cannot_be_are_named(section, said):
    with pytest.raises(ConfigError, match=said):
        run_bars("sma_cross", walk(5), PERP, [section])


@pytest.mark.parametrize("contract", [words.INVERSE, words.QUANTO, words.OPTION])
def test_contracts_whose_value_is_no_straight_line_are_refused(contract):
    other = msgspec.structs.replace(PERP, contract=contract)
    with pytest.raises(ConfigError, match="bars know spot and linear contracts"):
        run_bars("sma_cross", walk(5), other, sets_of(1))


def test_bars_that_cannot_be_are_refused():
    bars = walk(5)
    bars[3]["high"] = 1
    with pytest.raises(DataError, match=r"bar 3 .* high < low"):
        run_bars("sma_cross", bars, PERP, sets_of(1))
    with pytest.raises(DataError, match=r"not rows of records\.BAR"):
        run_bars("sma_cross", np.zeros(3), PERP, sets_of(1))


def test_every_other_bar_of_an_array_can_be_given():
    bars = walk(200)
    apart = run_bars("sma_cross", bars[::2], PERP, sets_of(2))
    assert apart == run_bars("sma_cross", bars[::2].copy(), PERP, sets_of(2))


BARE = {"PARAMS": 1, "STATE": 1, "config_to_params": 1, "on_bar": wants_too_much, "COMPILED": True}


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ("sma_crosss", "no bar strategy named 'sma_crosss'"),
        ("/nowhere/x.py", "cannot be read"),
        (SimpleNamespace(), "lacks PARAMS, STATE, config_to_params, on_bar"),
        (SimpleNamespace(**{**BARE, "COMPILED": False}), "COMPILED is not True"),
        (SimpleNamespace(**{**BARE, "on_bar": lambda bars: 0}), "on_bar takes 1 arguments"),
    ],
)
def test_what_is_no_bar_strategy_is_refused(given_, said):
    with pytest.raises(AlephError, match=said):
        load_bar_strategy(given_)


def test_params_of_another_kind_are_refused():
    odd = strategy(is_honest)
    odd.config_to_params = lambda section, table: {"size": 1}
    with pytest.raises(PluginError, match="gave dict, not one row of PARAMS"):
        run_bars(odd, walk(5), PERP, [{}])


def test_strategy_of_a_file_is_run(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\nCOMPILED = True\n"
        "PARAMS = STATE = np.dtype([('n', 'i8')])\n"
        "def config_to_params(section, instruments):\n    return np.ones(1, PARAMS)\n"
        "def on_bar(bars, k, position, params, state):\n    return k\n"
    )
    (found,) = run_bars(str(path), walk(9), PERP, [{}], fill="close")
    assert (found.position, found.fills) == (8, 8)
    path.write_text(path.read_text().replace("return k", "return -k"))
    (found,) = run_bars(path, walk(9), PERP, [{}], fill="close")
    assert found.position == -8
