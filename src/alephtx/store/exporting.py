"""`export`: a stream of the catalogue, or a replay file, as one file of another kind."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec

from alephtx.core.instruments import Instrument
from alephtx.store.catalogue import COLUMNS, INSTRUMENT_MARK, Catalogue
from alephtx.store.damage import DataError
from alephtx.store.frames import to_arrow
from alephtx.store.importers.own import rules_of
from alephtx.store.reading import Rows
from alephtx.store.ticks import is_ticks, open_ticks, write_ticks


class Exported(msgspec.Struct, frozen=True):
    """What was written."""

    path: str
    rows: int
    instrument: Instrument


def export(key: str, data: Path, to: Path, first: str = "", last: str = "") -> Exported:
    """Write an instrument's stream to a .ticks, .parquet or .csv file."""
    _check_days(first, last)
    instrument, chunks = _source(key, data, first, last)
    if to.suffix == ".ticks":
        return Exported(str(to), write_ticks(to, instrument, chunks).count, instrument)
    if to.suffix in (".parquet", ".csv"):
        return Exported(str(to), _write_table(to, instrument, chunks), instrument)
    raise DataError(f"{to}: no kind of file that is known", remedy="use .ticks, .parquet or .csv")


def _check_days(first: str, last: str) -> None:
    """Refuse what is no date; DataError names the option."""
    for name, day in (("--first", first), ("--last", last)):
        try:
            written = date.fromisoformat(day).isoformat() if day else ""
        except ValueError:
            written = None
        if written != day:
            raise DataError(f"{name} {day} is not a date", remedy="such as 2024-08-08")
    if first and last and last < first:
        raise DataError(f"--last {last} is before --first {first}", remedy="the earlier one first")


def _source(key: str, data: Path, first: str, last: str) -> tuple[Instrument, Iterator[Rows]]:
    if Path(key).is_file() and is_ticks(Path(key)):
        if first or last:
            raise DataError(
                f"{key} is a replay file, which is exported whole",
                remedy="leave --first and --last out, or export from a catalogue",
            )
        ticks = open_ticks(Path(key))
        ticks.verify()
        return ticks.instrument, ticks.events()
    catalogue = Catalogue(data)
    return catalogue.instrument(key), catalogue.scan(key, first, last)


def _write_table(to: Path, instrument: Instrument, chunks: Iterator[Rows]) -> int:
    """Write columns of ticks, lots and ns.

    The rules are in a Parquet file's metadata, and beside a CSV.
    """
    import pyarrow as pa
    from pyarrow import csv
    from pyarrow import parquet as pq

    draft = to.with_name(f".{to.name}.part")
    rules = {INSTRUMENT_MARK: msgspec.json.encode(instrument)}
    writer = None
    count = 0
    try:
        for rows in chunks:
            table = to_arrow(rows).select(list(COLUMNS)).replace_schema_metadata(rules)
            if writer is None:
                writer = (
                    pq.ParquetWriter(draft, table.schema, compression="zstd")
                    if to.suffix == ".parquet"
                    else csv.CSVWriter(draft, table.schema)
                )
            writer.write_table(table)
            count += len(rows)
        if writer is None:
            raise DataError("there is no row to export", remedy="alephtx data ls shows the days")
        writer.close()
        if to.suffix == ".csv":
            draft_rules = draft.with_name(f"{draft.name}.rules")
            draft_rules.write_bytes(msgspec.json.format(rules[INSTRUMENT_MARK]) + b"\n")
            draft_rules.replace(rules_of(to))
        draft.replace(to)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot write {to}: {error}", remedy="is its folder there?") from None
    finally:
        draft.unlink(missing_ok=True)
    return count
