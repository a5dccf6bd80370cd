"""Instruments, fills and journal records for the tests of the ledger."""

from decimal import Decimal

import numpy as np
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.ports import Balance
from alephtx.core.records import POSITION, UPDATE
from alephtx.ledger.book import Ledger

MONEY = Decimal("0.00000001")
SPOT, LINEAR, INVERSE, FINE, ODD = range(5)
DAY = 86_400_000_000_000


def instrument(key, contract, *, settle="", price_scale=2, qty_scale=3, value="1", quote="USDT"):
    return Instrument(
        key=f"v:{key}",
        venue="v",
        symbol=key,
        base="BTC",
        quote=quote,
        settle=settle or quote,
        contract=contract,
        price_scale=price_scale,
        qty_scale=qty_scale,
        tick_size=Decimal(1).scaleb(-price_scale),
        lot_size=Decimal(1).scaleb(-qty_scale),
        contract_value=Decimal(value),
    )


def make_instruments():
    """SPOT, LINEAR, INVERSE (100 USD), FINE (lots of 1e-16 money), ODD (a 0.003 contract)."""
    return Instruments(
        [
            instrument("BTC-USDT", words.SPOT, qty_scale=5),
            instrument("BTC-USDT-PERP", words.LINEAR),
            instrument(
                "BTC-USD-PERP",
                words.INVERSE,
                settle="BTC",
                price_scale=1,
                qty_scale=0,
                value="100",
                quote="USD",
            ),
            instrument("DUST", words.LINEAR, price_scale=8, qty_scale=8),
            instrument("ODD", words.LINEAR, price_scale=4, qty_scale=7, value="0.003"),
        ]
    )


INSTRUMENTS = make_instruments()
ROWS = INSTRUMENTS.rows()


def row_of(i):
    """Return an instrument's row; behind it the next one, which nobody may read."""
    return ROWS[i : i + 2]


def update(kind=words.FILL, **fields):
    row = np.zeros(1, UPDATE)
    row["kind"] = kind
    row["cum_qty"] = -1
    for name, value in fields.items():
        row[name] = value
    return row


def fill(i, side, price, qty, trade_id, *, fee="0", currency="USDT", realized="0", **more):
    """Return a FILL row; price in ticks, qty in lots, money as text."""
    return update(
        instrument=i,
        side=side,
        price=price,
        qty=qty,
        trade_id=trade_id,
        fee=int(Decimal(fee) / MONEY),
        fee_currency=INSTRUMENTS.currencies.index(currency) if Decimal(fee) else 0,
        realized=int(Decimal(realized) / MONEY),
        **more,
    )


def moved(code, amount, trade_id, *, currency="USDT", other=None, fee="0", **more):
    """Return a MONEY_MOVED row; money as text, other = the account of ours at the other end."""
    return update(
        words.MONEY_MOVED,
        code=code,
        realized=int(Decimal(amount) / MONEY),
        trade_id=trade_id,
        fee_currency=INSTRUMENTS.currency(currency),
        fee=int(Decimal(fee) / MONEY),
        target_order_id=0 if other is None else other + 1,
        **more,
    )


def blank_position():
    return np.zeros(1, POSITION)


def opened(*balances, account=0, holdings=()):
    ledger = Ledger(INSTRUMENTS)
    rows = [Balance(currency, Decimal(total), Decimal(total)) for currency, total in balances]
    ledger.open_balances(account, rows, holdings)
    return ledger


STEPS = st.lists(
    st.tuples(
        st.sampled_from([SPOT, LINEAR, INVERSE, FINE, ODD]),
        st.sampled_from([1, -1]),
        st.integers(1, 1_000_000),
        st.integers(1, 3_000),
        st.integers(0, 1),
        st.integers(0, 2),
        st.integers(-500, 500),
    ),
    max_size=30,
)
