"""Arithmetic modulo the curves' orders against Python's integers, at the edges above all."""

import ctypes

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alephtx.core.foreign import call_foreign
from alephtx.core.kernel import kernel
from alephtx.core.scalars import ED25519_ORDER, SECP256K1_ORDER, ecdsa_s, eddsa_s

N, L = SECP256K1_ORDER, ED25519_ORDER
EDGES = [0, 1, 2, N // 2, N // 2 + 1, N - 1, N, N + 1, (1 << 256) - 1]
ANY = st.one_of(st.integers(0, (1 << 256) - 1), st.sampled_from(EDGES))
SCALARS = st.one_of(st.integers(1, N - 1), st.sampled_from([1, 2, N - 2, N - 1]))
ED_SCALARS = st.one_of(st.integers(0, L - 1), st.sampled_from([0, 1, L - 1]))
WIDE = st.one_of(
    st.integers(0, (1 << 512) - 1), st.sampled_from([0, L - 1, L, L << 259, (1 << 512) - 1])
)
pytestmark = pytest.mark.kernel


@kernel
def ecdsa(a, b, z, out):
    return ecdsa_s(a, b, z, out)


@kernel
def eddsa(r, a, h, out):
    eddsa_s(r, a, h, out)
    return 0


@kernel
def call(function, a, b):
    return call_foreign(function, a, b, 0, 0, 0, 0)


def memory(value, order="little", size=32):
    return np.frombuffer(bytearray(value.to_bytes(size, order)), np.uint8)


@settings(max_examples=200)
@given(SCALARS, st.integers(0, N - 1), ANY)
@example(1, 0, 0)
@example(1, 0, N)
@example(N - 1, N - 1, (1 << 256) - 1)
def test_s_is_the_low_one_of_z_over_k_plus_r_d_over_k(inverse, product, digest):
    out = np.zeros(40, np.uint8)
    places = [memory(inverse), memory(product), memory(digest, "big")]
    said = ecdsa(*(place.ctypes.data for place in places), out.ctypes.data)
    s = (inverse * digest + product) % N
    assert int.from_bytes(out[:32].tobytes(), "big") == min(s, (N - s) % N)
    assert said == (-1 if s == 0 else int(s > N // 2))
    assert not out[32:].any()


@settings(max_examples=200)
@given(ED_SCALARS, ED_SCALARS, WIDE)
def test_eddsa_s_is_reduced_to_the_end(nonce, key, digest):
    """RFC 8032 wants S below L; verifiers refuse the same value not reduced."""
    out = np.zeros(40, np.uint8)
    places = [memory(nonce), memory(key), memory(digest, size=64)]
    eddsa(*(place.ctypes.data for place in places), out.ctypes.data)
    assert int.from_bytes(out[:32].tobytes(), "little") == (nonce + digest * key) % L
    assert not out[32:].any()


def test_foreign_function_gets_its_words_and_its_int_comes_back_with_its_sign():
    library = ctypes.CDLL(None)
    texts = [np.frombuffer(text, np.uint8) for text in (b"abc\0", b"abd\0")]
    address = ctypes.cast(library.strcmp, ctypes.c_void_p).value
    assert call(address, texts[0].ctypes.data, texts[1].ctypes.data) < 0
    assert call(address, texts[0].ctypes.data, texts[0].ctypes.data) == 0
