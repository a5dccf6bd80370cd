"""A config is exact or refused, with every mistake named at its line."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.config import FILE_BYTES_MAX, load_config, parse_config
from alephtx.core.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"

GOOD = """\
[venues.binance_spot]
symbols = ["BTCUSDT"]
[accounts.main]
venue = "binance_spot"
[strategies.arb]
use = "arbitrage"
instruments = ["binance_spot:BTC-USDT"]
accounts = ["main"]
"""
KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"


def findings(text, environment=None):
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c.toml", environment or {})
    assert len(str(caught.value).splitlines()) == min(len(caught.value.findings), 51)
    return caught.value.findings


def mistakes(text, environment=None):
    return [(finding.line, finding.key) for finding in findings(text, environment)]


@pytest.mark.smoke
def test_example_loads_and_its_dump_loads_equal():
    config = load_config(EXAMPLE)
    assert config.node.mode == "paper"
    assert set(config.venues) == {"binance_spot", "binance_usdm"}
    assert config.strategies["arb"].section["trigger_bps"] == 4
    assert parse_config(config.dump(), config.path) == config


def test_defaults_are_filled_in_and_amounts_are_exact():
    config = parse_config(GOOD + '[risk]\nnotional_max = "0.1"\nqty_max = 3\n', "c.toml")
    assert config.risk.notional_max == Decimal("0.1")
    assert config.risk.qty_max == Decimal(3)
    assert config.risk.band_bps == 100
    assert config.matrix.ring_slots == 4096


def test_relative_paths_start_at_the_file(tmp_path):
    (tmp_path / "mine.py").write_text("")
    text = GOOD.replace('"arbitrage"', '"mine.py"') + '[node]\nruns = "r"\nplugins = "/p"\n'
    (tmp_path / "c.toml").write_text(text)
    config = load_config(tmp_path / "c.toml")
    assert config.node.runs == str(tmp_path / "r")
    assert config.node.plugins == "/p"
    assert config.strategies["arb"].use == str(tmp_path / "mine.py")
    assert config.strategies["arb"].is_file
    assert config.path == str(tmp_path / "c.toml")


def test_account_for_finds_the_account_at_the_instruments_venue():
    config = parse_config(GOOD)
    assert config.account_for("arb", "binance_spot:BTC-USDT") == "main"
    assert config.account_for("arb", "okx:BTC-USDT") == ""


def test_every_mistake_is_reported_at_its_line():
    text = """\
[node]
nmae = "x"
mode = "papr"
engine = 900
allow_mainnet = "yes"
[risk]
notional_max = 1.5
band_bps = 0
qty_max = "nan"
[venues.binance_spot]
symbols = []
[strategies.s]
use = "x"
instruments = ["binance_spot:BTC-USDT",
  "nonsense"]
[venue]
"""
    assert mistakes(text) == [
        (2, "node.nmae"), (3, "node.mode"), (4, "node.engine"), (5, "node.allow_mainnet"),
        (7, "risk.notional_max"), (8, "risk.band_bps"), (9, "risk.qty_max"),
        (11, "venues.binance_spot.symbols"), (15, "strategies.s.instruments[1]"), (16, "venue"),
    ]  # fmt: skip


def test_mistakes_name_value_and_remedy():
    (found,) = findings(GOOD + "[risk]\nnotional_max = 1.50\n")
    assert str(found) == (
        'c.toml:10: risk.notional_max: 1.50 is a float; write it in quotes: "1.50"'
    )
    (found,) = findings(GOOD + '[node]\nmode = "papr"\n')
    assert "did you mean paper?" in str(found)


@pytest.mark.parametrize(
    "value",
    ["true", "[]", '"1e3"', '"-1"', "-1", "0", '"0.0"', '"inf"', '" 1"', "1" * 30, "nan", '"١"',
     "1979-05-27", '"1.0000000000000000001"'],
)  # fmt: skip
def test_amount_that_is_no_plain_positive_decimal_is_refused(value):
    assert mistakes(GOOD + f"[risk]\nnotional_max = {value}\n") == [(10, "risk.notional_max")]


def test_fees_may_be_negative_and_paper_balances_are_amounts():
    text = GOOD.replace('["BTCUSDT"]', '["BTCUSDT"]\nmaker_fee_bps = "-0.5"')
    text = text.replace(
        '"binance_spot"\n', '"binance_spot"\npaper = { USDT = 1000, BTC = "0.5" }\n'
    )
    config = parse_config(text, "c.toml")
    assert config.venues["binance_spot"].maker_fee_bps == Decimal("-0.5")
    assert config.accounts["main"].paper == {"USDT": Decimal(1000), "BTC": Decimal("0.5")}
    assert parse_config(config.dump(), "c.toml") == config
    wrong = text.replace('"0.5" }', "0.5, usd = 1 }")
    assert mistakes(wrong) == [(6, "accounts.main.paper.BTC"), (6, "accounts.main.paper.usd")]


def test_signer_and_nonce_pool_of_an_account_are_bounded_and_off_by_default():
    """A pool is a risk that somebody takes by writing it down."""
    plain = parse_config(GOOD)
    assert (plain.accounts["main"].signer, plain.accounts["main"].nonce_pool) == ("", 0)
    text = GOOD.replace(
        "[accounts.main]\n", '[accounts.main]\nsigner = "ed25519"\nnonce_pool = 64\n'
    )
    config = parse_config(text)
    assert (config.accounts["main"].signer, config.accounts["main"].nonce_pool) == ("ed25519", 64)
    assert parse_config(config.dump(), config.path) == config
    for wrong in ("nonce_pool = 4097", "nonce_pool = -1", 'signer = "rsa"'):
        (found,) = findings(GOOD.replace("[accounts.main]\n", f"[accounts.main]\n{wrong}\n"))
        assert wrong.partition(" ")[0] in str(found)


def test_public_address_of_an_account_is_taken():
    address = "0x" + "4f3c2b1a" * 5
    text = GOOD.replace('venue = "binance_spot"', f'venue = "binance_spot"\naddress = "{address}"')
    assert parse_config(text).accounts["main"].address == address


@pytest.mark.parametrize("literal", [KEY, "hunter2", "0x" + "4f3c2b1a" * 8, "envNAME", "file:rel"])
def test_literal_secret_is_refused_and_never_shown(literal):
    text = GOOD.replace('venue = "binance_spot"', f'venue = "binance_spot"\nsecret = "{literal}"')
    (found,) = findings(text)
    assert (found.line, found.key) == (5, "accounts.main.secret")
    assert literal not in str(found) or literal == "file:rel"


@pytest.mark.parametrize(
    "line",
    [f'comment = "{KEY}"', 'api_key = "hunter2"', f'deep = {{ a = ["{KEY}"] }}',
     'nested = { token = "t" }'],
)  # fmt: skip
def test_secret_among_a_strategys_own_keys_is_refused_and_never_shown(line):
    (found,) = findings(GOOD + line)
    assert found.line == 9
    assert KEY not in str(found)
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    "where", [f"[{KEY}]", f'[node]\nname = "{KEY}"', f'[node]\n{KEY} = "{KEY}"']
)
def test_secret_anywhere_is_never_shown(where):
    assert all(KEY not in str(found) for found in findings(GOOD + where))


def test_secret_where_a_plugin_is_named_is_refused_and_never_shown():
    (found,) = findings(GOOD.replace('"arbitrage"', f'"{KEY}"'))
    assert (found.line, found.key) == (6, "strategies.arb.use")
    assert KEY not in str(found)


def test_deep_nesting_is_refused_whatever_the_key():
    deep = "[" * 100 + "]" * 100
    for key in ("symbols", "record", "maker_fee_bps"):
        assert mistakes(GOOD.replace('symbols = ["BTCUSDT"]', f'symbols = ["A"]\n{key}_ = {deep}'))
        line = f"symbols = {deep}" if key == "symbols" else f'symbols = ["A"]\n{key} = {deep}'
        assert mistakes(GOOD.replace('symbols = ["BTCUSDT"]', line))


def test_strategys_own_numbers_are_exact_and_bounded():
    config = parse_config(GOOD + "a = 4.10\nb = [1, { c = -0.5 }]\nd = true\n")
    assert config.strategies["arb"].own == {
        "a": Decimal("4.10"), "b": [1, {"c": Decimal("-0.5")}], "d": True,
    }  # fmt: skip
    assert parse_config(config.dump(), config.path) == config
    for value in ("nan", "inf", "1e400", "1e99999999999999999999", "1979-05-27", "1" * 25):
        assert mistakes(GOOD + f"a = {value}\n") == [(9, "strategies.arb.a")]
    assert mistakes(GOOD + "a = [[[[[1]]]]]\n")[0][0] == 9


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (('venue = "binance_spot"', 'venue = "binance_sptt"'), "accounts.main.venue"),
        (('accounts = ["main"]', 'accounts = ["mian"]'), "strategies.arb.accounts[0]"),
        (('["binance_spot:BTC-USDT"]', '["okx:BTC-USDT"]'), "strategies.arb.instruments[0]"),
        (('accounts = ["main"]', ""), "strategies.arb.instruments[0]"),
        (('"binance_spot:BTC-USDT"', '"binance_spot:B", "binance_spot:B"'),
         "strategies.arb.instruments[1]"),
        (('"arbitrage"', '"no/such.py"'), "strategies.arb.use"),
        (('["BTCUSDT"]', '["A", "A"]'), "venues.binance_spot.symbols"),
    ],
)  # fmt: skip
def test_tables_that_contradict_each_other_are_refused(change, key):
    assert key in [name for _, name in mistakes(GOOD.replace(*change))]


def test_two_accounts_at_one_venue_in_one_strategy_are_refused():
    text = (
        GOOD.replace('["main"]', '["main", "more"]') + '[accounts.more]\nvenue = "binance_spot"\n'
    )
    assert mistakes(text) == [(8, "strategies.arb.accounts[1]")]


LIVE = '[node]\nmode = "live"\n'
LIMITS = "[risk]\nnotional_max = 1\nposition_notional_max = 2\ndrawdown_max = 1\n"


def test_live_mode_wants_its_limits_written_out():
    keys = {key for _, key in mistakes(GOOD + LIVE)}
    assert keys == {"risk.notional_max", "risk.position_notional_max", "risk.drawdown_max"}
    assert parse_config(GOOD + LIVE + LIMITS).node.mode == "live"


def test_live_on_mainnet_wants_allow_mainnet_and_real_secrets():
    text = GOOD.replace('["BTCUSDT"]', '["BTCUSDT"]\nenvironment = "mainnet"')
    assert [key for _, key in mistakes(text + LIVE + LIMITS)] == [
        "venues.binance_spot.environment",
        "accounts.main.secret",
    ]
    text = text.replace('venue = "binance_spot"', 'venue = "binance_spot"\nsecret = "env:S"')
    allowed = text + LIVE + "allow_mainnet = true\n" + LIMITS
    assert parse_config(allowed, environment={"S": "x"}).accounts["main"].secret == "env:S"
    assert mistakes(allowed) == [(6, "accounts.main.secret")]


def test_paper_mode_needs_no_secret_that_is_only_missing():
    text = GOOD.replace('venue = "binance_spot"', 'venue = "binance_spot"\nsecret = "env:NONE"')
    assert parse_config(text, environment={}).node.mode == "paper"


def test_rates_of_quote_currencies_are_amounts():
    text = GOOD + '[risk]\nrates = { EUR = "1.08" }\n'
    assert parse_config(text).risk.rates == {"EUR": Decimal("1.08")}
    wrong = GOOD + "[risk.rates]\nEUR = 1.08\neur = 1\n"
    assert mistakes(wrong) == [(10, "risk.rates.EUR"), (11, "risk.rates.eur")]
    assert mistakes(GOOD + "[risk]\nrates = 1\n") == [(10, "risk.rates")]


def test_order_limit_above_the_position_limit_is_refused():
    text = GOOD + "[risk]\nnotional_max = 10\nposition_notional_max = 9\n"
    assert mistakes(text) == [(10, "risk.notional_max")]


@pytest.mark.parametrize("slots", [65, 100, 4095])
def test_ring_slots_that_are_no_power_of_two_are_refused(slots):
    assert mistakes(GOOD + f"[matrix]\nring_slots = {slots}\n") == [(10, "matrix.ring_slots")]


@pytest.mark.parametrize(
    ("field", "url"),
    [
        ("http", "https://api.binance.com"),  # a twin that is none
        ("http", "ftp://127.0.0.1"), ("market", "http://127.0.0.1"), ("http", "127.0.0.1:80"),
        ("http", "http://"), ("http", "http://127.0.0.1:0"), ("http", "http://127.0.0.1:99999"),
        ("http", "http://[::1"), ("http", "http://u:p@127.0.0.1"), ("trade", "ws://127.0.0.1?a=1"),
    ],
)  # fmt: skip
def test_twin_address_that_is_not_plain_and_local_is_refused(field, url):
    text = GOOD.replace('["BTCUSDT"]', f'["BTCUSDT"]\n{field} = "{url}"')
    (found,) = findings(text)
    assert (found.line, found.key) == (3, f"venues.binance_spot.{field}")
    assert "u:p" not in str(found)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://[::1]:1", "http://localhost:9"])
def test_twin_address_on_this_machine_is_taken(url):
    text = GOOD.replace('["BTCUSDT"]', f'["BTCUSDT"]\nhttp = "{url}"')
    assert parse_config(text).venues["binance_spot"].http == url


def test_address_of_a_real_venue_must_be_encrypted():
    text = GOOD.replace('["BTCUSDT"]', '["BTCUSDT"]\nhttp = "http://a.b"\nenvironment = "testnet"')
    text = text.replace('venue = "binance_spot"', 'venue = "binance_spot"\nsecret = "env:S"')
    assert mistakes(text) == [(3, "venues.binance_spot.http")]


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = ", 1), ("[node\n", 1), ("x = 1\nx = 2\n", 2), ('[node]\nname = "a', 2), ("\n\n\x00", 3),
     ("a = " + "[" * 2_000, 0), ("a = " + "9" * 5_000, 0), ("a = 2023-02-31", 0)],
)  # fmt: skip
def test_text_that_is_no_toml_names_the_line(text, line):
    (found,) = findings(text)
    assert found.line in (line, 1) if line == 0 else found.line == line


@pytest.mark.parametrize(
    "text", ["", "node = 1", "[node]", "venues = 1", "[venues]", "venues = []", "[[node]]",
             "[strategies.A-B]", "accounts = 'x'", "[strategies.a]\n", "[venues]\na = 1"],
)  # fmt: skip
def test_tables_of_the_wrong_shape_are_refused(text):
    assert findings(text)


def test_too_many_tables_are_refused():
    text = "\n".join(f"[venues.v{k}]\nsymbols = ['A']" for k in range(17))
    assert mistakes(text) == [(1, "venues")]


def test_many_mistakes_are_cut_in_the_message_but_not_in_the_findings():
    found = findings(GOOD + "[node]\n" + "\n".join(f"k{n} = 1" for n in range(60)))
    assert len(found) == 60


def test_file_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(ConfigError, match="alephtx init"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="directory"):
        load_config(tmp_path)
    path = tmp_path / "c.toml"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigError, match=r"c.toml:2: not UTF-8"):
        load_config(path)
    path.write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="larger"):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config("a\0b")


def test_windows_line_ends_count_as_one_line():
    text = GOOD.replace("\n", "\r\n") + "[node]\r\nx = 1\r\n"
    assert mistakes(text) == [(10, "node.x")]


def test_dump_of_what_is_no_toml_is_refused():
    from alephtx.core.config_schema import Strategy

    config = parse_config(GOOD)
    odd = Strategy(use="x", instruments=("a:B",), own={"x": object()})
    config.strategies["odd"] = odd
    with pytest.raises(ConfigError, match="cannot be written"):
        config.dump()


WORDS = st.sampled_from(
    ["node", "risk", "matrix", "venues", "accounts", "strategies", "a", "binance_spot", "engine",
     "mode", "symbols", "use", "instruments", "secret", "key", "venue", "paper", "http",
     "ring_slots", "backtest", "tapes", "start", "end", "feed", "kind", "points_ns", "data",
     "notional_max", "a b", ""]
)  # fmt: skip
SCALARS = st.one_of(
    st.integers(-(10**30), 10**30).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["true", "nan", "-inf", "1979-05-27", "07:32:00", "1e999999999999999999999"]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12).map(
        lambda s: '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ),
    st.sampled_from(
        [
            '"live"',
            '"binance_spot"',
            '"binance_spot:A-B"',
            '"env:X"',
            '"http://[x"',
            '"table"',
            '"recorded"',
            "[[1, 2], [3, 4]]",
            "2024-08-08T09:30:00Z",
            '"~x"',
        ]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(WORDS, inner, max_size=3).map(
            lambda pairs: "{" + ", ".join(f'"{k}" = {v}' for k, v in pairs.items()) + "}"
        ),
    ),
    max_leaves=5,
)
TABLES = st.dictionaries(
    st.lists(WORDS, min_size=1, max_size=3).map(lambda p: ".".join(f'"{w}"' for w in p)),
    st.dictionaries(WORDS, VALUES, max_size=4),
    max_size=5,
)


@given(TABLES)
def test_any_toml_is_loaded_or_refused_never_a_traceback(tables):
    text = "\n".join(
        f"[{name}]\n" + "\n".join(f'"{key}" = {value}' for key, value in pairs.items())
        for name, pairs in tables.items()
    )
    judge(text)
    judge(GOOD + text)


@given(st.text(max_size=200))
def test_any_text_is_loaded_or_refused_never_a_traceback(text):
    judge(text)


def judge(text):
    try:
        config = parse_config(text, "c.toml", {})
    except ConfigError as error:
        rows = text.count("\n") + 1
        assert all(0 <= finding.line <= rows for finding in error.findings)
        assert error.findings
    else:
        assert parse_config(config.dump(), "c.toml", {}) == config


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[venues]\n"])
def test_a_config_without_a_venue_is_told_once(text):
    (finding,) = findings(text)
    assert (finding.key, finding.problem) == ("venues", "no venue")
