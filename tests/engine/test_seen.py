"""What a run shows of itself: books, counters, alarms and money, as plain text."""

from decimal import Decimal

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.clock import ManualClock
from alephtx.core.histogram import make_histogram
from alephtx.core.ports import Balance
from alephtx.engine import context as c
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.status import (
    counters_of,
    denied_by,
    latencies_of,
    ledger_of,
    marks_of,
    money,
    strategies_of,
    strategy_alarms,
)
from alephtx.engine.watch import books_of, feeders_of, processes_of, state_of_flags
from alephtx.ledger.book import Ledger
from alephtx.matrix.tops import top_publish
from alephtx.matrix.writers import claim, name_hash
from tests.engine.bench import NOW, Bench


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


def publish(bench, bid, ask, *, i=0, flags=0):
    top_publish(bench.matrix.map, i, NOW, NOW, bid, 150_000, ask, 250_000, flags)


def test_book_is_told_in_the_instruments_own_decimals(bench):
    publish(bench, 6_000_000, 6_000_600)
    clock = ManualClock(NOW + 2_500_000)
    book, nothing = books_of(bench.matrix, bench.instruments, clock)
    assert book == {
        "key": "alpha:BTC-USDT", "bid": "60000.00", "ask": "60006.00", "bid_qty": "1.50000",
        "ask_qty": "2.50000", "spread_bps": "1.00", "age_ms": "2", "state": "ok", "mid": 60003.0,
    }  # fmt: skip
    assert (nothing["state"], nothing["mid"]) == ("no data", None)


def test_one_sided_book_has_no_middle(bench):
    publish(bench, 6_000_000, 0, flags=words.EMPTY_SIDE)
    book = books_of(bench.matrix, bench.instruments, ManualClock(NOW))[0]
    assert (book["mid"], book["spread_bps"], book["state"]) == (None, "-", "one-sided")


@pytest.mark.parametrize(
    ("flags", "name"),
    [(0, "ok"), (words.STALE, "stale"), (words.STALE | words.RESYNCING, "resyncing"),
     (words.CROSSED, "crossed"), (words.NOT_TRADING, "not trading")],
)  # fmt: skip
def test_worst_of_a_books_flags_names_its_state(flags, name):
    assert state_of_flags(flags) == name


def test_feeders_that_came_are_told_with_their_counters(bench):
    assert feeders_of(bench.matrix, bench.instruments) == {}
    bench.matrix.take_venue(0, int(claim(bench.matrix.map, name_hash("feeder:alpha"), 1)))
    found = feeders_of(bench.matrix, bench.instruments)
    assert list(found) == ["alpha"]
    assert found["alpha"]["events"] == 0
    assert found["alpha"]["starts"] == 1


def test_processes_are_those_the_supervisor_wrote(tmp_path):
    run = RunDirectory(tmp_path)
    assert processes_of(run) == []
    run.write_json(tmp_path / "processes.json", [{"name": "engine"}])
    assert processes_of(run) == [{"name": "engine"}]


def test_status_tells_what_the_engine_did(bench):
    bench.top(6_000_000, 6_000_100)
    bench.step()
    order_id = int(bench.sent()[0]["order_id"])
    bench.update(kind=words.FILL, order_id=order_id, trade_id=1, side=1, price=6_000_000, qty=400)
    bench.step()
    counters = counters_of(bench.engine)
    assert (counters["events"], counters["orders"], counters["fills"]) == (1, 1, 1)
    (shown,) = strategies_of(bench.engine, bench.instruments)
    assert (shown["name"], shown["enabled"], shown["open_orders"]) == ("quoter", True, 1)
    assert shown["positions"] == {"alpha:BTC-USDT": "0.00400"}
    assert shown["state"]["tops"] == 1
    assert marks_of(bench.engine) == {0: 6_000_050}
    empty = make_histogram()
    assert latencies_of(bench.engine, empty, empty)["matrix_to_intent"]["count"] == 1


def test_denials_are_counted_by_their_rules_names():
    counters = np.zeros(c.COUNTER_WORDS, np.int64)
    counters[c.C_DENIED_BY + words.DENY_BAND] = 3
    counters[c.C_DENIED_BY + 31] = 1
    assert denied_by(counters) == {"band": 3, "31": 1}


class Noisy:
    """A strategy with an alarm, as status sees it."""

    def __init__(self, name, **fields):
        self.name = name
        self.state = np.zeros(1, [(key, np.int64) for key in fields] or [("x", np.int64)])
        for key, value in fields.items():
            self.state[key] = value


def test_strategies_alarms_are_told_once_each():
    loud = Noisy("loud", alarm=4, halted=1)
    others = [Noisy("quiet", alarm=0), loud, Noisy("warned", alarm=2), Noisy("plain")]
    engine = type("E", (), {"strategies": others})
    assert strategy_alarms(engine) == [
        "strategy loud raised alarm 4 and stopped itself", "strategy warned raised alarm 2",
    ]  # fmt: skip


def test_ledgers_money_is_marked_at_the_middle(bench):
    bench.top(6_000_000, 6_000_100)
    bench.step()
    order_id = int(bench.sent()[0]["order_id"])
    ledger = Ledger(bench.instruments)
    ledger.open_balances(0, [Balance("USDT", Decimal(1000), Decimal(1000))])
    row = np.zeros(1, bench.ctx.update.dtype)
    row["kind"], row["order_id"], row["side"] = words.FILL, order_id, 1
    row["price"], row["qty"], row["trade_id"] = 6_000_000, 100_000, 1
    ledger.apply_update(row[0])
    told = ledger_of(ledger, bench.engine, bench.instruments)
    assert told["positions"] == {"a/alpha:BTC-USDT": "1.00000"}
    assert told["unrealized"] == {"USDT": "0.5"}
    assert told["realized"] == {}


def test_money_is_plain_text_without_zeros():
    assert money({"USDT": Decimal("1E+3"), "BTC": Decimal("0.00000001"), "ETH": Decimal(0)}) == {
        "USDT": "1000", "BTC": "0.00000001",
    }  # fmt: skip
