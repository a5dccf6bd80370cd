"""Run directories: which run is taken up, who holds it, and what damaged files say."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.errors import ConfigError
from alephtx.core.instruments import Instruments
from alephtx.engine.rundir import RunDirectory, runs
from tests.engine.bench import instrument

HOLD = """
import sys
from pathlib import Path
from alephtx.engine.rundir import RunDirectory
RunDirectory(Path(sys.argv[1])).claim()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create(tmp_path / "runs", "node-1", "config text")


def test_created_run_has_its_folders_config_and_name(run):
    for folder in (run.journal, run.inputs, run.recordings, run.logs):
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o077 == 0
    assert run.config.read_text() == "config text"
    assert run.node == "node-1"
    assert (run.path.parent / "latest").resolve() == run.path.resolve()
    assert not run.ended


def test_latest_points_at_the_newest(run):
    second = RunDirectory.create(run.path.parent, "node-1", "other")
    assert (run.path.parent / "latest").resolve() == second.path.resolve()
    found = [r.id for r in runs(run.path.parent)]
    assert sorted(found) == sorted([run.id, second.id])
    assert "latest" not in found


def test_folder_that_cannot_be_made_is_a_config_error(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(ConfigError, match=r"node\.runs"):
        RunDirectory.create(tmp_path / "runs", "n", "")


# -- taking up -----------------------------------------------------------------------------


def unfinished(run, node="node-1", text="config text"):
    found = RunDirectory.unfinished(run.path.parent, node, text)
    return found and found.id


def test_run_that_did_not_end_is_taken_up_with_the_same_config_only(run):
    assert unfinished(run) == run.id
    assert unfinished(run, text="changed") is None
    assert unfinished(run, node="node") is None, "another node's name may end the same way"
    assert unfinished(run, node="1") is None


def test_run_that_ended_is_not_taken_up_nor_is_one_before_it(run):
    last = run.path.parent / f"99990101-000000-{run.node}-abcd"
    last.mkdir()
    (last / "config.toml").write_text("config text")
    RunDirectory(last).write_json(last / "summary.json", {})
    assert unfinished(run) is None


def test_run_without_its_config_is_passed_over(run):
    (run.path.parent / f"99990101-000000-{run.node}-abcd").mkdir()
    assert unfinished(run) == run.id


def test_config_of_another_encoding_is_a_config_error(run):
    run.config.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        unfinished(run)


# -- the lock ------------------------------------------------------------------------------


def test_lock_is_held_once_and_released(run):
    other = RunDirectory(run.path)
    assert not other.alive
    run.claim()
    run.claim()
    assert run.alive
    assert other.alive
    with pytest.raises(ConfigError, match="still going"):
        other.claim()
    run.release()
    run.release()
    assert not other.alive
    other.claim()
    other.release()


def test_killed_process_holds_nothing(run):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with holder:
        assert holder.stdout.readline() == b"held\n"
        assert run.alive
        holder.kill()
        holder.wait()
    assert not run.alive


def test_lock_that_is_a_link_is_refused(run, tmp_path):
    (run.path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="lock cannot be read"):
        run.claim()
    with pytest.raises(ConfigError, match="lock cannot be read"):
        _ = run.alive


def test_discarded_run_gives_latest_back_to_the_one_before(run):
    second = RunDirectory.create(run.path.parent, "node-1", "config text")
    second.claim()
    second.discard()
    assert not second.path.exists()
    assert (run.path.parent / "latest").resolve() == run.path.resolve()
    run.discard()
    assert not (run.path.parent / "latest").is_symlink()


# -- files ---------------------------------------------------------------------------------


def test_json_is_written_whole_and_read_back(run):
    run.write_json(run.status, {"a": [1, "x"]})
    assert run.read_json(run.status) == {"a": [1, "x"]}
    assert [p.name for p in run.path.iterdir() if p.suffix == ".tmp"] == []
    assert run.read_json(run.path / "absent.json") is None
    assert run.read_json(run.status / "below.json") is None


@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_a_config_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("run")
    run = RunDirectory(folder)
    run.status.write_bytes(data)
    try:
        wanted = json.loads(data.decode("utf-8"))
    except (ValueError, UnicodeDecodeError):
        wanted = ConfigError
    try:
        assert run.read_json(run.status) == wanted
    except ConfigError as error:
        assert "is damaged" in str(error)


def test_deep_and_huge_json_are_refused_not_survived_by_luck(run, monkeypatch):
    run.status.write_bytes(b"[" * 100_000)
    with pytest.raises(ConfigError, match="damaged"):
        run.read_json(run.status)
    monkeypatch.setattr("alephtx.engine.rundir.JSON_BYTES_MAX", 10)
    run.status.write_bytes(b'"' + b"x" * 20 + b'"')
    with pytest.raises(ConfigError, match="larger than 10 bytes"):
        run.read_json(run.status)


def test_folder_in_place_of_a_file_is_a_config_error(run):
    run.status.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        run.read_json(run.status)


def test_instruments_are_read_back_and_damage_is_named(run):
    with pytest.raises(ConfigError, match="cannot be read"):
        run.load_instruments()
    table = Instruments([instrument("alpha")])
    run.write_bytes(run.instruments, table.to_json())
    assert [i.key for i in run.load_instruments()] == ["alpha:BTC-USDT"]
    run.instruments.write_bytes(table.to_json()[:-9])
    with pytest.raises(ConfigError, match="is damaged"):
        run.load_instruments()
    document = json.loads(table.to_json())
    rows = document["instruments"]
    rows.append(rows[0])
    run.instruments.write_bytes(json.dumps(document).encode())
    with pytest.raises(ConfigError, match="cannot be used"):
        run.load_instruments()


def test_table_that_grew_is_read_back_with_its_new_currency(run):
    """The engine keeps the table at the moment a currency is added; see `engine.main`."""
    table = Instruments([instrument("alpha")])
    table.on_currency = lambda: run.save_instruments(table)
    index = table.currency("BNB")
    assert run.load_instruments().currencies[index] == "BNB"


def test_file_that_is_only_looked_at_ends_nobody_on_a_full_disk(run, monkeypatch, capfd):
    from pathlib import Path

    assert run.show_json(run.status, {"a": 1})
    with monkeypatch.context() as patched:

        def full(*_):
            raise OSError(28, "No space left on device")

        patched.setattr(Path, "write_bytes", full)
        assert not run.show_json(run.status, {"a": 2})
        assert not run.show_json(run.status, {"a": 3})
        with pytest.raises(OSError, match="No space left"):
            run.write_json(run.status, {"a": 3})
    assert run.read_json(run.status) == {"a": 1}
    assert run.show_json(run.status, {"a": 4})
    said = capfd.readouterr().err
    assert said.count("file_not_written") == 1, "once, not at every look"
    assert said.count("file_written_again") == 1
