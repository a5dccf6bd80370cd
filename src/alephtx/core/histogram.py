"""Latency histograms: 64 powers of two x 32 steps of int64 counts, within 3.2 % of every value.

As HdrHistogram, but of a fixed 16 KiB, so that a kernel can fill one that lives in shared memory or
in a mapped file and any process can read it. A value below 32 ns has its own bucket; above, the
bucket is named by the top six bits. The last rows, which no int64 reaches, hold what a reader of
the file checks, and the totals. One writer; a reader sees each count whole, and counts that are a
few durations apart.
"""

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alephtx.core.atomics import highest_bit
from alephtx.core.errors import AlephError
from alephtx.core.kernel import kernel

STEPS = 32
BUCKETS = 60 * STEPS
WORDS = 64 * STEPS
FORMAT, COUNT, SUM, LEAST, MOST = range(WORDS - 5, WORDS)
VERSION = 2
"""In a file's word FORMAT: 2 = 32 steps; the first had 16, and no word for it."""

QUANTILES = (0.5, 0.9, 0.99, 0.999)

EDGES = tuple(step << shift for shift in range(3, 31) for step in (32, 48))[:54]
"""Bounds of `coarse` in ns, each an edge of buckets: 256 ns to 26 s, two an octave."""

Counts = np.ndarray[Any, Any]


def latency_path(run_path: str | Path, venue_name: str) -> Path:
    """Return where a feeder counts its latency from wire to matrix."""
    return Path(run_path) / "latency" / f"{venue_name}.hist"


def make_histogram() -> Counts:
    """Return an empty histogram: int64 (WORDS,)."""
    return np.zeros(WORDS, np.int64)


def map_histogram(path: Path) -> Counts:
    """Return an empty histogram that lives in a file, for others to read while it is filled.

    A file of that name is replaced, not cut short: whoever still fills it would die of that.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, WORDS * 8)
            memory = mmap.mmap(descriptor, WORDS * 8)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AlephError(f"{path} cannot be made: {error.strerror}") from None
    counts = np.frombuffer(memory, np.int64)  # writable, and keeps the mapping alive
    counts[FORMAT] = VERSION
    return counts


def read_histogram(path: Path) -> Counts:
    """Return a copy of a histogram's file; AlephError when it is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AlephError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) != WORDS * 8:
        raise AlephError(f"{path} is no histogram: {len(data)} bytes where {WORDS * 8} belong")
    counts = np.frombuffer(data, np.int64).copy()
    if counts[FORMAT] != VERSION:
        said = f"{path} is a histogram of format {counts[FORMAT]}; this version reads {VERSION}"
        raise AlephError(said)
    counts[FORMAT] = 0
    return counts


@kernel
def hist_bucket(ns: int) -> int:
    """Return the bucket of a duration; negative durations (a clock step) count as 0."""
    if ns < 32:
        return max(ns, 0)
    exponent = highest_bit(ns) - 5
    return (exponent + 1) * 32 + ((ns >> exponent) & 31)


@kernel
def hist_add(histogram: Counts, ns: int) -> None:
    """Count one duration. histogram: int64 (WORDS,), one writer. About 5 ns."""
    histogram[hist_bucket(ns)] += 1
    kept = max(ns, 0)
    if histogram[2044] == 0 or kept < histogram[2046]:
        histogram[2046] = kept
    histogram[2047] = max(histogram[2047], kept)
    histogram[2044] += 1
    histogram[2045] += kept


def bucket_floor(bucket: int) -> int:
    """Return the smallest duration of a bucket, in ns."""
    row, step = divmod(bucket, STEPS)
    return step if row == 0 else (STEPS + step) << (row - 1)


_COARSE = np.array(
    [0, *((bit - 4) * STEPS + (edge >> (bit - 5)) % STEPS
          for edge in EDGES for bit in [edge.bit_length() - 1])]
)  # fmt: skip


def quantile(histogram: Counts, q: float) -> int:
    """Return the q-quantile in ns: the top of its bucket, at most the maximum; 0 when empty."""
    return quantiles(histogram, (q,))[0]


def quantiles(histogram: Counts, qs: Sequence[float]) -> list[int]:
    """Return several quantiles of one look at a histogram that may be filled meanwhile."""
    reached = np.cumsum(histogram[:BUCKETS])
    total = int(reached[-1])
    if total == 0:
        return [0] * len(qs)
    ranks = [min(total, max(1, int(np.ceil(q * total)))) for q in qs]
    most = int(histogram[MOST])
    found = np.searchsorted(reached, ranks)
    return [min(bucket_floor(int(bucket) + 1) - 1, most) for bucket in found]


def coarse(histogram: Counts) -> list[int]:
    """Return how many durations lie below the first of EDGES, between each two, and beyond."""
    return list(np.add.reduceat(histogram[:BUCKETS], _COARSE).tolist())


def merge(into: Counts, other: Counts) -> None:
    """Add another histogram's counts."""
    if other[COUNT] == 0:
        return
    least = other[LEAST] if into[COUNT] == 0 else min(into[LEAST], other[LEAST])
    most = max(into[MOST], other[MOST])
    into += other
    into[LEAST], into[MOST] = least, most


def summary(histogram: Counts) -> dict[str, int]:
    """Return count, mean, least, p50, p90, p99, p999 and most; durations in ns."""
    count = int(histogram[COUNT])
    p50, p90, p99, p999 = quantiles(histogram, QUANTILES)
    return {
        "count": count,
        "mean": int(histogram[SUM]) // count if count else 0,
        "least": int(histogram[LEAST]),
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "p999": p999,
        "most": int(histogram[MOST]),
    }
