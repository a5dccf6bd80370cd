"""The [backtest] table: read exactly, held together, written back unchanged."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.backtest_schema import LatencyKind, QueueModel, moment_ns
from alephtx.core.config import BacktestConfig, parse_config
from alephtx.sim.latency import NAMES as LATENCIES
from alephtx.sim.queue import NAMES as QUEUES
from tests.core.test_config import GOOD, KEY, findings, mistakes

WHOLE = (
    GOOD
    + """
[backtest]
data = "history"
tapes = { "binance_spot:BTC-USDT" = "day.ticks" }
start = 2024-08-08T09:30:00Z
end = "2024-08-09"
queue = "power_3"
power = "2.5"
whole_fills = true
balance = "10000"
filters = true
band_bps = 500
self_trade = "oldest"
depth_levels = 20
signals = ["vamp", "trade_flow"]
depth_growth = "1.5"
impact_ticks = "0.01"

[backtest.margin]
leverage = 20
maintenance_bps = "62.5"
tiers = [
    { above = 50_000, maintenance_bps = 100, leverage = 15 },
    { above = "250000.5", maintenance_bps = 250, leverage = 10 },
]

[backtest.margins."binance_spot:BTC-USDT"]
isolated = true

[backtest.feed]
kind = "recorded"
delay_ns = -1_500

[backtest.entry]
kind = "feed_tied"
delay_ns = 1_000_000
ratio = "0.5"

[backtest.cancel]
kind = "table"
points_ns = [[1_700_000_000_000_000_000, 5_000], [1_700_000_001_000_000_000, 9_000]]

[backtest.response]
kind = "loaded"
ratio = 1

[backtest.venues.binance_spot]
activation_ns = 3_000_000
amend = "keeps_nothing"

[backtest.venues.binance_spot.cancel]
kind = "constant"
delay_ns = 7
"""
)


@pytest.mark.smoke
def test_table_is_read_and_written_back():
    config = parse_config(WHOLE, "/somewhere/c.toml")
    section = config.backtest
    assert section is not None
    assert section.data == "/somewhere/history"
    assert section.tapes == {"binance_spot:BTC-USDT": "/somewhere/day.ticks"}
    assert moment_ns(section.start) == 1_723_109_400 * 10**9
    assert moment_ns(section.end) == 1_723_161_600 * 10**9
    assert (section.queue, section.power, section.whole_fills) == ("power_3", Decimal("2.5"), True)
    assert (section.feed.kind, section.feed.delay_ns) == ("recorded", -1_500)
    assert section.entry.ratio == Decimal("0.5")
    assert section.cancel is not None
    assert section.cancel.points_ns[1] == (1_700_000_001_000_000_000, 9_000)
    assert section.signals == ("vamp", "trade_flow")
    assert section.venues["binance_spot"].cancel.delay_ns == 7
    assert section.venues["binance_spot"].entry is None
    assert section.venues["binance_spot"].activation_ns == 3_000_000
    assert section.venues["binance_spot"].activation_of is None
    assert section.venues["binance_spot"].amend == "keeps_nothing"
    assert section.margin is not None
    second = section.margin.tiers[1]
    assert (second.above, second.maintenance_bps, second.leverage) == (Decimal("250000.5"), 250, 10)
    assert not section.margin.isolated
    assert section.margins["binance_spot:BTC-USDT"].isolated
    assert parse_config(config.dump(), config.path) == config


def test_without_the_table_there_is_none_and_an_empty_one_has_defaults():
    assert parse_config(GOOD).backtest is None
    config = parse_config(GOOD + "[backtest]\n", "/somewhere/c.toml")
    assert config.backtest == BacktestConfig(data="/somewhere/data")
    assert parse_config(config.dump(), config.path) == config


def test_schema_names_the_models_that_the_simulation_has():
    assert list(QueueModel.__args__) == list(QUEUES)
    assert list(LatencyKind.__args__) == list(LATENCIES)


@pytest.mark.parametrize(
    ("line", "key", "said"),
    [
        ('queu = "power"', "queu", "did you mean queue?"),
        ('queue = "pwer"', "queue", "did you mean power"),
        ('power = "0.5"', "power", "0.5 is not 1 to 100"),
        ("power = 2.5", "power", "write it in quotes"),
        ("whole_fills = 1", "whole_fills", "true or false"),
        ("balance = 0", "balance", "not above zero"),
        ("band_bps = 10_001", "band_bps", "10001 is more than 10000"),
        ("depth_growth = 11", "depth_growth", "11 is more than 10"),
        ("impact_ticks = 0.5", "impact_ticks", "write it in quotes"),
        ('self_trade = "newst"', "self_trade", "did you mean newest"),
        ("depth_levels = 1_001", "depth_levels", "1000"),
        ("impact_decay_ns = 0", "impact_decay_ns", "1"),
        ("margin = {}", "margin", "give backtest.balance too"),
        ("balance = 5\nmargin = { leverage = 1_001 }", "margin.leverage", "more than 1000"),
        ("margins = 5", "margins", "expected tables"),
        ('margins."binance_spot:BTC-USDT" = {}', "margins.'binance_spot:BTC-USDT'",
         "give backtest.balance too"),
        ('balance = 5\nmargins."binance_spot:BTC-USDC" = {}', "margins.'binance_spot:BTC-USDC'",
         "did you mean binance_spot:BTC-USDT?"),
        ('data = ""', "data", "that is a path"),
        ("data = 5", "data", "expected text"),
        (f'data = "{KEY}"', "data", "a secret stands here"),
        ('tapes = "day.ticks"', "tapes", 'write { "venue:INSTRUMENT"'),
        ('tapes = { x = "day.ticks" }', "tapes.x", "is no instrument"),
        ('tapes = { "a:B" = "" }', "tapes.'a:B'", "is not a path"),
        ('tapes = { "a:B" = 5 }', "tapes.'a:B'", "5 is not a path"),
        (f'tapes = {{ "a:B" = "{KEY}" }}', "tapes.'a:B'", "a secret stands here"),
        ('tapes = { "binance_spot:BTC-USDC" = "x" }', "tapes.'binance_spot:BTC-USDC'",
         "did you mean binance_spot:BTC-USDT?"),
        ('start = "yesterday"', "start", 'write "2024-08-08"'),
        ('start = "2500-01-01"', "start", "1970 to 2261"),
        ('start = "0001-01-01T00:00:00+14:00"', "start", "1970 to 2261"),
        ("start = 07:32:00", "start", "is not a moment"),
        ("start = 5", "start", "5 is not a moment"),
        ('start = "2024-08-09"\nend = 2024-08-09', "end", "is not after start"),
        ("feed = 5", "feed", "expected a table [backtest.feed]"),
        ("feed = { delay_ns = 5 }", "feed.kind", "is missing"),
        ('feed = { kind = "feed_tied", ratio = 1 }', "feed.kind", "cannot be feed_tied"),
        ('entry = { kind = "recorded" }', "entry.kind", "cannot be recorded"),
        ('entry = { kind = "constnt" }', "entry.kind", "did you mean constant?"),
        ('entry = { kind = "constant", delay = 5 }', "entry.delay", "did you mean delay_ns?"),
        ('entry = { kind = "constant", delay_ns = -5 }', "entry.delay_ns", "-5 is below zero"),
        ('entry = { kind = "constant", delay_ns = 2_000_000_000_000 }', "entry.delay_ns", "<="),
        ('entry = { kind = "constant", ratio = 1 }', "entry.ratio", "has no ratio"),
        ('entry = { kind = "loaded", ratio = 5000 }', "entry.ratio", "more than 1000"),
        ('entry = { kind = "loaded", ratio = 0 }', "entry.ratio", "not above zero"),
        ('cancel = { kind = "table" }', "cancel.points_ns", "points [[time, delay], ...]"),
        ('cancel = { kind = "loaded", points_ns = [[1, 1]] }', "cancel.points_ns", "no points"),
        ('cancel = { kind = "table", points_ns = [[2, 1], [2, 1]] }', "cancel.points_ns", "rise"),
        ('cancel = { kind = "table", points_ns = [[2, -1]] }', "cancel.points_ns", "below zero"),
        ('signals = ["vmap"]', "signals[0]", "vmap"),
        ("signals = []", "signals", "length"),
        ('signals = "vamp"', "signals", "expected"),
        ("venues = 5", "venues", "expected"),
        ("venues.binance_spt = {}", "venues.binance_spt", "did you mean binance_spot?"),
        ("venues.binance_spot.entri = {}", "venues.binance_spot.entri", "did you mean entry?"),
        ('venues.binance_spot.feed = { kind = "feed_tied" }', "venues.binance_spot.feed.kind",
         "cannot be feed_tied"),
        ('cancel = { kind = "table", points_ns = [[2]] }', "cancel.points_ns[0]", "length 2"),
    ],
)  # fmt: skip
def test_mistake_is_named_with_its_remedy(line, key, said):
    found = findings(f"{GOOD}[backtest]\n{line}\n")
    about = [finding for finding in found if finding.key == f"backtest.{key}"]
    assert about, [str(finding) for finding in found]
    assert said in str(about[0])
    assert KEY not in str(about[0])
    assert about[0].line >= GOOD.count("\n") + 2


def test_all_mistakes_are_found_at_once():
    text = GOOD + '[backtest]\npower = 500\n[backtest.entry]\nkind = "loaded"\ndelay_ns = -1\n'
    assert mistakes(text) == [(10, "backtest.power"), (13, "backtest.entry.delay_ns")]


@given(st.datetimes(min_value=None), st.integers(0, 1))
def test_moment_is_exact_or_refused(moment, zoned):
    text = moment.isoformat() + "Z" * zoned
    if 1970 <= moment.year < 2262:
        later = [moment_ns(text), moment_ns(text[:19])]
        assert later[0] - later[1] == moment.microsecond * 1_000
        assert all(0 <= ns < 1 << 63 for ns in later)
    else:
        with pytest.raises(ValueError, match="is not of the years"):
            moment_ns(text)


def test_moments_in_other_zones_are_the_same_moments():
    same = [
        "2024-08-08T12:00:00Z",
        "2024-08-08T14:00:00+02:00",
        "2024-08-08T12:00",
        "2024-08-08T12",
    ]
    assert all(moment_ns(a) == moment_ns(b) for a, b in pairwise(same))


TIER = "{ above = 10, maintenance_bps = 100, leverage = 9 }"


@pytest.mark.parametrize(
    ("line", "key", "said"),
    [
        ("isolated = 1", "isolated", "true or false"),
        ("isolatd = true", "isolatd", "did you mean isolated?"),
        ("leverage = 0.5", "leverage", "write it in quotes"),
        ('leverage = "0.5"', "leverage", "0.5 is less than 1"),
        ("maintenance_bps = -5", "maintenance_bps", "-5 is less than 0"),
        ("liquidation_fee_bps = -5", "liquidation_fee_bps", "-5 is less than 0"),
        ("leverage = 20\nmaintenance_bps = 501", "maintenance_bps", "would be liquidated"),
        ("tiers = 5", "tiers", "write [{ above = ..., maintenance_bps = ..., leverage = ... }"),
        ("tiers = [5]", "tiers[0]", "expected a table"),
        ("tiers = [{ above = 10 }]", "tiers[0].maintenance_bps", "is missing"),
        ("tiers = [{ abve = 10 }]", "tiers[0].abve", "did you mean above?"),
        ("tiers = [{ above = nan }]", "tiers[0].above", "float"),
        ('tiers = [{ above = "nan" }]', "tiers[0].above", "not a plain decimal"),
        ("tiers = [{ above = inf }]", "tiers[0].above", "float"),
        ("tiers = [{ above = 0 }]", "tiers[0].above", "not above zero"),
        ("tiers = [{ above = -5 }]", "tiers[0].above", "not above zero"),
        ("tiers = [{ above = true }]", "tiers[0].above", "not an amount"),
        (f"tiers = [{TIER}, {TIER}]", "tiers[1].above", "above 10 after 10"),
        (f"tiers = [{TIER.replace('10,', '10_000_000_000_000,')}]", "tiers[0].above", "below 46,"),
        (f"tiers = [{TIER.replace('10,', chr(34) + '1.000000001' + chr(34) + ',')}]",
         "tiers[0].above", "at most 8 decimals"),
        (f"tiers = [{TIER.replace('100', '49')}]", "tiers[0].maintenance_bps",
         "maintenance 0.0049 after 0.005"),
        (f"tiers = [{TIER.replace('100', '0')}]", "tiers[0].maintenance_bps", "above 0"),
        (f"tiers = [{TIER.replace('100', '-1')}]", "tiers[0].maintenance_bps", "above 0"),
        (f"tiers = [{TIER.replace('100', '10_000')}]", "tiers[0].maintenance_bps", "below 1"),
        (f"tiers = [{TIER.replace('100', '1_200')}]", "tiers[0].maintenance_bps",
         "would be liquidated"),
        (f"tiers = [{TIER.replace('= 9', '= 1_001')}]", "tiers[0].leverage", "1 to 1,000"),
        (f"tiers = [{TIER}, {TIER.replace('= 9', '= 10').replace('= 10,', '= 20,')}]",
         "tiers[1].leverage", "leverage 10 after 9"),
        (f"tiers = [{', '.join([TIER] * 17)}]", "tiers", "17 tiers"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("table", ["margin", 'margins."binance_spot:BTC-USDT"'])
def test_mistakes_in_margins_are_named(table, line, key, said):
    text = GOOD + f"[backtest]\nbalance = 100\n[backtest.{table}]\n{line}\n"
    at = f"backtest.{table}.{key}".replace('"', "'")
    about = [str(finding) for finding in findings(text) if finding.key == at]
    assert any(said in found for found in about), [str(one) for one in findings(text)]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [("vampp", "did you mean vamp?"), ("trade_flows", "did you mean trade_flow")],
)
def test_a_signal_that_is_nearly_one_is_named(said, remedy):
    (finding,) = findings(f'{GOOD}[backtest]\nsignals = ["microprice", "{said}"]\n')
    assert finding.key == "backtest.signals[1]"
    assert finding.problem == f"'{said}' is not a choice"
    assert finding.remedy.startswith(remedy)


def test_signals_that_are_no_words_are_refused():
    for text in ('"vamp"', "[1]", "[[]]", "{}"):
        assert mistakes(f"{GOOD}[backtest]\nsignals = {text}\n")
