"""The direct path over real sockets: the loop hears the twins and sends them its orders itself."""

import pytest

from tests.flows.river import River, Twins, prove

pytestmark = pytest.mark.flow


def direct(river):
    """Make every strategy of a config direct."""
    text = river.config.read_text().replace("accounts =", 'path = "direct"\naccounts =')
    river.config.write_text(text)
    return river


@pytest.fixture
def river(twins, tmp_path):
    """A config over the twins whose strategies are all direct."""
    made = direct(River(tmp_path, twins, coins=("btc",)))
    yield made
    made.close()


def test_the_loop_hears_and_sends_by_itself_and_nothing_is_lost(river, twins):
    """An engine that is killed meanwhile takes its venues and accounts up again."""
    life = river.start()
    life.trading(20, 3)
    life.kill("engine")
    life.trading(40, 5, epoch=2)
    names = {child["name"] for child in life.read("processes.json")}
    assert names == {"engine", "killer"}, "a feeder runs beside the loop that does its work"
    told = life.read("status.json")["direct"]
    assert set(told["entries"]) == {"spot", "usdm"}, "COIN-M takes orders over HTTP only"
    assert set(told["venues"]) == set(twins.venues)
    code, summary = life.end()
    prove(life.run, twins, summary, orders=30, fills=8)
    assert code == 0, summary
    assert sum(entry["sent"] for entry in told["entries"].values()) > 15


def test_hyperliquid_is_heard_and_posted_to_by_the_loop(warm, tmp_path):
    """Its orders are signed with the library: no nonce is prepared unless a config asks."""
    twins = Twins(tmp_path, ("hyperliquid",))
    made = direct(River(tmp_path, twins, makers=("hyperliquid",), coins=()))
    try:
        life = made.start()
        life.trading(15, 2, reached=10)
        entry = life.read("status.json")["direct"]["entries"]["hyper"]
        code, summary = life.end()
        prove(life.run, twins, summary, orders=10, fills=2)
        assert code == 0, summary
        assert entry["sent"] > 5
    finally:
        made.close()
        twins.stop()


@pytest.mark.parametrize("mode", ["paper", "shadow"])
def test_without_real_orders_the_loop_only_hears(twins, tmp_path, mode):
    """What must not reach a venue does not, although the loop could send."""
    made = direct(River(tmp_path, twins, mode=mode, coins=("btc",)))
    try:
        life = made.start()
        life.trading(20, 3 if mode == "paper" else 0)
        told = life.read("status.json")["direct"]
        assert told["entries"] == {}
        assert all(venue["messages"] > 0 for venue in told["venues"].values())
        assert life.end()[0] == 0
        assert [twins.journal(venue) for venue in twins.venues] == [[], [], []]
    finally:
        made.close()
