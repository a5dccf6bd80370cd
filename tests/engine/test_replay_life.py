"""How a backtest begins and ends, and that its journal tells what it did."""

from pathlib import Path

import numpy as np
import pytest

from alephtx.analysis.story import Story
from alephtx.core.kernel import JIT
from alephtx.core.records import UPDATE
from alephtx.core.words import CANCELED, FILL
from alephtx.engine import context as c
from alephtx.engine.backtest import Backtest, Delay, Tape, Venue
from alephtx.ledger.book import Ledger
from alephtx.matrix import journal as jn
from alephtx.testing.synthetic import synthetic
from tests.engine.test_replay import AS_THE_PEERS, MS, came_to, config


@pytest.fixture(scope="module")
def market():
    return synthetic(200_000 if JIT else 6_000)


HERE = Path(__file__).parent / "replayed"
SECOND = 1_000_000_000


def opened(folder, table, **sizes):
    header = jn.JournalHeader(
        node="test", engine=1, instruments=table.to_json(), accounts=b'["main"]'
    )
    return jn.Journal.open(folder, header=header, background=False, **sizes)


@pytest.mark.kernel
@pytest.mark.parametrize("after", [0, 3 * SECOND])
def test_strategies_begin_wake_and_stop_as_live_ones(market, after):
    rows, table = market[0][:6_000], market[1]
    begin = int(rows["ts_event"][0]) + after
    one = config(use=str(HERE / "life.py"))
    venue = Venue(entry=Delay(ns=MS), response=Delay(ns=MS))
    test = Backtest([one], table, [Tape(rows)], venue=venue, start_ns=begin if after else 0).run()
    lane = test.lanes[0]
    state = lane.strategies[0].state[0]
    assert state["begun"] == begin
    assert (state["bid"] > 0) == bool(after)  # the market before the start was heard
    assert state["woken"] == begin + SECOND
    assert state["wakes"] == (int(rows["ts_event"][-1]) - begin) // SECOND
    assert int(rows["ts_event"][-1]) <= state["stopped"] <= int(rows["ts_recv"][-1]) + 2 * MS
    assert lane.ctx.table.open_count[0, 0] == 0
    assert lane.ctx.table.closed[0]["status"] == CANCELED
    assert lane.ctx.strategies[0, c.S_ENABLED] == 0


@pytest.mark.kernel
def test_the_journal_tells_what_the_lane_holds(market, tmp_path):
    rows, table = market[0][:40_000], market[1]
    sets = [config(half=1.0), config(half=2.0)]
    with opened(tmp_path, table, segment_bytes=1 << 22) as journal:
        test = Backtest(sets, table, [Tape(rows)], venue=AS_THE_PEERS, journal=journal).run()
    plain = Backtest(sets, table, [Tape(rows)], venue=AS_THE_PEERS).run()
    assert test.bottle.digest.tolist() == plain.bottle.digest.tolist()
    story, ledger = Story(len(table)), Ledger(table)
    ledger.fold(jn.read(tmp_path))
    for record in jn.read(tmp_path):
        story.apply(record.kind, record.payload, record.ts)
    lane = test.lanes[0]
    orders, fills, position, _ = came_to(test)
    assert len(story.orders) == orders == int(lane.ctx.counters[c.C_ORDERS]) - story.intents[3]
    assert len(story.fills) == fills
    assert story.strange == story.foreign == story.duplicates == 0
    assert ledger.position(0, 0) == int(position * 1_000) == int(lane.ctx.positions[0, 0]["qty"])


def test_a_journal_rolls_when_its_segment_is_full(market, tmp_path):
    rows, table = market[0][:200_000], market[1]
    with opened(tmp_path, table, segment_bytes=3 << 20) as journal:
        test = Backtest([config()], table, [Tape(rows)], venue=AS_THE_PEERS, journal=journal).run()
    fills = 0
    for record in jn.read(tmp_path):
        if record.kind == jn.UPDATE:
            fills += int((np.frombuffer(record.payload, UPDATE)["kind"] == FILL).sum())
    assert fills == came_to(test)[1] > 1_000
    assert len(list(tmp_path.glob("*"))) > 2
