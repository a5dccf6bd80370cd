"""Keys of what is imported: a config can name them, and no two markets share one."""

import re
import zipfile
from decimal import Decimal

import pytest

from alephtx.core import words
from alephtx.core.config_schema import INSTRUMENT_KEY
from alephtx.store.damage import DataError
from alephtx.store.reading import Options, key_part, plain_instrument
from tests.store.market import GOLDEN, SHARED
from tests.store.test_raw import imported

TARDIS = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n{},{},{},{},1,buy,2.5,1\n"


def tardis(folder, exchange, symbol):
    path = folder / "trades.csv"
    path.write_text(TARDIS.format(exchange, symbol, 1706659200000000, 1706659200000001))
    _, sinks = imported(path)
    (sink,) = sinks.values()
    return sink.instrument


@pytest.mark.parametrize(
    ("exchange", "symbol", "key", "contract", "value"),
    [
        ("binance", "BTCUSDT", "binance_spot:BTCUSDT", words.SPOT, 1),
        ("binance-futures", "BTCUSDT", "binance_usdm:BTCUSDT", words.LINEAR, 1),
        ("binance-delivery", "BTCUSD_PERP", "binance_coinm:BTCUSD_PERP", words.INVERSE, 100),
        ("bybit-spot", "ETHUSDT", "bybit_spot:ETHUSDT", words.SPOT, 1),
        ("deribit", "BTC-PERPETUAL", "deribit:BTC-PERPETUAL", words.SPOT, 1),
    ],
)
def test_names_of_tardis_become_ours(tmp_path, exchange, symbol, key, contract, value):
    found = tardis(tmp_path, exchange, symbol)
    assert (found.key, found.contract, found.contract_value) == (key, contract, Decimal(value))
    assert found.symbol == symbol
    assert re.fullmatch(INSTRUMENT_KEY, found.key)
    if contract == words.INVERSE:
        assert (found.base, found.quote, found.settle) == ("BTC", "USD", "BTC")


def test_odd_symbols_have_keys_of_their_own():
    symbols = ["ESH4 C4800", "ESH4_C4800", "esh4 c4800", "\u00fc", "-A", ".A", "A%B", "A@B"]
    keys = [f"x:{key_part(symbol)}" for symbol in symbols]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(INSTRUMENT_KEY, key) for key in keys)
    assert keys[0] == "x:ESH4@20C4800"


@pytest.mark.parametrize(
    ("venue", "symbol", "said"),
    [("My Venue", "A", "'My Venue' is no name of a venue"), ("x", "A" * 97, "give a shorter")],
)
def test_what_no_config_could_name_is_refused(venue, symbol, said):
    with pytest.raises(DataError, match=said):
        plain_instrument(Options(venue=venue, symbol=symbol), venue="", symbol="", price_scale=1,
                         qty_scale=0)  # fmt: skip


def lean(path, symbol, prices="2.5,2.5,2.5,2.5"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"20240131_{symbol}_minute_trade.csv", f"0,{prices},1")
    _, sinks = imported(path)
    (sink,) = sinks.values()
    return sink.instrument


@pytest.mark.parametrize(
    ("market", "symbol", "key", "contract"),
    [
        ("crypto_bybit", "btcusdt", "bybit_spot:BTCUSDT", words.SPOT),
        ("cryptofuture_bybit", "btcusdt", "bybit:BTCUSDT", words.LINEAR),
        ("cryptofuture_bybit", "btcusd", "bybit:BTCUSD", words.INVERSE),
        ("crypto_binance", "btcbusd", "binance_spot:BTCBUSD", words.SPOT),
        ("cryptofuture_binance", "btcusdt", "binance_usdm:BTCUSDT", words.LINEAR),
        ("cryptofuture_binance", "btcusd", "binance_coinm:BTCUSD", words.INVERSE),
        ("cryptofuture_dydx", "btcusd", "dydx:BTCUSD", words.LINEAR),
        ("equity_usa", "aapl", "us_equity:AAPL", words.SPOT),
    ],
)
def test_spot_and_perpetuals_of_lean_are_two_instruments(tmp_path, market, symbol, key, contract):
    """By the name of the file, and by the folders that LEAN keeps it in."""
    more = ("25000,25000,25000,25000",) if market == "equity_usa" else ()
    named = lean(tmp_path / f"{market}_{symbol}_20240131_trade.zip", symbol, *more)
    folders = tmp_path / market.replace("_", "/") / "minute" / symbol
    kept = lean(folders / "20240131_trade.zip", symbol, *more)
    for found in (named, kept):
        assert (found.key, found.contract, found.price_scale) == (
            key, contract, 4 if market == "equity_usa" else 1,
        )  # fmt: skip
    assert re.fullmatch(INSTRUMENT_KEY, named.key)


@pytest.mark.skipif(SHARED is None, reason="the real files are not here")
def test_the_minute_files_of_bybit_are_three_markets():
    paths = sorted((SHARED / "minute_crypto").glob("*bybit_btcusd*_20221213_*.zip"))
    keys = [key for path in paths for key in imported(path)[1]]
    assert len(paths) == 6
    assert sorted(set(keys)) == ["bybit:BTCUSD", "bybit:BTCUSDT", "bybit_spot:BTCUSDT"]


def test_every_market_of_a_real_file_can_be_named():
    _, sinks = imported(GOLDEN / "store" / "polymarket_quotes_20260712.parquet")
    assert sorted(sinks) == [
        "polymarket:aachc-fifa-wc-2026-07-19-esp-gs-fwcalegri", "polymarket:usgcc-aliens-12-31-2026"
    ]  # fmt: skip
    assert all(re.fullmatch(INSTRUMENT_KEY, key) for key in sinks)
