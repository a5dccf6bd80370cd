"""Memory of secrets: nobody inherits it, nothing of it is left."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from alephtx.core.private_memory import PrivateMemory


def in_child(do):
    """Return the exit status of a forked child that runs `do` and nothing else."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = do()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a fork while other threads live
def test_forked_child_finds_zeros_where_the_parent_has_its_words():
    memory = PrivateMemory(600)
    memory.words[:] = 7
    assert in_child(lambda: int(memory.words.any())) == 0
    assert memory.words.tolist() == [7] * 600


def test_closed_memory_is_zero_and_still_there():
    memory = PrivateMemory(16)
    memory.words[:] = -1
    memory.close()
    assert not memory.words.any()


def test_memory_that_nobody_holds_is_wiped_before_it_is_given_back():
    memory = PrivateMemory(16)
    kept = memory.words
    kept[:] = 5
    del memory
    assert not kept.any()


def test_words_neither_show_nor_travel():
    memory = PrivateMemory(4)
    memory.words[:] = 123456789
    assert "123456789" not in repr(memory)
    with pytest.raises(TypeError, match="never leaves"):
        pickle.dumps(memory)


def test_pages_are_left_out_of_core_dumps():
    """The kernel tells by flags of the mapping: dd = not dumped, wf = wiped on fork."""
    memory = PrivateMemory(4)
    flags, at = "", False
    with Path("/proc/self/smaps").open() as lines:
        for line in lines:
            head = line.split()[0]
            if "-" in head and not head.endswith(":"):
                low, high = (int(part, 16) for part in head.split("-"))
                at = low <= memory.address < high
            elif at and head == "VmFlags:":
                flags = line
    assert {"dd", "wf"} <= set(flags.split())


def test_address_is_that_of_the_words():
    memory = PrivateMemory(3)
    memory.words[2] = 9
    other = np.frombuffer(memoryview(memory.words), np.int64)
    assert other[2] == 9
    assert memory.address == other.ctypes.data
