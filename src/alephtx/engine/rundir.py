"""One run owns one directory: config copy, instruments, journal, input log, recordings, logs, report.

    runs/<id>/config.toml instruments.json journal/ inputs/ recordings/ logs/ status.json summary.json

A run whose directory has no summary.json did not end cleanly; the next start of the same node with
the same accounts takes it up again (crash-only: start-up is recovery).
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from alephtx.core.clock import MachineClock
from alephtx.core.errors import ConfigError
from alephtx.core.instruments import Instruments


class RunDirectory:
    """The paths of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.instruments = path / "instruments.json"
        self.journal = path / "journal"
        self.inputs = path / "inputs"
        self.recordings = path / "recordings"
        self.logs = path / "logs"
        self.status = path / "status.json"
        self.summary = path / "summary.json"
        self.report = path / "report.html"

    @property
    def id(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def ended(self) -> bool:
        """True when the run was closed and summed up."""
        return self.summary.exists()

    @classmethod
    def create(cls, base: Path, node: str, config_text: str) -> "RunDirectory":
        """Make a fresh run directory below base and point `latest` at it."""
        stamp = datetime.fromtimestamp(MachineClock().now() / 1e9, UTC).strftime("%Y%m%d-%H%M%S")
        run = cls(base / f"{stamp}-{node}-{secrets.token_hex(2)}")
        try:
            for folder in (run.path, run.journal, run.inputs, run.recordings, run.logs):
                folder.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"cannot make the run directory {run.path}: {error.strerror}",
                remedy="set node.runs to a writable directory",
            ) from error
        run.config.write_text(config_text)
        link = base / "latest"
        with contextlib.suppress(FileNotFoundError):
            link.unlink()
        with contextlib.suppress(FileExistsError):  # another run started in the same moment
            link.symlink_to(run.path.name)
        return run

    @classmethod
    def unfinished(cls, base: Path, node: str, config_text: str) -> "RunDirectory | None":
        """Return the newest run of this node that did not end, if its config is the same."""
        for path in sorted(base.glob(f"*-{node}-????"), reverse=True):
            run = cls(path)
            if run.ended:
                return None
            if run.config.exists() and run.config.read_text() == config_text:
                return run
        return None

    def write_json(self, path: Path, value: Any) -> None:
        """Write a JSON file so that a reader sees the old or the new one, never half."""
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1))
        temporary.replace(path)

    def read_json(self, path: Path) -> Any:
        """Read a JSON file of this run; None when it is not there yet."""
        try:
            return msgspec.json.decode(path.read_bytes())
        except FileNotFoundError:
            return None

    def load_instruments(self) -> Instruments:
        """Read the instrument table that the supervisor wrote."""
        return Instruments.from_json(self.instruments.read_bytes())


def runs(base: Path) -> Iterator[RunDirectory]:
    """Iterate over the runs below a directory, newest first."""
    for path in sorted(base.glob("*/config.toml"), reverse=True):
        if not path.parent.is_symlink():
            yield RunDirectory(path.parent)
