"""An intent into the journal: our append against a plain file that is flushed after every record.

Both survive the death of the process (kill -9): ours because the bytes are in a mapped file, the
plain one because the kernel has them. Ours adds length, sequence number and CRC-32C. The third
way syncs the disk and also survives the loss of power, as `durability = "order"` does.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from lib.rounds import interleave, options, report

from alephtx.core.atomics import monotonic_ns
from alephtx.core.kernel import Int, kernel
from alephtx.core.records import INTENT
from alephtx.matrix.journal import INTENT as KIND
from alephtx.matrix.journal import Journal, JournalHeader, journal_append, journal_room

RECORDS = 50_000
SYNCS = 20
ROOM_EACH = 192


@kernel
def append_many(journal: np.ndarray, address: Int, size: Int, n: Int) -> int:
    """Append n records; return the ns it took, or -1."""
    begun = monotonic_ns()
    for k in range(n):
        if journal_append(journal, KIND, 1, k, begun, address, size) < 0:
            return -1
    return monotonic_ns() - begun


def main() -> None:
    """Measure in a temporary directory of this machine's disk."""
    given = options(__doc__).parse_args()
    row = np.zeros(1, INTENT)
    data = row.tobytes()
    with tempfile.TemporaryDirectory() as folder:
        header = JournalHeader(node="bench", engine=1, instruments=b"[]", accounts=b"[]")
        journal = Journal.open(Path(folder) / "journal", header=header, background=False)
        plain = (Path(folder) / "plain").open("wb")

        def ours() -> float:
            if journal_room(journal.map) < RECORDS * ROOM_EACH:
                journal.roll()
            took = append_many(journal.map, row.ctypes.data, row.nbytes, RECORDS)
            assert took > 0
            return took / RECORDS / 1000

        def flushed() -> float:
            begun = time.perf_counter_ns()
            for _ in range(RECORDS):
                plain.write(data)
                plain.flush()
            return (time.perf_counter_ns() - begun) / RECORDS / 1000

        def synced() -> float:
            begun = time.perf_counter_ns()
            for _ in range(SYNCS):
                append_many(journal.map, row.ctypes.data, row.nbytes, 1)
                journal.sync()
            return (time.perf_counter_ns() - begun) / SYNCS / 1000

        append_many(journal.map, row.ctypes.data, row.nbytes, 1)
        ways = {"append, mapped, CRC-32C": ours, "plain file, write and flush": flushed,
                "append and sync the disk": synced}  # fmt: skip
        figures = interleave(ways, given.rounds)
        plain.close()
        journal.close()
    ours, plain_file, _ = figures
    title = f"journal: intents of {len(data)} bytes"
    report(title, figures, "us", against={ours: plain_file}, as_json=given.json)


if __name__ == "__main__":
    main()
