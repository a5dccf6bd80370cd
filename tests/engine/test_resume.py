"""Taking up a run: its instruments keep their indices, today's rules are taken, changes refused."""

from decimal import Decimal

import msgspec
import pytest

from alephtx.core.config import Config
from alephtx.core.config_schema import Node, Risk
from alephtx.core.errors import ConfigError
from alephtx.core.instruments import Instruments
from alephtx.engine.resume import grown, unfinished_run
from alephtx.engine.rundir import RunDirectory
from tests.engine.bench import instrument


@pytest.fixture
def run(tmp_path):
    made = RunDirectory.create(tmp_path, "n", "")
    table = Instruments([instrument("alpha"), instrument("beta")])
    made.write_bytes(made.instruments, table.to_json())
    return made


def test_known_instruments_keep_their_places_and_new_ones_follow(run):
    today = Instruments([instrument("gamma"), instrument("beta")])
    table = grown(run, today)
    assert [i.venue for i in table] == ["alpha", "beta", "gamma"]


def test_todays_rules_replace_those_of_the_run(run):
    now = msgspec.structs.replace(instrument("beta"), tick_size=Decimal("0.05"))
    table = grown(run, Instruments([now]))
    assert table[1].tick_size == Decimal("0.05")
    assert table[0] == instrument("alpha"), "what is not traded any more stays as it was"


@pytest.mark.parametrize(
    ("name", "value"),
    [("price_scale", 3), ("qty_scale", 4), ("contract_value", Decimal(2)), ("settle", "USDC")],
)
def test_instrument_that_became_another_one_is_refused(run, name, value):
    now = msgspec.structs.replace(instrument("beta"), **{name: value})
    with pytest.raises(ConfigError, match=f"beta:BTC-USDT changed its .*{name}.*--fresh"):
        grown(run, Instruments([now]))


def test_run_that_never_had_a_table_takes_todays(tmp_path):
    fresh = RunDirectory.create(tmp_path, "n", "")
    today = Instruments([instrument("alpha")])
    assert grown(fresh, today) is today


def test_unfinished_run_is_claimed_for_us(tmp_path):
    config = Config(node=Node(name="n", runs=str(tmp_path)), venues={}, accounts={}, risk=Risk())
    assert unfinished_run(config) is None
    RunDirectory.create(tmp_path, "n", config.dump())
    found = unfinished_run(config)
    assert found is not None
    with pytest.raises(ConfigError, match="still going"):
        unfinished_run(config)
    found.release()
