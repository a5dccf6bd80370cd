"""The [risk] tables by scope: read, held against the other tables, written back unchanged."""

from decimal import Decimal

import pytest

from alephtx.core.config import parse_config
from tests.core.test_config import GOOD, mistakes

KEY = "ed25519:" + "0a" * 32
WHOLE = (
    GOOD
    + f"""
[risk]
firm_gross_max = 100000
firm_drawdown_max = "99.5"
leverage_max = "2.50"
self_trade = "allow"
hours = ["Mon-Fri 08:00-16:30", "Sun"]
officers = {{ ann = "{KEY}" }}

[risk.bases.BTC]
net_max = 500

[risk.strategies.STRATEGY]
duplicate_ms = 5
instruments = ["INSTRUMENT"]

[risk.instruments."INSTRUMENT"]
band_bps = 20

[risk.venues.VENUE]
hours = ["Sat 10:00-12:00"]

[risk.accounts.ACCOUNT]
leverage_max = 2
"""
)


def whole():
    config = parse_config(GOOD)
    (name, strategy), *_ = config.strategies.items()
    text = WHOLE.replace("STRATEGY", name).replace("INSTRUMENT", strategy.instruments[0])
    text = text.replace("ACCOUNT", next(iter(config.accounts)))
    return text.replace("VENUE", next(iter(config.venues)))


def test_scopes_are_read_and_written_back():
    config = parse_config(whole(), "c.toml")
    risk = config.risk
    assert risk.firm_drawdown_max == Decimal("99.5")
    assert risk.hours == ("Mon-Fri 08:00-16:30", "Sun")
    assert risk.bases["BTC"].net_max == 500
    assert next(iter(risk.instruments.values())).band_bps == 20
    assert risk.officers == {"ann": KEY}
    assert parse_config(config.dump(), config.path) == config


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("[risk]\nfirm_gross_max = 0\n", "risk.firm_gross_max"),
        ("[risk]\nfirm_gross_max = 1.5\n", "risk.firm_gross_max"),
        ("[risk]\nleverage_max = 1001\n", "risk.leverage_max"),
        ('[risk]\nleverage_max = "0.001"\n', "risk.leverage_max"),
        ('[risk]\nleverage_max = "1.005"\n', "risk.leverage_max"),
        ("[risk]\ncollar_bps = -1\n", "risk.collar_bps"),
        ("[risk]\nduplicate_ms = 60001\n", "risk.duplicate_ms"),
        ("[risk]\nmessages_per_s = true\n", "risk.messages_per_s"),
        ("[risk]\norder_trade_window_s = 0\n", "risk.order_trade_window_s"),
        ('[risk]\nself_trade = "maybe"\n', "risk.self_trade"),
        ('[risk]\nhours = ["Mon 9-17"]\n', "risk.hours[0]"),
        ('[risk]\nhours = "Mon"\n', "risk.hours"),
        ('[risk]\nofficers = { ann = "ed25519:zz" }\n', "risk.officers"),
        ("[risk]\nbases = 3\n", "risk.bases"),
        ("[risk.bases.BTC]\nmax = 3\n", "risk.bases.BTC.max"),
        ("[risk.bases]\nBTC = 3\n", "risk.bases.BTC"),
        ("[risk.strategies.nobody]\n", "risk.strategies.nobody"),
        ("[risk.accounts.nobody]\n", "risk.accounts.nobody"),
        ("[risk.venues.nowhere]\n", "risk.venues.nowhere"),
        ('[risk.instruments."nowhere:X"]\n', "risk.instruments.'nowhere:X'"),
    ],
)
def test_mistake_in_risk_is_found_where_it_stands(more, key):
    assert [name for _, name in mistakes(GOOD + more)] == [key]


def test_mistakes_inside_scopes_are_found():
    wrong = whole().replace('"Sat 10:00-12:00"', '"Sat 12:00-10:00"')
    wrong = wrong.replace("leverage_max = 2\n", 'leverage_max = 2\ninstruments = ["nowhere:X"]\n')
    keys = [name for _, name in mistakes(wrong)]
    assert len(keys) == 2
    assert all(name.startswith(("risk.venues.", "risk.accounts.")) for name in keys)


def test_too_many_scopes_are_refused():
    text = "".join(f"[risk.bases.B{k}]\n" for k in range(4097))
    assert [name for _, name in mistakes(GOOD + text)] == ["risk.bases"]
