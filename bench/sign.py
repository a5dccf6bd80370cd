"""Signatures: the stages of the hot path against the libraries' own ways, in turns.

    python bench/sign.py [--json] [--rounds 15]

Payloads are of the sizes that orders have: 200 bytes for Binance, 170 for Hyperliquid's action.
Each compiled signature signs what holds the one before, so that none can be left out or overlap.
"prepared" takes a nonce of the opt-in pool, see docs/signing.md. Every way's signature is checked.
"""

import ctypes
import hmac
import time
from collections.abc import Callable
from functools import partial

import coincurve
import numpy as np
from lib.rounds import interleave, options, report

from alephtx.core.atomics import monotonic_ns
from alephtx.core.kernel import Int, kernel_around
from alephtx.core.memory import load_word, store_word
from alephtx.core.ports import Stage
from alephtx.core.secrets import Secret
from alephtx.signers import evm_stage
from alephtx.signers.ed25519 import Ed25519Signer
from alephtx.signers.evm import EvmSigner, keccak256, l1_digest
from alephtx.signers.evm_stage import sign_prepared
from alephtx.signers.hmac_sha256 import HmacSigner

ORDER_BYTES, ACTION_BYTES = 200, 170
BATCH, FEW = 64, 4
SEED = bytes(range(1, 33))


def sign(state: np.ndarray, payload: Int, size: Int) -> int:
    """Stand in for a stage's function."""
    raise AssertionError


def drive(state: np.ndarray, payload: Int, size: Int, n: Int) -> int:
    """Sign n times, each time what holds the signature before; ns of all, -1 for a refusal."""
    begun = monotonic_ns()
    for _ in range(n):
        if sign(state, payload, size) < 0:
            return -1
        store_word(payload, load_word(load_word(state[0])))
    return monotonic_ns() - begun


def finish(state: np.ndarray, payload: Int, size: Int) -> int:
    """Sign the digest of an EVM stage that the signature before was written into."""
    home = state[0]
    store_word(home + evm_stage._DIGEST, load_word(home + evm_stage._RESULT + 32))  # noqa: SLF001
    return sign_prepared(home, load_word(home + 8 * evm_stage._POOL))  # noqa: SLF001


def compiled(
    stage: Stage, size: int, n: int, fill: Callable[[], object] = lambda: None
) -> Callable[[], float]:
    """Return a way that signs n times in a kernel: us a signature."""
    run = kernel_around(drive, sign=stage.function)
    payload = np.zeros(size, np.uint8)

    def way() -> float:
        fill()
        took = run(stage.state, payload.ctypes.data, size, n)
        assert took > 0, "the stage refuses"
        return took / n / 1000

    way()  # compiles
    return way


def called(sign_one: Callable[[bytes], object], size: int, n: int) -> Callable[[], float]:
    """Return a way that calls Python: us a signature."""
    payload = bytes(size)

    def way() -> float:
        begun = time.perf_counter_ns()
        for _ in range(n):
            sign_one(payload)
        return (time.perf_counter_ns() - begun) / n / 1000

    return way


def once(stage: Stage, payload: bytes) -> bytes:
    """Return what a stage makes of a payload."""
    run = kernel_around(drive, sign=stage.function)
    raw = np.frombuffer(bytearray(payload), np.uint8)
    assert run(stage.state, raw.ctypes.data, len(payload), 1) > 0
    return ctypes.string_at(ctypes.c_int64.from_address(int(stage.state[0])).value, 88)


def typed_data(key: bytes) -> Callable[[bytes], object] | None:
    """Return eth-account's way to sign an Agent, which the vendor's SDK takes; None without it."""
    try:
        from eth_account import Account
        from eth_account.messages import encode_typed_data
    except ImportError:
        return None
    account = Account.from_key(key)
    domain = {"name": "Exchange", "version": "1", "chainId": 1337,
              "verifyingContract": "0x" + "0" * 40}  # fmt: skip
    kinds = {"Agent": [{"name": "source", "type": "string"},
                       {"name": "connectionId", "type": "bytes32"}]}  # fmt: skip

    def sign_one(payload: bytes) -> object:
        data = {"source": "b", "connectionId": keccak256(payload)}
        return account.sign_message(encode_typed_data(domain, kinds, data))

    return sign_one


def main() -> None:
    """Check every way, measure them in turns, print."""
    given = options(__doc__).parse_args()
    plain, theirs = HmacSigner("key", Secret("s" * 64)), hmac.new(b"s" * 64, digestmod="sha256")
    evm, evm_pool = EvmSigner(Secret(SEED.hex())), EvmSigner(Secret(SEED.hex()), BATCH)
    edwards, edwards_pool = (Ed25519Signer("key", Secret(SEED.hex()), n) for n in (0, BATCH))
    key = coincurve.PrivateKey(SEED)
    assert evm_pool.pool is not None
    assert edwards_pool.pool is not None

    payload, action = b"p" * ORDER_BYTES, b"a" * ACTION_BYTES
    digest = l1_digest(keccak256(action), mainnet=False)
    stages = {"hmac": plain.stage(), "evm": evm.stage(mainnet=False), "ed": edwards.stage()}
    assert once(stages["hmac"], payload)[:64] == plain.sign(payload)
    assert once(stages["evm"], action)[:65] == evm.sign_digest(digest)
    assert once(stages["ed"], payload)[:88] == edwards.sign(payload)
    evm_pool.pool.fill(BATCH)
    made = once(evm_pool.stage(mainnet=False), action)[:65]
    assert key.public_key == coincurve.PublicKey.from_signature_and_message(
        made[:64] + bytes((made[64] - 27,)), digest, hasher=None
    )

    ready, evm_fill = evm_pool.stage(mainnet=False), partial(evm_pool.pool.fill, BATCH)
    ways = {
        "HMAC-SHA256, stage": compiled(stages["hmac"], ORDER_BYTES, BATCH),
        "HMAC-SHA256, HmacSigner.sign": called(plain.sign, ORDER_BYTES, BATCH),
        "HMAC-SHA256, hmac.copy.hexdigest": called(partial(_hmac, theirs), ORDER_BYTES, BATCH),
        "L1 action, stage": compiled(stages["evm"], ACTION_BYTES, FEW),
        "L1 action, stage, prepared": compiled(ready, ACTION_BYTES, BATCH, evm_fill),
        "ECDSA alone, prepared": compiled(
            Stage(finish, ready.owners[0].words[2:3].copy(), (ready,)), 8, BATCH, evm_fill
        ),
        "L1 action, EvmSigner in Python": called(
            lambda one: evm.sign_digest(l1_digest(keccak256(one), mainnet=False)), ACTION_BYTES, FEW
        ),
        "ECDSA alone, coincurve": called(
            lambda _: key.sign_recoverable(digest, hasher=None), 1, FEW
        ),
        "Ed25519, stage": compiled(stages["ed"], ORDER_BYTES, FEW),
        "Ed25519, stage, prepared": compiled(
            edwards_pool.stage(), ORDER_BYTES, BATCH, partial(edwards_pool.pool.fill, BATCH)
        ),
        "nonce prepared, ECDSA": _filled(evm_pool),
        "nonce prepared, Ed25519": _filled(edwards_pool),
    }
    against = {
        "HMAC-SHA256, stage": "HMAC-SHA256, hmac.copy.hexdigest",
        "L1 action, stage": "ECDSA alone, coincurve",
        "L1 action, stage, prepared": "ECDSA alone, coincurve",
        "ECDSA alone, prepared": "ECDSA alone, coincurve",
    }
    if (usual := typed_data(SEED)) is not None:
        ways["L1 action, eth-account"] = called(usual, ACTION_BYTES, 1)
        against["L1 action, EvmSigner in Python"] = "L1 action, eth-account"
    if (library := _cryptography()) is not None:
        ways["Ed25519, cryptography"] = called(library, ORDER_BYTES, FEW)
        against["Ed25519, stage"] = against["Ed25519, stage, prepared"] = "Ed25519, cryptography"
    figures = interleave(ways, given.rounds)
    assert evm_pool.pool.missed == edwards_pool.pool.missed == 0, "measured the library instead"
    report("sign", figures, "us", against=against, as_json=given.json)


def _hmac(prepared: hmac.HMAC, payload: bytes) -> str:
    mac = prepared.copy()
    mac.update(payload)
    return mac.hexdigest()


def _cryptography() -> Callable[[bytes], object] | None:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        return None
    return Ed25519PrivateKey.from_private_bytes(SEED).sign


def _filled(signer: EvmSigner | Ed25519Signer) -> Callable[[], float]:
    """Return a way that makes one entry of a pool and throws it away."""

    def way() -> float:
        begun = time.perf_counter_ns()
        assert signer.pool is not None
        signer.pool._draw_up()  # noqa: SLF001 - what `fill` does for each
        return (time.perf_counter_ns() - begun) / 1000

    return way


if __name__ == "__main__":
    main()
