"""What an account had before its first order of a run: stated once, counted from there.

Balances open the ledger; contracts that were open already belong to no strategy, but they are the
account's, so the gate's limits count them and the ledger compares them with the venue.
"""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Protocol

import msgspec

from alephtx.core import words
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Balance, Holding
from alephtx.engine.context import Context
from alephtx.ledger.book import Ledger
from alephtx.ledger.cost import Position, money
from alephtx.risk.state import NO_LIMIT, OPENING


class Opened(Protocol):
    """An account that has been asked for everything."""

    account: int

    @property
    def balances(self) -> Sequence[Balance]: ...  # noqa: D102
    @property
    def holdings(self) -> Sequence[Holding]: ...  # noqa: D102


class Held(msgspec.Struct):
    """One open contract: signed lots at an average price."""

    instrument: int
    qty: int
    entry_price: Decimal


class Stated(msgspec.Struct):
    """What an account has of one currency."""

    currency: str
    total: Decimal


class Opening(msgspec.Struct):
    """The payload of a BALANCES record, as far as the engine needs it."""

    account: int
    holdings: list[Held] = []
    balances: list[Stated] = []


def opening_of(gateway: Opened) -> bytes:
    """Return the BALANCES record of an account as its venue states it now."""
    return msgspec.json.encode(
        {
            "account": gateway.account,
            "balances": [
                {"currency": balance.currency, "total": str(balance.total)}
                for balance in gateway.balances
            ],
            "holdings": [
                {
                    "instrument": holding.instrument,
                    "qty": holding.qty,
                    "entry_price": str(holding.entry_price),
                }
                for holding in gateway.holdings
            ],
        }
    )


def take_up(payload: bytes | memoryview, ctx: Context, instruments: Instruments) -> int:
    """Give the gate's account positions and equity what a BALANCES record holds.

    Returns the account. Equity counts currencies whose worth [risk] states, rounded down; another
    coin is worth nothing there, which makes the leverage limit tighter, never looser.
    """
    opening = msgspec.json.decode(payload, type=Opening)
    equity = Decimal(0)
    for stated in opening.balances:
        if stated.currency in instruments.currencies:
            rate = int(ctx.gate.currency_e8[instruments.currencies.index(stated.currency)])
            equity += stated.total * rate
    known = max(min(equity, Decimal(NO_LIMIT - 1)), Decimal(1 - NO_LIMIT))
    ctx.gate.accounts[opening.account, OPENING] = int(known.to_integral_value(ROUND_FLOOR))
    for held in opening.holdings:
        position = Position()
        position.take_up(instruments[held.instrument], held.qty, held.entry_price)
        row = ctx.account_positions[opening.account, held.instrument]
        row["qty"], row["cost"] = position.qty, position.cost
        row["bought"], row["sold"] = position.bought, position.sold
    return opening.account


def contracts_of(ledger: Ledger, account: int) -> dict[int, tuple[int, Decimal]]:
    """Return an account's open contracts: instrument -> (signed lots, open cost, positive)."""
    held = {}
    for (owner, i), position in ledger.accounts.items():
        instrument = ledger.instruments[i]
        if owner == account and position.qty and instrument.contract != words.SPOT:
            held[i] = (position.qty, money(instrument, abs(position.cost)))
    return held
