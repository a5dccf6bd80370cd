"""The line of progress: rewritten on a terminal, now and then in a file."""

import os
import pty
import subprocess
import sys

from alephtx.serve import warming

SHOW = """
from alephtx.serve.warming import Line
line = Line()
for k in range(300):
    line.show(f"compiling kernels, once per version: {k}  " + "x" * 100)
line.end()
"""


def test_a_pipe_is_not_told_of_each_kernel():
    done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert lines[0].startswith("compiling kernels, once per version: 0 ")
    assert len(lines) <= 3


def test_a_terminal_has_one_line_that_goes_again():
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", SHOW], stderr=theirs) as process:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65_536):
                said += part
        except OSError:  # how a terminal ends
            pass
    os.close(ours)
    assert process.returncode == 0
    assert said.count(b"\r\x1b[K") == 301
    assert said.endswith(b"\r\x1b[K")
    assert b"\n" not in said
    assert max(map(len, said.split(b"\r\x1b[K"))) == 78


def test_time_between_two_lines_is_what_counts(monkeypatch, capsys):
    now = [10**9]
    line = warming.Line()
    monkeypatch.setattr(line._clock, "monotonic", lambda: now[0])
    for step in (0, 1, warming.EVERY_NS - 2, 1):
        now[0] += step
        line.show(str(step))
    assert capsys.readouterr().err == "0\n1\n"
