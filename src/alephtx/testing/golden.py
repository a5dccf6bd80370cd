"""Golden folders of venue plugins: their form, how they are read, and how new rows get written."""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alephtx.core.errors import ConfigError, VenueError
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Batch, Codec, Request, Rows, Signer, Venue, What
from alephtx.core.records import INTENT

NOW_NS = 1_760_000_000_000_000_000
NONCE = 1_760_000_000_000


class FrameCase(msgspec.Struct, kw_only=True):
    """One frame and its rows. frame is JSON, or a text for what is not JSON."""

    name: str
    source: str
    role: str = "market"
    ts_recv: int = NOW_NS
    frame: Any
    returns: int | None = None
    events: list[dict[str, int]] = []
    updates: list[dict[str, int]] = []
    controls: list[list[str]] = []


class AnswerCase(msgspec.Struct, kw_only=True):
    """One HTTP answer to a question and its rows; raises names the error class of a refusal."""

    name: str
    source: str
    what: str
    args: dict[str, Any] = {}
    status: int = 200
    body: Any
    raises: str = ""
    events: list[dict[str, int]] = []
    updates: list[dict[str, int]] = []
    controls: list[list[str]] = []


class OrderCase(msgspec.Struct, kw_only=True):
    """INTENT rows and what must stand in the requests they become; says is a subset of the fields.

    answer, with updates or raises, is the venue's reply to the first request: the body over HTTP,
    else a frame of the trade link, in which "$key" stands for the request's key.
    """

    name: str
    source: str
    intents: list[dict[str, int]]
    says: list[Any] = []
    refused: str = ""
    status: int = 200
    answer: Any = None
    raises: str = ""
    updates: list[dict[str, int]] = []


class Golden(msgspec.Struct, kw_only=True):
    """What conformance.json holds; recordings are `<receive ns> <frame>` lines, gzipped."""

    symbols: list[str]
    frames: list[FrameCase]
    answers: list[AnswerCase] = []
    orders: list[OrderCase] = []
    recordings: list[str] = []


def rows_as_dicts(rows: Rows, count: int) -> list[dict[str, int]]:
    """Return rows as their fields that are not blank: zero, and -1 of cum_qty."""
    names = rows.dtype.names or ()
    found = []
    for row in rows[:count]:
        fields = {name: int(row[name]) for name in names}
        found.append(
            {
                name: value
                for name, value in fields.items()
                if value != (-1 if name == "cum_qty" else 0)
            }
        )
    return found


def intent_rows(intents: Sequence[Mapping[str, int]]) -> Rows:
    """Return INTENT rows of these fields, others zero."""
    rows = np.zeros(len(intents), INTENT)
    for k, fields in enumerate(intents):
        for name, value in fields.items():
            rows[k][name] = value
    return rows


def load_golden(golden: Path) -> Golden:
    """Read conformance.json of a golden folder."""
    return msgspec.json.decode((golden / "conformance.json").read_bytes(), type=Golden)


def bind_golden(
    venue: Venue, golden: Path, signer: Signer | None, options: Mapping[str, Any]
) -> Codec:
    """Return the venue's codec over the golden instruments, account 1."""
    body = (golden / "instruments.json").read_bytes()
    table = Instruments(venue.parse_instruments(body, load_golden(golden).symbols))
    return venue.bind(table, signer, 1, **options)


def read_recording(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (receive time in ns, frame) of each line; ConfigError names a line that is neither."""
    with gzip.open(path) as lines:
        for number, line in enumerate(lines, 1):
            stamp, space, frame = line.rstrip(b"\n").partition(b" ")
            if not stamp.isdigit() or not space:
                raise ConfigError(
                    f"{path.name}:{number} does not begin with a time: {line[:40]!r}",
                    remedy="a line is `<receive ns> <frame>`",
                )
            yield int(stamp), frame


def write_expected(
    venue: Venue,
    golden: Path,
    *,
    signer: Signer | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write into conformance.json what the codec makes of every frame and answer now.

    For new cases: the author compares the result with the venue's documents before it is committed.
    """
    content = load_golden(golden)
    codec = bind_golden(venue, golden, signer, options or {})
    for case in content.frames:
        out = Batch()
        case.returns = codec.decode(case.role, as_bytes(case.frame), case.ts_recv, out)
        case.events = rows_as_dicts(out.events, out.event_count)
        case.updates = rows_as_dicts(out.updates, out.update_count)
        case.controls = controls_of(out)
    for answer in content.answers:
        request = codec.request(What(answer.what), NOW_NS, **answer.args)[0]
        out = Batch()
        answer.raises = reply_of(codec, request, answer.status, answer.body, out)
        answer.events = rows_as_dicts(out.events, out.event_count)
        answer.updates = rows_as_dicts(out.updates, out.update_count)
        answer.controls = controls_of(out)
    for order in content.orders:
        if order.answer is not None:
            made = codec.encode(intent_rows(order.intents), NOW_NS, NONCE)
            out = Batch()
            order.raises = answer_of(codec, made[0], order, out)
            order.updates = rows_as_dicts(out.updates, out.update_count)
    text = msgspec.json.format(msgspec.json.encode(content), indent=1)
    (golden / "conformance.json").write_bytes(text + b"\n")


def as_bytes(frame: Any) -> bytes:
    """Return a golden frame or body as the compact JSON venues send; a text as it stands."""
    return frame.encode() if isinstance(frame, str) else msgspec.json.encode(frame)


def controls_of(out: Batch) -> list[list[str]]:
    """Return the kind and key of each control."""
    return [[control.kind, control.key] for control in out.controls]


def reply_of(codec: Codec, request: Request, status: int, body: Any, out: Batch) -> str:
    """Give an answer to the codec; return the name of the error it raises, or an empty text."""
    try:
        codec.reply(request, status, {}, as_bytes(body), out)
    except VenueError as error:
        return type(error).__name__
    return ""


def answer_of(codec: Codec, request: Request, case: OrderCase, out: Batch) -> str:
    """Give an order's answer to the codec as it travels; return the name of the error, if any."""
    if request.transport == "http":
        return reply_of(codec, request, case.status, case.answer, out)
    codec.decode("trade", keyed(case.answer, request.key), NOW_NS, out)
    errors = [c.value for c in out.controls if c.kind == "error" and c.key == request.key]
    return type(errors[0]).__name__ if errors else ""


def keyed(answer: Any, key: str) -> bytes:
    """Return an answer's frame with the key it answers to; one of digits is a number."""
    return as_bytes(answer).replace(
        b'"$key"', key.encode() if key.isdigit() else msgspec.json.encode(key)
    )
