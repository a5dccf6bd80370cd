"""Snapshots of the ledger: nothing is lost, nothing damaged is believed."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.errors import LedgerMismatch
from alephtx.core.ports import Holding
from alephtx.ledger.book import Ledger
from alephtx.matrix import journal
from alephtx.matrix.journal import read
from tests.ledger.worlds import (
    DAY,
    INSTRUMENTS,
    INVERSE,
    LINEAR,
    MONEY,
    SPOT,
    STEPS,
    fill,
    make_instruments,
    moved,
    opened,
    update,
)
from tests.matrix.journals import open_journal

HELD = [Holding(LINEAR, 50, MONEY * 10**10)]


def rows_of(steps):
    """Return fills, and between them money of other kinds."""
    rows = []
    for trade_id, (i, side, price, qty, a, s, cents) in enumerate(steps, 1):
        rows.append(
            fill(i, side, price, qty, trade_id, account=a, strategy=s, fee=str(MONEY * cents),
                 order_id=trade_id, ts_event=trade_id * DAY)
        )  # fmt: skip
        code = 1 + trade_id % len(words.MONEY_NAMES)
        rows.append(
            moved(code, MONEY * cents, trade_id, account=a, other=1 - a, group_id=1 + trade_id // 2,
                  instrument=LINEAR if i == SPOT else i, price=price)
        )  # fmt: skip
        rows.append(
            update(words.FUNDING_PAID, account=a, instrument=i, realized=cents, trade_id=-trade_id)
        )
    return rows


@settings(max_examples=60)
@given(STEPS, st.integers(0, 90))
def test_snapshot_goes_on_as_if_nothing_had_happened(steps, cut):
    rows = rows_of(steps)
    whole, half = (opened(("USDT", "7"), holdings=HELD) for _ in range(2))
    for row in rows:
        whole.apply_update(row)
    for row in rows[:cut]:
        half.apply_update(row)
    again = Ledger.from_json(make_instruments(), half.to_json())
    assert again.to_json() == half.to_json()
    for row in rows[cut:]:
        again.apply_update(row)
    assert again.to_json() == whole.to_json()
    assert again.statement() == whole.statement()
    assert again.strategy_statement() == whole.strategy_statement()
    again.check()


def test_snapshot_says_where_the_journal_goes_on(tmp_path):
    rows = [fill(LINEAR, 1, 10_000 + k, 5, 1 + k) for k in range(6)]
    with open_journal(tmp_path) as writer:
        for row in rows[:4]:
            writer.append(journal.UPDATE, row.tobytes(), ts=1)
    first = Ledger(INSTRUMENTS)
    first.fold(read(tmp_path))
    with open_journal(tmp_path) as writer:
        for row in rows[4:]:
            writer.append(journal.UPDATE, row.tobytes(), ts=1)
    again, whole = Ledger.from_json(INSTRUMENTS, first.to_json()), Ledger(INSTRUMENTS)
    assert again.fold(read(tmp_path, again.seq)) == 2
    assert whole.fold(read(tmp_path)) == 6
    assert again.to_json() == whole.to_json()


def resealed(data, *changes):
    """Return a snapshot changed by somebody who knows how to seal it."""
    body = data.rpartition(b"\n")[0]
    for old, new in changes:
        assert old in body
        body = body.replace(old, new, 1)
    return body + b"\n" + hashlib.sha256(body).hexdigest().encode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((b'"version":2', b'"version":1'), "of version 1, not 2"),
        ((b'"version":2', b'"version":"2"'), "does not parse"),
        ((b'"seq":0', b'"seq":0,"more":1'), "does not parse"),
        ((b'"v:BTC-USDT"', b'"v:ETH-USDT"'), "other instruments"),
        ((b'"cash","USDT","8.0', b'"cash","USDT","9.0'), "do not sum to zero"),
        ((b'"accounts":[[0,1', b'"accounts":[[0,99'), "unknown instruments"),
        ((b'"accounts":[[0,1', b'"accounts":[[0,5'), "unknown instruments"),
        ((b'"accounts":[[0,1', b'"accounts":[[0,-1'), "unknown instruments"),
        ((b'"strategies":[[0,0,1', b'"strategies":[[0,0,5'), "unknown instruments"),
        ((b'"open_lots":[{"lots":1000', b'"open_lots":[{"lots":1001'), "FIFO holds 1001"),
        ((b'"deposited","5"', b'"deposited","4"'), "cash: "),
        ((b'"transit":[[7,"USDT","-3.0', b'"transit":[[7,"USDT","-2.0'), "in transit: "),
    ],
)
def test_snapshot_that_is_foreign_or_contradicts_itself_is_refused(change, said):
    ledger = opened(("USDT", "5"))
    ledger.apply_fill(fill(LINEAR, 1, 10_000, 1_000, 1))
    ledger.apply_update(moved(words.MONEY_TRANSFER, "3", 1, other=1, group_id=7))
    data = ledger.to_json()
    assert resealed(data) == data
    with pytest.raises(LedgerMismatch, match=said):
        Ledger.from_json(INSTRUMENTS, resealed(data, change))


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_snapshot_with_any_byte_changed_is_refused(position, change):
    ledger = opened(("USDT", "5"))
    ledger.apply_fill(fill(INVERSE, 1, 10_000, 1_000, 1))
    data = bytearray(ledger.to_json())
    data[position % len(data)] ^= change
    with pytest.raises(LedgerMismatch, match="snapshot"):
        Ledger.from_json(INSTRUMENTS, bytes(data))


@pytest.mark.parametrize("data", [b"", b"\n", b"\xff", b"[]", b"{}\nnothing"])
def test_snapshot_that_is_none_is_refused(data):
    with pytest.raises(LedgerMismatch, match="damaged"):
        Ledger.from_json(INSTRUMENTS, data)
