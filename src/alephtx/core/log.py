"""Structured lines: `2026-01-31T12:00:00.000001Z info book_resynced venue=okx instrument=12 gap=3`.

    log = logger("feeder")
    log.info("book_resynced", venue=name, instrument=12, gap=3)
    log.every(5).warning("frame_not_understood", channel=channel)

Events are past-tense snake_case. Fields named key, secret, signature or token are masked, and so is
the text of every living Secret, wherever it stands. A line is written whole, from any thread; a
line that cannot be written is counted in `dropped` and never stops a trader. Kernels log nothing.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TextIO

from alephtx.core.clock import Clock, MachineClock
from alephtx.core.errors import ConfigError
from alephtx.core.secrets import MASK, Secret, is_secret_name, scrub

Level = Literal["debug", "info", "warning", "error"]
LEVELS: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
VALUE_CHARACTERS_MAX = 2_000
DEPTH_MAX = 8
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.:/@*,%#<>()")
_LIMITS_KEPT_MAX = 4_096


class Sink:
    """Where the process's lines go; `configure` changes it, and every logger sees the change."""

    def __init__(self) -> None:
        self.level = LEVELS["info"]
        self.stream: TextIO | None = None
        self.to_stderr = True
        self.as_json = False
        self.clock: Clock = MachineClock()
        self.fields: dict[str, Any] = {}
        self.descriptor = -1
        self.dropped = 0
        self.limits: dict[tuple[Any, ...], tuple[int, int]] = {}
        self.guard = threading.Lock()

    def write(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        """Format and write one line to the file and to stderr, whichever are on."""
        render = _render_json if self.as_json else _render_text
        line = scrub(render(self.clock.now(), level, event, {**self.fields, **fields})) + "\n"
        if self.descriptor >= 0:
            self._write_file(line.encode("utf-8", "backslashreplace"))
        if self.to_stderr:
            self._write_stream(line)

    def _write_file(self, data: bytes) -> None:
        try:
            # One write of an O_APPEND file: lines of several threads and processes never mix.
            if os.write(self.descriptor, data) != len(data):
                self.dropped += 1
        except OSError:  # disk full or file gone; counted, because there is nowhere to say it
            self.dropped += 1

    def _write_stream(self, line: str) -> None:
        stream = self.stream or sys.stderr
        if stream is None:  # started without a terminal
            self.dropped += 1
            return
        try:
            with self.guard:
                stream.write(line)
                stream.flush()
        except (
            OSError,
            ValueError,
        ):  # closed pipe, closed file, or an encoding that cannot hold it
            self.dropped += 1

    def allow(self, key: tuple[Any, ...], period_ns: int) -> int:
        """Return -1 when the line is to be held back, else how many were held back before it."""
        now = self.clock.monotonic()
        with self.guard:
            last, held = self.limits.get(key, (now - period_ns, 0))
            if now - last < period_ns:
                self.limits[key] = (last, held + 1)
                return -1
            if len(self.limits) >= _LIMITS_KEPT_MAX:
                self.limits.clear()
            self.limits[key] = (now, 0)
            return held


_sink = Sink()
os.register_at_fork(after_in_child=lambda: setattr(_sink, "guard", threading.Lock()))


class Logger:
    """Writes lines with fields bound to it; cheap to make, safe to share between threads."""

    __slots__ = ("_fields", "_period_ns", "_sink")

    def __init__(self, sink: Sink, fields: Mapping[str, Any], period_ns: int = 0) -> None:
        self._sink = sink
        self._fields = dict(fields)
        self._period_ns = period_ns

    def bind(self, **fields: Any) -> "Logger":
        """Return a logger that adds these fields to every line."""
        return Logger(self._sink, {**self._fields, **fields}, self._period_ns)

    def every(self, seconds: int) -> "Logger":
        """Return a logger that writes each event (with its bound fields) at most once in so long.

        The next line that passes carries suppressed=n.
        """
        return Logger(self._sink, self._fields, seconds * 1_000_000_000)

    def debug(self, event: str, **fields: Any) -> None:
        """Write a line of interest to a developer."""
        self._log("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Write a line about normal work."""
        self._log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Write a line about something that mended itself, or should be looked at."""
        self._log("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Write a line about something that needs a person."""
        self._log("error", event, fields)

    def _log(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if LEVELS[level] < self._sink.level:
            return
        if self._period_ns:
            key = (level, event, tuple((name, repr(v)) for name, v in self._fields.items()))
            held = self._sink.allow(key, self._period_ns)
            if held < 0:
                return
            if held:
                fields = {**fields, "suppressed": held}
        self._sink.write(level, event, {**self._fields, **fields})


def logger(part: str = "", **fields: Any) -> Logger:
    """Return a logger with part=... and fields bound; `configure` may come later."""
    return Logger(_sink, {"part": part, **fields} if part else fields)


def configure(
    *,
    level: Level = "info",
    stderr: bool = True,
    stream: TextIO | None = None,
    path: str | Path | None = None,
    as_json: bool = False,
    clock: Clock | None = None,
    **fields: Any,
) -> None:
    """Set where this process's lines go; fields (run=..., process=...) are on every line.

    stream replaces stderr (a file-like object). path: a file to append to, made with its directory,
    closed to others. What libraries say through stdlib logging, from warning up, arrives here too
    as `library_spoke`.
    """
    if level not in LEVELS:
        raise ConfigError(f"unknown log level {level!r}", remedy=f"one of {', '.join(LEVELS)}")
    descriptor = -1
    if path is not None:
        file = Path(path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(file, flags, 0o600)
        except OSError as error:
            raise ConfigError(f"log file {file} cannot be opened: {error.strerror}") from None
    before = _sink.descriptor
    _sink.level, _sink.to_stderr, _sink.stream = LEVELS[level], stderr, stream
    _sink.as_json, _sink.fields, _sink.descriptor = as_json, fields, descriptor
    _sink.clock = clock or MachineClock()
    _sink.limits.clear()
    if before >= 0:
        os.close(before)
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, _Library)]
    root.addHandler(_Library(logging.WARNING))


def dropped() -> int:
    """Return how many lines could not be written since the start."""
    return _sink.dropped


class _Library(logging.Handler):
    """Carries what libraries say through stdlib logging into our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            said = record.getMessage()
        except (TypeError, ValueError):  # a library's format and arguments do not match
            said = str(record.msg)
        level = "error" if record.levelno >= logging.ERROR else "warning"
        fields: dict[str, Any] = {"library": record.name, "said": said}
        if record.exc_info and record.exc_info[1]:
            fields["error"] = record.exc_info[1]
        logger().every(1).bind(library=record.name)._log(level, "library_spoke", fields)  # noqa: SLF001


def stamp(now_ns: int) -> str:
    """Return ns since the epoch as ISO 8601 UTC with microseconds."""
    seconds, rest = divmod(now_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def _safe(name: str, value: Any, depth: int = 0) -> Any:
    """Return a field's value as JSON can hold it, masked where its name or type says so."""
    if isinstance(value, Secret) or (is_secret_name(name) and value):
        return MASK
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, BaseException):
        return _describe(value)
    if depth < DEPTH_MAX and isinstance(value, Mapping):
        return {str(k): _safe(str(k), v, depth + 1) for k, v in value.items()}
    if depth < DEPTH_MAX and isinstance(value, list | tuple | set | frozenset):
        return [_safe("", item, depth + 1) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a NumPy scalar
        return value.item()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value[:VALUE_CHARACTERS_MAX]).decode("utf-8", "backslashreplace")
    return str(value)


def _describe(error: BaseException) -> str:
    """Return `Type: message (file:line)` of where an exception was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = ""
    if trace is not None:
        where = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
    return f"{type(error).__name__}: {error}{where}"


def _cut(text: str) -> str:
    if len(text) <= VALUE_CHARACTERS_MAX:
        return text
    return f"{text[:VALUE_CHARACTERS_MAX]}...[{len(text) - VALUE_CHARACTERS_MAX} more]"


def _render_text(now_ns: int, level: str, event: str, fields: Mapping[str, Any]) -> str:
    parts = [stamp(now_ns), level, event]
    for name, value in fields.items():
        shown = _safe(name, value)
        if isinstance(shown, list | dict):
            shown = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
        text = _cut(str(shown))
        if not text or not _PLAIN.issuperset(text):
            text = json.dumps(text, ensure_ascii=not text.isprintable())
        parts.append(f"{name}={text}")
    return " ".join(parts)


def _render_json(now_ns: int, level: str, event: str, fields: Mapping[str, Any]) -> str:
    line: dict[str, Any] = {"ts": stamp(now_ns), "level": level, "event": event}
    for name, value in fields.items():
        shown = _safe(name, value)
        line[name if name not in line else f"{name}_"] = (
            _cut(shown) if isinstance(shown, str) else shown
        )
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))
