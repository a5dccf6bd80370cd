"""The run-time check of the books: identities, kernel against ledger, and two sources of profit.

It follows the journal into the ledger on the main thread. Whatever is wrong (an identity that does
not hold, a record that cannot be booked, compiled positions that differ from the ledger's, two
profits of one strategy or account that differ by more than rounding) halts new risk and says why;
it never sells and never ends the process. The halt is asked for again as long as the cause stands,
so that lifting it needs the cause gone (or a restart, which folds everything anew).
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.core.clock import Clock
from alephtx.core.errors import AlephError
from alephtx.core.log import logger
from alephtx.engine import context as c
from alephtx.ledger.book import NOBODY, Ledger
from alephtx.ledger.cost import Position
from alephtx.ledger.two_sources import (
    ACCOUNTING,
    FINE,
    STOP,
    Marks,
    account_profit,
    judge,
    kernel_profit,
    strategy_profit,
    uncounted_profit,
)
from alephtx.matrix.journal import UPDATE, Record

log = logger("ledger")

PATIENCE = 3
"""Looks in a row that must agree on what is wrong before it is called so."""

PROFIT_EVERY_NS = 250_000_000
"""Time between two judgements of the profits."""

WALLET_PATIENCE = 40
"""Judgements in a row before an account's profit by its wallet is believed to be wrong: what the
venue realized counts fills that may be on their way to us, for as long as they wait for an owner
(`inbox.ORPHAN_NS`) and longer."""

ALARMS_MAX = 20


class LedgerWatch:
    """Keeps one engine's ledger and compares it with the step's own state.

    command: reaches the loop, which is told to take no new risk. alarm: tells people. verdicts: by
    strategy, the last judgement of its two profits. troubles: what stands now, by what it is about.
    """

    def __init__(
        self,
        ledger: Ledger,
        ctx: c.Context,
        clock: Clock,
        command: Callable[[int], None],
        alarm: Callable[[str], None],
    ) -> None:
        self.ledger = ledger
        self.ctx = ctx
        self.troubles: dict[str, str] = {}
        self.verdicts = [FINE] * len(ctx.strategies)
        self.compared = 0
        self._clock, self._command, self._alarm = clock, command, alarm
        self._alarms = 0
        self._followed = 0  # UPDATE records of this life of the loop
        self._compared_at = -1
        self._suspected: dict[str, int] = {}
        self._judge_at = 0

    def recover(self, records: Iterable[Record]) -> None:
        """Fold what the journal already holds; the context was folded from the same records."""
        self._book(records)
        self._followed = 0

    def follow(self, records: Iterable[Record]) -> None:
        """Fold what is new, and look."""
        self._book(records)
        self.look()

    def may_flatten(self, strategy: int) -> bool:
        """Tell whether both sources agree that a strategy is beyond its limit."""
        return self.verdicts[strategy] == STOP and not self.troubles

    def _book(self, records: Iterable[Record]) -> None:
        for record in records:
            self._followed += record.kind == UPDATE
            try:
                self.ledger.apply(record)
            except (AlephError, ArithmeticError, LookupError) as error:
                # The rest is booked all the same: what is held must be known to be reduced.
                self._trouble(f"record {record.seq}", str(error))

    def look(self) -> None:
        """Compare, when the ledger is where the loop is; a thousand times a second is fine.

        Five microseconds for each position; only after something moved, and with the profits every
        PROFIT_EVERY_NS.
        """
        now = self._clock.monotonic()
        profits = now >= self._judge_at
        moved = self._followed != self._compared_at or self._suspected
        copied = self._settled() if profits or moved else None
        if copied is not None:
            positions, account_positions, top = copied
            self.compared += 1
            self._compared_at = self._followed
            found = position_differences(self.ledger, positions, account_positions, self.ctx)
            if profits:
                self._judge_at = now + PROFIT_EVERY_NS
                found |= self._judge_profits(positions, account_positions, top)
            self._weigh(found, profits=profits)
        if self.troubles and not self.ctx.control[c.X_HALTED]:
            self._command(c.COMMAND_HALT)

    def _settled(self) -> tuple[Any, Any, Any] | None:
        """Copy positions and tops while the loop is between two updates and the ledger is there.

        None when it is not. The loop counts an update before it journals it and again after it was
        applied, so equal counts before and after the copy mean that nothing moved meanwhile.
        """
        if not self._still():
            return None
        copied = self.ctx.positions.copy(), self.ctx.account_positions.copy(), self.ctx.top.copy()
        return copied if self._still() else None

    def _still(self) -> bool:
        begun, done = self.ctx.control[c.X_UPDATE_COUNT], self.ctx.counters[c.C_UPDATES]
        return bool(begun == done == self._followed)

    def _weigh(self, found: dict[str, str], *, profits: bool) -> None:
        """Believe what was seen PATIENCE times in a row; forget what is gone."""
        for what in [*self._suspected, *self.troubles]:
            if what not in found and (profits or not what.startswith("profit")):
                self._suspected.pop(what, None)
                if not what.startswith("record"):
                    self._over(what)
        for what, said in found.items():
            self._suspected[what] = self._suspected.get(what, 0) + 1
            if self._suspected[what] >= _patience(what):
                self._trouble(what, said)

    def _trouble(self, what: str, said: str) -> None:
        new = what not in self.troubles
        self.troubles[what] = said
        if not new:
            return
        log.error("accounting_error_found", what=what, said=said)
        self._alarms += 1
        if self._alarms <= ALARMS_MAX:
            self._alarm(f"accounting error, new risk is halted: {what}: {said}")
        self._command(c.COMMAND_HALT)

    def _over(self, what: str) -> None:
        if self.troubles.pop(what, None) is not None:
            log.warning("accounting_error_gone", what=what)

    # -- profits -------------------------------------------------------------------------------

    def _judge_profits(self, positions: Any, account_positions: Any, top: Any) -> dict[str, str]:
        """Judge every strategy and account; a stop that both sources see latches the gate."""
        marks, found, worths = self._marks(top), {}, dict[str, Decimal]()
        rows, gate = self.ctx.instruments, self.ctx.gate
        for s in range(len(positions)):
            kernel = kernel_profit(positions[s], rows, marks)
            books = strategy_profit(self.ledger, s, marks)
            aside = uncounted_profit(self.ledger, s, marks, worths)
            verdict = judge(kernel, books, aside, int(gate.drawdown_max[s]))
            if verdict == ACCOUNTING:
                found[f"profit of strategy {s}"] = f"{kernel} by the kernel, {books} by the books"
            elif verdict == STOP and not gate.latched[s]:
                log.warning("drawdown_latched", strategy=s, kernel=kernel, aside=aside)
                gate.latched[s] = 1
            self.verdicts[s] = verdict
        for a in range(len(account_positions)):
            kernel = kernel_profit(account_positions[a], rows, marks)
            books = account_profit(self.ledger, a, marks)
            if judge(kernel, books, 0, 1 << 62) == ACCOUNTING:
                found[f"profit of account {a}"] = f"{kernel} by the kernel, {books} by the wallet"
        return found

    def _marks(self, top: Any) -> Marks:
        both = (top["bid"] > 0) & (top["ask"] > 0) & (top["bid_qty"] > 0) & (top["ask_qty"] > 0)
        middle = np.where(both, (top["bid"] + top["ask"]) >> 1, 0)
        rates = self.ctx.gate.rate_e8
        return Marks(dict(enumerate(middle.tolist())), dict(enumerate(rates.tolist())))


def _patience(what: str) -> int:
    if what.startswith("profit of account"):
        return WALLET_PATIENCE
    return 1 if what.startswith("profit") else PATIENCE


def position_differences(
    ledger: Ledger, positions: Any, account_positions: Any, ctx: c.Context
) -> dict[str, str]:
    """Return where compiled positions differ from the ledger's, to the unit; {} when nowhere.

    Five microseconds for each position.
    """
    found: dict[str, str] = {}
    strategies: dict[tuple[int, int], Position] = {}
    for (account, s, i), position in ledger.strategies.items():
        if s == NOBODY:
            continue  # a person's trades, or the venue's by force: the account has them
        if s < len(positions) and ctx.account_of[s, ctx.venue_of[i]] == account:
            strategies[s, i] = position
        elif position.qty:
            key = ledger.instruments[i].key
            found[f"position of strategy {s} in {key}"] = (
                f"{position.qty} lots on account {account}"
            )
    for what, rows, books in (
        ("strategy", positions, strategies),
        ("account", account_positions, ledger.accounts),
    ):
        touched = np.argwhere((rows["fills"] != 0) | (rows["qty"] != 0)).tolist()
        for owner, i in {*books, *((int(o), int(k)) for o, k in touched)}:
            ours = books.get((owner, i), Position())
            if owner >= len(rows):
                said = f"{ours.qty} lots, and it is not in the config" if ours.qty else ""
            else:
                said = row_difference(rows[owner, i], ours, ctx.instruments[i])
            if said:
                found[f"position of {what} {owner} in {ledger.instruments[i].key}"] = said
    return found


def row_difference(row: Any, position: Position, instrument: Any) -> str:
    """Return the first field in which a POSITION row differs from the ledger's, empty for none."""
    mul, div = int(instrument["money_mul"]), int(instrument["money_div"])
    if instrument["contract"] == words.INVERSE:
        realized, carry = position.gain, 0
    else:
        realized, carry = divmod(position.gain * mul, div)
    ours = {
        "qty": position.qty, "cost": position.cost, "realized": realized, "carry": carry,
        "bought": position.bought, "sold": position.sold, "fills": position.fills,
        "fees": position.fees,
    }  # fmt: skip
    for name, value in ours.items():
        if row[name] != value:
            return f"{name} is {int(row[name])} in the kernel, {value} in the ledger"
    return ""
