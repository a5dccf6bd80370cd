"""Compiling ahead: of those who begin together one compiles, and a lost lock stops nobody."""

import os
import subprocess
import sys
import threading

import pytest

from alephtx.core import kernel
from alephtx.core.config_schema import Account, Config, Node, Strategy, VenueConfig
from alephtx.core.errors import PluginError
from alephtx.engine import warm

pytestmark = pytest.mark.skipif(not kernel.JIT, reason="nothing is compiled")


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """Whoever compiled, which here takes until `go`."""
    monkeypatch.setenv("ALEPHTX_CACHE", str(tmp_path / "cache"))
    names, go = [], threading.Event()

    def compile_some(progress, shares, meanwhile):
        names.append(threading.current_thread().name)
        assert go.wait(30)
        for part in (part for parts in shares for part in parts):
            warm.marker(part).touch()
        return 7

    monkeypatch.setattr(warm, "_compile", compile_some)
    return names, go


def test_one_compiles_and_the_others_wait_and_find_it_done(compiled):
    names, go = compiled
    counts, said, waits = [], [], threading.Event()

    def say(line):
        said.append(line)
        waits.set()

    threads = [
        threading.Thread(target=lambda: counts.append(warm.ensure_warm(say))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert waits.wait(30)
    go.set()
    for thread in threads:
        thread.join(30)
    assert len(names) == 1
    assert sorted(counts) == [0, 7]
    assert said == ["waiting for another process, which compiles the kernels"]
    assert warm.ensure_warm(say) == 0


def test_only_what_is_missing_is_compiled_whoever_compiled_the_rest(compiled, monkeypatch):
    _, go = compiled
    go.set()
    warm.ensure_warm(lambda line: None, (("feed",), ("strategies",)))
    asked, plain = [], warm._compile

    def note(progress, shares, meanwhile):
        asked.append(shares)
        return plain(progress, shares, meanwhile)

    monkeypatch.setattr(warm, "_compile", note)
    assert warm.ensure_warm(lambda line: None) == 7
    assert warm.ensure_warm(lambda line: None) == 0
    assert asked == [(("step", "main"), ("twins",))]


@pytest.mark.parametrize(
    ("path", "mode", "shares"),
    [
        ("split", "live", (("step", "main"), ("feed", "strategies", "orders"))),
        ("direct", "live", (("step", "main"), ("feed", "direct", "strategies"))),
        ("split", "paper", (("step", "main"), ("feed", "strategies", "twins"))),
        ("direct", "paper", (("step", "main", "twins"), ("feed", "direct", "strategies"))),
    ],
)
def test_a_run_compiles_what_its_path_and_mode_need(path, mode, shares):
    config = Config(
        node=Node(mode=mode),
        venues={"v": VenueConfig(symbols=("X",))},
        accounts={"a": Account(venue="v")},
        strategies={"s": Strategy(use="grid", instruments=("v:X",), accounts=("a",), path=path)},
    )
    assert warm.shares_of(config) == shares
    known = {
        part for parts in (*warm.SHARES, *warm.REPLAY, *warm.ORDERS, *warm.DIRECT) for part in parts
    }
    assert {part for parts in shares for part in parts} < known


def test_without_a_lock_it_compiles_all_the_same(compiled, monkeypatch):
    names, go = compiled
    go.set()

    plain = os.open

    def no_room(path, *arguments):
        if str(path).endswith(".lock"):
            raise OSError(28, "No space left on device")
        return plain(path, *arguments)

    warm.marker("step").parent.mkdir(parents=True)
    monkeypatch.setattr(os, "open", no_room)
    assert warm.ensure_warm(lambda line: None) == 7
    assert len(names) == 1


# -- processes -----------------------------------------------------------------------------------


def test_a_part_that_fails_is_told_and_is_not_taken_for_done(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("ALEPHTX_CACHE", str(tmp_path / "cache"))
    assert warm.ensure_warm(lambda line: None, (("nothing",),)) == 0
    assert "KeyError: 'nothing'" in capfd.readouterr().err
    assert not warm.marker("nothing").exists()


def test_an_error_meanwhile_ends_those_who_compile(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEPHTX_CACHE", str(tmp_path / "cache"))
    started, plain = [], subprocess.Popen

    def note(*arguments, **named):
        started.append(plain(*arguments, **named))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", note)

    def fail():
        raise PluginError("a strategy of no use")

    with pytest.raises(PluginError, match="of no use"):
        warm.ensure_warm(lambda line: None, (("market",), ("twins",)), fail)
    assert [process.returncode for process in started] == [-15, -15]
    assert warm.missing((("market",), ("twins",))) == (("market",), ("twins",))


AHEAD = """
import sys
from pathlib import Path

from alephtx.core import kernel
from alephtx.core.config import load_config
from alephtx.engine import backtest, warm
from alephtx.engine.market import load_market

config = load_config(Path(sys.argv[1]), mode="paper")
warm.compile_hooks(config)
ahead = len(kernel.compiled)
backtest.place_stages = lambda ctx: []  # others compile those
test = backtest.Backtest.__new__(backtest.Backtest)
test.instruments, test._journal, test._remembered = load_market(config).instruments, None, 64
test._arena = backtest.Arena()
test._lane(0, config)
print(ahead, kernel.compiled[ahead:])
"""


def test_hooks_compiled_ahead_are_those_that_a_backtest_enters(tmp_path):
    root = warm.PACKAGE.parents[1]
    config = root / "examples" / "grid" / "config.toml"
    done = subprocess.run(
        [sys.executable, "-c", AHEAD, str(config)],
        env={**os.environ, "ALEPHTX_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    count, rest = done.stdout.split(maxsplit=1)
    assert int(count) > 30
    assert rest.strip() == "[]"


LATER = """
import sys
from pathlib import Path

from alephtx.core.instruments import Instruments
from alephtx.core.kernel import prefer_stored
from alephtx.matrix.journal import EPOCH, Journal, JournalHeader, read
from alephtx.matrix.journal_read import list_segments

prefer_stored()
place, table = Path(sys.argv[1]), Instruments().to_json()
header = JournalHeader(node="later", engine=1, instruments=table, accounts=b"[]")
for junk in (b"", b"", bytes(4096), bytes(64) + b"junk of a writer that was killed"):
    with Journal.open(place, header=header, segment_bytes=1 << 16, background=False) as journal:
        journal.append(EPOCH, bytes(8), ts=1)
    with list_segments(place)[-1].open("ab") as file:
        file.write(junk)
Journal.open(place, header=header, segment_bytes=1 << 16, background=False).close()
print(len(list(read(place))), "numba" in sys.modules)
"""


def test_journal_of_a_killed_writer_is_taken_up_without_compiling(tmp_path):
    """A restart after `kill -9` has the least time of all starts."""
    environment = {**os.environ, "ALEPHTX_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "alephtx.engine.warm", "main"]
    subprocess.run(command, env=environment, capture_output=True, check=True)
    done = subprocess.run(
        [sys.executable, "-c", LATER, str(tmp_path / "journal")],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "journal_end_cut" in done.stderr
    assert done.stdout.split() == ["4", "False"]
