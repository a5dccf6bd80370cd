"""`alephtx backtest` from the prompt: what its first line may cost."""

import json
import os
import subprocess
import sys

import pytest

from alephtx.core.kernel import JIT
from tests.engine.bottling import CONFIG, KEY, tape_file

HEAVY = (
    "numba.core", "scipy", "pandas", "polars", "pyarrow", "duckdb", "httpx", "websockets", "picows",
    "asyncio", "rich.live", "alephtx.core.compiling", "alephtx.engine.session",
)  # fmt: skip
WATCH = """
import json, sys
from alephtx.cli import backtest, main
heavy = sys.argv.pop(1).split()
say = backtest._Bar.say
def watched(bar, line):
    print(json.dumps([name for name in heavy if name in sys.modules]))
    say(bar, line)
backtest._Bar.say = watched
sys.exit(main())
"""
"""Says which of some modules are imported when the first line comes."""


def backtest(config, program):
    done = subprocess.run(
        [sys.executable, "-c", program, " ".join(HEAVY), "backtest", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={name: text for name, text in os.environ.items() if not name.startswith("NUMBA_")},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.kernel
@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_the_first_line_of_a_warm_backtest_needs_no_compiler(tmp_path):
    market = f'tapes = {{ "{KEY}" = "{tape_file(tmp_path)}" }}'
    text = CONFIG.format(fees="", market=market)
    config = tmp_path / "config.toml"
    config.write_text(text.replace("[node]", f'[node]\nruns = "{tmp_path / "runs"}"'))
    first, second = (backtest(config, WATCH) for _ in range(2))
    assert json.loads(second[0]) == []
    digest = first[2].split("digest ")[1]
    assert second[2].split("digest ")[1] == digest
