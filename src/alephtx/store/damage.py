"""What is wrong with data, named by file, row and column, and what came of the reading."""

import msgspec

from alephtx.core.errors import ConfigError

DAMAGES_MAX = 100
"""How many damages of a reading are kept by name; the rest is counted."""


class DataError(ConfigError):
    """Data that cannot be read or believed; no bug, and the user can mend it."""


class Damage(msgspec.Struct, frozen=True):
    """One place of a file that was passed over. row counts from 1; 0 = the whole file."""

    file: str
    row: int
    column: str
    problem: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.row}" if self.row else self.file
        return f"{where}: {self.column}: {self.problem}" if self.column else (
            f"{where}: {self.problem}"
        )  # fmt: skip


class Damages:
    """The damages of one reading: the first DAMAGES_MAX by name, all of them by number."""

    def __init__(self) -> None:
        self.kept: list[Damage] = []
        self.notes: list[str] = []
        self.count = 0

    def add(self, file: str, row: int, column: str, problem: str) -> None:
        """Take one more."""
        self.count += 1
        if len(self.kept) < DAMAGES_MAX:
            self.kept.append(Damage(file, row, column, problem))

    def note(self, text: str) -> None:
        """Keep a remark that is no damage, once."""
        if text not in self.notes:
            self.notes.append(text)
