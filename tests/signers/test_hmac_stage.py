"""HMAC-SHA256 in a kernel: the bytes of `sign`, of every length, and nothing left behind."""

import gc
import hmac
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.secrets import Secret
from alephtx.signers.hmac_sha256 import _AFTER, REFUSED, HmacSigner
from tests.signers.staged import enter

GOLDEN = Path(__file__).parent.parent / "golden" / "binance"
VECTORS = json.loads((GOLDEN / "signatures.json").read_text())
SIZES = (0, 1, 55, 56, 63, 64, 65, 119, 120, 200, 4096)
pytestmark = pytest.mark.kernel


@pytest.mark.smoke
@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v.get("id") or v["signature"][:8])
def test_stage_published_vector_equals(vector):
    signer = HmacSigner("key", Secret(vector["secret"]))
    assert enter(signer.stage(), vector["payload"].encode()) == vector["signature"].encode()


@pytest.mark.parametrize("size", SIZES)
def test_stage_payload_at_every_edge_of_a_block_equals_pythons(size):
    payload = bytes(k * 11 % 251 for k in range(size))
    stage = HmacSigner("key", Secret("k" * 64)).stage()
    assert enter(stage, payload) == hmac.digest(b"k" * 64, payload, "sha256").hex().encode()


@settings(max_examples=50)
@given(st.text(min_size=1, max_size=90), st.lists(st.binary(max_size=300), max_size=3))
def test_stage_any_key_and_payloads_in_a_row_equals_sign(key, payloads):
    """Keys longer than a block are hashed first; one signature leaves nothing for the next."""
    signer = HmacSigner("key", Secret(key))
    stage = signer.stage()
    for payload in payloads:
        assert enter(stage, payload) == signer.sign(payload)


def test_stage_payloads_that_begin_alike_or_not_in_any_turn_equal_sign():
    """A stage remembers the state after the last first block; zeros are what its memory has."""
    signer = HmacSigner("key", Secret("secret"))
    stage = signer.stage()
    zeros, key, near = bytes(64), b"apiKey=" + b"k" * 57, b"apiKey=" + b"k" * 56 + b"l"
    for first in (zeros, key, key, near, key, zeros, near[1:], near):
        for rest in (b"", b"&side=BUY", bytes(130)):
            assert enter(stage, first + rest) == signer.sign(first + rest)


def test_stage_first_block_like_the_last_ones_is_not_hashed_again():
    """Seen by a remembered state that is spoilt: only what begins alike is signed by it."""
    signer = HmacSigner("key", Secret("secret"))
    stage = signer.stage()
    alike, other = bytes(range(64)), bytes(range(1, 65))
    assert enter(stage, alike) == signer.sign(alike)
    stage.owners[0].words[_AFTER // 8] ^= 1
    assert enter(stage, alike + b"more") != signer.sign(alike + b"more")
    assert enter(stage, alike[:63]) == signer.sign(alike[:63])
    assert enter(stage, other) == signer.sign(other)


def test_stage_of_closed_signer_refuses_and_its_memory_is_zero():
    signer = HmacSigner("key", Secret("very-secret-words"))
    stage = signer.stage()
    assert enter(stage, b"x") == signer.sign(b"x")
    signer.close()
    assert enter(stage, b"x") == REFUSED
    assert not any(owner.words.any() for owner in stage.owners)
    with pytest.raises(AssertionError, match="closed"):
        signer.stage()
    with pytest.raises(AssertionError, match="closed"):
        signer.sign(b"x")


def test_stage_negative_size_is_refused():
    assert enter(HmacSigner("key", Secret("s")).stage(), b"x", -1) == REFUSED


def test_stages_of_one_signer_share_no_memory():
    """Each is one thread's."""
    signer = HmacSigner("key", Secret("s"))
    one, two = signer.stage(), signer.stage()
    first = enter(one, b"first")
    enter(two, b"second")
    assert enter(one, b"first") == first
    assert one.state[0] != two.state[0]


def test_stage_outlives_its_signer_and_is_wiped_with_its_last_holder():
    stage = HmacSigner("key", Secret("s")).stage()
    gc.collect()
    words = stage.owners[0].words
    assert enter(stage, b"x") == hmac.digest(b"s", b"x", "sha256").hex().encode()
    del stage
    gc.collect()
    assert not words.any()


def test_stage_shows_no_secret_and_is_not_pickled():
    stage = HmacSigner("key", Secret("very-secret-words")).stage()
    states = [format(word, "x") for word in stage.owners[0].words.view(np.uint64)[8:16].tolist()]
    assert not any(state in repr(stage) for state in states)
    with pytest.raises(TypeError):
        pickle.dumps(stage)
