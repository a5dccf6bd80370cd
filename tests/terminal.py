"""A real terminal for a real process: what `alephtx` does where somebody looks on."""

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Watch = Callable[["subprocess.Popen[bytes]", str], None]


def on_terminal(*words: object, folder: Path, watch: Watch | None = None) -> tuple[int, str]:
    """Run `alephtx WORDS` on a terminal of its own; returns its exit code and what was shown.

    watch: called with the process and all that was shown so far, whenever there is more.
    """
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "alephtx.cli", *map(str, words)]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment
    )
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
