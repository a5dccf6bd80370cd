"""Read a signal's section of a config into exact integers; ConfigError names key, value, remedy."""

import difflib
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from alephtx.core.errors import ConfigError
from alephtx.core.instruments import Instruments

NO_STATE = np.dtype([("spare", "i8")])
"""STATE of a signal that remembers nothing."""

MS = 1_000_000
TAU_MS_MAX = 7 * 86_400_000


class Settings:
    """One section. Every key that is asked for is known; `close` refuses what was never asked for.

    `instrument` is a key of the table, or an index into it.
    """

    def __init__(self, section: dict[str, Any], signal: str, instruments: Instruments) -> None:
        self._section, self._signal, self._instruments = section, signal, instruments
        self._asked: set[str] = set()

    def fail(self, key: str, problem: str, remedy: str = "") -> ConfigError:
        """Return the error to raise about a key."""
        return ConfigError(f"signal {self._signal}: {key} {problem}", remedy=remedy)

    def _get(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        value = self._section.get(key, default)
        if value is None:
            raise self.fail(key, "is missing", "give it")
        return value

    def instrument(self, key: str = "instrument", default: Any = None) -> int:
        """Return the index of an instrument; a default that is an int is passed through."""
        value = self._get(key, default)
        if type(value) is int and (value == default or 0 <= value < len(self._instruments)):
            return value
        known = [instrument.key for instrument in self._instruments]
        if isinstance(value, str) and value in known:
            return known.index(value)
        raise self.fail(key, f"= {value!r} is no instrument", f"known: {', '.join(known)}")

    def count(self, key: str, default: int | None, least: int, most: int) -> int:
        """Return a whole number between two bounds."""
        value = self._get(key, default)
        if type(value) is not int or not least <= value <= most:
            raise self.fail(key, f"= {value!r} is no whole number", f"{least} to {most}")
        return value

    def milliseconds(self, key: str, default: int | None, least: int, most: int) -> int:
        """Return a time in ns from a whole number of milliseconds."""
        return self.count(key, default, least, most) * MS

    def fraction(self, key: str, default: str, least: str, most: str) -> float:
        """Return a number from a quoted decimal or an int; a float's last digits are nobody's."""
        value = self._get(key, default)
        try:
            number = Decimal(value) if type(value) in (str, int) else Decimal("NaN")
        except InvalidOperation:
            number = Decimal("NaN")
        if number.is_finite() and Decimal(least) <= number <= Decimal(most):
            return float(number)
        raise self.fail(key, f"= {value!r} is no quoted decimal", f"between {least} and {most}")

    def choice(self, key: str, default: str, names: tuple[str, ...]) -> int:
        """Return the place of a name among those that there are."""
        value = self._get(key, default)
        if value in names:
            return names.index(value)
        raise self.fail(key, f"= {value!r} is not known", f"one of {', '.join(names)}")

    def close(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self._section:
            if key not in self._asked:
                near = difflib.get_close_matches(str(key), self._asked, n=1)
                remedy = f"did you mean {near[0]}?" if near else f"known: {sorted(self._asked)}"
                raise self.fail(str(key), "is not a key of it", remedy)
