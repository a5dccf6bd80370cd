"""Ed25519: vectors, other libraries, the stage in a kernel, prepared nonces, and secrecy."""

import base64
import gc
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.errors import ConfigError
from alephtx.core.kernel import kernel
from alephtx.core.scalars import ED25519_ORDER
from alephtx.core.secrets import Secret
from alephtx.signers import ed25519
from alephtx.signers.ed25519 import REFUSED, Ed25519Signer, read_seed, write_base64
from tests.signers.staged import enter

GOLDEN = Path(__file__).parent.parent / "golden" / "binance"
VECTORS = json.loads((GOLDEN / "signatures_ed25519.json").read_text())
SEED = bytes(range(32))
KEY = Ed25519PrivateKey.from_private_bytes(SEED)
# 47 and 48: where R, the key and the payload fill a block of SHA-512 with its padding, or do not.
SIZES = (0, 1, 47, 48, 49, 55, 56, 63, 64, 65, 111, 112, 127, 128, 175, 176, 177, 200, 4096)
kernels = pytest.mark.kernel


def signer(nonce_pool=0):
    return Ed25519Signer("key", Secret(SEED.hex()), nonce_pool)


def secret_of(vector):
    return vector.get("private_key_pkcs8_pem") or vector["secret_seed_b64"]


@kernel
def base64_of(data, size, letters, out):
    return write_base64(data, size, letters, out)


@kernels
@pytest.mark.smoke
@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["signature"][:8])
def test_sign_and_stage_vector_equals(vector):
    one = Ed25519Signer("key", Secret(secret_of(vector)))
    assert one.sign(vector["payload"].encode()).decode() == vector["signature"]
    assert enter(one.stage(), vector["payload"].encode()).decode() == vector["signature"]
    if "public_key_b64" in vector:
        assert base64.b64encode(one.public).decode() == vector["public_key_b64"]


@kernels
@pytest.mark.parametrize("size", SIZES)
def test_stage_payload_of_any_size_equals_the_librarys(size):
    payload = bytes(k * 7 % 251 for k in range(size))
    assert enter(signer().stage(), payload) == base64.b64encode(KEY.sign(payload))


@kernels
@pytest.mark.parametrize("size", SIZES)
def test_prepared_signature_at_every_edge_of_a_block_verifies(size):
    payload = bytes(k * 7 % 251 for k in range(size))
    one = signer(1)
    one.pool.fill()
    raw = base64.b64decode(enter(one.stage(), payload), validate=True)
    assert raw != KEY.sign(payload), "with a nonce of its own"
    KEY.public_key().verify(raw, payload)
    assert int.from_bytes(raw[32:], "little") < ED25519_ORDER
    assert (one.pool.drawn, one.pool.missed) == (1, 0)


@kernels
@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.lists(st.binary(max_size=300), max_size=3))
def test_prepared_signatures_of_any_key_and_payloads_in_a_row_verify(seed, payloads):
    one = Ed25519Signer("key", Secret(base64.b64encode(seed).decode()), 3)
    one.pool.fill()
    stage, points = one.stage(), set()
    public = Ed25519PublicKey.from_public_bytes(one.public)
    for payload in payloads:
        raw = base64.b64decode(enter(stage, payload), validate=True)
        public.verify(raw, payload)
        points.add(raw[:32])
        with pytest.raises(InvalidSignature):
            public.verify(raw, payload + b"x")
    assert len(points) == len(payloads)


@kernels
def test_entry_is_wiped_and_an_empty_pool_leaves_it_to_the_library():
    one = signer(1)
    one.pool.fill()
    stage = one.stage()
    enter(stage, b"x")
    assert not one.pool._memory.words[16:].any()
    assert enter(stage, b"x") == base64.b64encode(KEY.sign(b"x"))
    assert (one.pool.drawn, one.pool.missed) == (1, 1)


@kernels
def test_without_a_library_python_signs_and_the_stage_needs_nonces(monkeypatch):
    """As beside a Python that has OpenSSL built in: refused, an order goes through the gateway."""
    monkeypatch.setattr(ed25519, "load", lambda: None)
    one = signer(1)
    assert one.sign_raw(b"x") == KEY.sign(b"x")
    stage = one.stage()
    assert enter(stage, b"x") == REFUSED
    one.pool.fill()
    KEY.public_key().verify(base64.b64decode(enter(stage, b"x")), b"x")


@kernels
def test_stage_of_closed_signer_refuses_and_nothing_is_left():
    one = signer(2)
    one.pool.fill()
    stage = one.stage()
    assert len(enter(stage, b"x")) == 88
    one.close()
    assert enter(stage, b"x") == REFUSED
    assert not stage.owners[0].words.any()
    assert not one._seed.words.any()
    for use in (one.stage, lambda: one.sign(b"x")):
        with pytest.raises(AssertionError, match="closed"):
            use()


@kernels
def test_stage_negative_size_is_refused():
    assert enter(signer().stage(), b"x", -1) == REFUSED


@kernels
def test_stage_that_nobody_holds_leaves_no_key():
    one = signer()
    words = one.stage().owners[0].words
    del one
    gc.collect()
    assert not words.any()


@kernels
@given(st.binary(max_size=100))
def test_base64_equals_pythons(data):
    source = np.frombuffer(data + b"\xff", np.uint8)
    letters = np.frombuffer(ed25519._ALPHABET, np.uint8)
    out = np.zeros(160, np.uint8)
    n = base64_of(source.ctypes.data, len(data), letters.ctypes.data, out.ctypes.data)
    assert out[:n].tobytes() == base64.b64encode(data)
    assert not out[n:].any()


def pem(key, encryption=None):
    how = s.NoEncryption() if encryption is None else s.BestAvailableEncryption(encryption)
    return key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, how).decode()


@pytest.mark.parametrize(
    "text",
    [SEED.hex(), "0x" + SEED.hex().upper(), base64.b64encode(SEED).decode(), pem(KEY),
     pem(KEY).replace("\n", "\\n"), f"  {pem(KEY)}\n"],
)  # fmt: skip
def test_key_in_every_form_is_read(text):
    """An environment variable often holds a PEM with its line ends spelt out."""
    assert read_seed(text) == SEED


PUBLIC_PEM = KEY.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "neither"), ("secret", "neither"), (SEED.hex()[:-2], "neither"),
        (base64.b64encode(SEED + b"x").decode(), "neither"), ("ü" * 44, "neither"),
        (PUBLIC_PEM.decode(), "public"),
        (pem(KEY, b"password"), "cannot be read"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "P-256"),
        (pem(KEY)[:60], "cannot be read"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "cannot be read"),
    ],
)  # fmt: skip
def test_key_of_another_kind_is_refused_and_not_shown(text, said):
    with pytest.raises(ConfigError, match=said) as caught:
        read_seed(text)
    assert not text or text not in str(caught.value)


@given(st.text(max_size=80))
def test_any_other_text_is_refused_in_words(text):
    try:
        assert len(read_seed(text)) == 32
    except ConfigError as error:
        assert len(text) < 10 or text not in str(error)


@pytest.mark.parametrize("key", ["", "with blank", "line\nbreak", "schlüssel"])
def test_signer_unfit_key_is_refused(key):
    with pytest.raises(ConfigError, match="header"):
        Ed25519Signer(key, Secret(SEED.hex()))


def test_signer_shows_no_secret_and_is_not_pickled():
    one = Ed25519Signer("publicKey123", Secret(SEED.hex()), 1)
    assert repr(one) == "Ed25519Signer(api_key=publ***)"
    for what in (one, one.pool, one._key):
        if what is not None:
            with pytest.raises(TypeError):
                pickle.dumps(what)
