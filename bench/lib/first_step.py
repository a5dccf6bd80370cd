"""What an engine's process does from its start to its first step, without a network.

Prints CLOCK_MONOTONIC of the moment after that step, in ns: of `engine.main` the imports, of
`engine.session` journal, input log, engine and strategies.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # for tests.engine.bench

from alephtx.core.kernel import load_compiler

load_compiler()

from tests.engine.bench import Bench  # noqa: E402

import alephtx.engine.main  # noqa: E402
from alephtx.engine.loop import spin  # noqa: E402

with tempfile.TemporaryDirectory() as folder:
    bench = Bench(Path(folder), use="market_maker", qty_base="0.01", inventory_max_base="1")
    bench.top(6_000_000, 6_000_100)
    spin(bench.packed, 1, 0)
    sys.stdout.write(f"{len(alephtx.engine.main.__doc__)} {time.monotonic_ns()}\n")
    sys.stdout.flush()
    bench.close()
