"""What named columns make: trades, tops, levels of a book, bars, funding rates.

A row that cannot be true is told by line and column, and left out; the others go on.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from alephtx.store import rowmaking
from alephtx.store.columns import Batch, group_starts
from alephtx.store.damage import DataError
from alephtx.store.reading import Reading, Rows
from alephtx.store.scan_csv import FINE, LIMIT, MISSING, PROBLEMS

RATE_SCALE = 12
"""Decimals of a FUNDING row's rate."""
PRICED, SIZED = ("price", "bid", "ask", "open", "high", "low", "close"), (
    "qty", "bid_qty", "ask_qty", "volume",
)  # fmt: skip
TIMED = ("time", "recv", "next")
_BAR = ("open", "high", "low", "close")
_FAR = 10**RATE_SCALE
UNORDERED = (
    "not in order with the rows around it: not sorted by time, or of several markets (then name a "
    "column symbol)"
)


class Maker(Protocol):
    """Makes rows of one kind."""

    def rows(self, key: str, batch: Batch) -> Rows:
        """Return an instrument's rows of a batch."""
        ...


def _column(batch: Batch, name: str, otherwise: int) -> Rows:
    """Return a column, or a constant where there is none."""
    if name not in batch:
        return np.full(len(batch), otherwise, np.int64)
    values = batch[name]
    return np.where(values == MISSING, otherwise, values)


def _recv(batch: Batch) -> Rows | int:
    if "recv" in batch:
        return batch["recv"]
    return 0


class _Sieve:
    """Leaves rows out, each told once."""

    def __init__(self, reading: Reading, batch: Batch) -> None:
        self._reading, self.batch = reading, batch

    def without(self, bad: Rows, column: str, problem: str) -> None:
        """Go on without some rows."""
        if bad.any():
            for line in self.batch.lines[bad].tolist():
                self._reading.damaged(line, column, problem)
            self.batch = self.batch.take(~bad)


def sound(batch: Batch, reading: Reading) -> Batch:
    """Return the rows whose times can be."""
    sieve = _Sieve(reading, batch)
    for name in TIMED:
        if name in batch:
            stamps = sieve.batch[name]
            least = 0 if name == "recv" else 1  # 0: there was no clock of ours
            sieve.without((stamps < least) | (stamps >= LIMIT), name, "a time that cannot be")
    return sieve.batch


def tell_fine(reading: Reading) -> None:
    """Say what to do where rows were left out because they are finer than the scales."""
    if any(damage.problem == PROBLEMS[FINE] for damage in reading.damages.kept):
        reading.note("rows finer than the scales were left out; --round takes them, rounded")


class Trades:
    """A message a trade; without a column for it, its size is one lot, its side not known."""

    def __init__(self, reading: Reading) -> None:
        pass

    def rows(self, key: str, batch: Batch) -> Rows:
        """Return an instrument's rows of a batch."""
        qty, side = _column(batch, "qty", 1), _column(batch, "side", 0)
        return rowmaking.trades(batch["time"], _recv(batch), batch["price"], qty, side)


class Tops:
    """Two rows a message; a price that is empty says that nobody is there."""

    def __init__(self, reading: Reading) -> None:
        pass

    def rows(self, key: str, batch: Batch) -> Rows:
        """Return an instrument's rows of a batch."""
        sides = []
        for price, size in (("bid", "bid_qty"), ("ask", "ask_qty")):
            there = batch[price] != MISSING
            sides.append(np.where(there, batch[price], 0))
            sides.append(np.where(there, _column(batch, size, 1), 0))
        return rowmaking.tops(batch["time"], _recv(batch), *sides)


class Levels:
    """Rows of equal time are a message, a whole book where is_snapshot says so."""

    def __init__(self, reading: Reading) -> None:
        pass

    def rows(self, key: str, batch: Batch) -> Rows:
        """Return an instrument's rows of a batch."""
        keys = [name for name in ("time", "recv", "is_snapshot") if name in batch]
        starts = group_starts(batch, keys)
        rows = rowmaking.deltas(
            batch["time"], _recv(batch), batch["price"], _column(batch, "qty", 1),
            _column(batch, "side", 0), starts,
        )  # fmt: skip
        books = _column(batch, "is_snapshot", 0)[starts] == 1
        return rowmaking.with_clears(rows, books, starts, np.zeros(len(starts), np.bool_))


class _InOrder:
    """Knows the last time of each instrument."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self._last: dict[str, int] = {}

    def risen(self, key: str, sieve: _Sieve) -> None:
        """Leave out rows that are not later than all before them.

        One that is later than the next, while that one is later than the one before, is itself the
        odd one: else a single wrong stamp would cost all that follow.
        """
        times, last = sieve.batch["time"], self._last.get(key, 0)
        before, after = np.append(last, times[:-1]), np.append(times[1:], LIMIT)
        sieve.without((times > after) & (after > before), "time", UNORDERED)
        latest = np.maximum.accumulate(np.append(last, sieve.batch["time"]))
        self._last[key] = int(latest[-1])
        sieve.without(sieve.batch["time"] <= latest[:-1], "time", UNORDERED)


class Bars(_InOrder):
    """Four BAR rows a message at the bar's end; a volume that is empty is 0: not told."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading)
        options = reading.options
        if options.stamp not in ("start", "end") and not options.anonymous:
            raise DataError(
                f"{reading.path}: nobody said whether the time of a bar is its start or its end",
                remedy="--stamp end, or --stamp start --period 1m",
            )
        if options.stamp == "start" and options.period_ns < 1:
            raise DataError(
                f"{reading.path}: bars that are stamped with their start need their length",
                remedy="--period 1m, 1h or 1d",
            )
        self._longer = options.period_ns if options.stamp == "start" else 0

    def rows(self, key: str, batch: Batch) -> Rows:
        """Return an instrument's rows of a batch."""
        sieve = _Sieve(self.reading, batch)
        self.risen(key, sieve)
        for name in _BAR:
            sieve.without(sieve.batch[name] <= 0, name, "a price that is not positive")
        high, low = sieve.batch["high"], sieve.batch["low"]
        sieve.without(high < low, "high", "below low")
        for name in ("open", "close"):
            price = sieve.batch[name]
            outside = (price > sieve.batch["high"]) | (price < sieve.batch["low"])
            sieve.without(outside, name, "not between low and high")
        volume = _column(sieve.batch, "volume", 0)
        sieve.without(volume < 0, "volume", "a volume below 0")
        kept = sieve.batch
        return rowmaking.bars(
            kept["time"] + self._longer, _recv(kept), [kept[name] for name in _BAR],
            _column(kept, "volume", 0),
        )  # fmt: skip


class Fundings(_InOrder):
    """A message a rate. Without `next`, a rate was paid at its time.

    It is told one nanosecond before then: earlier would be to know it before the venue did, and
    what is told at the time itself is the next payment's.
    """

    def rows(self, key: str, batch: Batch) -> Rows:
        """Return an instrument's rows of a batch."""
        sieve = _Sieve(self.reading, batch)
        self.risen(key, sieve)
        sieve.without(
            abs(sieve.batch["rate"]) >= _FAR, "rate",
            "a rate of 100 % or more: rates are fractions, 0.0001 is one basis point",
        )  # fmt: skip
        if "next" in batch:
            early = sieve.batch["next"] <= sieve.batch["time"]
            sieve.without(early, "next", "paid before it is told")
            kept = sieve.batch
            return rowmaking.fundings(kept["time"], _recv(kept), kept["rate"], kept["next"])
        self.reading.note("no column is `next`: each rate is taken as paid at its own time")
        kept = sieve.batch
        return rowmaking.fundings(kept["time"] - 1, _recv(kept), kept["rate"], kept["time"])


MAKERS: dict[str, Callable[[Reading], Maker]] = {
    "trades": Trades, "tops": Tops, "levels": Levels, "bars": Bars, "funding": Fundings,
}  # fmt: skip
