"""The door where a swap is asked for, and the record of which version of a strategy is in force.

A request is a file in `runs/<id>/swaps/inbox`; what becomes of it is told, stage by stage, in a
file of the same name in `swaps/done`. The texts that ran are kept as
`runs/<id>/strategies/NAME-K.py`, and `strategies.json` says which of them is in force: the last one
whose watch window passed. A next life of the engine begins with that.
"""

import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import Annotated

import msgspec

from alephtx.core.clock import Clock
from alephtx.core.config_schema import Config
from alephtx.core.errors import ConfigError
from alephtx.engine.rundir import RunDirectory

SOURCE_BYTES_MAX = 4 << 20

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks for what. digest: of the file as whoever asked read it."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}-[0-9a-f]{1,32}$")]
    run: str
    name: str
    file: str
    digest: str
    by: str
    asked_ns: int
    canary_s: Seconds = 10.0
    watch_s: Seconds = 30.0
    denied_max: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5


class Stage(msgspec.Struct):
    """A stage that a swap has reached, and what there is to say of it."""

    ts: int
    stage: str
    said: str


class Told(msgspec.Struct):
    """What has become of a request.

    outcome: "" while it goes on, swapped, refused, rolled_back, or unsettled: the new version goes
    and could be neither kept nor taken back.
    """

    id: str
    name: str = ""
    stages: list[Stage] = []
    outcome: str = ""
    why: str = ""


class Version(msgspec.Struct, frozen=True):
    """One text of a strategy. number: 0 = what the config names, else the K of its file."""

    number: int
    file: str
    digest: str
    since_ns: int


class Held(msgspec.Struct):
    """A strategy of a run. proven: what a next life begins with; running: what goes now."""

    name: str
    use: str
    proven: Version
    running: Version
    layer: str = ""
    swaps: int = 0
    last: int = 0


class Change(msgspec.Struct):
    """A line of a run's history of versions. stage: switch, kept, back or start."""

    ts: int
    name: str
    stage: str
    file: str
    digest: str
    by: str = ""
    why: str = ""


class Entry(msgspec.Struct, kw_only=True):
    """The payload of a COMMAND record about a version of a strategy; stage: see `Change`."""

    kind: str = "swap"
    stage: str
    name: str
    number: int
    file: str
    digest: str
    was: str = ""
    by: str = ""
    why: str = ""


class Book(msgspec.Struct):
    """strategies.json."""

    strategies: list[Held] = []
    history: list[Change] = []

    def of(self, name: str) -> Held | None:
        """Return a strategy's line."""
        return next((held for held in self.strategies if held.name == name), None)


class SwapPaths:
    """Where requests of a run are put and answered, and versions kept."""

    def __init__(self, run: Path) -> None:
        self.inbox, self.done = run / "swaps" / "inbox", run / "swaps" / "done"
        self.versions, self.book = run / "strategies", run / "strategies.json"

    def version(self, name: str, number: int) -> Path:
        """Return where a version's text is kept."""
        return self.versions / f"{name}-{number}.py"


# -- asking ----------------------------------------------------------------------------------------


def ask(
    run: RunDirectory, name: str, file: str, clock: Clock, *, by: str, canary_s: float,
    watch_s: float, denied_max: float,
) -> Request:  # fmt: skip
    """Leave a request with a run; ConfigError where it cannot be meant."""
    path = Path(file).expanduser().absolute()
    text, now = read_source(path), clock.now()
    made = {
        "id": f"{now}-{secrets.token_hex(3)}", "run": run.id, "name": name, "file": str(path),
        "digest": digest_of(text), "by": by, "asked_ns": now, "canary_s": canary_s,
        "watch_s": watch_s, "denied_max": denied_max,
    }  # fmt: skip
    try:
        request = msgspec.convert(made, Request)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the swap cannot be asked for: {error}") from None
    paths = SwapPaths(run.path)
    paths.inbox.mkdir(mode=0o700, parents=True, exist_ok=True)
    run.write_bytes(paths.inbox / f"{request.id}.json", msgspec.json.encode(request))
    return request


def told_of(run: RunDirectory, request: Request) -> Told | None:
    """Return what has become of a request; None before anybody took it up."""
    found: Told | None = run.read_as(SwapPaths(run.path).done / f"{request.id}.json", Told)
    return found


def withdraw(run: RunDirectory, request: Request) -> bool:
    """Take a request back; False where it was taken up meanwhile."""
    try:
        (SwapPaths(run.path).inbox / f"{request.id}.json").unlink()
    except FileNotFoundError:
        return False
    return True


# -- versions --------------------------------------------------------------------------------------


def read_source(path: Path) -> bytes:
    """Read a strategy's text; ConfigError for what is no file of a sensible size."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ConfigError(f"{path} is not a file", remedy="name the strategy's .py file")
        with os.fdopen(descriptor, "rb") as handle:
            text = handle.read(SOURCE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"{path} cannot be read: {reason}", remedy="name the strategy's .py file"
        ) from None
    if path.suffix != ".py":
        raise ConfigError(f"{path} is not a .py file", remedy="name the strategy's .py file")
    if len(text) > SOURCE_BYTES_MAX:
        raise ConfigError(f"{path} is larger than {SOURCE_BYTES_MAX} bytes")
    return text


def digest_of(text: bytes) -> str:
    """Return the first 16 digits of a text's SHA-256."""
    return hashlib.sha256(text).hexdigest()[:16]


def keep_version(paths: SwapPaths, name: str, number: int, text: bytes) -> Path:
    """Keep a version's text with its run, durably; what is compiled and run is this file."""
    paths.versions.mkdir(mode=0o700, exist_ok=True)
    path = paths.version(name, number)
    write_durably(path, text)
    return path


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that nobody else may read, whole or not at all, also over a power cut."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(temporary, flags, 0o600), "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_book(run: RunDirectory) -> Book:
    """Return a run's record of versions, an empty one where there is none yet."""
    found: Book | None = run.read_as(SwapPaths(run.path).book, Book)
    return found or Book()


def write_book(run: RunDirectory, book: Book) -> None:
    """Keep a run's record of versions."""
    data = msgspec.json.format(msgspec.json.encode(book), indent=1)
    write_durably(SwapPaths(run.path).book, data)


def in_force(config: Config, run: RunDirectory) -> Config:
    """Return a config whose strategies are the versions in force; ConfigError where one is gone."""
    strategies = dict(config.strategies)
    for held in read_book(run).strategies:
        if held.proven.number == 0 or held.name not in strategies:
            continue
        path = SwapPaths(run.path).version(held.name, held.proven.number)
        text = read_source(path)
        if digest_of(text) != held.proven.digest:
            raise ConfigError(
                f"{path} is not what was swapped in: its digest is {digest_of(text)}, not "
                f"{held.proven.digest}",
                remedy="restore it, or begin a new run: alephtx run --fresh",
            )
        strategies[held.name] = msgspec.structs.replace(strategies[held.name], use=str(path))
    return msgspec.structs.replace(config, strategies=strategies)


def switched(payload: bytes | memoryview) -> str:
    """Return the strategy that a COMMAND record of a journal switches, "" for other records."""
    try:
        entry = msgspec.json.decode(payload, type=Entry)
    except msgspec.MsgspecError:
        return ""
    return entry.name if entry.kind == "swap" and entry.stage == "switch" else ""
