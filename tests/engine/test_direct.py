"""The direct path: the same intents and the same bytes as by feeder and gateway, and what is rare.

Hot and cold are the same functions; what is tested here is that nothing is lost between them.
"""

import gzip
import random
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from alephtx.core.records import INTENT
from alephtx.core.words import CANCEL, DENY_HALTED, PASS, PLACE, RESYNCING
from alephtx.engine.context import C_DENIED_BY, COMMAND_STOP
from alephtx.engine.direct import Direct
from alephtx.engine.entry_out import W_FULL, W_LINK, W_NO_ROOM, W_SENT
from alephtx.execution.staged import W_UNPAID
from alephtx.feed.join import GAP
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import journal_failed, read
from alephtx.net.wake import Wake
from tests.engine.direct_bench import CLOCK, DirectSide, Side
from tests.matrix.journals import small_disk

GOLDEN = Path(__file__).parents[1] / "golden" / "binance" / "usdm_btcusdt_20240808.gz"
BUYS = {"qty": 1_000, "live_max": 10_000}


def recording(n):
    """Return a recorded snapshot and n market frames that follow it."""
    lines = [line.split(b" ", 1)[1] for line in gzip.decompress(GOLDEN.read_bytes()).splitlines()]
    at = next(k for k, line in enumerate(lines) if line.startswith(b'{"lastUpdateId"'))
    return lines[at], [line for line in lines if not line.startswith(b'{"lastUpdateId"')][:n]


@pytest.fixture
def both(tmp_path):
    split, direct = Side(tmp_path / "split", **BUYS), DirectSide(tmp_path / "direct", **BUYS)
    yield split, direct
    split.close()
    direct.close()


@pytest.fixture
def direct(tmp_path):
    made = DirectSide(tmp_path / "direct", **BUYS)
    yield made
    made.close()


def intents(side):
    """Return the journaled intents, without when their cause was heard."""
    found = []
    for record in read(side.config.matrix.path.replace("/matrix", "/journal")):
        if record.kind == INTENT_RECORD:
            row = np.frombuffer(record.payload, INTENT)[0].copy()
            row["ts_input"] = 0
            found.append(row)
    return found


def test_the_same_frames_make_the_same_intents_and_the_same_bytes(both):
    split, direct = both
    snapshot, frames = recording(400)
    for side in both:
        side.seed(snapshot)
    ours, theirs = [], []
    for frame in frames:
        split.take(frame)
        direct.hear(frame)
        assert direct.serve() == 1
        now = CLOCK.now()
        for side in both:
            side.step(now)
        rows = split.handed()
        requests = split.codec.encode(np.array(rows, INTENT), now, 1) if rows else []
        theirs += [(1, request.body) for request in requests]
        sent = direct.handed()
        assert [int(row["order_id"]) for row in sent] == [int(row["order_id"]) for row in rows]
        assert all(row["ts_sent"] for row in sent)
        ours += direct.sent()
    assert len(ours) > 50
    assert ours == theirs
    assert intents(direct) == intents(split)


def one_order(direct, *frames):
    """Let frames come and a step pass; return the rows that reach the gateway."""
    direct.hear(*frames)
    while direct.serve():
        pass
    direct.step(CLOCK.now())
    return direct.handed()


@pytest.fixture
def live(direct):
    snapshot, frames = recording(260)
    direct.seed(snapshot)
    direct.step(CLOCK.now())  # which finds that no feeder beats here, once
    assert one_order(direct, *frames[:200])
    direct.sent()
    direct.rest = frames[200:]
    return direct


def test_a_link_that_is_gone_leaves_orders_to_the_gateway(live):
    live.entry.words[W_LINK] = 0
    rows = one_order(live, *live.rest)
    assert rows
    assert not any(row["ts_sent"] for row in rows)
    assert live.sent() == []
    assert live.entry.words[W_NO_ROOM] == len(rows)


def test_a_venue_that_owes_too_many_answers_gets_its_orders_from_the_gateway(live):
    live.entry.words[W_FULL] = 1
    rows = one_order(live, *live.rest)
    assert rows
    assert not any(row["ts_sent"] for row in rows)


def test_a_spent_budget_leaves_orders_to_the_gateway_which_waits(live):
    sent = int(live.entry.words[W_SENT])
    live.wire.buckets.hold(60_000_000_000)
    rows = one_order(live, *live.rest)
    assert rows
    assert not any(row["ts_sent"] for row in rows)
    assert live.entry.words[W_UNPAID] == len(rows)
    assert live.entry.words[W_SENT] == sent


def test_every_order_is_paid_for_once(live):
    """The loop and the gateway take from one budget, or the venue would ban us."""
    left = live.wire.buckets.left("orders_1m")
    rows = one_order(live, *live.rest)
    sent = sum(row["ts_sent"] != 0 for row in rows)
    assert sent == len(rows) > 0
    assert left - sent <= live.wire.buckets.left("orders_1m") < left - sent // 2  # some came back


def test_what_the_scanner_declines_stops_the_venue_until_python_has_read_it(live):
    before = live.lane.frames
    live.hear(b'{"result":null,"id":1}', live.rest[0])
    assert live.serve() == 1
    assert live.lane.baton.handed_over
    assert live.serve() == 0, "a message overtook one that was declined"
    live.attend()
    assert not live.lane.baton.handed_over
    assert live.serve() + live.serve() == 1
    assert live.lane.told()["declined"] == 1
    assert live.lane.frames == before + 1


def test_a_gap_is_judged_once_and_handed_over_with_its_rows(live):
    depth = [frame for frame in live.rest if b"depthUpdate" in frame]
    live.hear(depth[1])  # the one before it was lost
    assert live.serve() == 1
    assert live.lane.baton.handed_over
    assert live.left == []
    live.attend()
    assert live.left == [GAP]
    assert live.top()[4] & RESYNCING
    assert not live.lane.baton.handed_over


def test_only_the_first_cancel_of_an_order_that_left_is_the_loops(live):
    """One whose cancel was refused waits before its next; one not sent yet is withdrawn."""
    orders = live.ctx.table.orders[0][: int(live.ctx.table.open_count[0, 0])]
    assert len(orders) >= 3
    orders["ts_sent"] = 1
    orders[0]["ts_sent"] = 0
    orders[1]["code"] = 1
    row = np.zeros(8, np.int64)
    row[0] = COMMAND_STOP
    live.engine.rings.commands.push(row)
    live.step(CLOCK.now())
    rows = live.handed()
    assert len(rows) == len(orders)
    kept = {int(row["target_order_id"]) for row in rows if not row["ts_sent"]}
    assert kept == {int(orders[0]["order_id"]), int(orders[1]["order_id"])}
    assert len(live.sent()) == len(orders) - 2
    assert all(order["code"] == 1 for order in orders[1:])


def test_full_disk_lets_nothing_leave_but_cancels(tmp_path):
    """There is no room for the journal's next segment, while the loop sends by itself."""
    snapshot, frames = recording(260)
    with small_disk(tmp_path / "disk", "20m") as disk:
        direct = DirectSide(tmp_path / "direct", journal=disk / "j", **BUYS)
        try:
            direct.seed(snapshot)
            direct.step(CLOCK.now())
            left = {int(row["order_id"]) for row in one_order(direct, *frames[:200])}
            assert len(left) == len(direct.sent()) > 0
            direct.journal.roll()  # into what was ready; the one after it finds the disk full
            deadline = time.monotonic() + 20
            while not journal_failed(direct.journal.map):
                assert time.monotonic() < deadline, "it never noticed"
                time.sleep(0.002)
            assert one_order(direct, *frames[200:]) == direct.sent() == []
            assert direct.ctx.counters[C_DENIED_BY + DENY_HALTED] > 0
            row = np.zeros(8, np.int64)
            row[0] = COMMAND_STOP
            direct.engine.rings.commands.push(row)
            direct.step(CLOCK.now())
            assert {int(row["target_order_id"]) for row in direct.handed()} == left
            kept = [np.frombuffer(record.payload, INTENT)[0] for record in read(disk / "j")
                    if record.kind == INTENT_RECORD]  # fmt: skip
            passed = [row for row in kept if row["verdict"] == PASS]
            assert {int(row["order_id"]) for row in passed if row["op"] == PLACE} == left
            assert {int(row["target_order_id"]) for row in passed if row["op"] == CANCEL} == left
        finally:
            direct.close()


def damaged(frame, source):
    changed, at = bytearray(frame), source.randrange(len(frame))
    changed[at] = source.randrange(256)
    return bytes(source.choice((changed, frame[:at], frame + frame[:at])))


def test_a_fault_in_what_was_handed_over_ends_the_engine():
    """Logged and forgotten, the venue would stay with Python for ever, and nobody would trade."""

    def broken():
        raise ZeroDivisionError

    direct, failed = Direct.__new__(Direct), []
    direct.wake, direct.entries = Wake(), {}
    direct.feeders = [SimpleNamespace(attend=broken)]
    direct._session = SimpleNamespace(pump=list, failed=failed.append)
    direct.attend()
    direct.wake.close()
    assert [type(error) for error in failed] == [ZeroDivisionError]


def test_damaged_frames_leave_both_paths_with_the_same_market(both):
    """Bytes changed, cut and doubled: whatever the scanner declines, the codec reads as always."""
    snapshot, frames = recording(300)
    source = random.Random(5)
    for side in both:
        side.seed(snapshot)
    split, direct = both
    for whole in frames:
        frame = damaged(whole, source) if source.random() < 0.1 else whole
        split.take(frame)
        direct.hear(frame)
        for _ in range(2):  # after a hand-over the next turn ends the read before
            direct.serve()
            direct.attend()
        assert direct.top() == split.top()
        assert direct.left == split.left
    assert direct.lane.told()["declined"] > 5
    assert direct.outlet.counters()["applied"] == split.outlet.counters()["applied"] > 100
