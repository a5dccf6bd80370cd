"""Latency histograms: 64 powers of two x 16 steps of int64 counts, within 6.25 % of every value.

As HdrHistogram, but of a fixed 8 KiB, so that a kernel can fill one that lives in shared memory or
in a mapped file and any process can read it. A value below 16 ns has its own bucket; above, the
bucket is named by the top five bits. The last row, which no int64 reaches, holds the totals.
"""

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

from alephtx.core.errors import AlephError
from alephtx.core.kernel import kernel

STEPS = 16
BUCKETS = 61 * STEPS
WORDS = 64 * STEPS
COUNT, SUM, LEAST, MOST = WORDS - 4, WORDS - 3, WORDS - 2, WORDS - 1

Counts = np.ndarray[Any, Any]


def make_histogram() -> Counts:
    """Return an empty histogram: int64 (WORDS,)."""
    return np.zeros(WORDS, np.int64)


def map_histogram(path: Path) -> Counts:
    """Return an empty histogram that lives in a file, for others to read while it is filled."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, WORDS * 8)
            memory = mmap.mmap(descriptor, WORDS * 8)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AlephError(f"{path} cannot be made: {error.strerror}") from None
    return np.frombuffer(memory, np.int64)  # writable, and keeps the mapping alive


def read_histogram(path: Path) -> Counts:
    """Return a copy of a histogram's file; AlephError when it is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AlephError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) != WORDS * 8:
        raise AlephError(f"{path} is no histogram: {len(data)} bytes where {WORDS * 8} belong")
    return np.frombuffer(data, np.int64).copy()


@kernel
def hist_bucket(ns: int) -> int:
    """Return the bucket of a duration; negative durations (a clock step) count as 0."""
    if ns < 16:
        return max(ns, 0)
    exponent = 0
    rest = ns >> 4
    for shift in (32, 16, 8, 4, 2, 1):
        if rest >> shift:
            exponent += shift
            rest >>= shift
    return (exponent + 1) * 16 + ((ns >> exponent) & 15)


@kernel
def hist_add(histogram: Counts, ns: int) -> None:
    """Count one duration. histogram: int64 (WORDS,), one writer. About 5 ns."""
    histogram[hist_bucket(ns)] += 1
    kept = max(ns, 0)
    if histogram[1020] == 0 or kept < histogram[1022]:
        histogram[1022] = kept
    histogram[1023] = max(histogram[1023], kept)
    histogram[1020] += 1
    histogram[1021] += kept


def bucket_floor(bucket: int) -> int:
    """Return the smallest duration of a bucket, in ns."""
    row, step = divmod(bucket, STEPS)
    return step if row == 0 else (STEPS + step) << (row - 1)


def quantile(histogram: Counts, q: float) -> int:
    """Return the q-quantile in ns: the top of its bucket, at most the maximum; 0 when empty."""
    counts = np.array(histogram[:BUCKETS])  # a copy: the writer goes on
    total = int(counts.sum())
    if total == 0:
        return 0
    rank = min(total, max(1, int(np.ceil(q * total))))
    bucket = int(np.searchsorted(np.cumsum(counts), rank))
    return min(bucket_floor(bucket + 1) - 1, int(histogram[MOST]))


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
    return {
        "count": count,
        "mean": int(histogram[SUM]) // count if count else 0,
        "least": int(histogram[LEAST]),
        "p50": quantile(histogram, 0.5),
        "p90": quantile(histogram, 0.9),
        "p99": quantile(histogram, 0.99),
        "p999": quantile(histogram, 0.999),
        "most": int(histogram[MOST]),
    }
