"""Why no importer knows a file: it is empty, cut off, damaged, or of a format of its own."""

from pathlib import Path

import msgspec

from alephtx.store.columns import header_of, separator_of
from alephtx.store.damage import DataError
from alephtx.store.lines import head_of, packing, pieces_of
from alephtx.store.reading import Reading
from alephtx.store.tables import parquet_names

_PARQUET = b"PAR1"
_NAME = "name them: --column time=... --column price=..."
_COLUMNS_SHOWN = 20
LOOKED_AT = 256 << 20
"""Bytes that are unpacked to see whether a file is whole: a second."""


class Unknown(msgspec.Struct, frozen=True):
    """What is said of a file. broken: no format could have read it."""

    problem: str
    remedy: str
    broken: bool = False

    def error(self, path: Path) -> DataError:
        """Return it as an error that names the file."""
        return DataError(f"{path} {self.problem}", remedy=self.remedy)


def why_unknown(path: Path) -> Unknown:
    """Look at a file that no importer knows; DataError when it cannot be opened."""
    size = Reading(path).size
    if size == 0:
        return Unknown("is empty: 0 bytes", "fetch it again", broken=True)
    packed = packing(path)
    if packed:
        problem = _of_packed(path, packed, size)
        if problem:
            return Unknown(problem, "fetch it again", broken=True)
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(max(0, size - 4))
        end = file.read()
    if start == _PARQUET:
        return _of_parquet(path, size, end)
    if path.suffix == ".parquet":
        return Unknown("is named .parquet, and is none: it begins with other bytes",
                       "is it packed, or another file's answer?", broken=True)  # fmt: skip
    names = [] if b"\0" in head_of(path, 1 << 12) else header_of(path, separator_of(path))
    if len(names) > 1:
        return Unknown(f"is of no format that is known here; its columns: {_named(names)}", _NAME)
    return Unknown(
        "is of no format that is known here",
        "alephtx data import --help lists them; --format columns takes any table",
    )


def _of_packed(path: Path, packed: str, size: int) -> str:
    """Return what is wrong with a packed file, "" when it can be unpacked and holds something."""
    reading, count = Reading(path), 0
    for piece in pieces_of(path, reading):
        count += len(piece)
        if count > LOOKED_AT:
            return ""
    told = [damage.problem for damage in reading.damages.kept]
    if told:
        return f"({packed}, {size:,} bytes) is damaged: {told[0]}; {count:,} bytes came out"
    return "" if count else f"({packed}) holds nothing: 0 bytes came out"


def _of_parquet(path: Path, size: int, end: bytes) -> Unknown:
    if end != _PARQUET or size < 12:
        return Unknown(
            f"begins as Parquet and has no footer: it was cut off at byte {size:,}, or is still "
            "being written", "fetch it again: without its footer nothing of it can be read",
            broken=True,
        )  # fmt: skip
    problem = _footer_problem(path)
    if problem:
        return Unknown(f"is Parquet with a footer that cannot be read: {problem}",
                       "fetch it again", broken=True)  # fmt: skip
    return Unknown(
        "is Parquet of no format that is known here; its columns: " + _named(parquet_names(path)),
        _NAME,
    )


def _footer_problem(path: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.read_schema(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        return str(error)[:200]
    return ""


def _named(names: list[str]) -> str:
    shown = ", ".join(name[:40] for name in names[:_COLUMNS_SHOWN])
    more = len(names) - _COLUMNS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
