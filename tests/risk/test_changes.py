"""Commands to change a limit: only an officer's own words, and only what can be a limit."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.errors import ConfigError
from alephtx.core.risk_schema import AccountRisk, Risk, StrategyRisk
from alephtx.core.secrets import Secret
from alephtx.risk import changes

KEY = changes.private_key(Secret("11" * 32))
OTHER = changes.private_key(Secret("22" * 32))
OFFICERS = {"ann": changes.public_text(KEY)}


def change(**fields):
    said = {
        "run": "r1", "who": "ann", "when_ns": 1, "action": "set", "limit": "notional_max",
        "old": "1000", "new": "900", "reason": "calmer", "nonce": "0" * 32,
    }  # fmt: skip
    return changes.Change(**(said | fields))


def test_signed_command_is_believed():
    signed = changes.sign(change(), KEY)
    changes.check_signature(signed, OFFICERS)
    again = msgspec.json.decode(msgspec.json.encode(signed), type=changes.Signed)
    changes.check_signature(again, OFFICERS)


@pytest.mark.parametrize(
    ("field", "value"),
    [("run", "r2"), ("when_ns", 2), ("action", "rearm"), ("limit", "qty_max"), ("scope", "x"),
     ("old", "1"), ("new", "9000"), ("reason", "x"), ("nonce", "1" * 32)],
)  # fmt: skip
def test_any_word_changed_breaks_the_signature(field, value):
    signed = changes.sign(change(), KEY)
    forged = msgspec.structs.replace(
        signed, change=msgspec.structs.replace(signed.change, **{field: value})
    )
    with pytest.raises(ConfigError, match="the signature is not ann's"):
        changes.check_signature(forged, OFFICERS)


def test_others_and_strangers_are_refused():
    with pytest.raises(ConfigError, match="is not ann's"):
        changes.check_signature(changes.sign(change(), OTHER), OFFICERS)
    with pytest.raises(ConfigError, match=r"'eve' is no officer.*risk.officers"):
        changes.check_signature(changes.sign(change(who="eve"), KEY), OFFICERS)
    broken = {"ann": "ed25519:" + "ff" * 32}
    with pytest.raises(ConfigError, match="is not ann's"):
        changes.check_signature(changes.sign(change(), KEY), broken)


@settings(max_examples=30, deadline=None)
@given(place=st.integers(0, 511))
def test_any_bit_of_the_signature_counts(place):
    signed = changes.sign(change(), KEY)
    raw = bytearray.fromhex(signed.signature)
    raw[place // 8] ^= 1 << place % 8
    with pytest.raises(ConfigError, match="is not ann's"):
        changes.check_signature(msgspec.structs.replace(signed, signature=raw.hex()), OFFICERS)


@pytest.mark.parametrize("text", ["", "zz" * 32, "11" * 31, "11" * 33])
def test_key_without_sense_is_refused_without_showing_it(text):
    with pytest.raises(ConfigError, match=r"not 32 bytes in hex \(not shown\)"):
        changes.private_key(Secret(text))


@pytest.mark.parametrize(
    ("limit", "scope", "new", "want"),
    [
        ("notional_max", "", "900.5", Decimal("900.5")), ("qty_max", "", "none", None),
        ("band_bps", "", "20", 20), ("self_trade", "", "allow", "allow"),
        ("hours", "", "Mon-Fri, Sat 10:00-12:00", ("Mon-Fri", "Sat 10:00-12:00")),
        ("hours", "", "none", ()), ("notional_max", "strategies.arb", "3", Decimal(3)),
        ("duplicate_ms", "strategies.arb", "none", None),
        ("leverage_max", "accounts.main", "2.5", Decimal("2.5")),
        ("stale_ms", "venues.v", "5", 5), ("collar_bps", "instruments.v:A-B", "0", 0),
        ("net_max", "bases.BTC", "7", Decimal(7)),
        ("instruments", "strategies.new", "v:A-B", ("v:A-B",)),
    ],
)  # fmt: skip
def test_limit_is_changed_where_it_stands_and_nowhere_else(limit, scope, new, want):
    risk = Risk(
        strategies={"arb": StrategyRisk(drawdown_max=Decimal(9))},
        accounts={"other": AccountRisk(leverage_max=Decimal(1))},
    )
    made = changes.with_limit(risk, limit, scope, new)
    group, name = changes.split_scope(scope)
    table = getattr(made, group)[name] if group else made
    assert getattr(table, limit) == want
    back = changes.value_of(risk, limit, scope)
    assert changes.value_of(changes.with_limit(made, limit, scope, back), limit, scope) == back
    assert made.accounts["other"] == risk.accounts["other"]
    assert changes.value_of(made, limit, scope) == changes.value_text(want)


@pytest.mark.parametrize(
    ("limit", "scope", "new", "match"),
    [
        ("nothing", "", "1", "there is no limit 'nothing'"),
        ("rates", "", "1", "there is no limit 'rates'"),
        ("officers", "", "none", "there is no limit 'officers'"),
        ("strategies", "", "1", "there is no limit 'strategies'"),
        ("firm_gross_max", "strategies.arb", "1", "no limit 'firm_gross_max' of strategies.arb"),
        ("notional_max", "planets.mars", "1", "'planets.mars' is no scope"),
        ("notional_max", "strategies.", "1", "'strategies.' is no scope"),
        ("notional_max", "", "0", "not above zero"), ("notional_max", "", "-1", "cannot be '-1'"),
        ("notional_max", "", "nan", "plain decimal"), ("notional_max", "", "x", "cannot be 'x'"),
        ("notional_max", "", "1e999999", "plain decimal"), ("hours", "", "x" * 41, "cannot be"),
        ("notional_max", "", "9" * 25, "plain decimal"), ("band_bps", "", "9" * 99, "cannot be"),
        ("notional_max", "", "none", "cannot be 'none'"), ("band_bps", "", "1.5", "cannot be"),
        ("band_bps", "", "0", "cannot be '0'"), ("band_bps", "", "5001", "cannot be"),
        ("self_trade", "", "perhaps", "cannot be"), ("duplicate_ms", "", "-1", "cannot be"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_limit_is_refused_by_name(limit, scope, new, match):
    with pytest.raises(ConfigError, match=match):
        changes.with_limit(Risk(), limit, scope, new)


def test_every_limit_is_listed_with_what_scopes_say():
    risk = Risk(
        accounts={"main": AccountRisk(leverage_max=Decimal(2))},
        strategies={"arb": StrategyRisk(instruments=("v:A-B",))},
    )
    rows = list(changes.every_limit(risk))
    assert ("", "notional_max", "1000") in rows
    assert ("", "hours", "none") in rows
    assert {row for row in rows if row[0]} == {
        ("accounts.main", "leverage_max", "2"), ("strategies.arb", "instruments", "v:A-B"),
    }  # fmt: skip
    assert not {"rates", "officers", "accounts"} & {limit for _, limit, _ in rows}
