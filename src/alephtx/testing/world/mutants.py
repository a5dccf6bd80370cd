"""Deliberately broken builds: what the world must notice, or its silence means nothing.

Each is a patch of one method for the length of a world. They are broken where money is lost in
practice: fills, fees, repeats, recovery, limits.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from alephtx.core import words
from alephtx.engine import assemble as assembling
from alephtx.engine import session as sessions
from alephtx.engine.halts import Halts
from alephtx.engine.limit_commands import LimitDesk
from alephtx.engine.rundir import RunDirectory
from alephtx.execution.gateway import Gateway
from alephtx.execution.inbox import Inbox
from alephtx.execution.lookout import Lookout
from alephtx.execution.outbox import Outbox
from alephtx.execution.resync import Truth
from alephtx.execution.standing import Standing
from alephtx.feed.outlet import Outlet
from alephtx.matrix import journal_read
from alephtx.net import pool_redis
from alephtx.net.clockwatch import ClockWatch
from alephtx.risk.limits import NO_LIMIT

MUTANTS: dict[str, Callable[[], Any]] = {}


def mutant(make: Callable[[], Any]) -> Callable[[], Any]:
    """Enter a broken build under its name."""
    MUTANTS[make.__name__] = make
    return make


@contextlib.contextmanager
def broken(name: str) -> Iterator[None]:
    """Break the product in one way; "" breaks nothing."""
    with MUTANTS[name]() if name else contextlib.nullcontext():
        yield


def _instead(owner: Any, name: str, make: Callable[[Any], Any]) -> Any:
    """Put what `make` makes of a method in its place."""
    return mock.patch.object(owner, name, make(getattr(owner, name)))


@mutant
def drop_a_fill() -> Any:
    """Every seventh trade is never heard of, on the stream or asked for."""

    def make(push: Any) -> Any:
        def lossy(self: Any, row: Any) -> None:
            if row[0]["kind"] == words.FILL and row[0]["trade_id"] % 7 == 0:
                return
            push(self, row)

        return lossy

    return _instead(Inbox, "push", make)


@mutant
def count_a_fill_twice() -> Any:
    """A fill that is asked for counts beside the one that was heard."""

    def make(query: Any) -> Any:
        async def twice(self: Any, what: Any, **given: Any) -> Any:
            rows = await query(self, what, **given)
            for row in rows:
                if row[0]["kind"] == words.FILL:
                    row["trade_id"] += 1 << 40
            return rows

        return twice

    return _instead(Truth, "query", make)


@mutant
def forget_a_fee() -> Any:
    """Every fifth trade costs nothing."""

    def make(push: Any) -> Any:
        def generous(self: Any, row: Any) -> None:
            if row[0]["kind"] == words.FILL and row[0]["trade_id"] % 5 == 0:
                row["fee"] = 0
            push(self, row)

        return generous

    return _instead(Inbox, "push", make)


@mutant
def forget_funding() -> Any:
    """Funding is not booked."""

    def make(push: Any) -> Any:
        def blind(self: Any, row: Any) -> None:
            if row[0]["kind"] != words.FUNDING_PAID:
                push(self, row)

        return blind

    return _instead(Inbox, "push", make)


@mutant
def resend_on_timeout() -> Any:
    """An order whose answer is lost is sent again."""

    def make(doubt: Any) -> Any:
        def again(self: Any, request: Any, why: str) -> None:
            if request.op == words.PLACE:
                self._spawn(self._send(request))
            doubt(self, request, why)

        return again

    return _instead(Outbox, "_doubt", make)


@mutant
def doubt_is_refusal() -> Any:
    """An order whose answer is lost is taken for one that never was."""

    def make(_: Any) -> Any:
        def hasty(self: Any, request: Any, why: str) -> None:
            for order_id in request.order_ids:
                self.inbox.push(self.inbox.blank(words.REJECT, order_id, request.instrument))
                self.inbox.live.pop(order_id, None)

        return hasty

    return _instead(Outbox, "_doubt", make)


@mutant
def send_twice() -> Any:
    """Every order is handed to its gateway twice."""

    def make(submit: Any) -> Any:
        def eager(self: Any, intents: Any) -> None:
            submit(self, intents)
            submit(self, intents)

        return eager

    return _instead(Outbox, "submit", make)


@mutant
def no_resync() -> Any:
    """After a lost link the account is taken for known."""

    def make(synchronise: Any) -> Any:
        async def lazy(self: Any, **more: Any) -> None:
            if not self.balances:
                await synchronise(self, **more)

        return lazy

    return _instead(Truth, "synchronise", make)


@mutant
def no_recovery() -> Any:
    """A restarted engine does not take up what its journal knows."""
    return _instead(Gateway, "resume", lambda _: lambda self, *known: None)


@mutant
def epoch_used_again() -> Any:
    """A restarted engine counts its orders from the beginning."""
    return mock.patch.object(sessions, "next_epoch", return_value=1)


@mutant
def no_cancel_at_the_end() -> Any:
    """A stopped engine leaves its orders to themselves."""
    return _instead(sessions.Session, "cancel_order", lambda _: lambda self, *order: None)


@mutant
def skip_the_position_rule() -> Any:
    """No position is too large."""

    def make(make_gate: Any) -> Any:
        def open_gate(*given: Any, **names: Any) -> Any:
            gate = make_gate(*given, **names)
            gate.position_max[:] = gate.account_position_max[:] = NO_LIMIT - 1
            return gate

        return open_gate

    return _instead(assembling, "make_gate", make)


@mutant
def send_in_a_halt() -> Any:
    """What passed the gate before a halt leaves in it."""
    return _instead(Halts, "halted", lambda _: lambda self: False)


@mutant
def close_in_words_only() -> Any:
    """An account that should be closed is said to be, and is not."""
    return _instead(Gateway, "_standing_changed", lambda _: lambda self: None)


@mutant
def a_restart_lifts() -> Any:
    """What waits for a person is forgotten by the next engine."""
    return _instead(Standing, "restore", lambda _: lambda self, mask: None)


@mutant
def believe_foreigners() -> Any:
    """Nobody minds what others do on the account."""
    return _instead(Gateway, "_foreign_seen", lambda _: lambda self, what: None)


@mutant
def trust_a_pool_that_forgot() -> Any:
    """A pool that has just begun grants shares before every engine has spoken."""
    script = pool_redis.SCRIPT.replace("#missing == 0 and ", "")
    return mock.patch.object(pool_redis, "SCRIPT", script)


@mutant
def end_for_a_file() -> Any:
    """An engine ends when the disk does not take its status."""
    return mock.patch.object(RunDirectory, "show_json", RunDirectory.write_json)


@mutant
def skip_what_is_damaged() -> Any:
    """A journal that is damaged in its middle is read as far as it is good."""
    return mock.patch.object(journal_read, "record_after", return_value=-1)


@mutant
def a_restart_forgets_limits() -> Any:
    """A limit that an officer changed is the old one again after a restart."""
    return _instead(LimitDesk, "replay", lambda _: lambda self, payload: None)


@mutant
def believe_the_wire() -> Any:
    """What has just arrived is young."""
    return _instead(Outlet, "measured", lambda _: lambda self, ahead_ns, error_ns: None)


@mutant
def trust_our_clock() -> Any:
    """Orders carry this machine's time, whatever the venue's is."""
    return _instead(ClockWatch, "now", lambda _: lambda self: self._clock.now())


@mutant
def cancel_in_a_rage() -> Any:
    """A refused cancel is sent again as soon as somebody asks."""

    def make(_: Any) -> Any:
        async def at_once(self: Any, request: Any) -> bool:
            return True

        return at_once

    return _instead(Outbox, "_may_cancel", make)


@mutant
def look_at_nothing() -> Any:
    """An order that rests is not asked for, however long nothing is heard of it."""
    return _instead(Lookout, "sweep", lambda _: lambda self: None)
