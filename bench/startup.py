"""Starts: engines, the command line, a try, a backtest's first line, a demo to its first order.

Warm, as every start but the first of a version is, and hftbacktest's beside them, which compiles
in each process (`make peers`); `--cold` also compiles every kernel into an empty cache, two
processes at a time. Seconds of wall time, of which the demo waits 2.5 on
purpose: its twins begin to replay when feeders and engine are up. Processor time is what a busy
machine does not stretch.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests.flows.starting

import numpy as np
from lib.peer import peer_python
from lib.rounds import interleave, options, report
from tests.flows.starting import Starts

from alephtx.core import words
from alephtx.core.records import INTENT
from alephtx.engine.rundir import runs
from alephtx.engine.warm import DIRECT, SHARES, Shares, ensure_warm
from alephtx.matrix.journal import INTENT as KIND
from alephtx.matrix.journal import read
from alephtx.strategies import grid
from alephtx.testing.synthetic import synthetic

DEMO_SECONDS = "8"
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def seconds_of(*command: str, **environment: str) -> float:
    """Return how long a command takes; it must succeed."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", *command], env={**os.environ, **environment},
                   check=True, capture_output=True)  # fmt: skip
    return time.perf_counter() - begun


def first_line(edit: str = "", **environment: str) -> float:
    """Return how long the example `grid` takes as a backtest until it says what it came to.

    edit: a line that is added to a copy of its strategy's file, which is then the one that runs.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.toml"
        text = (EXAMPLES / "grid" / "config.toml").read_text()
        text = text.replace("../data/", f"{EXAMPLES / 'data'}/")
        if edit:
            (Path(folder) / "grid.py").write_text(f"{Path(grid.__file__).read_text()}{edit}\n")
            text = text.replace('use = "grid"', 'use = "grid.py"')
        config.write_text(text)
        begun = time.perf_counter()
        command = [sys.executable, "-m", "alephtx.cli", "backtest", str(config), "--no-report"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
        ) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            took = time.perf_counter() - begun
            process.communicate()
    if "fills" not in said or process.returncode:
        sys.exit(f"the backtest failed: {said}")
    return took


def cold_line() -> float:
    """Return the same with nothing compiled."""
    with tempfile.TemporaryDirectory() as folder:
        return first_line(ALEPHTX_CACHE=folder)


def their_line(folder: Path) -> float:
    """Return how long hftbacktest's process takes, 3,000 rows of market, compiled by itself."""
    hft, script = peer_python("hft"), Path(__file__).parent / "lib" / "peer_hft_file.py"
    few = folder / "few.npz"
    if not few.exists():
        rows, _ = synthetic(3_000)
        np.save(folder / "rows.npy", rows)
        write = [hft, script, "write", folder / "rows.npy", folder / "whole.npz", few]
        subprocess.run(write, check=True)
    begun = time.perf_counter()
    subprocess.run([hft, script, "run", few, few, "3000"], check=True, capture_output=True)
    return time.perf_counter() - begun


def demo() -> dict[str, float]:
    """Run a short demo; return seconds from its start to the engine's and to the first order."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.time_ns()
        subprocess.run([sys.executable, "-m", "alephtx.cli", "demo", "--seconds", DEMO_SECONDS,
                        "--json", "--runs", folder], check=True, capture_output=True)  # fmt: skip
        run = next(runs(Path(folder)))
        started = {p["name"]: p["started"] for p in json.loads(
            (run.path / "processes.json").read_bytes())}  # fmt: skip
        records = list(read(run.journal))
        sent = [
            record.ts for record in records if record.kind == KIND
            and np.frombuffer(record.payload, INTENT, count=1)[0]["verdict"] == words.PASS
        ]  # fmt: skip
        return {
            "demo: to the start of the engine process": (started["engine"] - begun) / 1e9,
            "demo: engine process to its journal": (records[0].ts - started["engine"]) / 1e9,
            "demo: to the first order": (min(sent) - begun) / 1e9,
        }


def processor_seconds_of(*command: str, **environment: str) -> float:
    """Return the processor time of a command, which a busy machine does not stretch."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds_of(*command, **environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


RUNS = {
    "split": (("step", "main"), ("feed", "strategies")),
    "direct": (("step", "main"), ("feed", "direct", "strategies")),
}
"""What a live run compiles first, as `engine.warm.shares_of` has it."""


def compile_seconds(shares: Shares) -> float:
    """Return how long two processes take to compile their shares into an empty cache."""
    program = "from alephtx.engine.warm import ensure_warm; ensure_warm(lambda line: None, {})"
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", program.format(repr(shares))], check=True,
                       env={**os.environ, "ALEPHTX_CACHE": folder})  # fmt: skip
        return time.perf_counter() - begun


def cold() -> dict[str, float]:
    """Compile everything into an empty cache, then each part into one of its own."""
    with tempfile.TemporaryDirectory() as folder:
        took = {
            "cold: compile everything": seconds_of(
                "alephtx.cli", "warm", "--quiet", ALEPHTX_CACHE=folder
            )
        }
    for path, shares in RUNS.items():
        took[f"cold: what a live run on the {path} path compiles first"] = compile_seconds(shares)
    for part in (part for share in (*SHARES, *DIRECT) for part in share):
        with tempfile.TemporaryDirectory() as folder:
            took[f"cold: compile {part}, processor time"] = processor_seconds_of(
                "alephtx.engine.warm", part, ALEPHTX_CACHE=folder
            )
    return took


def _together(count: int, cache: str) -> tuple[list[str], set[str], float]:
    """Start so many engines at once; return what they compiled, came to, and took in all."""
    script = Path(__file__).parent / "lib" / "crowd.py"
    environment = {**os.environ, "ALEPHTX_CACHE": cache}
    begun, ends = time.perf_counter(), []
    engines = [
        subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment)
        for _ in range(count)
    ]
    for one in engines:
        said, _ = one.communicate()
        if one.returncode:
            sys.exit("one of the crowd failed")
        ends.append(json.loads(said))
    compiled = sorted(name for end in ends for name in end["compiled"])
    return compiled, {end["told"] for end in ends}, time.perf_counter() - begun


def crowd(count: int) -> dict[str, float]:
    """Start so many engines at once on an empty cache, and as many again on the full one.

    Together they must compile what one compiles alone, each kernel once, and all must come to the
    same as that one.
    """
    with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryDirectory() as shared:
        wanted, told, _ = _together(1, alone)
        took: dict[str, float] = {}
        for state, kernels in (("cold", wanted), ("warm", [])):
            compiled, came_to, seconds = _together(count, shared)
            if compiled != kernels or came_to != told:
                odd = sorted((Counter(compiled) - Counter(kernels)).elements())
                sys.exit(f"the crowd does not agree: compiled more {odd}, came to {came_to}")
            took[f"{count} engines at once, {state}: the last is done"] = seconds
            took[f"{count} engines at once, {state}: kernels compiled"] = float(len(compiled))
    return took


def engine_starts(rounds: int) -> dict[str, float]:
    """Start live engines on both paths, in turns; medians of the time to the first step."""
    ways = ("split", "direct")
    with Starts() as starts:
        for way in ways:
            starts.start(way)  # whatever only the first start of a version has to do
        seen = {way: [] for way in ways}
        for _ in range(rounds):
            for way in ways:
                seen[way].append(starts.start(way))
    took: dict[str, float] = {}
    for way, found in seen.items():
        if any("numba" in one.modules for one in found):
            sys.exit(
                f"an engine on the {way} path imported the compiler: its cache lacks something"
            )
        name = f"engine, {way} path: process to its first step"
        took[name] = statistics.median(one.wall for one in found)
        took[f"{name}, processor time"] = statistics.median(one.processor for one in found)
    return took


def main() -> None:
    """Measure; each way `--rounds` times but at most three."""
    parser = options(__doc__)
    parser.add_argument("--cold", action="store_true", help="also compile everything anew")
    parser.add_argument("--crowd", type=int, default=0, help="start so many engines at once")
    given = parser.parse_args()
    for shares in (SHARES, DIRECT):
        ensure_warm(lambda line: None, shares)
    rounds = min(given.rounds, 3)
    ways = {
        "python -c pass": lambda: seconds_of("timeit", "-n1", "-r1", "pass"),
        "alephtx version": lambda: seconds_of("alephtx.cli", "version"),
        "alephtx try, 10 s of market": lambda: seconds_of(
            "alephtx.cli", "try", "market_maker", "qty_base=0.01", "inventory_max_base=0.05",
            "--instrument", "binance_usdm:BTC-USDT-PERP", "--seconds", "10",
        ),
    }  # fmt: skip
    edits = count()
    with tempfile.TemporaryDirectory() as folder:
        ways |= {
            "alephtx backtest, to its first line": first_line,
            "the same, its strategy's file edited": lambda: first_line(f"# {next(edits)} {folder}"),
            "hftbacktest, process to result": lambda: their_line(Path(folder)),
        }
        figures = engine_starts(rounds) | interleave(ways, rounds) | demo()
    if given.crowd:
        figures |= crowd(given.crowd)
    if given.cold:
        figures |= {"alephtx backtest, nothing compiled": cold_line()} | cold()
    report("startup", figures, "s", against={}, as_json=given.json)


if __name__ == "__main__":
    main()
