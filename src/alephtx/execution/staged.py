"""Requests made without Python: written, paid for, signed and framed by compiled stages.

The venue's and the signer's stages (`core.ports.OrderStages`) write the very bytes that the codec's
`encode` would. Two use them, each with states of its own, because a state is one thread's: the
engine's loop, for an account that has a trade link there, and the account's `Outbox` else.
"""

import ctypes
from typing import Any

import numpy as np

from alephtx.core.errors import ConfigError
from alephtx.core.kernel import Int, entry, kernel
from alephtx.core.nonce import next_nonces, nonce_address
from alephtx.core.packed import FIELD_WORDS, field, pack_fields
from alephtx.core.ports import ORDER_FRAME, ORDER_NOW, ORDER_PAYLOAD, ORDER_WORDS, OrderStages, Rows
from alephtx.core.records import INTENT
from alephtx.core.stages import call_stage, stage_address
from alephtx.core.words import CANCEL
from alephtx.net.buckets import Buckets, buckets_take

OPS, COSTS_MAX = 4, 4
TRIES = 20
"""Looks at a budget that another thread is just taking from."""

# Fields of an entry.
E_WORDS = 0  # int64 (32,)
E_WRITING, E_SIGNING, E_SEALING = 1, 2, 3  # states of the stages
E_LEVELS, E_HELD = 4, 5  # `net.buckets`
E_COSTS = 6  # int64 (OPS, COSTS_MAX, 2): what a request of an op costs
ENTRY_FIELDS = 7

# Words of E_WORDS; `engine.entry_out` has the others.
W_AHEAD_NS, W_ROWS_MAX, W_WRITE, W_SIGN, W_SEAL = 1, 2, 3, 4, 5
W_COSTS = 8  # + op: how many costs it has
W_DECLINED, W_UNPAID = 17, 18  # how many requests ended so
ENTRY_WORDS = 32

FRAME_MAX = 1 << 16
FILL_MOST = 4
"""Nonces prepared in one go, 0.1 to 0.4 ms each."""

I1, I2, I3 = np.zeros(1, np.int64), np.zeros((1, 1), np.int64), np.zeros((1, 1, 1), np.int64)


@kernel
def framed(packed: Rows, rows: Int, n: Int, op: Int, wall_ns: Int, mono_ns: Int) -> int:
    """Write, pay for and sign the request of n INTENT rows of one op and instrument.

    packed: fields of an entry. rows: their address; they get their nonce. Returns the bytes of the
    frame, which is at ORDER_FRAME, or -W_ what it ended as: then nothing is to be sent of it.
    """
    own, writing = field(packed, E_WORDS, I1), field(packed, E_WRITING, I1)
    words = field(writing, ORDER_WORDS, I1)
    words[ORDER_NOW] = wall_ns + own[W_AHEAD_NS]
    size = call_stage(own[W_WRITE], writing, rows, n)
    if size <= 0:
        return -W_DECLINED
    wait = buckets_take(
        field(packed, E_LEVELS, I2), field(packed, E_HELD, I1), field(packed, E_COSTS, I3)[op],
        own[W_COSTS + op], 1 if op == CANCEL else 0, mono_ns, TRIES,
    )  # fmt: skip
    if wait != 0:
        return -W_UNPAID
    signing = field(packed, E_SIGNING, I1)
    signed = call_stage(own[W_SIGN], signing, words[ORDER_PAYLOAD], size)
    if signed <= 0:
        return -W_DECLINED
    signature = field(signing, 0, I1)[0]
    made = call_stage(own[W_SEAL], field(packed, E_SEALING, I1), signature, signed)
    return made if made > 0 else -W_DECLINED


def order_stages_of(name: str, codec: Any) -> OrderStages:
    """Return what writes an account's orders without Python; ConfigError: its venue has none."""
    stages: OrderStages | None = codec.order_stages() if hasattr(codec, "order_stages") else None
    if stages is None:
        raise ConfigError(
            f"account {name}: {codec.spec.name} has no compiled order entry",
            remedy='set entry = "gateway"',
        )
    return stages


class Staged:
    """One account's stages for one thread, and what they need: words, costs, budgets.

    ConfigError where the venue, or the signer, has none. packed: an entry for `framed`; its arrays
    live as long as this does. orders: the stages. near: what a request touches. pool: the signer's
    prepared nonces, None where it has none.
    """

    def __init__(self, name: str, codec: Any, buckets: Buckets) -> None:
        self.orders = orders = order_stages_of(name, codec)
        self.pool: Any = codec.nonce_pool
        self._signing = codec.signing_stage()
        self.words: Rows = np.zeros(ENTRY_WORDS, np.int64)
        self.words[W_ROWS_MAX] = orders.rows_max
        self._owners = []
        for word, stage in (
            (W_WRITE, orders.write), (W_SIGN, self._signing), (W_SEAL, orders.seal),
        ):  # fmt: skip
            self.words[word], owner = stage_address(stage.function)
            self._owners.append(owner)
        costs: Rows = np.zeros((OPS, COSTS_MAX, 2), np.int64)
        for op, charged in orders.costs.items():
            pairs = buckets.wanted(charged)
            self.words[W_COSTS + op] = len(pairs)
            costs[op, : len(pairs)] = pairs
        self._kept = (buckets.levels, buckets.held, costs)
        self.packed = pack_fields(
            [self.words, orders.write.state, self._signing.state, orders.seal.state, *self._kept]
        )
        assert len(self.packed) == ENTRY_FIELDS * FIELD_WORDS
        self._nonces = nonce_address(orders)
        self.near = (self.words, self.packed, orders.write, orders.seal, self._signing, self._kept)

    def next_nonce(self, least: int, n: int) -> int:
        """Return the first of n numbers, at least `least`, that nobody has used."""
        return int(next_nonces(self._nonces, least, n))


class Writer:
    """Stages as an `Outbox` calls them. rows: INTENT rows that it works on (rows_max,)."""

    def __init__(self, staged: Staged) -> None:
        self.staged = staged
        self.rows_max = staged.orders.rows_max
        self._memory = bytearray(self.rows_max * INTENT.itemsize)
        self.rows: Rows = np.frombuffer(self._memory, INTENT)
        self._address: int = self.rows.ctypes.data
        words = int(staged.orders.write.state[ORDER_WORDS * FIELD_WORDS])
        at = ctypes.c_int64.from_address(words + 8 * ORDER_FRAME).value
        memory: Any = (ctypes.c_char * FRAME_MAX).from_address(at)  # looked at as far as written
        self._frame = memoryview(memory).cast("B")
        # Compiled or loaded now, not when the first order waits.
        self._framed = entry(framed, staged.packed, 0, 0, 0, 0, 0)
        staged.next_nonce(0, 0)

    def prepare(self) -> None:
        """Prepare nonces, where the account asks for any; again and again, off the hot path."""
        if self.staged.pool is not None:
            self.staged.pool.fill(FILL_MOST)

    def write(self, raw: bytes, op: int, now_ns: int, mono_ns: int) -> bytes:
        """Return the frame of rows of one op and instrument, paid for; b"": `encode` is to do it.

        raw: the bytes of at most rows_max INTENT rows. `rows` has them afterwards, with the nonce
        of their request. now_ns: the venue's time. mono_ns: of the budgets' clock.
        """
        self._memory[: len(raw)] = raw
        n = len(raw) // INTENT.itemsize
        size = self._framed(self.staged.packed, self._address, n, op, now_ns, mono_ns)
        return self._frame[:size].tobytes() if size > 0 else b""
