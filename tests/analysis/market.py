"""Small tables for the analysis tests: fills, orders and quotes from short rows."""

from decimal import Decimal as Dec

import numpy as np

from alephtx.analysis.tables import Fills, Orders, Quotes
from alephtx.core import words as w
from alephtx.core.instruments import Instrument

SECOND = 1_000_000_000


def instrument(kind=w.LINEAR, price_scale=1, qty_scale=3, contract_value="1"):
    return Instrument(
        key="b:BTC-USDT-PERP", venue="b", symbol="BTCUSDT", base="BTC", quote="USDT",
        settle="BTC" if kind == w.INVERSE else "USDT", contract=kind, price_scale=price_scale,
        qty_scale=qty_scale, tick_size=Dec(1).scaleb(-price_scale),
        lot_size=Dec(1).scaleb(-qty_scale), contract_value=Dec(contract_value),
    )  # fmt: skip


def fills(*rows):
    """Rows of (ts, side, price, qty, fee, liquidity, order_id), the last three optional."""
    full = [(*row, *(0, w.MAKER, 1)[len(row) - 4 :]) for row in rows]
    columns = zip(*full, strict=True) if full else [[]] * 7
    return Fills(*(np.array(column, np.int64) for column in columns))


def orders(*rows):
    """Rows of dicts; what is not named is 0."""
    return Orders(
        *(np.array([row.get(name, 0) for row in rows], np.int64) for name in Orders._fields)
    )


def quotes(*rows):
    """Rows of (ts, bid, ask); bid None = not known."""
    return Quotes(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] or 0 for row in rows], np.int64),
        np.array([row[2] or 0 for row in rows], np.int64),
        np.array([row[1] is not None for row in rows], bool),
    )
