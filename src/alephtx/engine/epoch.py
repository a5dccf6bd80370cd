"""The number of an engine's start: part of every order id, so no two starts may share one.

It is counted per engine beside its runs, not in one run's journal: a fresh run must not reuse the
ids of the run before it, whose orders the venue still remembers.
"""

import fcntl
import os
from pathlib import Path

from alephtx.core.errors import ConfigError

DIGITS_MAX = 8


def next_epoch(runs: Path, engine: int, at_least: int) -> int:
    """Count one more start of an engine and return its number, on disk before it is used.

    at_least: what the run's own journal asks for. ConfigError when the count cannot be kept.
    """
    path = runs / f"engine-{engine}.epoch"
    try:
        folder = os.open(runs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # held for the few reads and writes below
            epoch = max(_read(path) + 1, at_least)
            aside = path.with_suffix(".tmp")
            with aside.open("w") as file:
                file.write(f"{epoch}\n")
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(
            f"the count of starts cannot be kept in {path}: {error.strerror}",
            remedy="make node.runs writable",
        ) from error
    return epoch


def _read(path: Path) -> int:
    try:
        with path.open("rb") as file:
            text = file.read(64).strip()
    except FileNotFoundError:
        return 0
    if not text.isdigit() or len(text) > DIGITS_MAX:
        raise ConfigError(
            f"{path} does not hold a count of starts: {text[:20]!r}",
            remedy="write the highest epoch of this engine's runs there (alephtx status shows it)",
        )
    return int(text)
