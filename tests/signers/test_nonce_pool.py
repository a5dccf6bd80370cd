"""Prepared nonces: each signs once, verifies elsewhere, and nothing of it is left or inherited."""

import itertools
import os
import pickle
import threading
from types import SimpleNamespace

import coincurve
import numpy as np
import pytest
from eth_keys import keys
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.atomics import load_acquire
from alephtx.core.kernel import JIT, kernel
from alephtx.core.memory import load_word
from alephtx.core.scalars import SECP256K1_ORDER
from alephtx.core.secrets import Secret
from alephtx.signers import nonce_pool
from alephtx.signers.evm import EvmSigner, keccak256, l1_digest, prepare_nonce
from alephtx.signers.evm_stage import sign_prepared
from alephtx.signers.nonce_pool import ENTRIES_MAX, NoncePool, draw, spend
from tests.signers.staged import enter

N = SECP256K1_ORDER
KEY = "0x" + "12" * 32
PUBLIC = coincurve.PrivateKey(bytes.fromhex(KEY[2:])).public_key
pytestmark = pytest.mark.kernel


@kernel
def take(pool):
    return draw(pool)


@kernel
def give_back(entry):
    return spend(entry)


@kernel
def finish(home, pool):
    return sign_prepared(home, pool)


def recovered(digest, raw):
    """By two libraries; eth-keys is Python and knows nothing of libsecp256k1."""
    ours = raw[:64] + bytes([raw[64] - 27])
    one = coincurve.PublicKey.from_signature_and_message(ours, digest, hasher=None)
    other = keys.Signature(ours).recover_public_key_from_msg_hash(digest)
    assert one.format(compressed=False)[1:] == other.to_bytes()
    return one


def entries(pool):
    return pool._memory.words[16:].reshape(-1, 16)


def test_signatures_recover_the_key_are_low_and_never_share_a_point():
    signer = EvmSigner(Secret(KEY), 24)
    assert signer.pool.fill() == 24
    stage, points = signer.stage(False), set()
    for k in range(24):
        raw = enter(stage, b"same payload")
        assert recovered(l1_digest(keccak256(b"same payload"), False), raw) == PUBLIC
        assert int.from_bytes(raw[32:64], "big") <= N // 2
        points.add(raw[:32])
        assert signer.pool.drawn == k + 1
    assert len(points) == 24
    assert signer.pool.missed == 0


@settings(max_examples=40, deadline=None)
@given(st.one_of(st.sampled_from([0, 1, N // 2, N - 1, N, 2**256 - 1]), st.integers(0, 2**256 - 1)))
def test_any_digest_edges_included_verifies(digest):
    """A digest of zero, of the order and beyond it are signed as the standard says."""
    signer = EvmSigner(Secret(KEY), 1)
    signer.pool.fill()
    home = np.zeros(100, np.int64)
    raw = home.view(np.uint8)
    raw[96:128] = np.frombuffer(digest.to_bytes(32, "big"), np.uint8)
    assert finish(home.ctypes.data, signer.pool.address) == 65
    assert recovered(digest.to_bytes(32, "big"), raw[208:273].tobytes()) == PUBLIC


def test_s_of_zero_is_no_signature_and_the_entry_is_gone():
    """z = -r d: nobody can aim at it, but the arithmetic must say so."""
    signer = EvmSigner(Secret(KEY), 1)
    key = int(KEY, 16)
    signer.pool.fill()
    r = int.from_bytes(entries(signer.pool)[0].view(np.uint8)[64:96].tobytes(), "big")
    home = np.zeros(100, np.int64)
    digest = (-r * key % N).to_bytes(32, "big")
    home.view(np.uint8)[96:128] = np.frombuffer(digest, np.uint8)
    assert finish(home.ctypes.data, signer.pool.address) == 0
    assert not entries(signer.pool).any()


def test_entry_is_wiped_when_its_signature_is_told():
    signer = EvmSigner(Secret(KEY), 3)
    signer.pool.fill()
    stage = signer.stage(False)
    assert entries(signer.pool).all(axis=0)[:12].all()
    enter(stage, b"x")
    assert not entries(signer.pool)[0].any()
    assert entries(signer.pool)[1:].any(axis=1).all()


def test_empty_pool_falls_back_to_the_library_and_counts_it():
    signer = EvmSigner(Secret(KEY), 2)
    stage = signer.stage(True)
    digest = l1_digest(keccak256(b"x"), True)
    deterministic = signer.sign_digest(digest)
    assert enter(stage, b"x") == deterministic
    signer.pool.fill()
    prepared = [enter(stage, b"x"), enter(stage, b"x")]
    assert deterministic not in prepared
    assert [recovered(digest, raw) for raw in prepared] == [PUBLIC, PUBLIC]
    assert enter(stage, b"x") == deterministic
    assert (signer.pool.drawn, signer.pool.missed) == (2, 2)


def test_pool_fills_in_batches_round_and_round_and_no_further():
    signer = EvmSigner(Secret(KEY), 5)
    pool, stage = signer.pool, signer.stage(False)
    assert [pool.fill(3), pool.fill(3), pool.fill(3)] == [3, 2, 0]
    points = set()
    for _ in range(4):
        for _ in range(3):
            points.add(enter(stage, b"x")[:32])
        assert pool.fill(9) == 3
    assert (len(points), pool.ready, pool.filled, pool.missed) == (12, 5, 17, 0)


def test_drawn_entry_is_given_to_nobody_else_and_not_overwritten():
    """Between draw and spend an entry is one thread's; the filler keeps off."""
    signer = EvmSigner(Secret(KEY), 1)
    pool = signer.pool
    pool.fill()
    entry = take(pool.address)
    assert entry
    assert take(pool.address) == 0
    before = entries(pool).copy()
    assert pool.fill() == 0
    assert (entries(pool) == before).all()
    give_back(entry)
    assert pool.fill() == 1


@kernel
def rush(pool, gate, seen, tries):
    """Wait for the gate, then draw and spend as fast as it goes; how many nonces were seen."""
    waited = 0
    while load_acquire(gate) == 0 and waited < 10**9:
        waited += 1
    n = 0
    for _ in range(tries):
        entry = draw(pool)
        if entry != 0:
            seen[n] = load_word(entry)
            n += 1
            spend(entry)
    return n


@pytest.mark.skipif(JIT, reason="steps in between two instructions")
@pytest.mark.parametrize("when", [1, 2])
def test_thread_that_comes_in_between_gets_another_entry_or_none(when, monkeypatch):
    """Threads that race seldom meet in the one nanosecond that counts; here they always do."""
    pool = NoncePool(lambda k: (k, 0, bytes(32), 0), N, 3)
    pool.fill()
    exchange, other, calls = nonce_pool.compare_exchange, [], []

    def interrupted(address, expected, wanted):
        calls.append(address)
        if len(calls) == when:
            other.append(draw(pool.address))
        return exchange(address, expected, wanted)

    monkeypatch.setattr(nonce_pool, "compare_exchange", interrupted)
    mine = draw(pool.address)
    assert len(other) == 1
    assert sorted([mine, other[0]])[0] == 0, "one of the two is told to come again"
    assert max(mine, other[0]) > 0
    spend(max(mine, other[0]))
    following = draw(pool.address)
    assert following not in (0, mine, other[0])
    assert pool.drawn == 2


@pytest.mark.skipif(not JIT, reason="the exchange is atomic in machine code only")
@pytest.mark.parametrize("turn", range(3))
def test_threads_that_draw_at_once_while_another_fills_never_see_a_nonce_twice(turn):
    """Three loops without the GIL, and the filler beside them."""
    numbers = itertools.count(1)
    pool = NoncePool(lambda k: (next(numbers), 0, bytes(32), 0), N, ENTRIES_MAX)
    gate = np.ones(1, np.int64)
    rush(pool.address, gate.ctypes.data, np.zeros(1, np.int64), 1)  # compiled before the race
    gate[0] = 0
    assert pool.fill(ENTRIES_MAX) == ENTRIES_MAX
    seen, counts = [np.zeros(300_000, np.int64) for _ in range(3)], [0] * 3

    def run(k):
        counts[k] = rush(pool.address, gate.ctypes.data, seen[k], len(seen[k]))

    threads = [threading.Thread(target=run, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    gate[0] = 1
    while any(thread.is_alive() for thread in threads):
        pool.fill(8)
    every = [int(nonce) for row, n in zip(seen, counts, strict=True) for nonce in row[:n]]
    assert len(every) == len(set(every))
    assert 0 not in every, "never one that was wiped"
    left = entries(pool)[:, 0]
    assert len(every) == pool.drawn
    assert len(every) + np.count_nonzero(left) == pool.filled


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a fork while other threads live
def test_forked_child_has_no_entries_and_cannot_make_any():
    """Parent and child with one pool would sign two orders with one nonce."""
    signer = EvmSigner(Secret(KEY), 4)
    signer.pool.fill()
    take(signer.pool.address)
    pid = os.fork()
    if pid == 0:
        bare = not signer.pool._memory.words.any() and take(signer.pool.address) == 0
        os._exit(0 if bare and signer.pool.fill() == 0 and signer.pool.ready == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert signer.pool.ready == 3


def test_closed_pool_is_zero_and_stays_so():
    signer = EvmSigner(Secret(KEY), 4)
    signer.pool.fill()
    signer.close()
    assert not signer.pool._memory.words.any()
    assert (take(signer.pool.address), signer.pool.fill(), signer.pool.ready) == (0, 0, 0)


def test_nonces_come_from_the_operating_system_and_differ(monkeypatch):
    asked = []
    monkeypatch.setattr(nonce_pool.secrets, "randbelow", lambda n: asked.append(n) or len(asked))
    seen = []
    pool = NoncePool(lambda k: seen.append(k) or (k, k, bytes(32), 0), N, 8)
    pool.fill()
    assert asked == [N - 1] * 8, "uniform over 1 .. n - 1"
    assert seen == list(range(2, 10))


def test_nonce_that_cannot_be_told_is_drawn_again():
    made = iter([None, None, (1, 2, b"p" * 32, 1)])
    pool = NoncePool(lambda k: next(made), N, 1)
    assert pool.fill() == 1


def test_refills_beyond_the_limit_are_told(monkeypatch):
    said = []
    monkeypatch.setattr(nonce_pool, "ALARM_EVERY", 4)
    warn = SimpleNamespace(warning=lambda event, **what: said.append((event, what)))
    monkeypatch.setattr(nonce_pool, "log", warn)
    NoncePool(lambda k: (1, 2, bytes(32), 0), N, 9).fill()
    assert said == [("nonces_used_up", {"filled": n, "missed": 0}) for n in (4, 8)]


def test_entry_of_a_nonce_is_what_the_equation_wants():
    key, k = 7, 12345
    inverse, product, point, parity = prepare_nonce(key, k)
    assert inverse * k % N == 1
    x = coincurve.PrivateKey(k.to_bytes(32, "big")).public_key.point()
    assert int.from_bytes(point, "big") == x[0]
    assert product == inverse * x[0] * key % N
    assert parity == x[1] & 1


def test_pool_neither_shows_nor_travels():
    signer = EvmSigner(Secret(KEY), 2)
    signer.pool.fill()
    assert repr(signer.pool) == "NoncePool(2 of 2 ready)"
    for one in (signer.pool, signer):
        with pytest.raises(TypeError, match="never leaves"):
            pickle.dumps(one)


@pytest.mark.parametrize("n", [0, -1, ENTRIES_MAX + 1])
def test_pool_of_odd_size_is_a_mistake(n):
    with pytest.raises(AssertionError):
        NoncePool(lambda k: None, N, n)


def test_no_pool_unless_asked_for():
    assert EvmSigner(Secret(KEY)).pool is None
