"""The direct path over real sockets: the loop hears the twins and sends them its orders itself."""

import pytest

from tests.flows.river import River, prove

pytestmark = pytest.mark.flow


@pytest.fixture
def river(twins, tmp_path):
    """A config over the twins whose strategies are all direct."""
    made = River(tmp_path, twins, coins=("btc",))
    text = made.config.read_text().replace("accounts =", 'path = "direct"\naccounts =')
    made.config.write_text(text)
    yield made
    made.close()


def test_the_loop_hears_and_sends_by_itself_and_nothing_is_lost(river, twins):
    life = river.start()
    life.trading(60, 10)
    names = {child["name"] for child in life.read("processes.json")}
    assert names == {"engine", "killer"}, "a feeder runs beside the loop that does its work"
    direct = life.read("status.json")["direct"]
    code, summary = life.end()
    assert code == 0, summary
    prove(life.run, twins, summary, orders=30, fills=10)
    sent = sum(entry["sent"] for entry in direct["entries"].values())
    print(direct)
    assert sent > 40
