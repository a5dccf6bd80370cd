"""One run owns one directory, from the copy of its config to its report.

    runs/<id>/config.toml instruments.json journal/ inputs/ recordings/ logs/
              status.json supervisor.json processes.json summary.json report.html lock

A run whose directory has no summary.json did not end cleanly; the next start of the same node with
the same config takes it up again (crash-only: start-up is recovery). Whoever runs it holds a lock
on `lock` for life, so that no two do, and so that others can tell whether it lives.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from alephtx.core.clock import MachineClock, pause_thread
from alephtx.core.errors import AlephError, ConfigError
from alephtx.core.instruments import Instruments
from alephtx.core.log import logger

log = logger("run")

T = TypeVar("T")

JSON_BYTES_MAX = 64 << 20
ASKED_BYTES_MAX = 16 << 10
_STAMP_CHARACTERS, _TOKEN_CHARACTERS = 15, 4
CLAIMS = 10
CLAIM_PAUSE_NS = 20_000_000
"""Whoever asks `alive` holds the lock for a moment, so a claim is tried more than once."""


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
        self._lock = -1
        self._unwritten: set[Path] = set()

    @property
    def id(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def ended(self) -> bool:
        """True when the run was closed and summed up."""
        return self.summary.exists()

    @property
    def node(self) -> str:
        """The node's name, as it stands in the run's."""
        return self.id[_STAMP_CHARACTERS + 1 : -_TOKEN_CHARACTERS - 1]

    @property
    def alive(self) -> bool:
        """True while a process holds the run's lock; a process id would prove nothing."""
        if self._lock >= 0:
            return True
        try:
            descriptor = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unreadable(self.path / "lock", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def claim(self) -> None:
        """Take the run's lock until `release` or our end; ConfigError while another has it."""
        if self._lock >= 0:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self.path / "lock", flags, 0o600)
        except OSError as error:
            raise _unreadable(self.path / "lock", error) from error
        for _ in range(CLAIMS):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pause_thread(CLAIM_PAUSE_NS)
                continue
            self._lock = descriptor
            return
        os.close(descriptor)
        raise ConfigError(
            f"run {self.id} is still going", remedy="alephtx status shows it; Ctrl-C there ends it"
        )

    def release(self) -> None:
        """Give the lock back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def discard(self) -> None:
        """Remove a run that never began, so that it is not taken up again; `latest` goes back."""
        shutil.rmtree(self.path)
        self.release()
        link = self.path.parent / "latest"
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)
            before = next(runs(self.path.parent), None)
            if before is not None:
                with contextlib.suppress(FileExistsError):
                    link.symlink_to(before.id)

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
            if run.node != node:
                continue
            if run.ended:
                return None
            try:
                if run.config.read_text() == config_text:
                    return run
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError) as error:
                raise _unreadable(run.config, error) from error
        return None

    def write_json(self, path: Path, value: Any) -> None:
        """Write a JSON file so that a reader sees the old or the new one, never half."""
        self.write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=1))

    def show_json(self, path: Path, value: Any) -> bool:
        """Write a JSON file that only tells others something; False where the disk refuses it.

        Nobody ends for such a file: it is logged once, and again when it works again.
        """
        return self._show(path, lambda: self.write_json(path, value))

    def show_bytes(self, path: Path, data: bytes) -> bool:
        """Write a whole file that only tells others something, as `show_json`."""
        return self._show(path, lambda: self.write_bytes(path, data))

    def _show(self, path: Path, write: Callable[[], None]) -> bool:
        try:
            write()
        except OSError as error:
            if path not in self._unwritten:
                log.error("file_not_written", path=str(path), reason=error.strerror)
            self._unwritten.add(path)
            return False
        if path in self._unwritten:
            log.info("file_written_again", path=str(path))
            self._unwritten.discard(path)
        return True

    def write_bytes(self, path: Path, data: bytes) -> None:
        """Write a whole file so that a reader sees the old or the new one, never half."""
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(data)
        temporary.replace(path)

    def read_json(self, path: Path) -> Any:
        """Read a JSON file of this run; None when it is not there yet, ConfigError when damaged."""
        return self.read_as(path, Any)

    def read_as(self, path: Path, kind: Any) -> Any:
        """Read a JSON file of this run as a type; None when it is not there yet."""
        try:
            with path.open("rb") as file:
                data = file.read(JSON_BYTES_MAX + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(path, error) from error
        if len(data) > JSON_BYTES_MAX:
            raise ConfigError(f"{path} is larger than {JSON_BYTES_MAX} bytes")
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{path} is damaged: {error}") from error

    def save_instruments(self, instruments: Instruments) -> None:
        """Keep the table as it is now; a reader sees the old or the new one."""
        self.write_bytes(self.instruments, instruments.to_json())

    def load_instruments(self) -> Instruments:
        """Read the instrument table that the supervisor wrote."""
        try:
            return Instruments.from_json(self.instruments.read_bytes())
        except OSError as error:
            raise _unreadable(self.instruments, error) from error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{self.instruments} is damaged: {error}") from error
        except AlephError as error:
            raise ConfigError(f"{self.instruments} cannot be used: {error}") from error


def _unreadable(path: Path, error: Exception) -> ConfigError:
    reason = getattr(error, "strerror", None) or str(error)
    return ConfigError(f"{path} cannot be read: {reason}")


def runs(base: Path) -> Iterator[RunDirectory]:
    """Iterate over the runs below a directory, newest first."""
    for path in sorted(base.glob("*/config.toml"), reverse=True):
        if not path.parent.is_symlink():
            yield RunDirectory(path.parent)


def read_asked(file: Path, kind: type[T], word: str) -> T:
    """Read what somebody asks an engine for by a file; ConfigError when that is no `word`."""
    try:
        with file.open("rb") as handle:
            data = handle.read(ASKED_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{file.name} cannot be read: {error.strerror}") from error
    if len(data) > ASKED_BYTES_MAX:
        raise ConfigError(f"{file.name} is larger than {ASKED_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{file.name} is no {word}: {error}") from error
