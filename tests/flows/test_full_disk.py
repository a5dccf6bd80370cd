"""The disk is full while the loop trades by itself: nothing leaves unjournaled, nothing is left."""

import asyncio
import errno
import time
from functools import partial

import pytest

from alephtx.core.clock import MachineClock, seeded
from alephtx.core.config import load_config
from alephtx.core.errors import JournalError
from alephtx.engine import session as session_module
from alephtx.engine.host import Host
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.session import Session
from alephtx.engine.venues import fetch_instruments
from alephtx.matrix.inputlog import InputLog
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix
from tests.flows.river import River, Twins, prove
from tests.flows.test_direct import direct
from tests.matrix.journals import small_disk

pytestmark = pytest.mark.flow

CHUNK_ROWS = 8_192
VENUES = ("binance_usdm",)
RESTING = 5
PLACER = f"""
import numpy as np
from alephtx.core.view import Needs
from alephtx.core.words import BUY, GTC, LIMIT, PLACE

NEEDS = Needs()
PARAMS = np.dtype([("instrument", "i8")])
STATE = np.dtype([("placed", "i8")])


def config_to_params(section, instruments):
    row = np.zeros(1, PARAMS)
    row["instrument"] = instruments.index(section["instruments"][0])
    return row


def on_event(event, view, params, state, intents):
    i = params[0]["instrument"]
    bid = view.top[i]["bid"]
    if bid <= 0 or view.open_count[0] >= {RESTING}:
        return 0
    state[0]["placed"] += 1
    step = view.instruments[i]["tick_step"]
    intents[0]["op"], intents[0]["type"], intents[0]["tif"] = PLACE, LIMIT, GTC
    intents[0]["instrument"], intents[0]["side"], intents[0]["qty"] = i, BUY, 10
    lower = bid // 200 + state[0]["placed"] % 64 * step  # no two alike: the gate asks for that
    intents[0]["price"] = (bid - lower) // step * step
    return 1
"""
"""Orders that nobody fills."""


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", "64m") as made:
        yield made


@pytest.fixture
def river(warm, disk, tmp_path, monkeypatch):
    """Orders that rest, by the direct path; the input log grows every some seconds, on the disk."""
    small = partial(InputLog.open, chunk_rows=CHUNK_ROWS)
    monkeypatch.setattr(session_module.InputLog, "open", small)
    twins = Twins(tmp_path, VENUES, speed=20.0)
    made = direct(River(tmp_path, twins, makers=VENUES, coins=()))
    (tmp_path / "placer.py").write_text(PLACER)
    head = made.config.read_text().replace(str(made.runs), str(disk / "runs"))
    head, _, _ = head.partition("half_spread_bps")
    made.config.write_text(head.replace('"market_maker"', f'"{tmp_path / "placer.py"}"'))
    yield made
    made.close()
    twins.stop()


def resting(twins):
    """Return how many orders are open at the twin."""
    return sum(len(owner["open_orders"]) for owner in twins.ask(*VENUES, "account").values())


class Life:
    """One engine of a run, in this process."""

    def __init__(self, config, run, matrix, instruments):
        clock = MachineClock(matrix.clock_offset_ns)
        host = Host(clock, seeded(), journal={"segment_bytes": 8 << 20})
        self.session = Session(config, run, matrix, instruments, host)
        self.ending = asyncio.ensure_future(self.session.run())

    async def until(self, true, what, seconds=60):
        deadline = time.monotonic() + seconds
        while not await asyncio.to_thread(true):  # this thread is the engine's
            assert time.monotonic() < deadline, what
            if self.ending.done():
                self.ending.result()
            await asyncio.sleep(0.02)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        """End it before the matrix goes, whatever failed: its loop is a thread of this process."""
        self.session.stop_asked.set()
        await asyncio.wait([self.ending], timeout=60)


def fill(disk):
    """Leave not a byte."""
    with (disk / "filler").open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                size >>= 1


async def test_full_disk_ends_the_engine_with_cancels_and_the_next_takes_up(river, disk):
    """The loop ends, and with it who serves the trade link: the cancels leave all the same."""
    config, twins = load_config(river.config), river.twins
    instruments = await fetch_instruments(config, MachineClock())
    run = RunDirectory.create(disk / "runs", "flow", config.dump())
    run.save_instruments(instruments)
    with Matrix.create(river.matrix, instruments, Geometry(instruments_max=16)) as matrix:
        async with Life(config, run, matrix, instruments) as life:
            await life.until(lambda: resting(twins) == RESTING, "orders that rest")
            (told,) = (entry.told() for entry in life.session.direct.entries.values())
            assert told["sent"] == RESTING, "the loop sends by itself"
            fill(disk)
            await life.until(life.ending.done, "the engine ends")
            assert life.ending.result() == 1, "a fault: its supervisor starts it again"
            alarms = "\n".join(life.session.alarms)
            assert "cannot grow: No space left on device" in alarms
            assert "left open" not in alarms
            assert (twins.accepted(), resting(twins)) == (RESTING, 0)

        fill(disk)  # what the first life gave back is room enough for one that only denies orders
        early = Life(config, run, matrix, instruments)
        with pytest.raises(JournalError, match="No space left on device"):
            await early.ending
        if hasattr(early.session, "journal"):
            early.session.journal.close()  # its process would have ended here
        (disk / "filler").unlink()
        async with Life(config, run, matrix, instruments) as again:
            await again.until(lambda: resting(twins) == RESTING, "it trades again")
            again.session.stop_asked.set()
            assert await again.ending == 0, again.session.reconciled
            summary = {"reconciled": True, "differences": again.session.reconciled}
            prove(run, twins, summary, orders=2 * RESTING, fills=0)
