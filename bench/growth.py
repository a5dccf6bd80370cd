"""A backtest's cost as it grows: ns a row and peak memory of the common market maker, by rows.

Every figure is of a fresh process. Ours maps a replay file (32 bytes a row); hftbacktest reads the
.npz that its own documentation has users write (64 bytes a row), and its ns contain that. A speed
counts only with the exact fills of bench/backtest.py. growth: what a row costs at the second count
of `--rows`, in what it costs at the first.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from lib.maker_run import EXACT, HERE
from lib.peer import peer_python
from lib.rounds import interleave, options, report

from alephtx.core.records import EVENT
from alephtx.store.pack import unpack
from alephtx.store.ticks import CHUNK_ROWS, write_ticks
from alephtx.testing.synthetic import synthetic


class Run:
    """One side at one count of rows; peaks: MiB of each run."""

    def __init__(self, command: list[str | Path], count: int) -> None:
        self.command, self.count = command, count
        self.peaks: list[float] = []

    def __call__(self) -> float:
        """Run it in a fresh process; return ns a row."""
        said = subprocess.run(self.command, check=True, capture_output=True, text=True).stdout
        found = json.loads(said)
        if self.count in EXACT and tuple(found["told"]) != EXACT[self.count]:
            sys.exit(f"{self.command[1]}: {found['told']} of {self.count} rows, known {EXACT}")
        self.peaks.append(found["peak_mib"])
        return float(found["ns"])


def events(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield TICK rows as EVENT rows, a quarter of a million at a time."""
    for part in np.split(rows, range(CHUNK_ROWS, len(rows), CHUNK_ROWS)):
        out = np.zeros(len(part), EVENT)
        unpack(part, len(part), 0, 1, 1, out)
        yield out


def runs_of(count: int, folder: Path) -> dict[str, Run]:
    """Write the market of so many rows in both sides' files; return a run of each."""
    rows, table = synthetic(count)
    ours, theirs = folder / f"{count}.ticks", folder / f"{count}.npz"
    write_ticks(ours, table[0], events(rows))
    plain, few = folder / "rows.npy", folder / "few.npz"
    np.save(plain, rows)
    hft, script = peer_python("hft"), HERE / "peer_hft_file.py"
    subprocess.run([hft, script, "write", plain, theirs, few], check=True)
    return {
        f"{count:,} rows": Run([sys.executable, HERE / "maker_run.py", ours], count),
        f"{count:,} rows, hftbacktest": Run([hft, script, "run", theirs, few, str(count)], count),
    }


def main() -> None:
    """Measure; each way `--rounds` times but at most five."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, nargs=2, default=[1_000_000, 10_000_000])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Run] = {}
        for count in given.rows:
            ways |= runs_of(count, Path(folder))
        ways[next(iter(ways))]()  # whatever is not compiled yet
        figures = interleave(ways, min(given.rounds, 5))
    few, many = (f"{count:,} rows" for count in given.rows)
    figures |= {f"{name}, peak MiB": max(run.peaks) for name, run in ways.items()}
    figures["growth"] = figures[many] / figures[few]
    ours, theirs = (figures[f"{name}, peak MiB"] for name in (many, f"{many}, hftbacktest"))
    figures["memory, of hftbacktest's"] = ours / theirs
    report("growth", figures, "ns a row", against={}, as_json=given.json)


if __name__ == "__main__":
    main()
