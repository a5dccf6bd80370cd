"""exchangeInfo: keys, scales, bounds and money factors of recorded listings, and hostile ones."""

import copy
from decimal import Decimal

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.errors import ConfigError, ProtocolError
from alephtx.core.instruments import Instruments
from alephtx.core.units import MAX_VALUE, TRUNCATE, notional
from alephtx.venues.binance_instruments import decimals
from tests.venues.binance_golden import VENUES, encode, exchange_info, instruments, text


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("key", "scales", "tick", "lot", "least", "settle"),
    [
        ("binance_spot:BTC-USDT", (2, 6), "0.01", "0.00001", "5", "USDT"),
        ("binance_usdm:BTC-USDT-PERP", (1, 3), "0.1", "0.001", "100", "USDT"),
        ("binance_coinm:BTC-USD-PERP", (1, 0), "0.1", "1", "0", "BTC"),
    ],
)
def test_parse_recorded_listing(key, scales, tick, lot, least, settle):
    instrument = instruments()[key]
    assert (instrument.price_scale, instrument.qty_scale) == scales
    assert (instrument.tick_size, instrument.lot_size) == (Decimal(tick), Decimal(lot))
    assert instrument.notional_min == Decimal(least)
    assert instrument.settle == settle
    assert instrument.status == words.TRADING


def test_parse_coinm_contract_is_inverse_and_priced_in_the_coin():
    """Ten contracts of 100 USD at 50,000 USD are 0.02 BTC."""
    table = instruments()
    index = table.index("binance_coinm:BTC-USD-PERP")
    assert table[index].contract == words.INVERSE
    assert table[index].contract_value == 100
    row = table.rows()[index : index + 1]
    assert notional(row, 500_000, 10, TRUNCATE) == 2_000_000


@pytest.mark.parametrize("market", VENUES)
def test_parse_every_recorded_listing_fits_the_table(market):
    """Nothing the venue lists may be too large for 62 bits; orders are bounded instead."""
    found = VENUES[market].parse_instruments(exchange_info(market), [])
    assert len(found) >= 8
    table = Instruments(found)
    rows = table.rows()
    assert np.all(rows["tick_step"] > 0)
    assert np.all(rows["lot_step"] > 0)
    assert {i.status for i in found} <= {words.TRADING, words.HALTED, words.CANCEL_ONLY}
    assert all(i.price_ticks(i.price_max) * i.qty_lots(i.qty_max) < MAX_VALUE for i in found)


def test_parse_wanted_symbols_come_in_their_order():
    found = VENUES["spot"].parse_instruments(exchange_info("spot"), ["ETHUSDT", "BTCUSDT"])
    assert [i.symbol for i in found] == ["ETHUSDT", "BTCUSDT"]


def test_parse_unlisted_symbol_names_near_ones():
    with pytest.raises(ConfigError, match="near names: BTCUSDT"):
        VENUES["spot"].parse_instruments(exchange_info("spot"), ["BTCUSD"])


def test_parse_range_too_large_bounds_the_order_size():
    info = copy.deepcopy(text("exchange_info.json")["usdm"])
    for entry in info["symbols"][0]["filters"]:
        if entry["filterType"] == "LOT_SIZE":
            entry["maxQty"] = "100000000000000"
    found = VENUES["usdm"].parse_instruments(encode(info), [info["symbols"][0]["symbol"]])[0]
    assert 0 < found.qty_max < 100_000_000_000_000
    assert found.qty_max % found.lot_size == 0
    Instruments([found])


def test_parse_delivery_contract_has_its_date_in_key_and_expiry():
    info = copy.deepcopy(text("exchange_info.json")["usdm"])
    info["symbols"][0] |= {
        "symbol": "BTCUSDT_260327", "contractType": "CURRENT_QUARTER",
        "deliveryDate": 1774598400000,
    }  # fmt: skip
    found = VENUES["usdm"].parse_instruments(encode(info), ["BTCUSDT_260327"])[0]
    assert found.key.endswith("-260327")
    assert found.expiry_ns == 1774598400000 * 1_000_000


def spoiled(change):
    info = copy.deepcopy(text("exchange_info.json")["spot"])
    change(info["symbols"][0])
    return encode(info)


def set_filter(name, **fields):
    def change(listing):
        for entry in listing["filters"]:
            if entry["filterType"] == name:
                entry.update(fields)

    return change


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"symbols":[{}]}',
        b'{"symbols":{}}',
        spoiled(lambda listing: listing.pop("filters")),
        spoiled(lambda listing: listing["filters"].clear()),
        spoiled(lambda listing: listing.update(symbol=5)),
        spoiled(set_filter("PRICE_FILTER", tickSize="0")),
        spoiled(set_filter("PRICE_FILTER", tickSize="-0.01")),
        spoiled(set_filter("PRICE_FILTER", tickSize="NaN")),
        spoiled(set_filter("PRICE_FILTER", maxPrice="Infinity")),
        spoiled(set_filter("LOT_SIZE", stepSize="abc")),
        spoiled(set_filter("LOT_SIZE", stepSize=None)),
        spoiled(set_filter("LOT_SIZE", maxQty="1e400")),
        spoiled(set_filter("LOT_SIZE", maxQty="9" * 5000)),
    ],
)
def test_parse_hostile_answer_is_a_protocol_error(body):
    """Never a crash, never an instrument with a senseless grid."""
    with pytest.raises(ProtocolError):
        VENUES["spot"].parse_instruments(body, [])


@pytest.mark.parametrize(
    ("step", "expected"), [("0.01000000", 2), ("1.00000000", 0), ("0.1", 1), ("10", 0), ("1E-8", 8)]
)
def test_decimals_ignore_trailing_zeros(step, expected):
    assert decimals(Decimal(step)) == expected
