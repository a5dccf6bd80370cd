"""What a loop keeps near: which spans, when it asks for them, and that it changes none."""

import ctypes
import mmap

import numpy as np
import pytest

from alephtx.core import near
from alephtx.core.kernel import kernel
from alephtx.core.near import LINE, LINES, N_AT, N_SPANS, Near, code_spans, memory_of, merged, room
from alephtx.core.ports import Stage

pytestmark = pytest.mark.kernel


@kernel
def asked(place, rounds):
    """Let so many idle rounds pass."""
    for _ in range(rounds):
        near.keep_near(place)
    return 0


def a_word() -> np.ndarray:
    return np.zeros(1, np.int64)


def listed(word: np.ndarray) -> np.ndarray:
    """Return the list that the loop finds."""
    at = int(word[0])
    count = ctypes.c_int64.from_address(at + 16).value
    size = N_SPANS + 2 * count
    return np.frombuffer((ctypes.c_int64 * size).from_address(at), np.int64)


def test_spans_become_whole_lines_each_once():
    assert merged([(100, 10), (1000, 1), (70, 200)]) == [(64, 256), (960, 64)]
    assert merged([(0, 0)]) == []


def test_no_more_is_kept_than_a_cache_holds_and_the_first_come_first():
    kept = merged([(1 << 30, 4096), (0, 1 << 40), (1 << 20, 64)])
    assert kept[-1] == (1 << 30, 4096)
    assert sum(size for _, size in kept) == near.TOTAL_MAX


@pytest.mark.parametrize(
    ("size", "most"),
    [("2048K\n", 1 << 20), ("512K\n", 1 << 18), ("4M\n", 1 << 20), ("odd\n", 1 << 18)],
)
def test_no_more_than_half_of_a_cores_own_cache_is_kept(tmp_path, size, most):
    for n, (level, told) in enumerate((("1", "48K\n"), ("2", size), ("3", "300M\n"))):
        index = tmp_path / f"index{n}"
        index.mkdir()
        (index / "level").write_text(f"{level}\n")
        (index / "size").write_text(told)
    assert room(tmp_path) == most
    assert room(tmp_path / "none") == 1 << 18


def test_each_line_is_asked_for_once_and_then_the_first_again():
    word, held = a_word(), np.zeros(100, np.int64)
    keeper = Near(word.ctypes.data)
    keeper.keep([(4096, 3 * LINE), (8192, 2 * LINE)])
    told = listed(word)
    assert told[N_SPANS:].tolist() == [4096, 4096 + 3 * LINE, 8192, 8192 + 2 * LINE]
    seen = []
    for _ in range(4):
        asked(word.ctypes.data, 1)
        seen.append(int(told[N_AT]))
    lines = [4096, 4160, 4224, 8192, 8256]
    for n, at in enumerate(seen, start=1):
        assert at == lines[(n * LINES - 1) % 5] + LINE
    assert held.sum() == 0


def test_nothing_is_asked_for_where_nothing_is_kept():
    word = a_word()
    asked(word.ctypes.data, 100)
    keeper = Near(word.ctypes.data)
    keeper.keep([(4096, 64)])
    keeper.keep([])
    assert word[0] == 0
    assert keeper.size == 0


def test_memory_that_is_gone_is_no_matter_and_none_is_changed():
    page = mmap.mmap(-1, mmap.PAGESIZE)
    view = np.frombuffer(page, np.uint8)
    at = view.ctypes.data
    del view
    page.close()
    data = np.arange(1000)
    before = data.copy()
    word = a_word()
    keeper = Near(word.ctypes.data)
    keeper.keep([(at, mmap.PAGESIZE), (0, 64), (data.ctypes.data, data.nbytes)])
    asked(word.ctypes.data, 1000)
    assert (data == before).all()


def test_a_round_that_has_begun_may_still_use_the_list_before():
    word = a_word()
    keeper = Near(word.ctypes.data)
    keeper.keep([(4096, 64)])
    old = listed(word)
    keeper.keep([(8192, 64)])
    assert old[N_SPANS] == 4096
    now = int(word[0])
    keeper.keep([(8192, 64)])  # the same: nothing is made anew
    assert int(word[0]) == now


def test_arrays_are_found_in_whatever_they_are_kept():
    one, two, three = np.zeros(8), np.zeros(1 << 20), bytearray(64)
    stage = Stage(lambda state, a, b: 0, one, (three, "text", (two,)))
    spans = list(memory_of([stage, None]))
    assert spans[0] == (one.ctypes.data, 64)
    assert {size for _, size in spans} == {64, near.ARRAY_MAX}
    assert len(spans) == 3


MAPS = """\
1000-3000 r-xp 00000000 00:00 0 
3000-4000 r--p 00000000 00:00 0 
4000-5000 rw-p 00000000 00:00 0 
5000-9000 r-xp 00000000 08:01 12                         /usr/lib/libc.so
9000-a000 r-xp 00000000 00:00 0                          [vdso]
nonsense
"""  # noqa: W291 - as the kernel writes it


def test_code_is_what_belongs_to_no_file_and_cannot_be_written():
    assert code_spans(MAPS) == [(0x1000, 0x2000), (0x3000, 0x1000)]
    assert code_spans("") == []


def test_the_kernels_of_this_process_are_found():
    from alephtx.core.kernel import JIT
    from alephtx.core.stages import stage_address
    from alephtx.engine.direct_turn import serve_links

    address, _ = stage_address(serve_links)
    inside = any(at <= address < at + size for at, size in code_spans())
    assert inside or not JIT


def test_it_looks_again_only_now_and_then():
    told = []
    keeper = Near(a_word().ctypes.data)
    for at in (10, 20, near.LOOK_NS + 10, near.LOOK_NS + 11):
        keeper.look(at, lambda at=at: told.append(at) or [])
    assert told == [10, near.LOOK_NS + 10]
