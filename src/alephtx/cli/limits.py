"""`alephtx limits`: what a run's limits are, and the signed commands that change them.

A change takes effect in the running engine between two events, is journaled with who, what, old and
new before it does, and holds for the rest of the run, restarts included. The config stays as it is.
"""

import argparse
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from alephtx.cli import OK, RISK, say
from alephtx.cli.run import seconds
from alephtx.core.errors import ConfigError

if TYPE_CHECKING:
    from alephtx.engine.limit_commands import Current
    from alephtx.engine.rundir import RunDirectory

POLL_NS = 20_000_000


class Delivered(msgspec.Struct):
    """What came of a command."""

    run: str
    scope: str
    limit: str
    old: str
    new: str
    accepted: bool
    said: str


class KeyMade(msgspec.Struct):
    """A fresh officer's key: where it is, and its public half."""

    file: str
    public: str


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Show the limits and latches of a run, or change one by a signed command. Exit code 5 "
        "where the engine refused it, 3 where none goes or took it up."
    )
    parser.add_argument("--run", help="a run's directory or name; default: the newest alive one")
    parser.add_argument("--runs", default="runs", help="where runs are kept; default: runs")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("show", help="limits and latches as they are (the default)")
    change = actions.add_parser("set", help="change one limit")
    change.add_argument("limit", help="its name in the config, such as notional_max")
    change.add_argument("value", help="as in the config, without quotes; none takes it away")
    rearm = actions.add_parser("rearm", help="lift a drawdown latch; no scope: the firm's")
    enable = actions.add_parser("enable", help="lift an account's order-to-trade latch")
    for action in (change, rearm, enable):
        action.add_argument("--scope", default="", help="such as strategies.arb or accounts.main")
        action.add_argument("--who", required=True, help="the officer, as in risk.officers")
        action.add_argument("--key", required=True, help="its key: file:/path or env:NAME")
        action.add_argument("--reason", required=True, help="kept in the journal")
        action.add_argument("--wait", type=seconds, default=10.0, help="seconds; default: 10")
    key = actions.add_parser("key", help="make an officer's key")
    key.add_argument("file", help="a file that is not there yet")


def run(options: argparse.Namespace) -> int:
    """Do one action."""
    if options.action == "key":
        say(_make_key(Path(options.file)), as_json=options.json, lines=_key_lines)
        return OK
    from alephtx.engine.outside import find_run

    found = find_run(options.run, options.runs)
    current = _current(found)
    if options.action in (None, "show"):
        say(current, as_json=options.json, lines=_lines)
        return OK
    told = _change(found, current, options)
    say(told, as_json=options.json, lines=_told)
    return OK if told.accepted else RISK


def _make_key(file: Path) -> KeyMade:
    from alephtx.core.secrets import Secret
    from alephtx.risk.changes import private_key, public_text

    seed = secrets.token_hex(32)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"cannot make {file}: {error.strerror}", remedy="name a file that is not there yet"
        ) from error
    with os.fdopen(descriptor, "w") as handle:
        handle.write(seed + "\n")
    return KeyMade(str(file), public_text(private_key(Secret(seed))))


def _key_lines(made: KeyMade) -> list[str]:
    return [f"key        {made.file}", f"officers   NAME = {made.public!r}"]


def _current(found: "RunDirectory") -> "Current":
    from alephtx.engine.limit_commands import Current, LimitPaths

    current: Current | None = found.read_as(LimitPaths(found.path).current, Current)
    if current is None:
        raise ConfigError(f"run {found.id} has told no limits yet", remedy="is its engine up?")
    return current


def _lines(current: "Current") -> list[str]:
    told = [f"run        {current.run}"]
    told += [f"{_named(row.scope, row.limit):<44} {row.value}" for row in current.limits]
    told += [f"{_named(latch.scope, latch.kind):<44} {latch.state}" for latch in current.latches]
    return told


def _named(scope: str, limit: str) -> str:
    return f"{scope}.{limit}" if scope else limit


def _old(current: "Current", options: argparse.Namespace) -> tuple[str, str, str]:
    """Return name, old and new value of what is to change."""
    if options.action == "set":
        values = {(row.scope, row.limit): row.value for row in current.limits}
        return options.limit, values.get((options.scope, options.limit), "none"), options.value
    kind = "drawdown" if options.action == "rearm" else "order_ratio"
    states = {(latch.scope, latch.kind): latch.state for latch in current.latches}
    return kind, states.get((options.scope, kind), "armed"), "armed"


def _change(found: "RunDirectory", current: "Current", options: argparse.Namespace) -> Delivered:
    """Sign a command, put it where the engine looks, and wait for its answer."""
    from alephtx.core.clock import MachineClock, pause_thread
    from alephtx.core.secrets import resolve
    from alephtx.engine.limit_commands import Answer, LimitPaths
    from alephtx.risk.changes import Change, private_key, sign

    if not found.alive:
        raise ConfigError(f"run {found.id} does not go", remedy="change the config instead")
    clock, paths = MachineClock(), LimitPaths(found.path)
    limit, old, new = _old(current, options)
    try:
        change = msgspec.convert(
            {
                "run": found.id, "who": options.who, "when_ns": clock.now(),
                "action": options.action, "limit": limit, "scope": options.scope, "old": old,
                "new": new, "reason": options.reason, "nonce": secrets.token_hex(16),
            },
            Change,
        )  # fmt: skip
    except msgspec.ValidationError as error:
        raise ConfigError(f"the command cannot be made: {error}") from None
    signed = sign(change, private_key(resolve(options.key)))
    name = f"{change.nonce}.json"
    found.write_bytes(paths.inbox / name, msgspec.json.encode(signed))
    deadline = clock.monotonic() + int(options.wait * 1e9)
    while clock.monotonic() < deadline:
        answer: Any = found.read_as(paths.done / name, Answer)
        if answer is not None:
            return Delivered(found.id, change.scope, limit, old, new, answer.accepted, answer.said)
        pause_thread(POLL_NS)
    taken = not (paths.inbox / name).exists()
    (paths.inbox / name).unlink(missing_ok=True)
    raise ConfigError(
        f"the engine did not answer within {options.wait:g} s",
        remedy="alephtx limits shows whether it is in force" if taken else "it was taken back",
    )


def _told(told: Delivered) -> list[str]:
    what = f"{_named(told.scope, told.limit)}: {told.old} -> {told.new}"
    return [f"{what}, in force" if told.accepted else f"{what} refused: {told.said}"]
