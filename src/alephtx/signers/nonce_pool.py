"""Nonces prepared for signatures to come, each for one signature: opt-in, see docs/signing.md.

Most of an ECDSA or Ed25519 signature is the nonce's point on the curve, which does not depend on
what is signed. It is computed ahead, off the hot path; what is left is 0.05 us. A nonce that signs
twice gives the key away, and so does an entry of this pool that leaks. So an entry is drawn from
the operating system's generator, lies in private memory only (never shared, dumped or on disk; zero
in a forked child), is taken by an exchange that one thread wins, and is wiped before its
signature is told. When the pool is empty, the library signs as if there were none.
"""

import secrets
from collections.abc import Callable
from typing import NoReturn

import numpy as np

from alephtx.core.atomics import compare_exchange, load_acquire, store_release
from alephtx.core.kernel import Int, kernel
from alephtx.core.log import logger
from alephtx.core.memory import copy_bytes, wipe
from alephtx.core.private_memory import PrivateMemory

log = logger("nonce_pool")

ENTRIES_MAX = 4096
ALARM_EVERY = 100_000
"""Entries filled in one run, at each multiple of which a warning says that orders are that many."""

FIRST, SECOND, POINT, PARITY = 0, 32, 64, 96
"""Bytes of an entry: 1/k and r d / k (ECDSA) or the nonce alone (Ed25519), little-endian; what the
signature shows of the point; whether its y is odd."""

_STATE, _ENTRY_BYTES, _HEAD_BYTES = 104, 128, 128
_OPEN, _CAPACITY, _NEXT, _MISSED = 0, 8, 16, 24  # bytes of the head
_EMPTY, _FULL, _TAKEN = 0, 1, 2
_CLOSED = 0

Entry = tuple[int, int, bytes, int]
"""first, second, point, parity."""


@kernel
def draw(pool: Int) -> int:
    """Take an entry out; its address, which `spend` gives back, or 0 where there is none.

    Whoever else asks meanwhile is told 0, too: the exchange has one winner, and the next index is
    moved by the winner alone.
    """
    if load_acquire(pool + _OPEN) == _CLOSED:
        return 0
    n = load_acquire(pool + _NEXT)
    entry = pool + _HEAD_BYTES + n % load_acquire(pool + _CAPACITY) * _ENTRY_BYTES
    if compare_exchange(entry + _STATE, _FULL, _TAKEN) != _FULL:
        store_release(pool + _MISSED, load_acquire(pool + _MISSED) + 1)
        return 0
    compare_exchange(pool + _NEXT, n, n + 1)
    return entry


@kernel
def spend(entry: Int) -> int:
    """Wipe an entry that was drawn: its signature may be told only after this."""
    wipe(entry, _STATE)
    store_release(entry + _STATE, _EMPTY)
    return 0


@kernel
def put(pool: Int, n: Int, source: Int) -> int:
    """Move an entry from a place into number n of the pool; 0 where that is not empty yet."""
    entry = pool + _HEAD_BYTES + n * _ENTRY_BYTES
    if load_acquire(entry + _STATE) != _EMPTY:
        return 0
    copy_bytes(entry, source, _STATE)
    wipe(source, _STATE)
    store_release(entry + _STATE, _FULL)
    return 1


class NoncePool:
    """Prepared entries of one signer; one thread fills, the stages of the signer draw.

    drawn, missed: entries used, signatures for which there was none. filled: entries made.
    """

    __slots__ = ("_draft", "_make", "_memory", "capacity", "filled")

    def __init__(self, make: Callable[[int], Entry | None], order: int, capacity: int) -> None:
        """Make an empty pool. make: entry of a nonce, None for one that cannot sign."""
        assert 1 <= capacity <= ENTRIES_MAX
        self.capacity, self.filled = capacity, 0
        self._make: tuple[Callable[[int], Entry | None], int] | None = (make, order)
        self._memory = PrivateMemory((_HEAD_BYTES + capacity * _ENTRY_BYTES) // 8)
        self._draft = PrivateMemory(_ENTRY_BYTES // 8)
        self._memory.words[_CAPACITY // 8] = capacity
        self._memory.words[_OPEN // 8] = 1

    @property
    def address(self) -> int:
        """Return where `draw` finds it."""
        return self._memory.address

    @property
    def locked(self) -> bool:
        """Tell whether the host keeps it out of swap."""
        return self._memory.locked

    @property
    def drawn(self) -> int:
        """Return how many entries were used."""
        return int(self._memory.words[_NEXT // 8])

    @property
    def missed(self) -> int:
        """Return how many signatures found it empty and were left to the library."""
        return int(self._memory.words[_MISSED // 8])

    @property
    def ready(self) -> int:
        """Return how many entries wait."""
        return max(self.filled - self.drawn, 0) if self._memory.words[_OPEN // 8] else 0

    def fill(self, most: int = 64) -> int:
        """Prepare up to so many entries where there is room; 0.1 ms each. Returns how many.

        For the main thread, again and again; one thread at a time.
        """
        made = 0
        while made < most and self.ready < self.capacity and self._memory.words[_OPEN // 8]:
            self._draw_up()
            if not put(self.address, self.filled % self.capacity, self._draft.address):
                break  # being used this very moment
            self.filled += 1
            made += 1
            if self.filled % ALARM_EVERY == 0:
                log.warning("nonces_used_up", filled=self.filled, missed=self.missed)
        self._draft.close()
        return made

    def _draw_up(self) -> None:
        assert self._make is not None
        make, order = self._make
        entry = None
        while entry is None:
            entry = make(secrets.randbelow(order - 1) + 1)
        first, second, point, parity = entry
        raw = first.to_bytes(32, "little") + second.to_bytes(32, "little") + point
        self._draft.words.view(np.uint8)[:PARITY] = np.frombuffer(raw, np.uint8)
        self._draft.words[PARITY // 8] = parity

    def close(self) -> None:
        """Wipe every entry; `draw` finds none from now on."""
        self._make = None
        self._memory.close()
        self._draft.close()

    def __repr__(self) -> str:
        return f"NoncePool({self.ready} of {self.capacity} ready)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a nonce pool never leaves its process")
