"""Read a run from outside: books from the matrix, status and processes from the run directory."""

from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.core.clock import Clock
from alephtx.core.instruments import Instruments
from alephtx.core.records import TOP_ROW
from alephtx.engine.rundir import RunDirectory
from alephtx.matrix import writers
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_read

STATES = (
    (words.RESYNCING, "resyncing"),
    (words.STALE, "stale"),
    (words.CROSSED, "crossed"),
    (words.NOT_TRADING, "not trading"),
    (words.EMPTY_SIDE, "one-sided"),
)


def state_of_flags(flags: int) -> str:
    """Name the worst thing about a book, `ok` when it may be traded."""
    for bit, name in STATES:
        if flags & bit:
            return name
    return "ok"


def books_of(matrix: Matrix, instruments: Instruments, clock: Clock) -> list[dict[str, Any]]:
    """Return one row of plain text per instrument, by index."""
    top, rows = np.zeros(1, TOP_ROW), []
    for i, instrument in enumerate(instruments):
        row: dict[str, Any] = {
            "key": instrument.key, "bid": "-", "ask": "-", "bid_qty": "-", "ask_qty": "-",
            "spread_bps": "-", "age_ms": "-", "state": "no data", "mid": None,
        }  # fmt: skip
        rows.append(row)
        if top_read(matrix.map, i, top) < 0 or top[0]["ts_recv"] == 0:
            continue
        bid, ask = int(top[0]["bid"]), int(top[0]["ask"])
        row["state"] = state_of_flags(int(top[0]["aux"]) & words.UNTRADEABLE_MASK)
        row["age_ms"] = str(max(0, (clock.now() - int(top[0]["ts_recv"])) // 1_000_000))
        row["bid"], row["ask"] = (
            str(instrument.price_decimal(bid)),
            str(instrument.price_decimal(ask)),
        )
        row["bid_qty"] = str(instrument.qty_decimal(int(top[0]["bid_qty"])))
        row["ask_qty"] = str(instrument.qty_decimal(int(top[0]["ask_qty"])))
        if bid > 0 and ask > 0:
            row["mid"] = (bid + ask) / 2 / 10**instrument.price_scale
            row["spread_bps"] = f"{(ask - bid) * 20_000 / (ask + bid):.2f}"
    return rows


def processes_of(run: RunDirectory) -> list[dict[str, Any]]:
    """Return the children's state as the supervisor last wrote it."""
    return list(run.read_json(run.path / "processes.json") or [])


def feeders_of(matrix: Matrix, instruments: Instruments) -> dict[str, dict[str, int]]:
    """Return each venue's feeder counters by name; venues whose feeder never came are left out."""
    found = {}
    for venue in instruments.venues:
        writer = writers.find_writer(matrix.map, f"feeder:{venue}")
        if writer >= 0:
            words = writers.counters(matrix.map, writer)
            found[venue] = {name: int(words[k]) for k, name in writers.COUNTER_NAMES.items()}
            found[venue]["starts"] = int(writers.writer_starts(matrix.map, writer))
    return found
