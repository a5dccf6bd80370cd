"""Read a run directory, whatever is left of it: what is missing is named, nothing is fatal."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alephtx.analysis.samples import Samples, read_samples, take, thin
from alephtx.analysis.story import Story
from alephtx.core.errors import AlephError, JournalError
from alephtx.core.instruments import Instruments
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.swap_door import read_book
from alephtx.matrix.journal_read import list_segments, read, read_header
from alephtx.serve.report.equity import Equity
from alephtx.serve.report.numbers import moment

POINTS_MAX = 4_000
"""Samples that are plotted; of longer runs evenly chosen ones."""


class Material(msgspec.Struct):
    """What a report is made of. notes: what is missing or in doubt, in words."""

    identity: str
    instruments: Instruments
    summary: dict[str, Any]
    ended: bool
    config: str
    strategies: list[str]
    accounts: list[str]
    groups: dict[str, list[int]]
    samples: Samples
    story: Story
    equity: Equity
    notes: list[str]

    def strategy(self, index: int) -> str:
        """Name a strategy; -1 is nobody's, fills of orders that were not ours."""
        if index < 0:
            return "(foreign)"
        return self.strategies[index] if 0 <= index < len(self.strategies) else f"#{index}"

    def account(self, index: int) -> str:
        """Name an account."""
        return self.accounts[index] if 0 <= index < len(self.accounts) else f"#{index}"


def read_run(run: RunDirectory) -> Material:
    """Read everything a report needs. About 40 us a journal record."""
    notes: list[str] = []
    config, parsed = config_of(run.config, notes)
    instruments = instruments_of(run, notes)
    keys = [instrument.key for instrument in instruments]
    status = json_of(run.status, dict, notes, "the engine's last status")
    summary = status | json_of(run.summary, dict, notes, "the summary: the run did not end cleanly")
    notes += swaps_of(run)
    sampled = read_samples(
        json_of(run.path / "samples.json", list, notes, "market samples, so prices and marks"), keys
    )
    if sampled.skipped:
        notes.append(f"{sampled.skipped:,} samples were not usable")
    samples = take(sampled, thin(len(sampled.ts), POINTS_MAX))
    story, equity = _fold(run.journal, instruments, samples, notes)
    if len(samples.ts) == 0:
        samples = _unsampled(equity, len(keys))
    return Material(
        identity=run.id,
        instruments=instruments,
        summary=summary,
        ended=run.ended,
        config=config,
        strategies=names_of(parsed, "strategies") or _listed(summary.get("strategies")),
        accounts=names_of(parsed, "accounts") or _listed(summary.get("accounts")),
        groups=_groups(parsed, instruments),
        samples=samples,
        story=story,
        equity=equity,
        notes=notes,
    )


def swaps_of(run: RunDirectory) -> list[str]:
    """Return what became of swaps of strategies in a run, a line each."""
    try:
        history = read_book(run).history
    except AlephError as error:
        return [f"what was swapped cannot be told: {error}"]
    told = {"switch": "swapped to", "kept": "kept", "back": "went back to"}
    return [
        f"{moment(one.ts)} strategy {one.name} {told.get(one.stage, one.stage)} "
        f"{Path(one.file).name} ({one.digest}){': ' + one.why if one.why else ''}"
        for one in history
    ]


def json_of(path: Path, kind: type, notes: list[str], what: str) -> Any:
    """Return a JSON file's object, an empty one with a note where there is none to use."""
    try:
        data = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        notes.append(f"{path.name} is missing: {what}")
        return kind()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        notes.append(f"{path.name} cannot be read ({error}): {what}")
        return kind()
    if not isinstance(data, kind):
        notes.append(f"{path.name} does not hold a {kind.__name__}: {what}")
        return kind()
    return data


def config_of(path: Path, notes: list[str]) -> tuple[str, dict[str, Any]]:
    """Return a config as text and parsed, nothing of it with a note where it cannot be used."""
    try:
        words = path.read_text(errors="replace")
        return words, tomllib.loads(words)
    except OSError as error:
        notes.append(f"{path.name} cannot be read ({error.strerror}): names are numbers below")
    except tomllib.TOMLDecodeError as error:
        notes.append(f"{path.name} does not parse ({error}): names are numbers below")
        return words, {}
    return "", {}


def instruments_of(run: RunDirectory, notes: list[str]) -> Instruments:
    """Return the run's table, or the one in the journal's header."""
    try:
        return run.load_instruments()
    except (OSError, msgspec.DecodeError, AlephError) as error:
        notes.append(f"{run.instruments.name} cannot be used ({error}): the journal's is")
    try:
        segments = list_segments(run.journal)
        if segments:
            return Instruments.from_json(read_header(segments[-1]).header.instruments)
    except (OSError, msgspec.DecodeError, AlephError) as error:
        notes.append(f"the journal has no instruments ({error}): nothing can be named or valued")
    return Instruments()


def _fold(
    directory: Path, instruments: Instruments, samples: Samples, notes: list[str]
) -> tuple[Story, Equity]:
    """Fold the journal into orders and books."""
    story, equity = Story(len(instruments)), Equity(instruments, samples)
    try:
        for record in read(directory):
            story.apply(record.kind, record.payload, record.ts)
            equity.apply(record)
    except JournalError as error:
        notes.append(f"the journal ends early: {error}")
    equity.advance()
    if story.first_ts == 0:
        notes.append("the journal has no records: nothing was decided in this run")
    if equity.failure:
        notes.append(f"the books end early: {equity.failure}")
    if story.strange:
        notes.append(f"{story.strange:,} journal rows make no sense and were passed over")
    return story, equity


def _unsampled(equity: Equity, instruments: int) -> Samples:
    """Return times of fills as samples without prices, and keep as many points."""
    places = thin(len(equity.points), POINTS_MAX)
    equity.points = [equity.points[k] for k in places]
    none = np.full((len(places), instruments), np.nan)
    return Samples(np.array([p.ts for p in equity.points], np.int64), none, none, none, 0)


def names_of(parsed: dict[str, Any], table: str) -> list[str]:
    """Return a table's keys: their order is the index."""
    found = parsed.get(table)
    return list(found) if isinstance(found, dict) else []


def _listed(rows: Any) -> list[str]:
    if not isinstance(rows, list):
        return []
    return [str(row.get("name", "")) if isinstance(row, dict) else "" for row in rows]


def _groups(parsed: dict[str, Any], instruments: Instruments) -> dict[str, list[int]]:
    """Return what to pair: the instruments of each strategy that has several of one underlying.

    Instruments that no strategy pairs are not comparable for sure (another day's recording,
    another quote), so without such a strategy there are no groups.
    """
    keys = {instrument.key: i for i, instrument in enumerate(instruments)}
    found: dict[str, list[int]] = {}
    tables = parsed.get("strategies")
    for name, section in tables.items() if isinstance(tables, dict) else ():
        listed = section.get("instruments") if isinstance(section, dict) else None
        known = [keys[k] for k in _texts(listed) if k in keys]
        underlyings = {instruments[i].underlying or instruments[i].base for i in known}
        if (
            len(set(known)) > 1
            and len(underlyings) == 1
            and sorted(set(known)) not in found.values()
        ):
            found[name] = sorted(set(known))
    return found


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
