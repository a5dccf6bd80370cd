"""Keccak-256, the hash of Ethereum's world (not SHA3-256), over memory at an address.

Costs 0.35 us for each 136 bytes begun.
Source: the Keccak reference, version 3.0, section 1; padding 0x01 as before the standard of 2015.
"""

import ctypes
from typing import Any

from alephtx.core.atomics import stay_apart
from alephtx.core.kernel import JIT, Int, Intrinsic, kernel
from alephtx.core.memory import copy_bytes, load_byte, load_word, store_byte, store_word, wipe

RATE = 136
STATE_BYTES = 200
ROUNDS = 24
_MASK = (1 << 64) - 1


def _constants() -> tuple[int, ...]:
    """Return the rounds' constants: bits 2^j - 1 of each from the register of the reference."""
    register, made = 1, []
    for _ in range(ROUNDS):
        word = 0
        for j in range(7):
            word |= (register & 1) << (1 << j) - 1
            register = register << 1 ^ (register >> 7) * 0x171
        made.append(word)
    return tuple(made)


def _moves() -> tuple[tuple[int, int, int], ...]:
    """Return (from, to, rotation) of the steps rho and pi for lanes x + 5 y, but lane 0."""
    made = []
    x, y = 1, 0
    for t in range(24):
        x_to, y_to = y, (2 * x + 3 * y) % 5
        made.append((x + 5 * y, x_to + 5 * y_to, (t + 1) * (t + 2) // 2 % 64))
        x, y = x_to, y_to
    return tuple(made)


CONSTANTS, MOVES = _constants(), _moves()


def permute(state: int) -> None:
    """Apply Keccak-f[1600] to the 200 bytes at an address."""
    raw = ctypes.string_at(int(state), STATE_BYTES)
    lanes = [int.from_bytes(raw[k : k + 8], "little") for k in range(0, STATE_BYTES, 8)]
    for constant in CONSTANTS:
        sums = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20]
                for x in range(5)]  # fmt: skip
        mixed = [sums[x - 1] ^ _turned(sums[(x + 1) % 5], 1) for x in range(5)]
        lanes = [lane ^ mixed[k % 5] for k, lane in enumerate(lanes)]
        moved = lanes[:]
        for source, target, by in MOVES:
            moved[target] = _turned(lanes[source], by)
        lanes = [
            moved[k] ^ ~moved[k - k % 5 + (k + 1) % 5] & moved[k - k % 5 + (k + 2) % 5]
            for k in range(25)
        ]
        lanes[0] ^= constant
    data = b"".join(lane.to_bytes(8, "little") for lane in lanes)
    ctypes.memmove(int(state), data, STATE_BYTES)


def _turned(word: int, by: int) -> int:
    return (word << by | word >> 64 - by) & _MASK


def _code() -> Any:
    from alephtx.core import keccak_code

    return keccak_code


if JIT:
    permute = Intrinsic(_code, "permute")  # type: ignore[assignment]


@kernel
def keccak_256(state: Int, data: Int, size: Int, out: Int) -> int:
    """Write the 32 bytes of a message's hash. state: 336 bytes to work in.

    The last block is padded behind the state and takes the others' way, so that the permutation,
    which is long, stands here once.
    """
    last = state + STATE_BYTES
    whole = size // RATE
    rest = size - whole * RATE
    wipe(last, RATE)
    copy_bytes(last, data + whole * RATE, rest)
    store_byte(last + rest, 0x01)
    store_byte(last + RATE - 1, load_byte(last + RATE - 1) | 0x80)
    return keccak_padded(state, data, whole, last, out)


@kernel
def keccak_padded(state: Int, data: Int, whole: Int, last: Int, out: Int) -> int:
    """Write the hash of whole blocks and a last one that is padded already; see `padded`."""
    stay_apart()
    wipe(state, STATE_BYTES)
    for block in range(whole + 1):
        source = data + block * RATE if block < whole else last
        for k in range(0, RATE, 8):
            store_word(state + k, load_word(state + k) ^ load_word(source + k))
        permute(state)
    copy_bytes(out, state, 32)
    return 0


def padded(head: bytes, rest: int) -> bytes:
    """Return the last block of a message that ends with a head and so many bytes more, zeros yet.

    For a kernel that writes them there: such a message is hashed where it lies.
    """
    size = len(head) + rest
    assert size < RATE
    block = bytearray(head.ljust(RATE, b"\0"))
    block[size] |= 0x01
    block[RATE - 1] |= 0x80
    return bytes(block)
