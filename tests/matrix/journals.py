"""Journals for the tests of the journal: a header, rows, and a writer that can be killed."""

import os
import signal
import subprocess
from contextlib import contextmanager
from decimal import Decimal

import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.instruments import Instrument, Instruments
from alephtx.matrix.journal import Journal, JournalHeader

SEGMENT = 1 << 15


def instruments(*names, price_scale=2):
    return Instruments(
        Instrument(
            key=f"somewhere:{name}",
            venue="somewhere",
            symbol=name,
            base=name,
            quote="USDT",
            settle="USDT",
            contract=words.LINEAR,
            price_scale=price_scale,
            qty_scale=3,
            tick_size=Decimal("0.01"),
            lot_size=Decimal("0.001"),
        )
        for name in names
    )


def header(*, node="test", engine=3, epoch=0, table=None, accounts=b'["main"]'):
    table = instruments("BTC") if table is None else table
    return JournalHeader(
        node=node, engine=engine, epoch=epoch, instruments=table.to_json(), accounts=accounts
    )


def open_journal(directory, **options):
    options = {"header": header(), "segment_bytes": SEGMENT, "background": False, **options}
    return Journal.open(directory, **options)


def payload_of(seq):
    """Return the payload every test gives record seq: lengths 0..199, bytes that depend on seq."""
    return np.random.default_rng(seq).bytes(seq * 37 % 200)


def fill(journal, count):
    """Append so many records, and return their seqs."""
    first = journal.last_seq + 1
    return [
        journal.append(1 + seq % 10, payload_of(seq), ts=1_000 + seq, input_seq=seq * 2)
        for seq in range(first, first + count)
    ]


def abandon(journal):
    """Let go of a journal as a killed writer does: nothing is cut, marked or unmapped."""
    if journal._keeper is not None:
        journal._jobs.put(None)
        journal._keeper.join()
    journal._release()


def check_records(records, count, first=1):
    """Assert that records are exactly those that `fill` wrote."""
    records = list(records)
    assert [record.seq for record in records] == list(range(first, count + 1))
    for record in records:
        seq = record.seq
        assert record[1:5] == (1 + seq % 10, 1, seq * 2, 1_000 + seq)
        assert bytes(record.payload) == payload_of(seq)


@contextmanager
def small_disk(path, size="1m"):
    """Mount a small file system; skip where that is not allowed."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextmanager
def child(function):
    """Run a function in a forked process; the parent kills it at the end, mid-way through."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        finally:
            os._exit(1)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
