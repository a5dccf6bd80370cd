"""kill -9 while money moves: of the engine, of each feeder, of the supervisor.

The venues live on in a process of their own, so their journal is the truth that ours is held
against when everything has ended.
"""

import time

import pytest

from alephtx.core.clock import seeded
from tests.flows.river import is_ours, prove, until

pytestmark = pytest.mark.flow

KILLS = 3


def test_engine_and_feeders_killed_while_trading_lose_and_double_nothing(river, twins):
    """Every order had its intent first, every fill counts once, nothing stays open."""
    source = seeded(11)
    life = river.start()
    for k in range(KILLS):
        life.trading(15, 5, epoch=k + 1)
        time.sleep(source.uniform(0.1, 1.0))
        life.kill("engine")
        life.kill(f"feeder:{twins.venues[k]}")
    life.trading(15, 5, epoch=KILLS + 1, reached=60)
    code, summary = life.end()
    orders, fills = prove(life.run, twins, summary, orders=60, fills=30)
    assert code == 0, river.log.read_text()
    assert summary["fills"] <= fills <= orders * 10
    assert not river.matrix.exists()


def test_supervisor_killed_children_end_and_the_next_run_takes_up(river, twins):
    """Orphans cancel and end by themselves; the run's next life finds nothing lost."""
    life = river.start()
    life.trading(20, 8)
    children = [life.pid("engine"), *(life.pid(f"feeder:{venue}") for venue in twins.venues)]
    assert all(children)
    life.process.kill()
    life.process.wait()
    for pid in children:
        until(lambda p=pid: not is_ours(p), 30, f"child {pid} ends by itself")
    for venue in twins.venues:
        for owner in twins.ask(venue, "account").values():
            assert owner["open_orders"] == []
    again = river.start()
    again.trading(10, 3, epoch=2, reached=40)
    assert again.run.id == life.run.id
    code, summary = again.end()
    prove(again.run, twins, summary, orders=40, fills=15)
    assert code == 0
    assert "taking up run" in river.log.read_text()
