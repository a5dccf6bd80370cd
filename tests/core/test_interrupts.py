"""Ctrl-C while LLVM calls back into Python ends a compilation as it does anywhere else."""

import ctypes
import sys
import threading

import pytest

from alephtx.core.compiling import interruptible


def dropped(error):
    """Raise an error where nobody can catch it."""

    @ctypes.CFUNCTYPE(None)
    def callback():
        raise error

    callback()


def compile_with(lost, then=None):
    with interruptible():
        dropped(lost)
        if then is not None:
            raise then


def test_interrupt_that_a_callback_dropped_is_raised_in_place_of_what_it_broke():
    with pytest.raises(KeyboardInterrupt):
        compile_with(KeyboardInterrupt(), RuntimeError("no compiled object yet"))
    with pytest.raises(KeyboardInterrupt):
        compile_with(KeyboardInterrupt())


def test_other_errors_are_what_they_were(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda said: told.append(said.exc_type))
    with pytest.raises(RuntimeError, match="a bug"):
        compile_with(ValueError(), RuntimeError("a bug"))
    dropped(KeyError())
    assert told == [ValueError, KeyError]


def test_another_thread_than_the_main_one_changes_nothing():
    seen = []

    def compiles():
        with interruptible():
            seen.append(sys.unraisablehook)

    before = sys.unraisablehook
    thread = threading.Thread(target=compiles)
    thread.start()
    thread.join()
    assert seen == [before]
