"""The count of an engine's starts: it only grows, whoever asks, and never guesses."""

import subprocess
import sys

import pytest

from alephtx.core.errors import ConfigError
from alephtx.engine.epoch import next_epoch

ASK = "import sys; from pathlib import Path; from alephtx.engine.epoch import next_epoch\n"
MANY = ASK + "print(*[next_epoch(Path(sys.argv[1]), 1, 1) for _ in range(50)])"


def test_next_epoch_fresh_and_later_runs_never_share_one(tmp_path):
    """A run with an empty journal asks for 1 each time, and gets what nobody had."""
    assert [next_epoch(tmp_path, 1, 1) for _ in range(3)] == [1, 2, 3]
    assert next_epoch(tmp_path, 2, 1) == 1
    assert next_epoch(tmp_path, 1, 40) == 40
    assert next_epoch(tmp_path, 1, 7) == 41


def test_next_epoch_from_two_processes_at_once_is_never_the_same(tmp_path):
    """Two engines that start together are told apart."""
    asked = [
        subprocess.Popen([sys.executable, "-c", MANY, tmp_path], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    given = [int(word) for process in asked for word in process.communicate(timeout=60)[0].split()]
    assert sorted(given) == list(range(1, 101))


@pytest.mark.parametrize("held", [b"", b"-1", b"1.5", b"\xff\xfe", b"9" * 40, b"1 2"])
def test_next_epoch_damaged_count_is_refused_by_name(tmp_path, held):
    """A count that cannot be believed could repeat an id: it is not guessed."""
    (tmp_path / "engine-1.epoch").write_bytes(held)
    with pytest.raises(ConfigError, match=r"engine-1\.epoch"):
        next_epoch(tmp_path, 1, 1)


def test_next_epoch_without_its_folder_says_so(tmp_path):
    """No folder, no count: the error names it."""
    with pytest.raises(ConfigError, match=r"node\.runs"):
        next_epoch(tmp_path / "gone", 1, 1)
