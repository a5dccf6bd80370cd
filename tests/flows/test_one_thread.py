"""Feeders and gateway on the engine's main thread, which spins: two threads do a whole river."""

import pytest

from tests.flows.river import River, prove

pytestmark = pytest.mark.flow


@pytest.fixture
def river(twins, tmp_path):
    """A config whose venues are all received by the engine; one of them is recorded."""
    made = River(tmp_path, twins, coins=("btc",))
    text = made.config.read_text().replace("[matrix]", 'main_wait = "spin"\n[matrix]', 1)
    text = text.replace("[venues.binance_spot]\n", "[venues.binance_spot]\nrecord = true\n")
    made.config.write_text(
        text.replace('environment = "twin"\n', 'environment = "twin"\nfeeder = "engine"\n')
    )
    yield made
    made.close()


def test_hosted_feeders_trade_die_with_the_engine_and_come_back(river, twins):
    """Nothing is lost by kill -9 although books, orders and links go in one stroke."""
    life = river.start()
    life.trading(20, 3)
    life.kill("engine")
    life.trading(40, 5, epoch=2)
    names = {child["name"] for child in life.read("processes.json")}
    assert names == {"engine", "killer"}, "a feeder has a process beside the engine that hosts it"
    code, summary = life.end()
    prove(life.run, twins, summary, orders=30, fills=8)
    assert code == 0, summary
    recorded = list((life.run.path / "recordings").rglob("*.zst"))
    assert recorded, "what is recorded does not depend on where it is received"
