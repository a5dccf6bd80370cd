"""Compaction: fewer files, the same rows, and nothing lost when the process is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx import cli
from alephtx.core import words
from alephtx.core.records import EVENT
from alephtx.store.asking import ask
from alephtx.store.catalogue import Catalogue, read_part
from alephtx.store.compacting import compact
from alephtx.store.damage import DataError
from tests.store.market import INSTRUMENT, T0, numbered, rows_of
from tests.store.test_catalogue import MIDNIGHT

KEY = INSTRUMENT.key
DAYS = ("", "2024-08-08", "2024-08-09")


def write(catalogue, n, kind, *times, instrument=INSTRUMENT):
    rows = numbered(rows_of(*(
        {"kind": kind, "ts_event": T0 + at, "ts_recv": T0 + at, "price": 100 + k, "qty": n}
        for k, at in enumerate(times)
    )))  # fmt: skip
    writer = catalogue.writer(instrument, f"{n:016x}", f"{n}.gz")
    writer.append(rows)
    return writer.finish()


def scans(catalogue):
    """Return the stream as a whole and from each day on, as bytes."""
    return [
        np.concatenate([np.zeros(0, EVENT), *catalogue.scan(KEY, first, last)]).tobytes()
        for first in DAYS for last in DAYS if not last or first <= last
    ]  # fmt: skip


@pytest.fixture
def catalogue(tmp_path):
    return Catalogue(tmp_path / "data")


def fill(catalogue):
    """Write a book and trades of many files, on two days, one source of each across midnight."""
    write(catalogue, 1, words.DELTA, 10, 20)
    write(catalogue, 2, words.DELTA, 30, MIDNIGHT + 5)
    write(catalogue, 3, words.CLEAR, MIDNIGHT + 6, MIDNIGHT + 7)
    write(catalogue, 4, words.DELTA, MIDNIGHT + 8)
    write(catalogue, 5, words.TRADE, 11, 12)
    write(catalogue, 6, words.TRADE, 13, MIDNIGHT + 6)
    write(catalogue, 7, words.TRADE, MIDNIGHT + 9)


def test_rows_are_the_same_and_files_are_fewer(catalogue):
    fill(catalogue)
    before = scans(catalogue)
    assert len(catalogue.files()) == 9
    done = compact(catalogue, KEY)
    assert scans(catalogue) == before
    # The trades of one day beside the book of it are files of their own.
    assert [path.parent.name[-2:] for path in catalogue.files()] == ["08", "08", "09", "09"]
    assert sorted(one.files for one in done) == [2, 2, 2, 3]
    assert catalogue.entries()[0].rows == sum(one.rows for one in done if "08-08" in one.path)
    assert compact(catalogue, KEY) == []
    write(catalogue, 8, words.DELTA, MIDNIGHT + 11)
    before = scans(catalogue)
    assert len(compact(catalogue, KEY)) == 1
    assert scans(catalogue) == before


def test_a_day_of_nothing_but_a_gap_stays_where_its_source_goes_on_in_a_compacted_file(catalogue):
    """Found by the test below."""
    rows = [{"kind": kind, "ts_event": T0 + at, "ts_recv": T0 + at}
            for kind, at in ((words.GAP, 1), (words.DELTA, MIDNIGHT + 1))]  # fmt: skip
    writer = catalogue.writer(INSTRUMENT, f"{1:016x}", "1.gz")
    writer.append(numbered(rows_of(*rows)))
    writer.finish()
    write(catalogue, 2, words.DELTA, MIDNIGHT + 2, MIDNIGHT + 3)
    before = scans(catalogue)
    assert len(compact(catalogue, KEY)) == 1
    assert scans(catalogue) == before


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_there_is_the_rows_stay_the_same(tmp_path, data):
    catalogue = Catalogue(tmp_path / "drawn")
    shutil.rmtree(catalogue.root, ignore_errors=True)
    for lane, kind in enumerate((words.DELTA, words.TRADE, words.TOP)):
        at = 0
        for n in range(data.draw(st.integers(0, 4))):
            times = [at := at + data.draw(st.sampled_from([1, 3, MIDNIGHT])) for _ in range(2)]
            odd = data.draw(st.sampled_from([kind, kind, words.GAP]))
            rows = [{"kind": k, "ts_event": T0 + t, "ts_recv": T0 + t, "price": 1, "qty": 1}
                    for k, t in zip((odd, kind), times, strict=True)]  # fmt: skip
            scale = data.draw(st.sampled_from([2, 2, 3]))
            rules = msgspec.structs.replace(INSTRUMENT, price_scale=scale)
            writer = catalogue.writer(rules, f"{10 * lane + n + 1:016x}", f"{lane}-{n}")
            writer.append(numbered(rows_of(*rows)))
            writer.finish()
    if catalogue.files():
        before = scans(catalogue)
        compact(catalogue, KEY)
        assert scans(catalogue) == before


def test_files_that_a_killed_run_left_are_no_part_of_it_and_are_swept_up(catalogue):
    fill(catalogue)
    before, asked = scans(catalogue), "SELECT count(*), sum(qty) FROM events WHERE kind <> 5"
    counted = ask(catalogue.root, asked).rows
    olds = {path: path.read_bytes() for path in catalogue.files()}
    compact(catalogue, KEY)
    kept = catalogue.files()
    for path, text in olds.items():
        path.write_bytes(text)  # killed after the new file had its name
    draft = kept[0].parent / ".whole-0000-1.part"
    draft.write_bytes(b"half")
    assert catalogue.files() == kept
    assert scans(catalogue) == before
    assert ask(catalogue.root, asked).rows == counted
    assert compact(catalogue, KEY) == []
    assert sorted(catalogue.root.glob("*/*/*/*")) == sorted(kept)
    assert not draft.exists()


def test_a_source_that_became_a_part_is_not_imported_beside_it(catalogue):
    fill(catalogue)
    compact(catalogue, KEY)
    with pytest.raises(DataError, match=r"1.gz is in the catalogue already, as a part of .*whole"):
        write(catalogue, 1, words.DELTA, 10, 20)
    assert all(read_part(path)[1].sources for path in catalogue.files())


def test_a_damaged_file_stops_it_and_everything_stays(catalogue):
    fill(catalogue)
    path = catalogue.files()[1]
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes(8) + whole[208:])
    listed = catalogue.files()
    with pytest.raises(DataError, match=path.name):
        compact(catalogue, KEY)
    left = sorted(p for p in catalogue.root.rglob("*") if p.is_file())
    assert catalogue.files() == listed == left


@pytest.mark.timeout(300)
def test_killed_at_any_moment_it_leaves_the_old_files_or_the_new_one(catalogue):
    """A real process and kill -9: while it writes, and while it removes what it has replaced."""
    for n in range(1, 250):
        write(catalogue, n, words.DELTA, 10 * n, 10 * n + 5)
    before, whole = scans(catalogue)[0], catalogue.root.with_name("whole")
    shutil.copytree(catalogue.root, whole)
    command = [sys.executable, "-m", "alephtx.cli", "data", "compact", "--json", "--data",
               str(catalogue.root)]  # fmt: skip
    killed = []
    for k in range(6):
        shutil.rmtree(catalogue.root)
        shutil.copytree(whole, catalogue.root)
        begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=dict(os.environ))
        seen = "*.whole.parquet" if k % 2 else ".whole-*"
        while begun.poll() is None and not any(catalogue.root.rglob(seen)):
            pass
        time.sleep(k * 0.001)
        begun.send_signal(signal.SIGKILL)
        killed.append(begun.wait() != 0)
        assert np.concatenate(list(catalogue.scan(KEY))).tobytes() == before
    assert sum(killed) > 2
    compact(catalogue, KEY)
    assert len(catalogue.files()) == len(list(catalogue.root.rglob("*.parquet"))) == 1
    assert not list(catalogue.root.rglob(".whole-*"))
    assert np.concatenate(list(catalogue.scan(KEY))).tobytes() == before


def test_a_person_is_told_what_became_of_it(catalogue, capsys):
    fill(catalogue)
    data = ["--data", str(catalogue.root)]
    assert cli.main(["data", "compact", KEY, *data]) == 0
    assert "rows of 3 files" in capsys.readouterr().out
    assert cli.main(["data", "compact", *data]) == 0
    assert capsys.readouterr().out == "nothing to compact\n"
    assert cli.main(["data", "compact", "toy:NONE", *data]) == cli.CONFIG
    assert "no data of toy:NONE" in capsys.readouterr().err
    assert cli.main(["data", "compact", *data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
