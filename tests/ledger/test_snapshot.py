"""Snapshots of the ledger: nothing is lost, nothing damaged is believed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.errors import LedgerMismatch
from alephtx.ledger.book import Ledger
from tests.ledger.worlds import (
    INSTRUMENTS,
    LINEAR,
    MONEY,
    STEPS,
    fill,
    make_instruments,
    opened,
)


@settings(max_examples=40)
@given(STEPS, st.integers(0, 30))
def test_snapshot_goes_on_as_if_nothing_had_happened(steps, cut):
    rows = [
        fill(i, side, price, qty, trade_id, account=a, strategy=s, fee=str(MONEY * cents),
             order_id=trade_id)
        for trade_id, (i, side, price, qty, a, s, cents) in enumerate(steps, 1)
    ]  # fmt: skip
    whole, half = opened(("USDT", "7")), opened(("USDT", "7"))
    for row in rows:
        whole.apply_update(row)
    for row in rows[:cut]:
        half.apply_update(row)
    again = Ledger.from_json(make_instruments(), half.to_json())
    assert again.to_json() == half.to_json()
    for row in rows[cut:]:
        again.apply_update(row)
    assert again.to_json() == whole.to_json()


def test_snapshot_that_is_damaged_or_foreign_is_refused():
    ledger = opened(("USDT", "5"))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 1))
    data = ledger.to_json()
    for bad in (data[:-1], b"", b"\xff", b"[]", data.replace(b'"version":2', b'"version":1')):
        with pytest.raises(LedgerMismatch, match="snapshot"):
            Ledger.from_json(INSTRUMENTS, bad)
    with pytest.raises(LedgerMismatch, match="other instruments"):
        Ledger.from_json(INSTRUMENTS, data.replace(b'"v:BTC-USDT"', b'"v:ETH-USDT"'))
    with pytest.raises(LedgerMismatch, match="do not sum to zero"):
        Ledger.from_json(INSTRUMENTS, data.replace(b'["USDT"', b"").replace(b'"5"', b'"6"', 1))


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_snapshot_with_any_byte_changed_is_refused_or_another_ledger(position, rng):
    ledger = opened(("USDT", "5"))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 1))
    data = bytearray(ledger.to_json())
    data[position % len(data)] = rng.randrange(256)
    try:
        Ledger.from_json(INSTRUMENTS, bytes(data)).check()
    except LedgerMismatch as error:
        assert str(error)
