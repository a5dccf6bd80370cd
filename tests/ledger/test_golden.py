"""Old journals fold to the same money, whatever the ledger learns."""

import json

import numpy as np

from alephtx.core import words
from alephtx.core.records import UPDATE
from alephtx.matrix import journal
from alephtx.matrix.journal import read
from tests.ledger.golden import GOLDEN, books_of, fold_golden


def test_golden_journal_folds_to_its_books():
    ledger, lots = fold_golden()
    assert books_of(ledger, lots) == json.loads((GOLDEN / "books.json").read_text())
    assert (ledger.invalid, ledger.duplicates) == (0, 0)


def test_golden_journal_has_every_kind_of_money():
    rows = [np.frombuffer(r.payload, UPDATE)[0] for r in read(GOLDEN) if r.kind == journal.UPDATE]
    codes = {int(row["code"]) for row in rows if row["kind"] == words.MONEY_MOVED}
    assert codes == set(words.MONEY_NAMES)
    assert {int(row["kind"]) for row in rows} == {
        words.FILL, words.FUNDING_PAID, words.MONEY_MOVED,
    }  # fmt: skip
