"""Read a strategy's section of the config into exact integers, with errors that name the key.

Units are in the keys: `_bps` is kept as 10^-8 of the price (1 bps = 10,000), `_ms` as ns, `_base`
as 10^-8 of the base coin. Numbers are decimal strings, Decimals or ints; floats are refused,
because what was written is no longer known.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any

import numpy as np

from alephtx.core.errors import ConfigError
from alephtx.core.instruments import Instruments
from alephtx.core.units import MAX_VALUE

INSTRUMENTS_MAX = 8
LEG_LISTS = ("instruments", "accounts")
_kept: ContextVar[dict[str, int] | None] = ContextVar("kept", default=None)


class Section:
    """A section being read; every key must be asked for before the block ends."""

    def __init__(self, values: Mapping[str, Any], strategy: str) -> None:
        self._values = dict(values)
        self._strategy = strategy
        self._known: set[str] = {"use", *LEG_LISTS}

    def fail(self, key: str, why: str, remedy: str = "") -> ConfigError:
        """Make the error for one key."""
        value = self._values.get(key)
        return ConfigError(f"strategy {self._strategy}: {key} = {value!r} {why}", remedy=remedy)

    def number(self, key: str, default: str, low: str, high: str) -> Decimal:
        """Return a decimal number within bounds."""
        self._known.add(key)
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise self.fail(key, "is not a decimal number", f'write it in quotes: {key} = "1.5"')
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise self.fail(key, "is not a decimal number") from None
        if not number.is_finite() or not Decimal(low) <= number <= Decimal(high):
            raise self.fail(key, f"is outside {low} .. {high}")
        return number

    def scaled(self, key: str, default: str, low: str, high: str, exponent: int) -> int:
        """Return a number as an integer of 10^-exponent, exactly."""
        kept = _kept.get()
        if kept is not None:
            kept[key] = exponent
        scaled = self.number(key, default, low, high).scaleb(exponent)
        if scaled != scaled.to_integral_value():
            most = f"give at most {exponent} decimals" if exponent else "give a whole number"
            raise self.fail(key, "has more decimals than can be kept", most)
        if abs(scaled) >= MAX_VALUE:
            raise self.fail(key, "does not fit 62 bits")
        return int(scaled)

    def bps(self, key: str, default: str, low: str = "-10000", high: str = "10000") -> int:
        """Return basis points as 10^-8."""
        return self.scaled(key, default, low, high, 4)

    def base(self, key: str, default: str | None = None) -> int:
        """Return an amount of base coin as 10^-8; positive."""
        if default is None and key not in self._values:
            raise ConfigError(
                f"strategy {self._strategy}: {key} is missing",
                remedy=f'say how much base coin, e.g. {key} = "0.01"',
            )
        return self.scaled(key, default or "1", "0.00000001", "1000000000", 8)

    def milliseconds(self, key: str, default: int, low: int, high: int) -> int:
        """Return milliseconds as ns."""
        return self.scaled(key, str(default), str(low), str(high), 6)

    def count(self, key: str, default: int, low: int, high: int) -> int:
        """Return a whole number within bounds."""
        return self.scaled(key, str(default), str(low), str(high), 0)

    def flag(self, key: str, *, default: bool) -> int:
        """Return a yes or no as 1 or 0."""
        self._known.add(key)
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, "is not true or false")
        return int(value)

    def choice(self, key: str, words: tuple[str, ...]) -> int:
        """Return the place of a word among those allowed; the first is the default."""
        self._known.add(key)
        value = self._values.get(key, words[0])
        if value not in words:
            raise self.fail(key, "is not known", f"one of {', '.join(words)}")
        return words.index(value)

    def instruments(self, table: Instruments, low: int, high: int) -> list[int]:
        """Return the indices of the listed instruments, each listed once."""
        keys = self._values.get("instruments")
        if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
            raise self.fail("instruments", "is not a list of instrument keys")
        if not low <= len(keys) <= high:
            raise self.fail("instruments", f"must list {low} to {high} of them")
        if len(set(keys)) != len(keys):
            raise self.fail("instruments", "lists one twice")
        return [table.index(key) for key in keys]

    def parity(self, table: Instruments, indices: list[int]) -> None:
        """Refuse instruments of different quote currencies, unless `assume_parity` is true."""
        quotes = sorted({table[i].quote for i in indices})
        if not self.flag("assume_parity", default=False) and len(quotes) != 1:
            raise self.fail(
                "instruments",
                f"are quoted in {' and '.join(quotes)}",
                "set assume_parity = true to take them for one, at the risk of a de-peg",
            )

    def finish(self) -> None:
        """Refuse keys nobody asked for."""
        for key in self._values:
            if key not in self._known:
                near = get_close_matches(str(key), sorted(self._known), 1)
                remedy = f"did you mean {near[0]}?" if near else f"known: {sorted(self._known)}"
                raise ConfigError(f"strategy {self._strategy}: unknown key {key!r}", remedy=remedy)


@contextmanager
def noting() -> Iterator[dict[str, int]]:
    """Yield what is filled, as sections are read, with the decimals that each key can keep.

    Keys that are read as they are, not scaled, do not appear. For whoever makes numbers up.
    """
    kept: dict[str, int] = {}
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)


@contextmanager
def reading(values: Mapping[str, Any], strategy: str) -> Iterator[Section]:
    """Read a section; at the end, keys that nobody asked for are refused."""
    section = Section(values, strategy)
    yield section
    section.finish()


def put_instruments(row: np.ndarray[Any, Any], indices: list[int]) -> None:
    """Fill the fields `instruments` and `instrument_count` of a params row."""
    row[0]["instruments"][: len(indices)] = indices
    row[0]["instrument_count"] = len(indices)


def put_price_scale(row: np.ndarray[Any, Any], table: Instruments, indices: list[int]) -> None:
    """Fill the field `price_mul` of a params row: what brings the prices to one scale."""
    scale = max(table[i].price_scale for i in indices)
    for k, i in enumerate(indices):
        row[0]["price_mul"][k] = 10 ** (scale - table[i].price_scale)


def one_coin(table: Instruments, indices: list[int]) -> bool:
    """Tell whether instruments are all of one underlying."""
    return len({table[i].underlying or table[i].base for i in indices}) == 1
