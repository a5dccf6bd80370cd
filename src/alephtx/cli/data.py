"""`alephtx data`: what market data there is, whether it is sound, and its ways in and out."""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alephtx.cli import CONFIG, OK, data_list, say
from alephtx.core.errors import ConfigError

if TYPE_CHECKING:
    from alephtx.core.instruments import Instrument
    from alephtx.store.checking import Checked
    from alephtx.store.compacting import Compacted
    from alephtx.store.importing import Imported, Sink
    from alephtx.store.reading import Importer, Options

Advance = Callable[[int, int], None]
FORMATS = ("alephtx", "raw", "databento", "lean", "tardis", "binance_dump", "bybit_dump",
           "bitstamp", "lobster", "lob_parquet", "polymarket", "itch", "columns")  # fmt: skip
"""Names of the importers, which are imported only when they are used."""
PERIOD = re.compile(r"([1-9]\d{0,5})(s|m|h|d)")
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Import market data into a catalogue or a replay file, list it, check it, take it out. "
        "Exit code 3 where something cannot be read, and with --strict where anything is wrong."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    ls = actions.add_parser("ls", help="list the catalogue")
    data_list.arguments(ls)
    check = actions.add_parser("check", help="say what a file or folder is worth")
    check.add_argument("path", type=Path, help="a replay file, a catalogue, any file to import")
    bring = actions.add_parser("import", help="read foreign files into the catalogue")
    bring.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files or folders")
    bring.add_argument("--ticks", type=Path, metavar="FOLDER",
                       help="write replay files there instead, one an instrument")  # fmt: skip
    for action in (check, bring):
        _add_reading(action)
        action.add_argument("--strict", action="store_true",
                            help="exit code 3 where anything is wrong")  # fmt: skip
    export = actions.add_parser("export", help="write an instrument's stream to one file")
    export.add_argument("key", help="such as binance_usdm:BTC-USDT-PERP; or a replay file")
    export.add_argument("--to", type=Path, required=True, metavar="FILE",
                        help=".ticks, .parquet or .csv")  # fmt: skip
    export.add_argument("--first", default="", metavar="YYYY-MM-DD", help="from this day on")
    export.add_argument("--last", default="", metavar="YYYY-MM-DD", help="up to this day")
    compact = actions.add_parser("compact", help="make one file of an instrument's many of a day")
    compact.add_argument("keys", nargs="*", metavar="KEY", help="default: all instruments")
    for action in (ls, bring, export, compact):
        action.add_argument("--data", type=Path, default=Path("data"), metavar="FOLDER",
                            help="the catalogue; default: data")  # fmt: skip
    for action in (ls, check, bring, export, compact):
        action.add_argument("--json", action="store_true", help="as one JSON value")


def _add_reading(action: argparse.ArgumentParser) -> None:
    action.add_argument("--format", default="", metavar="NAME",
                        help=f"instead of finding out: {', '.join(FORMATS)}")  # fmt: skip
    action.add_argument("--venue", default="", help="where the file does not say")
    action.add_argument("--symbol", default="", help="where the file does not say")
    action.add_argument("--only", action="append", default=[], metavar="SYMBOL",
                        help="of a file with many; may be repeated")  # fmt: skip
    action.add_argument("--date", default="", metavar="YYYY-MM-DD",
                        help="for files that count from midnight")  # fmt: skip
    action.add_argument("--price-scale", type=int, default=-1, metavar="N",
                        help="decimals of a price; default: as the file shows")  # fmt: skip
    action.add_argument("--qty-scale", type=int, default=-1, metavar="N",
                        help="decimals of a quantity; default: as the file shows")  # fmt: skip
    action.add_argument("--instrument", type=Path, metavar="FILE",
                        help="its rules as JSON, as `export --json` prints them")  # fmt: skip
    action.add_argument("--column", action="append", default=[], metavar="OURS=THEIRS",
                        help="format columns: which is which; may be repeated. Ours: time, recv, "
                        "symbol; price, qty, side, level, is_snapshot; bid, ask, bid_qty, ask_qty; "
                        "open, high, low, close, volume; rate, next")  # fmt: skip
    action.add_argument("--time-unit", default="", choices=("", "s", "ms", "us", "ns"),
                        help="format columns: the unit of times")  # fmt: skip
    action.add_argument("--stamp", default="", choices=("", "start", "end"),
                        help="format columns: what the time of a bar is")  # fmt: skip
    action.add_argument("--period", default="", metavar="1m",
                        help="format columns: how long a bar is: 30s, 1m, 8h, 1d")  # fmt: skip
    action.add_argument("--round", action="store_true", dest="round_off",
                        help="format columns: round what is finer than the scales")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Do one action."""
    if sys.stderr.isatty():
        from alephtx.core import kernel

        kernel.listeners.append(_tell_compiling)
    actions = {"ls": data_list.run, "check": _check, "import": _import, "export": _export,
               "compact": _compact}  # fmt: skip
    return actions[options.action](options)


def _tell_compiling(name: str) -> None:
    """Say that a first run compiles, which takes a while."""
    from alephtx.core.kernel import compiled

    told = f"compiling kernels, once per version: {len(compiled)}  {name}"
    sys.stderr.write(f"\r\x1b[K{told[:78]}\r")
    sys.stderr.flush()


# -- check -----------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    from alephtx.engine.ingest import importers
    from alephtx.store.checking import Check

    with _progress("checking") as started:
        advance = started(options.path.name)
        check = Check(importers(), _options(options, anonymous=True), _format(options), advance)
        found = check.run(options.path)
    say(found, as_json=options.json, lines=_checked)
    return CONFIG if options.strict and not found.sound else OK


def _checked(found: "Checked") -> list[str]:
    told = [
        f"path       {found.path}",
        f"rows       {found.rows:,} in {found.messages:,} messages of {len(found.streams)} "
        f"instruments, {found.span_ns / 1e9:,.3f} s",
        f"gaps       {found.gaps:,}",
        f"crossed    {found.crossed:,} messages, locked {found.locked:,}",
        f"back       {found.back:,} stamps earlier than the one before",
        f"silent     {found.silent:,} stretches of a second or more",
        f"damaged    {found.damaged:,}",
    ]
    if found.sideless:
        told.append(
            f"sideless   {found.sideless:,} trades do not say who took: where no book and no best "
            "prices stand beside them, a backtest has no market to trade on"
        )
    for stream in found.streams[:20]:
        clocks = stream.report.clocks
        offsets = (
            f"offset {clocks.offset_min_ns / 1e6:,.3f} / {clocks.offset_median_ns / 1e6:,.3f} / "
            f"{clocks.offset_max_ns / 1e6:,.3f} ms" if clocks.dated else "no venue clock"
        )  # fmt: skip
        told.append(f"stream     {stream.instrument}: {stream.report.rows:,} rows, {offsets}")
    return told + _remarks(found)


def _remarks(found: Any) -> list[str]:
    told = [f"damage     {damage}" for damage in found.damages[:10]]
    if found.damaged > len(told):
        told.append(f"damage     and {found.damaged - len(told):,} more")
    return told + [f"note       {note}" for note in found.notes]


# -- import ----------------------------------------------------------------------------------


def _import(options: argparse.Namespace) -> int:
    from alephtx.engine.ingest import importers
    from alephtx.store.importing import choose, import_file

    given, known = _options(options), importers()
    done: list[Imported] = []
    failed: list[str] = []
    with _progress("importing") as started:
        for path in _files(options.paths):
            try:
                importer = choose(path, known, _format(options))
                sinks = _sinks(options, path, _portion(importer, path, given))
                done.append(import_file(path, importer, given, sinks, started(path.name)))
            except ConfigError as error:
                if len(options.paths) == 1 and options.paths[0] == path:
                    raise
                failed.append(str(error))
    say(done, as_json=options.json, lines=_brought)
    for line in failed:
        sys.stderr.write(f"alephtx: {line}\n")
    damaged = sum(one.damaged for one in done)
    return CONFIG if failed or (options.strict and damaged) else OK


def _files(paths: list[Path]) -> list[Path]:
    from alephtx.store.importing import files_in

    found: list[Path] = []
    for path in paths:
        found += files_in(path) if path.is_dir() else [path]
    if not found:
        raise ConfigError(f"no file in {', '.join(map(str, paths))}", remedy="name files")
    return found


def _portion(importer: "Importer", path: Path, given: "Options") -> str:
    from alephtx.store.importers.columns_map import ColumnsMap

    return importer.portion(path, given) if isinstance(importer, ColumnsMap) else ""


def _sinks(options: argparse.Namespace, path: Path, portion: str) -> "Callable[[Instrument], Sink]":
    if options.ticks is not None:
        from alephtx.store.ticks import TickSink

        folder = options.ticks
        folder.mkdir(parents=True, exist_ok=True)
        stem = path.name.partition(".")[0]
        return lambda instrument: TickSink(
            folder / f"{instrument.key.replace(':', '-').replace('/', '_')}-{stem}.ticks",
            instrument,
        )
    from alephtx.store.catalogue import Catalogue
    from alephtx.store.importing import into_catalogue

    return into_catalogue(Catalogue(options.data), path, portion)


def _brought(done: "list[Imported]") -> list[str]:
    told = []
    for one in done:
        told.append(f"imported   {one.file} as {one.format}: {one.rows:,} rows")
        for stream in one.streams[:20]:
            report = stream.report
            told.append(
                f"stream     {stream.instrument}: {report.messages:,} messages, "
                f"{report.span_ns / 1e9:,.1f} s, gaps {report.gaps}, crossed {report.crossed}"
            )
        if len(one.streams) > 20:
            told.append(f"stream     and {len(one.streams) - 20:,} more")
        told += _remarks(one)
    return told


def _options(given: argparse.Namespace, *, anonymous: bool = False) -> "Options":
    from alephtx.store.reading import Options

    instrument = None
    if given.instrument is not None:
        import msgspec

        try:
            instrument = _rules(given.instrument.read_bytes())
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(
                f"{given.instrument}: no instrument: {error}", remedy="export --json prints one"
            ) from None
    pairs = [text.partition("=") for text in given.column]
    for ours, sign, theirs in pairs:
        if not (ours and sign and theirs):
            raise ConfigError(f"--column {ours}{sign}{theirs} is not OURS=THEIRS",
                              remedy="e.g. price=px")  # fmt: skip
    return Options(
        instrument=instrument, venue=given.venue, symbol=given.symbol, date=given.date,
        price_scale=given.price_scale, qty_scale=given.qty_scale, only=tuple(given.only),
        columns={ours: theirs for ours, _, theirs in pairs}, time_unit=given.time_unit,
        stamp=given.stamp, period_ns=_period_ns(given.period), round_off=given.round_off,
        anonymous=anonymous,
    )  # fmt: skip


def _period_ns(text: str) -> int:
    """Return how long a bar is, 0 when nobody said."""
    found = PERIOD.fullmatch(text)
    if text and found is None:
        raise ConfigError(f"--period {text} is no length of a bar", remedy="such as 1m, 8h or 1d")
    return int(found[1]) * SECONDS[found[2]] * 1_000_000_000 if found else 0


def _format(given: argparse.Namespace) -> str:
    """Return the format that was named; named columns are columns."""
    return str(given.format or ("columns" if given.column else ""))


def _rules(text: bytes) -> "Instrument":
    """Return an instrument's rules, alone or as part of all that `export --json` prints."""
    import msgspec

    from alephtx.core.instruments import Instrument

    whole = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return msgspec.json.decode(whole.get("instrument", text), type=Instrument)


# -- export ----------------------------------------------------------------------------------


def _export(options: argparse.Namespace) -> int:
    from alephtx.store.exporting import export

    wrote = export(options.key, options.data, options.to, options.first, options.last)
    say(wrote, as_json=options.json, lines=lambda w: [f"wrote      {w.path}: {w.rows:,} rows"])
    return OK


# -- compact ---------------------------------------------------------------------------------


def _compact(options: argparse.Namespace) -> int:
    from alephtx.store.catalogue import Catalogue
    from alephtx.store.compacting import compact

    catalogue = Catalogue(options.data)
    keys = options.keys or catalogue.listed()
    with _progress("compacting") as started:
        done = [one for key in keys for one in compact(catalogue, key, started(key))]
    say(done, as_json=options.json, lines=_compacted)
    return OK


def _compacted(done: "list[Compacted]") -> list[str]:
    return [
        f"compacted  {one.path}: {one.rows:,} rows of {one.files} files, "
        f"{one.bytes_before / 1e6:.1f} to {one.bytes_after / 1e6:.1f} MB"
        for one in done
    ] or ["nothing to compact"]


# -- progress --------------------------------------------------------------------------------


@contextmanager
def _progress(verb: str) -> Iterator[Callable[[str], Advance]]:
    """Show a bar with rate and time left for each file, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda name: lambda done, whole: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(), console=Console(stderr=True), transient=True,
    )  # fmt: skip
    with bar:

        def started(name: str) -> Advance:
            task = bar.add_task(f"{verb} {name}", total=None)
            return lambda done, whole: bar.update(task, completed=done, total=max(1, whole))

        yield started
