"""The conformance kit of venue plugins: `check_venue(MyVenue(), golden)`.

The golden folder holds `instruments.json` (the raw body of an INSTRUMENTS answer) and
`conformance.json`, whose form is `testing.golden.Golden`: frames and answers as the venue sends
them, with their source, and the rows they must become; intents, with the fields of the requests
they must become. `write_expected` fills in the rows of new cases for the author to review.
docs/add-a-venue.md walks through it.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from alephtx.core.clock import seeded
from alephtx.core.errors import AlephError, VenueError
from alephtx.core.ports import Batch, Request, Signer, Venue, What
from alephtx.testing.golden import (
    NONCE,
    NOW_NS,
    AnswerCase,
    FrameCase,
    OrderCase,
    answer_of,
    as_bytes,
    bind_golden,
    controls_of,
    intent_rows,
    keyed,
    load_golden,
    read_recording,
    reply_of,
    rows_as_dicts,
    write_expected,
)

__all__ = ["NotConforming", "Report", "check_venue", "write_expected"]

CUTS_MAX = 400
HOSTILE = (
    b"", b"{}", b"[]", b"null", b"0", b'""', b"\x00" * 64, b"\xff\xfe}", b'{"channel":',
    b"[" * 50_000, b'{"a":' * 50_000, b'{"e":"' + b"x" * 70_000 + b'"}', b"9" * 5_000 + b"}",
)  # fmt: skip


class NotConforming(AssertionError):
    """What a plugin does that it must not; lists every fault found."""


class Report(msgspec.Struct):
    """What was tried, so that a test can see that it was not nothing."""

    instruments: int = 0
    frames: int = 0
    answers: int = 0
    orders: int = 0
    recorded: int = 0
    truncations: int = 0
    mutations: int = 0
    compared: int = 0


def check_venue(
    venue: Venue,
    golden: Path,
    *,
    signer: Signer | None = None,
    secrets: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    mutations: int = 40,
    seed: int = 1,
) -> Report:
    """Hold a venue plugin to its contract; raise NotConforming with every fault found.

    signer: what signs the golden orders, if any. secrets: texts that no request may show. options:
    more arguments of the venue's bind. mutations: damaged copies tried of each frame.

    Checked: instruments make a valid table; frames, answers and orders become the golden rows and
    fields, exactly; a codec never raises on a damaged frame and appends nothing when it says -1;
    its compiled scanner, where `decode_slow` gives the plain way, agrees with it on every golden,
    recorded, truncated and mutated frame; a memoryview is read as bytes are; requests name known
    buckets, are never alike twice and show no secret.
    """
    check = _Check(venue, golden, signer, secrets, options or {}, seeded(seed))
    check.instruments()
    check.links()
    for case in check.golden.frames:
        check.frame(case)
        check.damage(case.role, as_bytes(case.frame), mutations)
    for answer in check.golden.answers:
        check.answer(answer)
    for order in check.golden.orders:
        check.order(order)
    check.recordings(mutations)
    if check.faults:
        raise NotConforming("\n".join([f"{venue.spec.name}:", *check.faults]))
    return check.report


def _differs(said: Any, wanted: Any, path: str) -> str:
    """Return where a request lacks what is wanted of it; dicts may hold more, lists may not."""
    if isinstance(wanted, dict) and isinstance(said, dict):
        for name, value in wanted.items():
            if name not in said:
                return f"{path}.{name} is missing"
            if inner := _differs(said[name], value, f"{path}.{name}"):
                return inner
        return ""
    if isinstance(wanted, list) and isinstance(said, list) and len(said) == len(wanted):
        pairs = enumerate(zip(said, wanted, strict=True))
        return next((d for k, (a, b) in pairs if (d := _differs(a, b, f"{path}[{k}]"))), "")
    return "" if said == wanted else f"{path} is {said!r}, not {wanted!r}"


def _fields(request: Request) -> Any:
    """Return what a request says: its JSON body, or the parameters of its query and form."""
    try:
        return msgspec.json.decode(request.body)
    except msgspec.DecodeError:
        query = request.path.partition("?")[2]
        return dict(parse_qsl(query) + parse_qsl(request.body.decode()))


def _mutate(frame: bytes, random_: Any) -> bytes:
    """Damage a frame in one to three places, mostly where JSON notices."""
    made = bytearray(frame)
    for _ in range(random_.randint(1, 3)):
        at = random_.randrange(len(made) + 1)
        how = random_.randrange(5)
        if how == 0:
            made[at : at + 1] = bytes((random_.randrange(256),))
        elif how == 1:
            made[at : at + 1] = random_.choice((b'"', b"{", b"}", b"[", b"]", b",", b"\\", b"-"))
        elif how == 2:
            del made[at : at + random_.randint(1, 12)]
        elif how == 3:
            made[at:at] = random_.choice((b"0", b"9" * 20, b".", b"e5", b" ", b"null", b"\x00"))
        else:
            other = random_.randrange(len(made) + 1)
            made[at:at] = made[other : other + random_.randint(1, 40)]
    return bytes(made)


class _Check:
    """The state of one run over a plugin."""

    def __init__(
        self,
        venue: Venue,
        golden: Path,
        signer: Signer | None,
        secrets: Sequence[str],
        options: Mapping[str, Any],
        random_: Any,
    ) -> None:
        self.venue = venue
        self.where = golden
        self.golden = load_golden(golden)
        self.codec = bind_golden(venue, golden, signer, options)
        self.slow = getattr(self.codec, "decode_slow", None)
        self.secrets = [text for text in secrets if text]
        self.random = random_
        self.report = Report()
        self.faults: list[str] = []
        self.seen_keys: set[str] = set()
        self.buckets = {bucket.name for bucket in venue.spec.buckets}
        self._out, self._other = Batch(), Batch()

    def _fault(self, where: str, what: str) -> None:
        if len(self.faults) < 20:
            self.faults.append(f"  {where}: {what}"[:2_000])

    # -- what stands still -----------------------------------------------------------------

    def instruments(self) -> None:
        """Check that the table is valid, complete and addressed by the venue's name."""
        table, name = self.codec.instruments, self.venue.spec.name
        table.rows()
        self.report.instruments = len(table)
        for instrument, symbol in zip(table, self.golden.symbols, strict=True):
            if not instrument.key.startswith(f"{name}:") or instrument.venue != name:
                self._fault("instruments", f"{instrument.key} is not of {name}")
            if instrument.symbol != symbol:
                self._fault("instruments", f"{instrument.symbol} stands where {symbol} was asked")
        for what in (What.INSTRUMENTS, What.TIME):
            self._requests(f"request {what.value}", self.venue.request(what, NOW_NS))
        if not self.venue.request(What.INSTRUMENTS, NOW_NS):
            self._fault("instruments", "there is no request for them")

    def links(self) -> None:
        """Check that market links can be opened and kept."""
        found = self.codec.links("market")
        if not found:
            self._fault("links", "no market link")
        for link in self.codec.links("private"):
            if link.ping and link.ping_every_ns >= link.stall_ns:  # quiet but for its pongs
                self._fault("links", f"{link.name} would stall before its ping is answered")
        for link in found:
            if not link.path.startswith("/"):
                self._fault("links", f"path {link.path!r} does not begin with /")
            if link.ping and link.ping_every_ns <= 0:
                self._fault("links", f"{link.name} has a ping and no interval for it")
            for frame in link.frames:
                if not isinstance(frame, bytes) or not frame:
                    self._fault("links", f"{link.name} sends {frame!r}")

    # -- frames ----------------------------------------------------------------------------

    def frame(self, case: FrameCase) -> None:
        """Check the rows, behind rows that must stay as they are, and from a memoryview."""
        self.report.frames += 1
        data = as_bytes(case.frame)
        out = Batch()
        out.events[:2]["price"], out.event_count = 77, 2
        out.updates[:2]["price"], out.update_count = 77, 2
        returns = self.codec.decode(case.role, memoryview(data), case.ts_recv, out)
        kept = (out.events[:2]["price"] == 77).all() and (out.updates[:2]["price"] == 77).all()
        if not kept or out.event_count < 2 or out.update_count < 2:
            self._fault(case.name, "rows that were in the batch before were changed")
            return
        events = rows_as_dicts(out.events[2:], out.event_count - 2)
        updates = rows_as_dicts(out.updates[2:], out.update_count - 2)
        if case.returns is not None and returns != case.returns:
            self._fault(case.name, f"returns {returns}, not {case.returns}")
        self._same(case.name, "events", events, case.events)
        self._same(case.name, "updates", updates, case.updates)
        self._same(case.name, "controls", controls_of(out), case.controls)

    def _same(self, where: str, what: str, said: Sequence[Any], wanted: Sequence[Any]) -> None:
        for k, (one, other) in enumerate(itertools.zip_longest(said, wanted)):
            if one != other:
                self._fault(where, f"{what}[{k}] is {one}, not {other}")
                return

    def damage(self, role: str, data: bytes, mutations: int) -> None:
        """Check that damaged copies of a frame do no harm."""
        self._compare(role, data)
        step = max(1, len(data) // CUTS_MAX)
        for end in range(0, len(data), step):
            self._compare(role, data[:end])
            self.report.truncations += 1
        for _ in range(mutations):
            self._compare(role, _mutate(data, self.random))
            self.report.mutations += 1
        for hostile in HOSTILE:
            self._compare(role, hostile)

    def _decode(self, decode: Any, role: str, data: bytes, out: Batch) -> int | None:
        out.clear()
        try:
            returns: int = decode(role, data, NOW_NS, out)
        except Exception as error:  # noqa: BLE001 - that it raises at all is the fault
            self._fault("damaged frame", f"{error!r} from {data[:200]!r}")
            return None
        if returns < 0 and (out.event_count or out.update_count):
            self._fault("damaged frame", f"-1, and rows, from {data[:200]!r}")
        return returns

    def _compare(self, role: str, data: bytes) -> None:
        out, other = self._out, self._other
        returns = self._decode(self.codec.decode, role, data, out)
        if self.slow is None or returns is None:
            return
        expected = self._decode(self.slow, role, data, other)
        self.report.compared += 1
        same = (
            returns == expected
            and out.event_count == other.event_count
            and (out.events[: out.event_count] == other.events[: other.event_count]).all()
            and rows_as_dicts(out.updates, out.update_count)
            == rows_as_dicts(other.updates, other.update_count)
        )
        if not same:
            self._fault("scanner", f"{returns} against {expected} of the slow way: {data[:400]!r}")

    def recordings(self, mutations: int) -> None:
        """Check recorded market frames: all understood, both ways alike, some damaged."""
        for name in self.golden.recordings:
            for ts_recv, data in read_recording(self.where / name):
                self.report.recorded += 1
                self._out.clear()
                if self.codec.decode("market", data, ts_recv, self._out) < 0:
                    self._fault(name, f"not understood: {data[:200]!r}")
                self._compare("market", data)
                for _ in range(max(1, mutations // 10)):
                    self._compare("market", _mutate(data, self.random))
                    self.report.mutations += 1

    # -- questions and orders --------------------------------------------------------------

    def _requests(self, where: str, requests: Iterable[Request]) -> list[Request]:
        """Check what holds for every request."""
        found = list(requests)
        for request in found:
            for bucket, cost in request.weights:
                if bucket not in self.buckets or cost < 0:
                    self._fault(where, f"weight {bucket}={cost} is of no bucket of the spec")
            shown = repr(request)
            for secret in self.secrets:
                if secret in shown or secret.encode() in request.body:
                    self._fault(where, "a request shows a secret")
            if request.transport == "http" and not request.path.startswith("/"):
                self._fault(where, f"path {request.path!r} does not begin with /")
        return found

    def answer(self, case: AnswerCase) -> None:
        """Check the rows of an answer, and that a cut one is a VenueError or harmless."""
        self.report.answers += 1
        asked = self.codec.request(What(case.what), NOW_NS, **case.args)
        requests = self._requests(case.name, asked)
        if not requests:
            self._fault(case.name, f"there is no request for {case.what}")
            return
        out = Batch()
        raised = reply_of(self.codec, requests[0], case.status, case.body, out)
        self._same(case.name, "raises", [raised], [case.raises])
        self._same(case.name, "events", rows_as_dicts(out.events, out.event_count), case.events)
        updates = rows_as_dicts(out.updates, out.update_count)
        self._same(case.name, "updates", updates, case.updates)
        self._same(case.name, "controls", controls_of(out), case.controls)
        self._cut_answers(case.name, requests[0], case.status, as_bytes(case.body))

    def _cut_answers(self, where: str, request: Request, status: int, body: bytes) -> None:
        for end in range(0, len(body), max(1, len(body) // 50)):
            self.report.truncations += 1
            try:
                self.codec.reply(request, status, {}, body[:end], Batch())
            except VenueError:
                continue
            except Exception as error:  # noqa: BLE001 - any other error is the fault
                self._fault(where, f"{error!r} from the answer {body[:end][-80:]!r}")
                return

    def order(self, case: OrderCase) -> None:
        """Check the fields of an order's requests, and the rows of the venue's reply."""
        self.report.orders += 1
        rows = intent_rows(case.intents)
        try:
            requests = self._requests(case.name, self.codec.encode(rows, NOW_NS, NONCE))
        except AlephError as error:
            self._same(case.name, "refused", [type(error).__name__], [case.refused])
            return
        self._same(case.name, "refused", [""], [case.refused])
        if len(requests) != len(case.says):
            self._fault(case.name, f"{len(requests)} requests, not {len(case.says)}")
        for request, says in zip(requests, case.says, strict=False):
            if fault := _differs(_fields(request), says, "request"):
                self._fault(case.name, fault)
            if request.what is not What.INTENT or not request.order_ids:
                self._fault(case.name, "a request does not name its orders")
            if request.key:
                if request.key in self.seen_keys and request.transport == "http":
                    self._fault(case.name, f"key {request.key} was used before")
                self.seen_keys.add(request.key)
        if case.answer is not None and requests:
            out = Batch()
            raised = answer_of(self.codec, requests[0], case, out)
            self._same(case.name, "raises", [raised], [case.raises])
            updates = rows_as_dicts(out.updates, out.update_count)
            self._same(case.name, "updates", updates, case.updates)
            if requests[0].transport == "http":
                self._cut_answers(case.name, requests[0], case.status, as_bytes(case.answer))
                return
            if requests[0].key not in [control.key for control in out.controls]:
                self._fault(case.name, f"the answer does not name its request {requests[0].key}")
            self.damage("trade", keyed(case.answer, requests[0].key), 1)
