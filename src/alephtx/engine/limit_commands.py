"""The desk where limits are changed: takes commands in, judges, journals, applies, answers.

A command is a file in `runs/<id>/limits/inbox`; its answer has the same name under `done`, and
`current.json` beside them says what the limits and latches are. Whatever becomes of a command is a
COMMAND record: the loop writes it between two events and only then stores what it changes, so that
a journal folded anew gives the same limits. One command is under way at a time.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alephtx.core.clock import Clock
from alephtx.core.config_schema import Config
from alephtx.core.errors import AlephError, ConfigError, Finding
from alephtx.core.instruments import Instruments
from alephtx.core.log import logger
from alephtx.core.risk_check import RiskCheck
from alephtx.core.risk_schema import Risk
from alephtx.engine.context import COMMAND_LIMIT, Context, Rows
from alephtx.engine.limit_apply import NOT_KEPT, PENDING
from alephtx.engine.rundir import read_asked
from alephtx.risk.changes import (
    Change,
    Signed,
    check_signature,
    curves,
    every_limit,
    value_of,
    with_limit,
)
from alephtx.risk.latches import ARMED_TEXT, DRAWDOWN, LATCHED_TEXT, Place, clearing, latches
from alephtx.risk.limits import LIMIT_COLUMNS, GateState, make_gate

log = logger("limits")

POLL_NS = 100_000_000
OLD_NS = 300_000_000_000
"""A command is good for five minutes, both ways, because clocks differ."""

Store = tuple[Place, int]


class Entry(msgspec.Struct, kw_only=True):
    """The payload of a COMMAND record about a limit. why: the reason of a refusal, else ""."""

    kind: str
    accepted: bool
    why: str = ""
    change: Change | None = None
    signature: str = ""
    nonce_spent: bool = False


class Answer(msgspec.Struct):
    """What came of a command, for whoever sent it."""

    accepted: bool
    said: str


class Latch(msgspec.Struct):
    """A latch as `current.json` tells of it."""

    kind: str
    scope: str
    state: str


class Limit(msgspec.Struct):
    """A limit as `current.json` tells of it; value as a command writes it."""

    scope: str
    limit: str
    value: str


class Current(msgspec.Struct):
    """Limits and latches of a run as they are."""

    run: str
    limits: list[Limit]
    latches: list[Latch]


class LimitPaths:
    """Where commands of a run are put, and answered."""

    def __init__(self, run: Path) -> None:
        self.inbox, self.done = run / "limits" / "inbox", run / "limits" / "done"
        self.current = run / "limits" / "current.json"


class LimitDesk:
    """One engine's limits, and the way to change them."""

    def __init__(
        self, config: Config, run: Path, clock: Clock, ctx: Context, instruments: Instruments
    ) -> None:
        self.config = config
        if config.risk.officers:
            curves()  # now, not in the middle of the work when a command comes
        self.risk: Risk = config.risk
        self.run, self.paths = run.name, LimitPaths(run)
        self.clock, self.ctx, self.instruments = clock, ctx, instruments
        self.spent: set[str] = set()
        self._latches = list(latches(list(config.accounts), list(config.strategies)))
        self._next_poll = 0
        self._shown: tuple[Risk, list[bool]] | None = None
        self._under_way: tuple[str, Entry, Risk] | None = None
        self._record = np.zeros(0, np.uint8)
        self._stores = np.zeros(1, np.int64)

    # -- start -----------------------------------------------------------------------------

    def replay(self, payload: bytes | memoryview) -> None:
        """Do again what a COMMAND record of the journal says, while no loop runs."""
        try:
            entry = msgspec.json.decode(payload, type=Entry)
        except msgspec.MsgspecError:
            return
        if entry.kind != "limit" or entry.change is None:
            return
        if entry.nonce_spent:
            self.spent.add(entry.change.nonce)
        if entry.accepted:
            risk, stores = self._outcome(entry.change)
            self.risk = risk
            for (name, index), value in stores:
                getattr(self.ctx.gate, name)[index] = value

    # -- rounds ----------------------------------------------------------------------------

    def poll(self, push: Callable[[Any], Any]) -> None:
        """Finish the command under way, take the next one up, publish what changed.

        push: puts a row into the loop's ring of commands. Whatever is wrong with a command or with
        the disk is said and logged, never raised: an engine does not end for it.
        """
        try:
            self._round(push)
        except OSError as error:
            log.error("limits_folder_failed", error=str(error))

    def _round(self, push: Callable[[Any], Any]) -> None:
        if self._under_way is not None and not self._finish():
            return
        now = self.clock.monotonic()
        if now < self._next_poll:
            return
        self._next_poll = now + POLL_NS
        self._publish()
        if (file := self._waiting()) is not None:
            self._take(file, push)

    def _waiting(self) -> Path | None:
        """Return the first command that waits; makes the folder when it is not there."""
        try:
            names = sorted(os.listdir(self.paths.inbox))  # noqa: PTH208 - half the time of a Path
        except FileNotFoundError:
            names = []
            self.paths.inbox.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = (self.paths.inbox / name for name in names if name.endswith(".json"))
        return next((file for file in files if file.is_file()), None)

    def _take(self, file: Path, push: Callable[[Any], Any]) -> None:
        """Judge the command in a file and hand it to the loop."""
        entry = Entry(kind="limit", accepted=False)
        risk, stores = self.risk, list[Store]()
        try:
            signed = read_asked(file, Signed, "command")
            entry.change, entry.signature = signed.change, signed.signature
            check_signature(signed, self.config.risk.officers)
            self._check_fresh(signed.change)
            entry.nonce_spent = True
            risk, stores = self._judge(signed.change)
            entry.accepted = True
        except AlephError as error:
            entry.why = str(error)
        self._record = np.frombuffer(msgspec.json.encode(entry), np.uint8).copy()
        self._stores = np.zeros(1 + 2 * len(stores), np.int64)
        for k, ((name, index), value) in enumerate(stores):
            array = getattr(self.ctx.gate, name)
            self._stores[1 + 2 * k] = array[index[:-1]].ctypes.data + 8 * index[-1]
            self._stores[2 + 2 * k] = value
        row = np.zeros(8, np.int64)
        row[0] = COMMAND_LIMIT
        row[1], row[2] = self._record.ctypes.data, len(self._record)
        row[3], row[4] = self._stores.ctypes.data, len(stores)
        if push(row):
            if entry.change is not None and entry.nonce_spent:
                self.spent.add(entry.change.nonce)
            self._under_way = (file.name, entry, risk)
            file.unlink(missing_ok=True)

    def _finish(self) -> bool:
        """Answer the command under way if the loop has served it."""
        assert self._under_way is not None
        if self._stores[0] == PENDING:
            return False
        name, entry, risk = self._under_way
        self._under_way = None
        if self._stores[0] == NOT_KEPT:
            entry.accepted, entry.why = False, "the journal took no record of it; nothing changed"
        if entry.accepted:
            self.risk = risk
        log.warning(
            "limit_changed" if entry.accepted else "limit_change_refused",
            change=msgspec.to_builtins(entry.change), why=entry.why,
        )  # fmt: skip
        said = "in force" if entry.accepted else entry.why
        self._write(self.paths.done / name, Answer(entry.accepted, said))
        self._publish()
        return True

    # -- judgement -------------------------------------------------------------------------

    def _check_fresh(self, change: Change) -> None:
        """Refuse a command for another run, another time, or one that was here before."""
        if change.run != self.run:
            raise ConfigError(f"this is run {self.run}; the command is for {change.run!r}")
        if change.nonce in self.spent:
            raise ConfigError(f"nonce {change.nonce} was used before", remedy="sign a new command")
        age = self.clock.now() - change.when_ns
        if abs(age) > OLD_NS:
            raise ConfigError(
                f"the command is {age // 10**9} s old", remedy="sign it anew; is a clock wrong?"
            )

    def _judge(self, change: Change) -> tuple[Risk, list[Store]]:
        """Return what a command makes of the limits, or raise why it may not."""
        known = self._state(change) if change.action != "set" else ""
        now = known or value_of(self.risk, change.limit, change.scope)
        if change.old != now:
            raise ConfigError(
                f"{change.limit} is {now}, not {change.old}: somebody changed it meanwhile",
                remedy="look at it again and sign a new command",
            )
        risk, stores = self._outcome(change)
        found: list[Finding] = []

        def find(key: Any, problem: str, remedy: str = "") -> None:
            found.append(Finding("", 0, ".".join(map(str, key)), problem, remedy))

        RiskCheck(find, msgspec.structs.replace(self.config, risk=risk)).run()
        if found:
            raise ConfigError(str(found[0]))
        if risk.notional_max > risk.position_notional_max:
            raise ConfigError("notional_max would be more than position_notional_max")
        room = self.ctx.table.orders.shape[1]
        if risk.open_orders_max > room:
            raise ConfigError(
                f"open_orders_max {risk.open_orders_max} is beyond the {room} there is room for",
                remedy="set it in the config and start anew",
            )
        return risk, stores

    def _state(self, change: Change) -> str:
        name, index = self._place(change)
        return LATCHED_TEXT if getattr(self.ctx.gate, name)[index] else ARMED_TEXT

    def _place(self, change: Change) -> Place:
        for kind, scope, place in self._latches:
            action = "rearm" if kind == DRAWDOWN else "enable"
            if (action, kind, scope) == (change.action, change.limit, change.scope):
                return place
        raise ConfigError(
            f"nothing to {change.action}: {change.limit!r} of {change.scope or 'the firm'} is none",
            remedy="alephtx limits shows them",
        )

    def _outcome(self, change: Change) -> tuple[Risk, list[Store]]:
        """Return the limits after a change, and the stores into the gate that it takes."""
        if change.action != "set":
            if change.old != LATCHED_TEXT or change.new != ARMED_TEXT:
                raise ConfigError(f"a latch goes from latched to armed, not from {change.old}")
            return self.risk, clearing(self._place(change))
        if change.limit == "firm_gross_max" and not change.scope and self.config.shared:
            raise ConfigError(
                "firm_gross_max is shared with other engines", remedy="[shared] says how much"
            )
        risk = with_limit(self.risk, change.limit, change.scope, change.new)
        return risk, differences(self._gate(self.risk), self._gate(risk))

    def _gate(self, risk: Risk) -> GateState:
        names, accounts = list(self.config.strategies), list(self.config.accounts)
        return make_gate(
            risk, self.instruments, len(accounts), len(names),
            account_names=accounts, strategy_names=names,
        )  # fmt: skip

    # -- what others read ------------------------------------------------------------------

    def current(self) -> Current:
        """Return limits and latches as they are."""
        states = [
            Latch(kind, scope, LATCHED_TEXT if latched else ARMED_TEXT)
            for (kind, scope, _), latched in zip(self._latches, self._latched(), strict=True)
        ]
        return Current(self.run, [Limit(*limit) for limit in every_limit(self.risk)], states)

    def _latched(self) -> list[bool]:
        return [bool(getattr(self.ctx.gate, name)[index]) for _, _, (name, index) in self._latches]

    def _publish(self) -> None:
        """Write current.json when limits or latches are not those it shows."""
        shown = self.risk, self._latched()
        if self._shown is None or self._shown[0] is not shown[0] or self._shown[1] != shown[1]:
            self._shown = shown
            self._write(self.paths.current, self.current())

    def _write(self, path: Path, value: Any) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1))
        temporary.replace(path)


def differences(before: GateState, after: GateState) -> list[Store]:
    """Return the stores that make one gate's limits another's; state is left alone."""
    stores: list[Store] = []
    for name, columns in LIMIT_COLUMNS.items():
        old: Rows = getattr(before, name)
        new: Rows = getattr(after, name)
        for index in zip(*np.nonzero(old != new), strict=True):
            place = tuple(int(k) for k in index)
            if columns is None or place[-1] in columns:
                stores.append(((name, place), int(new[place])))
    return stores
