"""Twenty faults while money moves: links cut, frames lost, doubled, swapped and late, answers lost.

Money first: whatever was thrown at it, the venue's journal and ours agree in the end. Then the
books: while nothing moves any more, what the matrix shows is what the venue says.
"""

import json
import time
import urllib.request
from decimal import Decimal

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.records import TOP_ROW
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_read
from tests.flows.river import prove, until

pytestmark = pytest.mark.flow

FAULTS = (
    ("binance_spot", "disconnect", "private", {}),
    ("binance_usdm", "disconnect", "trade", {}),
    ("binance_coinm", "disconnect", "private", {}),
    ("binance_spot", "disconnect", "market", {}),
    ("binance_coinm", "disconnect", "market", {}),
    ("binance_usdm", "gap", "private", {"count": 2}),
    ("binance_spot", "duplicate", "private", {"count": 5}),
    ("binance_usdm", "reorder", "private", {"count": 3}),
    ("binance_spot", "gap", "market", {"count": 3}),
    ("binance_usdm", "duplicate", "market", {"count": 5}),
    ("binance_coinm", "reorder", "market", {"count": 3}),
    ("binance_usdm", "stall", "private", {"duration_ms": 700}),
    ("binance_spot", "stall", "market", {"duration_ms": 700}),
    ("binance_coinm", "slow", "http", {"duration_ms": 1000, "delay_ms": 200}),
    ("binance_usdm", "slow", "trade", {"duration_ms": 1000, "delay_ms": 150}),
    ("binance_coinm", "429", "http", {"count": 2, "match": "order"}),
    ("binance_coinm", "5xx", "http", {"count": 2, "match": "order"}),
    ("binance_coinm", "ambiguous", "http", {"count": 1}),
    ("binance_usdm", "ambiguous", "trade", {"count": 1}),
    ("binance_spot", "ambiguous", "trade", {"count": 1}),
)
BETWEEN_S = 0.35
WORDS = {"binance_spot": "/api/v3", "binance_usdm": "/fapi/v1", "binance_coinm": "/dapi/v1"}


def done(twins):
    """Return how often each fault was done: (venue, 'kind:target') -> times."""
    return {
        (venue, name): count
        for venue in twins.venues
        for name, count in twins.ask(venue, "stats")["faults"].items()
    }


def order(twins, fault):
    """Order one fault of the list."""
    venue, kind, target, more = fault
    twins.fault(venue, kind, target, **more)


def all_done(twins):
    """Tell whether every fault hit something; order those again whose time passed without."""
    hit = done(twins)
    missed = [fault for fault in FAULTS if (fault[0], f"{fault[1]}:{fault[2]}") not in hit]
    for fault in missed:
        if "duration_ms" in fault[3]:  # the others wait until there is something to hit
            order(twins, fault)
    return not missed


def said_by(twins, venue, symbol):
    """Return the venue's own best prices, as (bid, ask)."""
    port = twins.ports[venue]
    url = f"http://127.0.0.1:{port}{WORDS[venue]}/ticker/bookTicker?symbol={symbol}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        body = json.loads(answer.read())
    row = body[0] if isinstance(body, list) else body
    return Decimal(row["bidPrice"]), Decimal(row["askPrice"])


def shown_by(matrix, i):
    """Return the matrix's best prices of an instrument, None while it is not tradeable."""
    top = np.zeros(1, TOP_ROW)
    if top_read(matrix.map, i, top) < 0 or int(top[0]["aux"]) & words.UNTRADEABLE_MASK:
        return None
    instrument = matrix.instruments[i]
    return tuple(instrument.price_decimal(int(top[0][side])) for side in ("bid", "ask"))


def books_equal(matrix, twins):
    """Count the books whose tops were the venue's at a moment when it did not change."""
    equal = 0
    for i, instrument in enumerate(matrix.instruments):
        for _ in range(40):
            before = said_by(twins, instrument.venue, instrument.symbol)
            time.sleep(0.02)
            shown = shown_by(matrix, i)
            if shown == before == said_by(twins, instrument.venue, instrument.symbol):
                equal += 1
                break
    return equal


@pytest.mark.parametrize("path", ["split", "direct"])
def test_twenty_faults_while_trading_lose_and_double_nothing(river, twins, path):
    """Links, frames, answers: every kind over three venues, with orders under way at each."""
    text = river.config.read_text().replace("accounts =", f'path = "{path}"\naccounts =')
    river.config.write_text(text)
    life = river.start()
    life.trading(20, 8)
    for fault in FAULTS:
        order(twins, fault)
        time.sleep(BETWEEN_S)
    until(lambda: all_done(twins), 40, "every fault was done", every=1.5)
    before = life.counters()
    accounts = until(
        lambda: (a := life.read("status.json")["accounts"]) and all(x["ready"] for x in a) and a,
        20, "every account is open for new risk again",
    )  # fmt: skip
    assert sum(account["resyncs"] for account in accounts) >= len(accounts) + 3
    life.trading(before["orders"] + 15, before["fills"] + 3)
    with Matrix.attach(river.matrix) as matrix:
        assert books_equal(matrix, twins) == len(matrix.instruments)
    code, summary = life.end()
    prove(life.run, twins, summary, orders=60, fills=30)
    assert code == 0
    assert not any("failed" in alarm for alarm in summary["alarms"])
