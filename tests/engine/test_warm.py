"""Compiling ahead: of those who begin together one compiles, and a lost lock stops nobody."""

import os
import threading

import pytest

from alephtx.core import kernel
from alephtx.engine import warm

pytestmark = pytest.mark.skipif(not kernel.JIT, reason="nothing is compiled")


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """Whoever compiled, which here takes until `go`."""
    monkeypatch.setenv("ALEPHTX_CACHE", str(tmp_path / "cache"))
    names, go = [], threading.Event()

    def compile_some(progress, shares):
        names.append(threading.current_thread().name)
        assert go.wait(30)
        warm.marker(shares).touch()
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


def test_without_a_lock_it_compiles_all_the_same(compiled, monkeypatch):
    names, go = compiled
    go.set()

    plain = os.open

    def no_room(path, *arguments):
        if str(path).endswith(".lock"):
            raise OSError(28, "No space left on device")
        return plain(path, *arguments)

    warm.marker().parent.mkdir(parents=True)
    monkeypatch.setattr(os, "open", no_room)
    assert warm.ensure_warm(lambda line: None) == 7
    assert len(names) == 1
