"""Random kill -9, stops and disconnects over a run on four twins; the books agree to the last unit.

The suite does a few; the full count is

    ALEPHTX_SOAK=200 pytest -o timeout=0 tests/flows/test_soak.py
"""

import os
import signal
import time

import pytest

from alephtx.core.clock import seeded
from tests.flows.river import ALL, River, Twins, is_ours, prove, until

pytestmark = pytest.mark.flow

EVENTS = int(os.environ.get("ALEPHTX_SOAK", "8"))
SEED = int(os.environ.get("ALEPHTX_SOAK_SEED", "5"))
STOPPED_S = (0.2, 6.0)
BETWEEN_S = (0.5, 3.0)


@pytest.fixture
def four(warm, tmp_path):
    """A config over all four twins; what it started ends with the test."""
    twins = Twins(tmp_path, ALL)
    river = River(tmp_path, twins, makers=ALL)
    yield river
    river.close()
    twins.stop()


def kill(life, source):
    """Kill a child with -9; its supervisor starts another."""
    name = source.choice(["engine", "engine", "killer", *(f"feeder:{venue}" for venue in ALL)])
    life.kill(name)
    return f"kill {name}"


def stop(life, source):
    """Stop a child for a while, as a machine that swaps or a debugger does."""
    name = source.choice(["engine", "engine", *(f"feeder:{venue}" for venue in ALL)])
    pid = until(lambda: life.pid(name), 20, f"{name} runs")
    os.kill(pid, signal.SIGSTOP)
    time.sleep(source.uniform(*STOPPED_S))
    if is_ours(pid):
        os.kill(pid, signal.SIGCONT)
    return f"stop {name}"


def disconnect(life, source):
    """Let a venue cut one of our links."""
    venue = source.choice(ALL)
    link = source.choice(("private", "trade", "market"))
    life.river.twins.fault(venue, "disconnect", link)
    return f"cut {link} of {venue}"


def test_kills_stops_and_cuts_at_random_end_with_equal_journals(four):
    source, done = seeded(SEED), []
    life = four.start()
    life.trading(20, 8)
    for _ in range(EVENTS):
        assert life.process.poll() is None, (done, four.log.read_text()[-3000:])
        done.append(source.choice((kill, kill, stop, disconnect))(life, source))
        time.sleep(source.uniform(*BETWEEN_S))
    status = life.read("status.json")
    life.trading(5, 1, epoch=status.get("epoch", 0), seconds=60)
    code, summary = life.end(seconds=90)
    orders, fills = prove(life.run, four.twins, summary, orders=EVENTS, fills=1)
    assert code == 0, (done, summary)
    print(f"{len(done)} events, {orders} orders, {fills} fills: equal")
