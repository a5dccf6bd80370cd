"""A real terminal for a real process: what `alephtx` does where somebody looks on."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Watch = Callable[["subprocess.Popen[bytes]", str], None]


def on_terminal(
    *words: object, folder: Path, watch: Watch | None = None, **environment: str
) -> tuple[int, str]:
    """Run `alephtx WORDS` on a terminal of its own; returns its exit code and what was shown.

    watch: called with the process and all that was shown so far, whenever there is more.
    """
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "alephtx.cli", *map(str, words)]
    wide = {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder,
        env={**os.environ, **wide, **environment},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        with contextlib.suppress(OSError):  # Linux: EIO once the process has closed its end
            while some := os.read(ours, 65_536):
                shown += some
                if watch is not None:
                    watch(process, shown.decode(errors="replace"))
        code = process.wait(60)
    finally:
        os.close(ours)
        process.kill()
        process.wait()
    return code, shown.decode(errors="replace")


def interrupt_at(words: str) -> Watch:
    """Return who sends a Ctrl-C, once, as soon as these words are shown."""
    sent: list[int] = []

    def watch(process: "subprocess.Popen[bytes]", shown: str) -> None:
        if words in shown and not sent:
            sent.append(1)
            process.send_signal(signal.SIGINT)

    return watch
