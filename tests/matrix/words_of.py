"""Shared words by address, for tests that spoil them on purpose."""

from alephtx.core.atomics import load_acquire, store_release
from alephtx.core.kernel import kernel


@kernel
def word_load(address):
    return load_acquire(address)


@kernel
def word_store(address, value):
    store_release(address, value)
    return value
