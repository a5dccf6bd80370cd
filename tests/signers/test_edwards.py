"""Multiples of Ed25519's base against PyCryptodome's point arithmetic."""

import pytest
from Crypto.PublicKey import ECC
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.scalars import ED25519_ORDER
from alephtx.signers.ed25519 import _scalar
from alephtx.signers.edwards import multiple_of_base


def theirs(n):
    base = ECC.construct(curve="Ed25519", seed=bytes(32))._curve.G
    x, y = (base * n).xy
    return (int(y) | (int(x) & 1) << 255).to_bytes(32, "little")


@pytest.mark.parametrize("n", [1, 2, 3, 15, 16, 17, 255, 256, ED25519_ORDER - 1])
def test_multiple_at_every_edge_of_a_digit_equals_the_librarys(n):
    assert multiple_of_base(n) == theirs(n)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, ED25519_ORDER - 1))
def test_multiple_of_anything_equals_the_librarys(n):
    assert multiple_of_base(n) == theirs(n)


def test_none_and_the_order_are_the_neutral_point():
    assert multiple_of_base(0) == multiple_of_base(ED25519_ORDER) == b"\1" + bytes(31)


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_multiple_by_a_keys_scalar_is_its_public_half(seed):
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert multiple_of_base(int.from_bytes(_scalar(seed), "little")) == public
