"""`alephtx data ls`: what is in a catalogue, and what DuckDB says of it."""

import argparse
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alephtx.cli import OK, say
from alephtx.core.errors import ConfigError

if TYPE_CHECKING:
    from alephtx.store.asking import Answer
    from alephtx.store.catalogue import Entry

SHOWN = 8


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the action takes."""
    parser.add_argument(
        "patterns", nargs="*", metavar="PATTERN",
        help="only instruments that match one: 'polymarket:*', '*:BTC-*'",
    )  # fmt: skip
    parser.add_argument("--sql", metavar="QUERY",
                        help="ask DuckDB instead: one SELECT; the table is events")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """List the catalogue, or answer a question about it."""
    folder: Path = options.data
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "is not there"
        raise ConfigError(
            f"{folder} {what}",
            remedy="--data names the catalogue's folder; alephtx data import makes one",
        )
    if options.sql is not None:
        if options.patterns:
            raise ConfigError(
                f"{options.patterns[0]} and --sql: a question takes no patterns",
                remedy="say WHERE instrument LIKE ... in it",
            )
        return _asked(options)
    from alephtx.store.catalogue import Catalogue

    found = _matching(Catalogue(folder).entries(), options.patterns)
    say(found, as_json=options.json, lines=_listed)
    return OK


def _matching(entries: "list[Entry]", patterns: Sequence[str]) -> "list[Entry]":
    """Return the entries that match a pattern, all without one; a pattern that has none is told."""
    if not patterns:
        return entries
    keys = [f"{e.venue}:{e.instrument}" for e in entries]
    for pattern in patterns:
        if not any(fnmatchcase(key, pattern) for key in keys):
            known = sorted(set(keys))
            more = f" and {len(known) - SHOWN:,} more" if len(known) > SHOWN else ""
            raise ConfigError(
                f"no instrument matches {pattern!r}",
                remedy=f"there is: {', '.join(known[:SHOWN]) or 'none'}{more}",
            )
    return [
        entry for entry, key in zip(entries, keys, strict=True)
        if any(fnmatchcase(key, pattern) for pattern in patterns)
    ]  # fmt: skip


def _asked(options: argparse.Namespace) -> int:
    from alephtx.store.asking import ask

    answer = ask(options.data, options.sql)
    told = _as_objects(answer) if options.json else None
    cells = [[str(cell) for cell in row] for row in answer.rows]
    say(told, as_json=options.json, lines=lambda _: _columns([answer.columns, *cells]))
    return OK


def _as_objects(answer: "Answer") -> list[dict[str, Any]]:
    names = answer.columns
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"two columns are named {twice[0]!r}", remedy="name them apart: ... AS b")
    return [dict(zip(names, map(_word, row), strict=True)) for row in answer.rows]


def _word(cell: Any) -> Any:
    """Return a cell as JSON can say it; a whole number beyond 64 bits is text."""
    return str(cell) if isinstance(cell, int) and abs(cell) >= 1 << 63 else cell


def _listed(entries: "list[Entry]") -> list[str]:
    head = ["instrument", "date", "rows", "messages", "files", "MB", "seconds"]
    rows = [
        [f"{e.venue}:{e.instrument}", e.date, f"{e.rows:,}", f"{e.messages:,}", str(e.files),
         f"{e.bytes / 1e6:.1f}", f"{(e.last_ns - e.first_ns) / 1e9:,.1f}"]
        for e in entries
    ]  # fmt: skip
    return _columns([head, *rows]) if rows else ["nothing"]


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if cell[:1].isdigit() or cell[:1] == "-" else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
