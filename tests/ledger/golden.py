"""The golden journal of the ledger: every kind of money once, and what its books say."""

import json
from pathlib import Path

import msgspec

from alephtx.core.instruments import Instruments
from alephtx.ledger.book import Ledger
from alephtx.ledger.lots import TaxLots
from alephtx.matrix.journal import read
from alephtx.matrix.journal_read import list_segments, read_header

GOLDEN = Path(__file__).parent.parent / "golden" / "ledger"


def fold_golden():
    """Fold it with the table of its own header; returns the ledger and its tax lots."""
    header = read_header(list_segments(GOLDEN)[-1]).header
    instruments = Instruments.from_json(header.instruments)
    lots = TaxLots(instruments)
    ledger = Ledger(instruments, lots)
    ledger.fold(read(GOLDEN))
    ledger.check()
    return ledger, lots


def books_of(ledger, lots):
    """Return what the books say, as plain JSON."""
    told = {
        "balances": {account: ledger.balances(account) for account in (0, 1)},
        "positions": {
            f"{account}/{ledger.instruments[i].key}": [
                p.qty, p.cost, p.gain, p.fifo_gain, p.flow, p.fees, p.wallet,
            ]
            for (account, i), p in ledger.accounts.items()
        },
        "fees": ledger.fees(),
        "funding": ledger.funding(),
        "interest": ledger.interest(),
        "transferred": {account: ledger.transferred(account) for account in (0, 1)},
        "in_transit": [[*key, amount] for key, amount in ledger.in_transit().items()],
        "statement": ledger.statement(),
        "strategies": ledger.strategy_statement(),
        "lots": lots.disposals,
    }  # fmt: skip
    return json.loads(msgspec.json.encode(told))
