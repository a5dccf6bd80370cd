"""Ed25519 as Binance and others want it: base64 of the 64 bytes, over the payload as it is sent.

The key is what the user made: a PKCS #8 PEM, or its 32-byte seed as hex or base64. Signatures are
those of RFC 8032, by libcrypto in 50 us, PyCryptodome in 2 ms where that is missing. In a kernel:
by libcrypto, or from a prepared nonce (`signers.nonce_pool`) in 1 us.
"""

import base64
import binascii
import hashlib
import re
from typing import Any, NoReturn

import numpy as np
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from alephtx.core.errors import ConfigError
from alephtx.core.foreign import call_foreign
from alephtx.core.kernel import Int, kernel
from alephtx.core.memory import copy_bytes, load_byte, load_word, store_byte, store_word
from alephtx.core.packed import field, pack_fields
from alephtx.core.ports import Rows, Stage
from alephtx.core.private_memory import PrivateMemory
from alephtx.core.scalars import ED25519_ORDER, eddsa_s
from alephtx.core.secrets import Secret
from alephtx.core.sha2 import BLOCK_512, START_512, digest_512, finish_512, hash_blocks_512
from alephtx.signers.edwards import multiple_of_base
from alephtx.signers.libcrypto import LibraryKey, load
from alephtx.signers.nonce_pool import FIRST, POINT, Entry, NoncePool, draw, spend

REFUSED = -1
"""Of a stage whose signer is closed, or that has neither a library nor a nonce."""

SIZE, RAW_SIZE = 88, 64
"""Bytes of a signature, as base64 and without."""

_SEED_BYTES = 32
_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

# Words of a stage's field 0, then bytes of the same memory.
_SIGNATURE, _OPEN, _HOME, _POOL, _CONTEXT, _LIBRARY_KEY, _INIT, _SIGN = range(8)
_KEY, _PUBLIC, _START, _STATE, _HEAD = 64, 96, 128, 192, 256
_SCRATCH, _HASH, _RAW, _LENGTH, _LETTERS, _RESULT, _END = 384, 640, 704, 768, 776, 840, 928
_WORDS = np.zeros(1, np.int64)


def read_seed(text: str) -> bytes:
    """Return the 32-byte seed of a key in any of its forms; ConfigError without showing it."""
    text = text.strip()
    if text.startswith("-----BEGIN"):
        return _read_pem(text.replace("\\n", "\n"))
    if found := _HEX.fullmatch(text):
        return bytes.fromhex(found[1])
    try:
        seed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise ConfigError(
            "the Ed25519 key is neither a PEM nor 32 bytes as hex or base64 (not shown)",
            remedy="give the private key's PEM file as it was made, not the public one",
        )
    return seed


def _read_pem(text: str) -> bytes:
    try:
        key = ECC.import_key(text)
        if key.curve == "Ed25519" and key.has_private():
            return bytes(key.seed)
    except (ValueError, TypeError, IndexError):
        raise ConfigError(
            "the Ed25519 key's PEM cannot be read (not shown)",
            remedy="give an unencrypted PKCS #8 file, BEGIN PRIVATE KEY",
        ) from None
    raise ConfigError(
        f"the PEM holds a {'private' if key.has_private() else 'public'} {key.curve} key",
        remedy="give an Ed25519 private key",
    )


def prepare_nonce(nonce: int) -> Entry:
    """Return what a signature with this nonce needs."""
    return nonce, 0, multiple_of_base(nonce), 0


class Ed25519Signer:
    """Signs payloads with one private key; `api_key` names it on the wire, `public` is its half.

    pool: prepared nonces, None where none were asked for.
    """

    def __init__(self, api_key: str, secret: Secret, nonce_pool: int = 0) -> None:
        """Take a key, see `read_seed`. nonce_pool: how many nonces to keep, see docs/signing.md."""
        if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ConfigError(
                f"an API key of {len(api_key)} characters cannot travel in a header",
                remedy="give the key as printable ASCII without blanks",
            )
        self.api_key = api_key
        seed = read_seed(secret.reveal())
        library = load()
        self._open = True
        self._library = library
        self._key: Any = LibraryKey(library, seed) if library else None
        self._slow: Any = None
        self._stages: list[PrivateMemory] = []
        parts: dict[str, Any] = {"curve": "Ed25519", "seed": seed}
        key = ECC.construct(**parts)
        self.public = bytes(key.public_key().export_key(format="raw"))
        if not library:
            self._slow = eddsa.new(key, "rfc8032")
        self._seed = PrivateMemory(_SEED_BYTES // 8)
        self._seed.words[:] = np.frombuffer(seed, np.int64)
        self.pool: NoncePool | None = None
        if nonce_pool:
            self.pool = NoncePool(prepare_nonce, ED25519_ORDER, nonce_pool)

    def sign_raw(self, payload: bytes) -> bytes:
        """Return the 64 bytes of RFC 8032."""
        assert self._open, "the signer is closed"
        return bytes((self._key or self._slow).sign(payload))

    def sign(self, payload: bytes) -> bytes:
        """Return the signature as base64, 88 characters."""
        return base64.b64encode(self.sign_raw(payload))

    def stage(self) -> Stage:
        """Return the compiled way to sign, for one thread; see `core.ports.Signer`."""
        assert self._open, "the signer is closed"
        memory = PrivateMemory(_END // 8)
        words, raw = memory.words, memory.words.view(np.uint8)
        seed = self._seed.words.tobytes()
        key = None if self._library is None else LibraryKey(self._library, seed)
        start = b"".join(word.to_bytes(8, "little") for word in START_512)
        parts = (
            (_KEY, _scalar(seed)), (_PUBLIC, self.public), (_START, start), (_LETTERS, _ALPHABET)
        )  # fmt: skip
        for at, part in parts:
            raw[at : at + len(part)] = np.frombuffer(part, np.uint8)
        words[_SIGNATURE], words[_HOME] = memory.address + _RESULT, memory.address
        words[_POOL] = 0 if self.pool is None else self.pool.address
        if key is not None:
            words[_CONTEXT : _SIGN + 1] = (key.context, key.key, key.init, key.sign_at)
        words[_OPEN] = 1
        self._stages.append(memory)
        return Stage(sign_ed25519, pack_fields([words]), (memory, self.pool, key))

    def close(self) -> None:
        """Forget the key, wipe what stages and pool hold; stages refuse from now on.

        For when no thread is in a stage any more: one would sign with half an entry.
        """
        self._open = False
        self._key = self._slow = None
        for memory in (self._seed, *self._stages):
            memory.close()
        if self.pool is not None:
            self.pool.close()

    def __repr__(self) -> str:
        return f"Ed25519Signer(api_key={self.api_key[:4]}***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer never leaves its process")


def _scalar(seed: bytes) -> bytes:
    """Return the secret scalar of RFC 8032 section 5.1.5 modulo the order."""
    half = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    half = half & ((1 << 254) - 8) | 1 << 254
    return (half % ED25519_ORDER).to_bytes(32, "little")


def sign_ed25519(state: Rows, payload: int, size: int) -> int:
    """Sign a payload at an address; see `Ed25519Signer.stage`. Returns the signature's bytes."""
    words = field(state, 0, _WORDS)
    if words[_OPEN] != 1 or size < 0:
        return REFUSED
    home = words[_HOME]
    made = sign_prepared(home, words[_POOL], payload, size) or sign_library(home, payload, size)
    if made < 0:
        return REFUSED
    write_base64(home + _RAW, RAW_SIZE, home + _LETTERS, home + _RESULT)
    return SIZE


@kernel
def sign_prepared(home: Int, pool: Int, payload: Int, size: Int) -> int:
    """Sign with a prepared nonce; 0 where there is none.

    SHA-512 takes R, the public key and the payload; the payload's whole blocks where they lie.
    """
    if pool == 0:
        return 0
    entry = draw(pool)
    if entry == 0:
        return 0
    raw, head, state = home + _RAW, home + _HEAD, home + _STATE
    copy_bytes(raw, entry + POINT, 32)
    copy_bytes(head, raw, 32)
    copy_bytes(head + 32, home + _PUBLIC, 32)
    copy_bytes(state, home + _START, 64)
    first = min(size, BLOCK_512 - 64)
    copy_bytes(head + 64, payload, first)
    if size > first:
        hash_blocks_512(state, head, 1, head, 0)
        finish_512(state, payload + first, size - first, BLOCK_512, home + _SCRATCH)
    else:
        finish_512(state, head, 64 + size, 0, home + _SCRATCH)
    digest_512(state, home + _HASH)
    eddsa_s(entry + FIRST, home + _KEY, home + _HASH, raw + 32)
    spend(entry)
    return RAW_SIZE


@kernel
def sign_library(home: Int, payload: Int, size: Int) -> int:
    """Sign as RFC 8032 has it, in libcrypto."""
    context = load_word(home + 8 * _CONTEXT)
    if context == 0:
        return REFUSED
    key, length = load_word(home + 8 * _LIBRARY_KEY), home + _LENGTH
    if call_foreign(load_word(home + 8 * _INIT), context, 0, 0, 0, key, 0) != 1:
        return REFUSED
    store_word(length, RAW_SIZE)
    sign = load_word(home + 8 * _SIGN)
    done = call_foreign(sign, context, home + _RAW, length, payload, size, 0)
    return RAW_SIZE if done == 1 else REFUSED


@kernel
def write_base64(data: Int, size: Int, letters: Int, out: Int) -> int:
    """Write bytes as base64, padded; letters: where the alphabet is. Returns the characters."""
    written = 0
    for k in range(0, size, 3):
        left = min(size - k, 3)
        three = load_byte(data + k) << 16
        if left > 1:
            three |= load_byte(data + k + 1) << 8
        if left > 2:
            three |= load_byte(data + k + 2)
        for n in range(4):
            letter = load_byte(letters + ((three >> (18 - 6 * n)) & 63))
            store_byte(out + written, letter if n <= left else 0x3D)
            written += 1
    return written
