"""A try is a run in small: what it says of money is right, on one venue and across two."""

import shutil
from pathlib import Path

import pytest

from alephtx.core.errors import ConfigError
from alephtx.engine.tryout import try_strategy

QUOTER = Path(__file__).with_name("quoter.py")
SPOT, PERP = "binance_spot:BTC-USDT", "binance_usdm:BTC-USDT-PERP"
COIN = "binance_coinm:BTC-USD-PERP"
PAIR = {"qty_base": "0.01", "assume_parity": True}


def test_arbitrage_across_venues_is_hedged_and_reconciled():
    """Greedy on purpose: a trigger below the fees, so that it trades."""
    own = {**PAIR, "trigger_bps": "1", "unwind_bps": "-20", "fee_aware": False}
    result = try_strategy("arbitrage", (SPOT, PERP), own, 20)
    assert result.counters["fills"] >= 4
    assert result.reconciled, result.differences
    assert result.counters["strategy_errors"] == result.counters["bad_rows"] == 0


def test_inverse_contracts_keep_money_in_coin():
    own = {"qty_base": "0.01", "inventory_max_base": "0.05", "half_spread_bps": "0.2"}
    result = try_strategy("market_maker", (COIN,), own, 20)
    assert result.counters["fills"] > 0
    assert set(result.money["fees"]) == {"BTC"}
    assert result.reconciled, result.differences


def test_orders_that_rest_at_the_end_are_cancelled(tmp_path):
    """The quoter buys at the bid until four orders rest; its on_stop takes them off."""
    file = tmp_path / "quoter.py"
    shutil.copy(QUOTER, file)
    result = try_strategy(str(file), (SPOT,), {"qty": 1000}, 2)
    assert result.counters["orders"] >= 4
    assert result.state["stopped"] == result.state["started"] == 1
    assert result.reconciled


@pytest.mark.parametrize("qty", [1000, 2_000_000])
def test_plain_python_does_what_the_compiled_one_does(tmp_path, qty):
    """Event by event, denials (of the larger quantity) included."""
    tried = []
    for compiled in (True, False):
        file = tmp_path / f"quoter_{compiled}.py"
        text = QUOTER.read_text()
        assert "COMPILED = True" in text
        file.write_text(text.replace("COMPILED = True", f"COMPILED = {compiled}"))
        result = try_strategy(str(file), (SPOT,), {"qty": qty}, 5)
        tried.append((result.counters, result.denied, result.money, result.state))
        assert result.reconciled
    assert tried[0] == tried[1]
    assert tried[0][0]["intents"] > 4


def test_market_time_is_what_was_asked_for():
    own = {"qty_base": "0.01", "inventory_max_base": "0.05"}
    result = try_strategy("market_maker", (PERP,), own, 3)
    assert 2.5 < result.market_s <= 3.1
    assert result.frames > 500


def test_limits_of_the_example_hold(tmp_path):
    """Two bitcoin are more than one order may be worth."""
    file = tmp_path / "quoter.py"
    shutil.copy(QUOTER, file)
    result = try_strategy(str(file), (SPOT,), {"qty": 2_000_000}, 1)
    assert result.counters["orders"] == 0
    assert set(result.denied) == {"notional"}


def test_instrument_without_recording_is_refused():
    with pytest.raises(ConfigError, match="no recording of binance_usdm:XRP"):
        try_strategy("market_maker", ("binance_usdm:XRP-USDT-PERP",), {}, 1)


def test_plugin_strategy_without_its_keys_is_refused():
    with pytest.raises(ConfigError, match="qty_base is missing"):
        try_strategy("market_maker", (PERP,), {}, 1)
