"""`alephtx ledger`: what a run's books say: balances, positions, statements, tax lots."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from alephtx.cli import say

if TYPE_CHECKING:
    from alephtx.serve.books import Books, Row

WHAT = ("balances", "positions", "statement", "lots")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Fold a run's journal, alive or ended, and print its books. Exit code 3 when the run or "
        "its journal cannot be read, 6 when the books contradict themselves."
    )
    parser.add_argument("what", choices=WHAT, metavar="WHAT", help=", ".join(WHAT))
    parser.add_argument("--run", help="a run's directory or name; default: the newest alive one")
    parser.add_argument("--runs", default="runs", help="where runs are kept; default: runs")
    parser.add_argument("--by", choices=("account", "venue", "strategy"), default="account",
                        help="whose statement; default: account")  # fmt: skip
    parser.add_argument("--method", choices=("fifo", "average"), default="fifo",
                        help="how lots are closed; default: fifo")  # fmt: skip
    parser.add_argument("--day", type=_day, metavar="YYYY-MM-DD", help="only this UTC day's rows")
    parser.add_argument("--mark", action="append", default=[], metavar="KEY=PRICE",
                        help="a price for open positions; may be repeated")  # fmt: skip
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="as one JSON list")
    shape.add_argument("--csv", metavar="FILE", help="write a file of comma-separated values")


def _day(text: str) -> str:
    from alephtx.ledger.statement import day_name, parse_day

    try:
        return day_name(parse_day(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no day like 2026-07-29") from error


def run(options: argparse.Namespace) -> int:
    """Print the rows, or write them to a file."""
    from alephtx.core.kernel import prefer_stored
    from alephtx.engine.outside import find_run
    from alephtx.serve.books import LOT_COLUMNS, Books, write_csv

    prefer_stored()
    found = find_run(options.run, options.runs)
    books = Books(found, options.method)
    rows = _rows(books, options)
    if options.csv is not None:
        path = Path(options.csv)
        write_csv(rows, rows[0] if rows else LOT_COLUMNS if options.what == "lots" else (), path)
        print(f"{len(rows)} rows written to {path}")
    else:
        say(rows, as_json=options.json, lines=table)
    return 0


def _rows(books: "Books", options: argparse.Namespace) -> "list[Row]":
    marks = books.marks(options.mark)
    if options.what == "balances":
        return books.balances()
    if options.what == "positions":
        return books.positions(marks)
    if options.what == "statement":
        return books.statement(options.by, options.day, marks)
    return books.disposals(options.day)


def table(rows: "list[Row]") -> list[str]:
    """Return rows as aligned columns, empty ones left out."""
    if not rows:
        return ["nothing"]
    columns = [name for name in rows[0] if any(row[name] not in ("", "0") for row in rows)]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in columns}
    lines = ["  ".join(name.ljust(widths[name]) for name in columns).rstrip()]
    for row in rows:
        cells = []
        for name in columns:
            text = row[name]
            number = text[:1].isdigit() or text[:1] == "-"
            fits = text.rjust(widths[name]) if number else text.ljust(widths[name])
            cells.append(fits)
        lines.append("  ".join(cells).rstrip())
    return lines
