"""Whether an account may take new risk although its links are up, and why not.

Reasons come from outside the orders: somebody else traded on it, the venue closed a position of
ours by force, or its books and ours differ. Each is told once, as an alarm, when it comes and when
it goes. What a person must look at stays until a person lifts it, and the rows that say whether the
account is open carry it (`mask`): a restart is no person. A difference goes by itself.
"""

from collections.abc import Callable

from alephtx.core.log import logger

log = logger("gateway")

FOREIGN = "somebody else trades on this account"
FORCED = "the venue closed a position by force"
DIFFERENT = "the venue's books differ from ours"
FOR_A_PERSON = (FOREIGN, FORCED)
"""The k-th is bit k of a mask."""


class Standing:
    """One account's reasons against new risk.

    on_change() when the first reason came or the last went, and whenever what waits for a person
    changed; on_alarm(text) for a person.
    """

    def __init__(self, account: int, on_change: Callable[[], None]) -> None:
        self.account = account
        self.reasons: dict[str, str] = {}
        self.on_alarm: Callable[[str], None] = lambda text: None
        self._on_change = on_change

    @property
    def blocked(self) -> bool:
        """True while there is a reason."""
        return bool(self.reasons)

    @property
    def mask(self) -> int:
        """Return what waits for a person, as a journal keeps it."""
        return sum(1 << k for k, reason in enumerate(FOR_A_PERSON) if reason in self.reasons)

    def restore(self, mask: int) -> None:
        """Close the account for what waited for a person when the engine before ended."""
        for k, reason in enumerate(FOR_A_PERSON):
            if mask >> k & 1:
                self.block(reason, "nobody had lifted it when the engine before ended")

    def block(self, reason: str, what: str) -> None:
        """Let no new risk through for a reason; a reason that stands already is not told again."""
        if reason in self.reasons:
            return
        first = not self.reasons
        self.reasons[reason] = what
        log.error("account_blocked", account=self.account, reason=reason, what=what)
        self.on_alarm(f"account {self.account} takes no new risk: {reason}: {what}")
        if first or reason in FOR_A_PERSON:
            self._on_change()

    def lift(self, *reasons: str) -> None:
        """Take reasons back; new risk is open again when none is left."""
        gone = [reason for reason in reasons if self.reasons.pop(reason, None) is not None]
        for reason in gone:
            log.warning("account_block_lifted", account=self.account, reason=reason)
            self.on_alarm(f"account {self.account}: no longer so: {reason}")
        if gone and (not self.reasons or not set(gone).isdisjoint(FOR_A_PERSON)):
            self._on_change()
