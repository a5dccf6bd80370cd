"""One engine's share of a gross limit that several have together: asked for, used, given back.

The gate knows nothing of it: it has a limit, `firm_gross_max`, and this desk moves that, through a
journaled command between two events as a signed change does. Three rules keep the sum of all
engines within the whole. A limit is raised only after the pool granted it. It is lowered, and found
lowered, before the pool hears of it. And what the journal says we may have used is what we tell a
pool that has forgotten us.

Where the pool is out of reach for `lost_ms` the limit falls to the local share, or to nothing that
adds risk; what was granted stays granted, because positions stay.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import numpy as np

from alephtx.core.clock import Clock
from alephtx.core.config_schema import Config
from alephtx.core.errors import PoolError
from alephtx.core.log import logger
from alephtx.core.secrets import resolve
from alephtx.core.words import DENY_EXPOSURE
from alephtx.engine.context import C_DENIED_BY, COMMAND_LIMIT, Context
from alephtx.engine.limit_apply import APPLIED, NOT_KEPT, PENDING
from alephtx.engine.pool_file import FilePool
from alephtx.risk.exposure import gross_now
from alephtx.risk.shares import CENT_E6, wanted

log = logger("shares")

ROUND_NS = 100_000_000
APPLY_NS = 1_000_000


class Pool(Protocol):
    """Where shares are kept."""

    async def ask(
        self, engine: int, held: int, want: int, total: int, charter: tuple[int, ...]
    ) -> tuple[int, int, tuple[int, ...]]:
        """Return (cents granted, cents granted to all, engines missing); PoolError."""
        ...

    async def close(self) -> None:
        """Let everything go."""
        ...


class Entry(msgspec.Struct):
    """The payload of a COMMAND record that moves the share.

    cents: the gate's limit from here on. held: what the pool counts for us, at most.
    """

    kind: str
    cents: int
    held: int
    why: str


class Told(msgspec.Struct):
    """What the status says of it; cents."""

    limit: int
    held: int
    use: int
    granted_to_all: int
    missing: tuple[int, ...]
    lost: bool


def pool_of(config: Config, life: int) -> Pool:
    """Return the pool that a config names. life: the engine's epoch, greater at each start."""
    assert config.shared is not None
    place = config.shared.pool
    if place.startswith("file:"):
        return FilePool(place.removeprefix("file:"))
    password = resolve(config.shared.password).reveal() if config.shared.password else ""
    from alephtx.net.pool_redis import RedisPool  # a tenth of an engine's start, for few

    return RedisPool(place, password, life=life)


class ShareDesk:
    """See the module. push: puts a row into the loop's ring of commands."""

    def __init__(
        self, config: Config, clock: Clock, ctx: Context, push: Callable[[Any], bool]
    ) -> None:
        self.shared = config.shared
        self._engine, self._clock, self._ctx, self._push = config.node.engine, clock, ctx, push
        self._heard = clock.monotonic()
        self._granted, self._missing = 0, tuple[int, ...]()
        self.lost, self._met, self._denied = False, False, 0
        self.alarm: Callable[[str], None] = lambda text: None
        if self.shared is None:
            return
        self.total = int(self.shared.firm_gross_max * 100)
        self.local = int((self.shared.local_share or 0) * 100)
        self.held = self.limit = self.local  # what others count for us; what our gate may use
        ctx.gate.firm_gross_max[0] = self.limit * CENT_E6

    def replay(self, payload: bytes | memoryview) -> None:
        """Take up what a record of the journal says we may have used, while no loop runs."""
        if self.shared is None:
            return
        try:
            entry = msgspec.json.decode(payload, type=Entry)
        except msgspec.MsgspecError:
            return
        if entry.kind == "share":
            self.held = max(entry.held, self.local)  # the gate begins with the local share

    # -- rounds ----------------------------------------------------------------------------

    async def run(self, pool: Pool) -> None:
        """Ask, raise, lower and give back until cancelled."""
        try:
            while True:
                await self.round(pool)
                await self._clock.sleep(ROUND_NS)
        finally:
            await pool.close()

    async def round(self, pool: Pool) -> None:
        """Do one exchange with the pool."""
        assert self.shared is not None
        use = self.use()
        if use < 0 and not self._met:
            return  # no price yet of what is held: nobody knows what we have
        if not self._met:
            # What was held before this run began is in no record of it, and counts all the same.
            self.held, self._met = max(self.held, use), True
        want = wanted(
            self.total if use < 0 else use, self.held, self.local, self.total, self.shared.engines,
            pressed=self._pressed(),
        )  # fmt: skip
        if want < self.held and self.limit == self.held:
            await self._give_back(want)
        try:
            cents, self._granted, self._missing = await pool.ask(
                self._engine, self.held, max(want, self.held), self.total, self.shared.engines
            )
        except PoolError as error:
            await self._unheard(str(error))
            return
        self._heard = self._clock.monotonic()
        if self.lost:
            log.warning("pool_heard_again")
            self.alarm("the pool of shared limits is heard again")
        self.lost = False
        cents = max(cents, self.held)
        # Journaled before it may be used, so that a restart tells the pool no less.
        if cents != self.limit and await self._set(cents, cents, "granted"):
            self.held = cents

    def _pressed(self) -> bool:
        """Tell whether orders were denied for exposure since the last time."""
        denied = int(self._ctx.counters[C_DENIED_BY + DENY_EXPOSURE])
        before, self._denied = self._denied, denied
        return denied > before

    async def _give_back(self, want: int) -> None:
        """Lower the limit; what is used beyond it all the same is not given back."""
        before = self.limit
        if not await self._set(want, self.held, "lowered"):
            return
        # Journaled before the pool hears of it: after a restart we must not claim it again.
        if 0 <= self.use() <= want and await self._set(want, want, "returned"):
            self.held = want
        else:
            await self._set(before, self.held, "in use")

    async def _unheard(self, why: str) -> None:
        """Fall to the local share when the pool was out of reach for too long."""
        assert self.shared is not None
        silent_ns = self._clock.monotonic() - self._heard
        if self.lost or silent_ns < self.shared.lost_ms * 1_000_000:
            return
        self.lost = True
        log.error("pool_lost", why=why, local_cents=self.local)
        self.alarm(f"the pool of shared limits is lost ({why}): {self.local / 100:.2f} are left")
        if self.limit > self.local:
            await self._set(self.local, self.held, "lost")

    async def _set(self, cents: int, held: int, why: str) -> bool:
        """Move the gate's limit between two events, journaled; False when it was not kept."""
        record = np.frombuffer(
            msgspec.json.encode(Entry("share", cents, max(cents, held), why)), np.uint8
        ).copy()
        stores = np.zeros(3, np.int64)
        stores[1] = self._ctx.gate.firm_gross_max.ctypes.data
        stores[2] = cents * CENT_E6
        row = np.zeros(8, np.int64)
        row[0], row[1], row[2] = COMMAND_LIMIT, record.ctypes.data, len(record)
        row[3], row[4] = stores.ctypes.data, 1
        while not self._push(row):
            await self._clock.sleep(APPLY_NS)
        while stores[0] == PENDING:  # the loop has the addresses: nothing goes on before it is done
            await self._clock.sleep(APPLY_NS)
        if stores[0] == NOT_KEPT:
            return False
        assert stores[0] == APPLIED
        self.limit = cents
        log.info("share_moved", cents=cents, held=held, why=why)
        return True

    # -- what others read ------------------------------------------------------------------

    def use(self) -> int:
        """Return the cents of the whole that our accounts use at worst, rounded up; -1 unknown."""
        ctx = self._ctx
        gate, table = ctx.gate, ctx.table
        gross = gross_now(
            ctx.top, ctx.instruments, gate.market, gate.rate_e8, table.open_account,
            ctx.account_positions,
        )  # fmt: skip
        return -1 if gross < 0 else -(-int(gross) // CENT_E6)

    def told(self) -> Told | None:
        """Return what the status says; None where nothing is shared."""
        if self.shared is None:
            return None
        return Told(self.limit, self.held, self.use(), self._granted, self._missing, self.lost)
