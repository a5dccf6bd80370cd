"""Questions to DuckDB about a catalogue: reading only, and nothing but the catalogue.

One SELECT a question; DuckDB may open no file outside of the catalogue's folder and load no
extension, and a question cannot change that.
"""

from pathlib import Path
from typing import Any

import msgspec

from alephtx.store.catalogue import Catalogue
from alephtx.store.damage import DataError


class Answer(msgspec.Struct, frozen=True):
    """Names of columns, and the rows."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def ask(root: Path, query: str) -> Answer:
    """Return what DuckDB answers; the table `events` is the whole catalogue.

    Its columns are those of the catalogue's files, and venue, instrument, date. DataError when it
    is no single SELECT, or DuckDB refuses.
    """
    import duckdb

    folder = root.resolve()
    nothing = [folder / "*" / "*" / "*" / "*.parquet"]
    files = Catalogue(folder).files() or nothing  # without those that a compacted one stands for
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
    connection = duckdb.connect()
    try:
        statements = connection.extract_statements(query)
        if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
            kinds = ", ".join(one.type.name for one in statements) or "nothing"
            raise DataError(
                f"--sql takes one SELECT; this is {kinds}", remedy="SELECT ... FROM events"
            )
        connection.execute("SET allowed_directories = [$1]", [f"{folder}/"])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        connection.execute(
            "CREATE VIEW events AS SELECT * FROM "  # noqa: S608 - the folder is the user's own
            f"read_parquet([{listed}], hive_partitioning = true)"
        )
        connection.execute(statements[0])
        names = [column[0] for column in connection.description or ()]
        return Answer(names, connection.fetchall())
    except duckdb.Error as error:
        raise DataError(
            f"DuckDB: {str(error).splitlines()[0]}", remedy="the table is `events`"
        ) from None
    finally:
        connection.close()
