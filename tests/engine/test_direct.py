"""The direct path: the same intents and the same bytes as by feeder and gateway, and what is rare.

Hot and cold are the same functions; what is tested here is that nothing is lost between them.
"""

import gzip
from pathlib import Path

import numpy as np
import pytest

from alephtx.core.records import INTENT
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import read
from tests.engine.direct_bench import CLOCK, DirectSide, Side

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
