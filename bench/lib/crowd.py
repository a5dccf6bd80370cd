"""One of many engines that start at once: loads or compiles the step, trades a market, says how.

python crowd.py: prints {"compiled": names, "told": a digest of what the engine came to}
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # for tests.engine.bench

from tests.engine.bench import Bench

from alephtx.core import kernel
from alephtx.engine.loop import spin

kernel.prefer_stored()  # as an engine does
with tempfile.TemporaryDirectory() as folder:
    bench = Bench(Path(folder), ring_slots=1_024)
    for k in range(500):
        bench.now += 1_000_000
        bench.top(6_000_000 + k % 11, 6_000_100 + k % 11)
        bench.step()
    spin(bench.packed, 1, 0)
    digest = hashlib.sha256()
    sent = [row.tobytes() for row in bench.sent()]
    for part in (*sent, bench.engine.strategies[0].state.tobytes(), bench.ctx.positions.tobytes()):
        digest.update(part)
    told = f"{digest.hexdigest()[:16]} {len(sent)} orders"
    bench.close()
sys.stdout.write(json.dumps({"compiled": list(kernel.compiled), "told": told}) + "\n")
