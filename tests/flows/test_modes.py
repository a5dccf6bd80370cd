"""Shadow and paper on the live wire: what must not reach a venue never does."""

import json
from decimal import Decimal

import pytest

from alephtx.cli import OK, main
from alephtx.core import words
from tests.flows.river import ACCOUNTS, Books, River

pytestmark = pytest.mark.flow


def private_links(twins):
    """Return how many private and trade links each venue ever saw."""
    opened = {}
    for venue in twins.venues:
        counts = twins.ask(venue, "stats")["counts"]
        opened[venue] = sum(counts.get(f"links_opened_{role}", 0) for role in ("private", "trade"))
    return opened


@pytest.fixture
def start(twins, tmp_path):
    """Start a run of a mode over the twins; it ends with the test."""
    made = []

    def begin(mode, *, record=False):
        river = River(tmp_path, twins, mode=mode, coins=("btc",))
        if record:
            text = river.config.read_text()
            river.config.write_text(text.replace("environment =", "record = true\nenvironment ="))
        made.append(river)
        return river.start()

    yield begin
    for river in made:
        river.close()


def test_shadow_signs_and_journals_and_no_venue_hears_of_it(start, twins):
    """The whole river but its last step: intents pass the gate, are stamped, and end unsent."""
    life = start("shadow")
    life.trading(40, 0)
    code, summary = life.end()
    assert code == 0
    books = Books(life.run)
    assert len(books.intents) >= 40
    assert books.kinds[words.SENT] == len(books.intents)
    assert books.kinds[words.EXPIRE] == len(books.intents)
    assert not books.fills
    assert summary["positions"] == {}
    for venue in twins.venues:
        assert twins.journal(venue) == []
    assert private_links(twins) == dict.fromkeys(twins.venues, 0)


def test_paper_fills_without_a_private_link_and_its_ledger_is_its_account(start, twins):
    """Simulated fills on real events, held by the same ledger; a killed engine goes on from it."""
    life = start("paper")
    life.trading(15, 8)
    first = life.pid("engine")
    life.kill("engine")
    life.trading(10, 5, epoch=2)
    assert life.pid("engine") != first
    code, summary = life.end()
    assert code == 0, summary["differences"]
    assert summary["reconciled"]
    assert set(summary["differences"]) == {ACCOUNTS[venue] for venue in twins.venues}
    books = Books(life.run)
    assert len(books.fills) >= 13
    assert max(books.passed.values()) == 1
    assert all(Decimal(amount) for amount in summary["pnl"]["realized"].values())
    for venue in twins.venues:
        assert twins.journal(venue) == []
    assert private_links(twins) == dict.fromkeys(twins.venues, 0)


def test_a_recorded_paper_session_is_held_against_its_replay(start, capsys):
    """Three venues and four strategies: the sums leave nothing, however busy the machine is."""
    life = start("paper", record=True)
    life.trading(20, 10)
    assert life.end()[0] == 0
    assert main(["diff", str(life.run.path), "--json"]) == OK
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["notes"] == []
    assert said["session"]["fills"] >= 10
    for name in {*said["session"]["pnl"], *said["replay"]["pnl"]}:
        one, other = (Decimal(said[k]["pnl"].get(name, "0")) for k in ("session", "replay"))
        causes = (cause["amount"].get(name, "0") for cause in said["causes"].values())
        assert sum(map(Decimal, causes)) == one - other
