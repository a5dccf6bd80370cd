"""Torture: two processes on one record, as often as it takes; nothing torn may be accepted.

Every size of record that the product shares: 64-byte tops, ring slots and signals, levels, lossless
rings of 64, 128 and 160 bytes. A writer in a process of its own writes each `--writes` times, the
reader checks every word of all it accepts. The same with each protocol broken on purpose, where torn
records must show, or the test would not bite. At last writers are killed (`kill -9`) in the midst of
their work: no reader may hang or be fooled, and the next writer must heal what they left.
"""

import json
import mmap
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from lib.rounds import machine, options

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.matrix.conftest import make_instruments  # noqa: E402
from tests.matrix.torture_more import WIDE, beside, cases_of  # noqa: E402

from alephtx.matrix.shm import Matrix  # noqa: E402

MOST_S, CAUGHT_S = 600.0, 60.0


def killed(path: Path, count: int) -> dict[str, int]:
    """Kill writers in a process of its own; returns what they left behind."""
    command = [sys.executable, "-m", "tests.matrix.torture", "kill", str(path), str(count)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=True, env=environment
    )
    torn, hung, fooled = json.loads(done.stdout)
    return {"killed": count, "left torn": torn, "hung": hung, "fooled": fooled}


def main() -> None:
    """Run every case; ends with an error where one does not hold."""
    parser = options(__doc__)
    parser.add_argument("--writes", type=int, default=30_000_000, help="of each kind of record")
    parser.add_argument("--kills", type=int, default=200, help="writers to kill")
    given = parser.parse_args()
    memory, early = mmap.mmap(-1, 1 << 18), mmap.mmap(-1, 1 << 16)
    at, early_at = (int(np.frombuffer(m, np.uint8).ctypes.data) for m in (memory, early))
    told, wrong = {}, []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "matrix"
        with Matrix.create(path, make_instruments(), WIDE, clock_offset_ns=1) as matrix:
            for name, case in cases_of(matrix, at, early=early_at).items():
                begun = time.monotonic()
                writes, reads, torn = beside(case, given.writes, CAUGHT_S if case.broken else MOST_S)
                told[name] = {"bytes": case.bytes, "writes": writes, "reads": reads, "torn": torn,
                              "broken": case.broken, "seconds": time.monotonic() - begun}  # fmt: skip
                if case.broken != (torn > 0) or (not case.broken and writes < given.writes):
                    wrong.append(name)
            kills = killed(path, given.kills)
    if kills["hung"] or kills["fooled"] or not kills["left torn"]:
        wrong.append("kill -9")
    if given.json:
        whole = {"bench": "torture", "figures": told, "kills": kills, "machine": machine(),
                 "wrong": wrong}  # fmt: skip
        sys.stdout.write(json.dumps(whole) + "\n")
    else:
        sys.stdout.write(f"torture  ({machine()})\n")
        for name, row in told.items():
            sys.stdout.write(
                f"  {name:<32} {row['writes']:>12,} writes {row['reads']:>14,} accepted "
                f"{row['torn']:>10,} torn{'  (broken)' if row['broken'] else ''}\n"
            )
        sys.stdout.write(f"  kill -9: {kills}\n")
    if wrong:
        sys.exit(f"does not hold: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
