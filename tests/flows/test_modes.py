"""Shadow and paper on the live wire: what must not reach a venue never does."""

from decimal import Decimal

import pytest

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

    def begin(mode):
        river = River(tmp_path, twins, mode=mode, coins=("btc",))
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
