"""`alephtx diff` on the reference session: all of it explained, and faults put in are found."""

import json
import shutil
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zstandard

from alephtx.cli import CONFIG, OK, main
from alephtx.core import words
from alephtx.core.errors import SimulationError
from alephtx.engine.parity.compare import compare
from alephtx.engine.parity.session import read_session
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.swap_door import Entry
from alephtx.matrix import journal, journal_read

GOLDEN = Path(__file__).parents[1] / "golden" / "sessions" / "maker"
SECOND = 10**9


@pytest.fixture(scope="module")
def session():
    return read_session(RunDirectory(GOLDEN))


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "run")
    return tmp_path / "run"


def quick(session, monkeypatch):
    """Compare with few replays: for faults that no timing explains."""
    monkeypatch.setattr("alephtx.engine.parity.compare.ORDERS", (0.0, 1.0))
    monkeypatch.setattr("alephtx.engine.parity.compare.CANCELS", (0.5,))
    monkeypatch.setattr("alephtx.engine.parity.compare.LATE_STEPS", 2)
    return compare(session)


def by_cause(found, cause):
    return [one for one in found.differences if one.cause == cause]


def test_the_reference_session_is_explained_whole(capsys):
    assert main(["diff", str(GOLDEN), "--json"]) == OK
    said = json.loads(capsys.readouterr().out)
    assert said["explained_fills"] == said["explained_pnl"] == 1
    assert said["causes"]["unexplained"]["differences"] == 0
    assert said["session"]["fills"] > 30
    assert said["same"] > 10
    gain = {side: Decimal(said[side]["pnl"]["USDT"]) for side in ("session", "replay")}
    causes = (cause["amount"].get("USDT", 0) for cause in said["causes"].values())
    assert sum(map(Decimal, causes)) == gain["session"] - gain["replay"]
    assert abs(gain["session"] - gain["replay"]) < abs(gain["session"]) / 4


def test_the_session_is_read_as_it_was(session):
    summary = json.loads((GOLDEN / "summary.json").read_text())
    assert len(session.story.fills) == summary["fills"]
    assert len(session.intents) == summary["orders"]
    (rows,) = session.tapes
    assert (rows["ts_event"] == rows["ts_recv"]).all()  # a twin trades on what it has sent
    assert (np.diff(rows["ts_recv"]) >= 0).all()
    assert session.started_ns < session.intents["ts_intent"][0] < session.ended_ns


def test_a_hole_in_the_recording_is_missing_data(session, monkeypatch):
    """A second of prints and changes is gone: fills in it have nothing to come from."""
    (rows,) = session.tapes
    busy = session.story.fills[len(session.story.fills) // 2].ts
    kept = (rows["ts_recv"] < busy - SECOND // 2) | (rows["ts_recv"] > busy + SECOND // 2)
    hole = rows[kept].copy()
    found = quick(session._replace(tapes=[hole]), monkeypatch)
    missing = by_cause(found, "missing_data")
    assert missing
    assert all(abs(one.ts - busy) < 3 * SECOND for one in missing if one.fills[0])


def test_another_fee_is_found_to_the_unit(session, monkeypatch):
    for fill in session.story.fills:
        assert fill.fee_currency == 2
    fills = [msgspec.structs.replace(fill, fee=fill.fee + 5) for fill in session.story.fills]
    session.story.fills, kept = fills, session.story.fills
    try:
        found = quick(session, monkeypatch)
    finally:
        session.story.fills = kept
    plain = quick(session, monkeypatch)
    amounts = [side.causes["fee"].amount.get("USDT", Decimal(0)) for side in (found, plain)]
    assert amounts[1] - amounts[0] == Decimal(5 * len(fills)).scaleb(-8)


def test_a_strategy_that_was_another_one_is_not_explained(session, monkeypatch):
    """Other params than the config's: no latency makes the replay decide like that."""
    plan = session.config.strategies["mm_btc"]
    own = {**plan.own, "half_spread_bps": "1.5", "requote_bps": "0.7"}
    other = msgspec.structs.replace(plan, own=own)
    config = msgspec.structs.replace(session.config, strategies={"mm_btc": other})
    found = quick(session._replace(config=config), monkeypatch)
    assert found.explained_fills < 0.5
    assert len(by_cause(found, "unexplained")) > 20


def test_a_fill_of_a_persons_order_is_the_operators(session, monkeypatch):
    strange = msgspec.structs.replace(session.story.fills[3], order_id=4_242, trade_id=9_999_999)
    story = session.story
    story.fills.append(strange)
    try:
        found = quick(session, monkeypatch)
    finally:
        story.fills.pop()
    (one,) = by_cause(found, "operations")
    assert one.order_id == 4_242
    assert one.fills == (1, 0)


def test_time_out_of_touch_is_the_operators(session, monkeypatch):
    """While the private link was down nothing could be sent: the replay goes on."""
    middle = (session.started_ns + session.ended_ns) // 2
    late = session.intents["ts_intent"] > middle
    silent = set(session.intents["order_id"][late & (session.intents["op"] == words.PLACE)])
    story = read_session(RunDirectory(GOLDEN)).story
    story.orders = {key: one for key, one in story.orders.items() if key not in silent}
    story.fills = [fill for fill in story.fills if fill.order_id not in silent]
    cut = session._replace(
        story=story, intents=session.intents[~late], blocked=[(middle, session.ended_ns)]
    )
    found = quick(cut, monkeypatch)
    assert len(by_cause(found, "operations")) > 10
    assert not [one for one in by_cause(found, "unexplained") if one.ts > middle + SECOND]


def swapped_in_the_middle(run):
    """Write a run's journal anew with a swap after half of its records; returns when that was."""
    records = list(journal.read(run / "journal"))
    header = journal_read.read_header(journal_read.list_segments(run / "journal")[-1]).header
    shutil.rmtree(run / "journal")
    with journal.Journal.open(run / "journal", header=header, background=False) as kept:
        for k, record in enumerate(records):
            if k == len(records) // 2:
                swap = Entry(stage="switch", name="mm_btc", number=1, file="x", digest="y")
                kept.append(journal.COMMAND, msgspec.json.encode(swap), ts=record.ts)
            kept.append(
                record.kind, bytes(record.payload), ts=record.ts, input_seq=record.input_seq
            )
    return records[len(records) // 2].ts


def test_a_session_with_a_swap_is_compared_up_to_it(session, copy, monkeypatch):
    """What the config's file did is explained; what another one did later is not looked at."""
    at = swapped_in_the_middle(copy)
    cut = read_session(RunDirectory(copy))
    assert cut.ended_ns == at
    assert "mm_btc was swapped at" in cut.notes[0]
    assert 0 < len(cut.intents) < len(session.intents)
    assert cut.intents["ts_intent"].max() <= at
    assert cut.tapes[0]["ts_recv"].max() <= at
    assert cut.blocked == session.blocked
    found = quick(cut, monkeypatch)
    assert cut.notes[0] in found.notes


# -- what cannot be compared -----------------------------------------------------------------------


def refused(run, capsys):
    code = main(["diff", str(run)])
    return code, capsys.readouterr().err


def test_runs_that_cannot_be_compared_are_refused_by_name(copy, capsys):
    summary = json.loads((copy / "summary.json").read_text())
    (copy / "summary.json").write_text(json.dumps({**summary, "mode": "backtest"}))
    assert refused(copy, capsys)[0] == CONFIG
    (copy / "summary.json").unlink()
    code, said = refused(copy, capsys)
    assert code == CONFIG
    assert "did not end" in said


def test_a_run_without_recording_says_how_to_get_one(copy, capsys):
    shutil.rmtree(copy / "recordings")
    code, said = refused(copy, capsys)
    assert code == CONFIG
    assert "record = true in [venues.binance_usdm]" in said


def test_a_run_that_sent_nothing_has_nothing_to_compare(copy, capsys):
    for path in (copy / "journal").iterdir():
        path.unlink()
    code, said = refused(copy, capsys)
    assert code == CONFIG
    assert "sent no order" in said


def test_a_journal_that_is_damaged_is_named(copy, capsys):
    path = copy / "journal" / "00000001.seg"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code, said = refused(copy, capsys)
    assert code == CONFIG
    assert "00000001.seg" in said


def test_a_recording_that_is_cut_is_read_to_there_and_told(copy):
    (path,) = (copy / "recordings").iterdir()
    whole = read_session(RunDirectory(copy)).tapes[0]
    path.write_bytes(path.read_bytes()[:90_000])
    cut = read_session(RunDirectory(copy))
    assert 1_000 < len(cut.tapes[0]) < len(whole)
    path.write_bytes(b"no zstd at all")
    with pytest.raises(SimulationError, match="holds no market"):
        read_session(RunDirectory(copy))


def test_frames_that_are_no_market_are_counted(copy):
    (path,) = (copy / "recordings").iterdir()
    lines = zstandard.ZstdDecompressor().decompress(path.read_bytes(), 1 << 25).split(b"\n")
    lines[400] = lines[400].split(b" ")[0] + b' {"e":"bookTicker","s":'
    path.write_bytes(zstandard.ZstdCompressor().compress(b"\n".join(lines)))
    session = read_session(RunDirectory(copy))
    assert len(session.notes) == 1
    assert "1 frames" in session.notes[0]


def test_a_channel_that_rolled_is_one_market(copy):
    """Two files of one channel: the book goes on from the first to the second."""
    (path,) = (copy / "recordings").iterdir()
    whole = read_session(RunDirectory(copy)).tapes[0]
    lines = zstandard.ZstdDecompressor().decompress(path.read_bytes(), 1 << 25).split(b"\n")
    half = len(lines) // 2
    path.write_bytes(zstandard.ZstdCompressor().compress(b"\n".join(lines[:half]) + b"\n"))
    second = path.with_name(path.name.replace("-0001", "-0002"))
    second.write_bytes(zstandard.ZstdCompressor().compress(b"\n".join(lines[half:])))
    assert (read_session(RunDirectory(copy)).tapes[0] == whole).all()
