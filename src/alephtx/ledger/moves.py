"""Money that moves without a fill: where each cause is booked, and in which column it is shown."""

from typing import Any, NamedTuple

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.ledger import double_entry as books


class Cause(NamedTuple):
    """Where a MONEY_MOVED is booked against the wallet, and its column of the statement."""

    book: str
    column: str


CAUSES = {
    words.MONEY_INTEREST: Cause(books.INTEREST, "interest"),
    words.MONEY_GAS: Cause(books.GAS, "gas"),
    words.MONEY_SETTLEMENT: Cause(books.REALIZED, "realized"),
    words.MONEY_REBATE: Cause(books.FEES, "fees"),
    words.MONEY_FEE: Cause(books.FEES, "fees"),
    words.MONEY_LIQUIDATION: Cause(books.FEES, "fees"),
    words.MONEY_INSURANCE: Cause(books.INSURANCE, "other"),
    words.MONEY_AIRDROP: Cause(books.GIFTS, "other"),
    words.MONEY_CORRECTION: Cause(books.CORRECTED, "other"),
    words.MONEY_CONVERSION: Cause(books.CONVERTED, "other"),
}
"""All causes but the transfer, whose book depends on the other end."""

COLUMNS = {
    books.OPENING: "deposited",
    books.ADJUSTED: "deposited",
    books.POSITION: "traded",
    books.REALIZED: "realized",
    books.FEES: "fees",
    books.FUNDING: "funding",
    books.TRANSIT: "transfers",
    books.EXTERNAL: "transfers",
    **{cause.book: cause.column for cause in CAUSES.values()},
}
"""The column of a wallet's statement that a book is shown in."""


def senseless(row: Any, instrument: Instrument, currency: str) -> str:
    """Return why a MONEY_MOVED row cannot be booked, empty when it can.

    A settlement's rules are `engine.settle`'s too: what one of them takes, the other does.
    """
    code = int(row["code"])
    if code not in words.MONEY_NAMES:
        return "unknown cause"
    if row["trade_id"] == 0:
        return "no id"
    if code == words.MONEY_TRANSFER and row["target_order_id"] > 0 and row["group_id"] == 0:
        return "a transfer between our accounts without what joins its legs"
    if code == words.MONEY_SETTLEMENT:
        if instrument.contract == words.SPOT:
            return "spot does not settle"
        if row["price"] < 0 or (instrument.inverse and row["price"] == 0):
            return "no price to settle at"
        if currency != instrument.settle:
            return f"settled in {currency}, not in {instrument.settle}"
    return ""
