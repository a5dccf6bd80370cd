"""What the processes of a run import before they do anything: a start is mostly that."""

import subprocess
import sys

import pytest

COMPILER = ("numba", "alephtx.core.compiling", "alephtx.engine.warm")
CURVES = ("Crypto", "coincurve", "cffi")
ROOMS = ("alephtx.sim", "alephtx.twins", "alephtx.serve", "alephtx.lab", "alephtx.testing")
FEEDER = ("alephtx.feed.feeder", "alephtx.feed.lane", "alephtx.engine.direct")
NET = ("asyncio", "aiohttp", "picows")

ABSENT = {
    "alephtx.engine.main": (*COMPILER, *CURVES, *ROOMS, *FEEDER),
    "alephtx.engine.feeder": (*COMPILER, *CURVES, *ROOMS, "alephtx.execution", "alephtx.risk"),
    "alephtx.engine.killer": (*COMPILER, *CURVES, *ROOMS, *FEEDER, "alephtx.engine.session"),
    "alephtx.serve.overview": (*COMPILER, *CURVES, *NET, "alephtx.twins", "alephtx.engine.session"),
    "alephtx.cli.kill": (*COMPILER, *CURVES, *NET, *ROOMS),
}
"""Module that a process begins with -> what must not come along."""


@pytest.mark.parametrize("module", ABSENT)
def test_a_process_imports_nothing_that_it_does_not_need(module):
    program = f"import sys, {module}; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    came = set(done.stdout.split())
    assert module in came
    assert not came.intersection(ABSENT[module])
