"""Hyperliquid's signature of an L1 action in a kernel: three hashes and one signature.

The payload is what the action's hash is taken of: msgpack(action) | nonce | vault | expires. The
signature comes from libsecp256k1 as coincurve bundles it, called by address, 26 us and the very
bytes of `EvmSigner.sign_digest`; or from a prepared nonce (`signers.nonce_pool`) in some 0.1 us.
"""

from typing import Any

import numpy as np
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from alephtx.core.foreign import call_foreign
from alephtx.core.keccak import keccak_256, keccak_padded, padded
from alephtx.core.kernel import Int, kernel
from alephtx.core.memory import copy_bytes, load_byte, load_word, store_byte
from alephtx.core.packed import field, pack_fields
from alephtx.core.ports import Rows, Stage
from alephtx.core.private_memory import PrivateMemory
from alephtx.core.scalars import ecdsa_s
from alephtx.signers.nonce_pool import FIRST, PARITY, POINT, SECOND, NoncePool, draw, spend

REFUSED = -1
"""Of a stage whose signer is closed, or for a digest that cannot be signed."""

SIZE = 65
"""Bytes of a signature: r, s, v."""

# Words of a stage's field 0, then bytes of the same memory.
_SIGNATURE, _OPEN, _HOME, _POOL, _CONTEXT, _SIGN, _SPLIT = range(7)
_KEY, _DIGEST, _RAW, _RECOVERY, _RESULT = 64, 96, 128, 200, 208
_AGENT, _EXCHANGE, _SPONGE, _END = 280, 416, 552, 888
_WORDS = np.zeros(1, np.int64)

AGENT_HEAD, EXCHANGE_HEAD = 64, 34
"""Bytes of what stands before the hash in the two messages of an Agent's digest."""


def _address(name: str) -> int:
    return int(ffi.cast("intptr_t", ffi.addressof(lib, name)))


def make_stage(
    key: bytes, agent_head: bytes, exchange_head: bytes, pool: NoncePool | None
) -> tuple[Stage, PrivateMemory]:
    """Return a stage for one thread and the memory that is wiped when its signer is closed."""
    memory = PrivateMemory(_END // 8)
    words, raw = memory.words, memory.words.view(np.uint8)
    agent, exchange = padded(agent_head, 32), padded(exchange_head, 32)
    parts = ((_KEY, key), (_AGENT, agent), (_EXCHANGE, exchange))
    for at, part in parts:
        raw[at : at + len(part)] = np.frombuffer(part, np.uint8)
    words[_SIGNATURE], words[_HOME] = memory.address + _RESULT, memory.address
    words[_CONTEXT] = int(ffi.cast("intptr_t", GLOBAL_CONTEXT.ctx))
    words[_SIGN] = _address("secp256k1_ecdsa_sign_recoverable")
    words[_SPLIT] = _address("secp256k1_ecdsa_recoverable_signature_serialize_compact")
    words[_POOL] = 0 if pool is None else pool.address
    words[_OPEN] = 1
    owners: tuple[Any, ...] = (memory, pool, GLOBAL_CONTEXT)
    return Stage(sign_agent, pack_fields([words]), owners), memory


def sign_agent(state: Rows, payload: int, size: int) -> int:
    """Sign the L1 action whose hash is taken of a payload; returns the signature's bytes."""
    words = field(state, 0, _WORDS)
    if words[_OPEN] != 1 or size < 0:
        return REFUSED
    home = words[_HOME]
    hash_agent(home, payload, size)
    return sign_prepared(home, words[_POOL]) or sign_library(home)


@kernel
def hash_agent(home: Int, payload: Int, size: Int) -> int:
    """Write the EIP-712 digest of the Agent that stands for a payload."""
    keccak_256(home + _SPONGE, payload, size, home + _AGENT + AGENT_HEAD)
    sponge, exchange = home + _SPONGE, home + _EXCHANGE
    keccak_padded(sponge, 0, 0, home + _AGENT, exchange + EXCHANGE_HEAD)
    keccak_padded(sponge, 0, 0, exchange, home + _DIGEST)
    return 0


@kernel
def sign_prepared(home: Int, pool: Int) -> int:
    """Sign the digest with a prepared nonce; 0 where there is none."""
    if pool == 0:
        return 0
    entry = draw(pool)
    if entry == 0:
        return 0
    out = home + _RESULT
    turned = ecdsa_s(entry + FIRST, entry + SECOND, home + _DIGEST, out + 32)
    copy_bytes(out, entry + POINT, 32)
    odd = load_word(entry + PARITY)
    spend(entry)
    if turned < 0:
        return 0
    store_byte(out + 64, 27 + (odd ^ turned))
    return SIZE


@kernel
def sign_library(home: Int) -> int:
    """Sign the digest with the nonce of RFC 6979."""
    words, raw = home, home + _RAW
    context = load_word(words + 8 * _CONTEXT)
    done = call_foreign(
        load_word(words + 8 * _SIGN), context, raw, home + _DIGEST, home + _KEY, 0, 0
    )
    if done != 1:
        return REFUSED
    out, recovery = home + _RESULT, home + _RECOVERY
    call_foreign(load_word(words + 8 * _SPLIT), context, out, recovery, raw, 0, 0)
    store_byte(out + 64, 27 + load_byte(recovery))
    return SIZE
