"""What a [backtest] names: tapes cut at moments, fees, catalogues; and what is refused."""

from decimal import Decimal

import numpy as np
import pytest

from alephtx.core.config import parse_config
from alephtx.core.errors import ConfigError, SimulationError
from alephtx.core.records import TOP_ROW
from alephtx.core.words import LAST_IN_MESSAGE
from alephtx.engine.backtest import Venue
from alephtx.engine.margins import Margin, Tier
from alephtx.engine.market import FOLDER, load_market
from alephtx.engine.touches import all_touches
from alephtx.store.catalogue import Catalogue
from alephtx.store.damage import DataError
from tests.engine.bottling import KEY, config_text, events, tape_file
from tests.engine.test_replay_views import Book

SECOND = 1_000_000_000
BEGIN = "2023-11-14T22:13:"  # 20 s: the synthetic market begins


def loaded(folder, text):
    return load_market(parse_config(text, str(folder / "c.toml")))


def test_a_tape_file_is_mapped_whole(tmp_path):
    tape_file(tmp_path)
    market = loaded(tmp_path, config_text(fees='maker_fee_bps = "-0.5"'))
    assert len(market.tapes[0].rows) == 20_000
    assert isinstance(market.tapes[0].rows, np.memmap)
    assert market.instruments[0].maker_fee == Decimal("-0.00005")
    assert market.instruments[0].taker_fee == Decimal("0.0005")  # as the tape has it
    assert market.venue.entry.ns == market.venue.response.ns == 5_000_000
    assert market.start_ns == 0


def test_the_end_is_a_whole_message_and_the_start_keeps_the_book_before_it(tmp_path):
    tape_file(tmp_path)
    span = f'[backtest]\nstart = "{BEGIN}25"\nend = "{BEGIN}30"\n'
    text = config_text().replace("[backtest]\n", span)
    market = loaded(tmp_path, text)
    rows = market.tapes[0].rows
    origin = int(rows["ts_event"][0])
    assert market.start_ns == 1_700_000_005 * SECOND
    assert origin == 1_700_000_000 * SECOND  # this market has no CLEAR but its beginning
    assert int(rows[-1]["ts_event"]) < 1_700_000_010 * SECOND
    assert int(rows[-1]["flags"]) & LAST_IN_MESSAGE


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (("market.ticks", "other.ticks"), DataError, "other.ticks"),
        (("[backtest]\n", '[backtest]\nend = "2001-01-01"\n'), SimulationError, "no row between"),
        (("[backtest]\n", '[backtest]\nstart = "2101-01-01"\n'), SimulationError, "no row between"),
        (('tapes = { "synthetic:BTC-USDT-PERP" = "market.ticks" }', ""), DataError, "no data of"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, change, error, match):
    tape_file(tmp_path)
    with pytest.raises(error, match=match):
        loaded(tmp_path, config_text().replace(*change))


def test_a_file_of_another_instrument_is_refused(tmp_path):
    tape_file(tmp_path)
    other = "synthetic:ETH-USDT-PERP"
    with pytest.raises(ConfigError, match=f"is of {KEY}, not of {other}"):
        loaded(tmp_path, config_text().replace(KEY, other))


def test_a_catalogue_is_packed_once_and_anew_when_it_changed(tmp_path):
    rows, instrument = events(3_000)
    catalogue = Catalogue(tmp_path / "data")
    writer = catalogue.writer(instrument, "a" * 32, "a.csv")
    writer.append(rows)
    writer.finish()
    text = config_text("")
    first = loaded(tmp_path, text)
    made = list((tmp_path / "data" / FOLDER).glob("*"))
    again = loaded(tmp_path, text)
    assert len(made) == 1
    assert list((tmp_path / "data" / FOLDER).glob("*")) == made
    assert first.tapes[0].rows["price"].tolist() == again.tapes[0].rows["price"].tolist()
    assert len(first.tapes[0].rows) == 3_000
    assert catalogue.listed() == [KEY]  # what is made is no part of it


@pytest.mark.kernel
def test_touches_are_those_of_a_book_of_dicts(tmp_path):
    tape_file(tmp_path, 4_000)
    market = loaded(tmp_path, config_text())
    (tops,) = all_touches(market.instruments, market.tapes, Venue())
    book, wanted, last = Book(), [], [0, 0, 0, 0]
    for row in market.tapes[0].rows:
        if row["kind"] == 1:
            book.set(int(row["side"]), int(row["price"]), int(row["qty"]))
        if row["flags"] & LAST_IN_MESSAGE:
            said = []
            for side in (1, -1):
                key = book.best(side)
                price = 0 if key is None else abs(key)
                said += [price, book.lots[side][price] if price else 0]
            if said != last:
                wanted.append((int(row["ts_recv"]), *said))
            last = said
    names = ["ts_recv", "bid", "bid_qty", "ask", "ask_qty"]
    assert tops.dtype == TOP_ROW
    assert [tuple(int(top[name]) for name in names) for top in tops] == wanted
    assert len(wanted) > 50


def test_margins_of_a_config_are_the_venues(tmp_path):
    tape_file(tmp_path)
    said = f"""balance = 500
[backtest.margin]
leverage = 20
[backtest.margins."{KEY}"]
isolated = true
maintenance_bps = "40"
tiers = [{{ above = 50_000, maintenance_bps = 50, leverage = 100 }}]
[backtest.feed]
kind = "recorded"
"""
    market = loaded(tmp_path, config_text().replace("[backtest.entry]", said + "[backtest.entry]"))
    assert market.venue.margin == Margin(leverage=20)
    tier = Tier(above=Decimal(50_000), maintenance=0.005, leverage=100)
    assert market.venue.margins == {KEY: Margin(maintenance=0.004, isolated=True, tiers=(tier,))}
