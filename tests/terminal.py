"""A real terminal for a real process: what `alephtx` does where somebody looks on and types."""

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Hands = Callable[[str], bytes]
"""Given all that was shown so far, return what to type now."""

CTRL_C = b"\x03"
ON_ITS_OWN = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from alephtx.cli import main
sys.exit(main())
"""
"""Takes the terminal for its own, so that what is typed reaches all of its processes."""


def on_terminal(
    *words: object, folder: Path, hands: Hands = lambda _: b"", **environment: str
) -> tuple[int, str]:
    """Run `alephtx WORDS` on a terminal of its own; returns its exit code and what was shown."""
    ours, theirs = pty.openpty()
    wide = {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        [sys.executable, "-c", ON_ITS_OWN, *map(str, words)],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, start_new_session=True,
        env={**os.environ, **wide, **environment},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        with contextlib.suppress(OSError):  # Linux: EIO once the process has closed its end
            while some := os.read(ours, 65_536):
                shown += some
                os.write(ours, hands(shown.decode(errors="replace")))
        code = process.wait(60)
    finally:
        os.close(ours)
        process.kill()
        process.wait()
    return code, shown.decode(errors="replace")


def interrupt_at(words: str) -> Hands:
    """Return hands that press Ctrl-C, once, as soon as these words are shown."""
    pressed: list[int] = []

    def hands(shown: str) -> bytes:
        if words not in shown or pressed:
            return b""
        pressed.append(1)
        return CTRL_C

    return hands
