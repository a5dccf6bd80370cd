"""A halt, as the engine's main thread obeys it: nothing new leaves, what is open is cancelled.

The gate denies new orders by itself. What had passed it before may still be on its way through the
gateway, waiting for a rate budget or a connection, or in a process that was stopped for a while;
it is refused there.
"""

from typing import TYPE_CHECKING

from alephtx.core.log import logger
from alephtx.engine import context as c
from alephtx.engine import truth
from alephtx.engine.wire import AccountWire
from alephtx.execution.gateway import Gateway
from alephtx.matrix.writers import halt_read

if TYPE_CHECKING:
    from alephtx.engine.session import Session

log = logger("engine")

CANCEL_EVERY_NS = 1_000_000_000


class Halts:
    """Whoever halted us: the halt word in the matrix, or a reason of the engine's own."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        # Read before the loop runs: a halt that is lifted while the engine starts was one, too.
        self._word, self._cancel_again = int(halt_read(session.matrix.map)), 0
        self._obeyed = 0  # as of X_HALTS
        self._journal_told = False

    def halted(self) -> bool:
        """Tell whether no new order may leave, at this very moment."""
        session = self._session
        return bool(halt_read(session.matrix.map) or session.ctx.control[c.X_HALTED])

    def keep(self, gateway: Gateway, wire: AccountWire) -> None:
        """Let an account ask whenever a new order's bytes are about to leave."""
        gateway.outbox.halted = self.halted
        wire.http.on_leaving = gateway.outbox.check_leaving

    def obey(self) -> None:
        """Cancel what is open while halted; go on when a person lifts it.

        Cancels are repeated: one that overtook its order on the way to the venue found nothing.
        A halt that came and went between two looks is known by the loop's count of those it obeyed.
        It is read before the word: one that is counted and does not stand now was lifted.
        """
        session = self._session
        obeyed = int(session.ctx.control[c.X_HALTS])
        word = int(halt_read(session.matrix.map))
        if session.journal.failure and not self._journal_told:
            self._journal_told = True
            session.alarms.append(f"no new orders: the journal failed: {session.journal.failure}")
        unseen = obeyed != self._obeyed and not self._word and not word
        if unseen:
            log.warning("engine_was_halted", why="a halt was set and lifted within a moment")
        if unseen or (self._word and not word):
            log.warning("halt_lifted", word=self._word)
            session.command(c.COMMAND_RESUME)
            truth.lift(session.gateways)
        if word and not self._word:
            log.warning("engine_halted", word=word)
        self._word, self._obeyed = word, obeyed
        now = session.clock.monotonic()
        if unseen or (session.ctx.control[c.X_HALTED] and now >= self._cancel_again):
            self._cancel_again = now + CANCEL_EVERY_NS
            session.cancel_everything()
