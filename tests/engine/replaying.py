"""Short tapes and a scripted strategy, for tests of what a simulated venue does."""

from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.config_schema import Account, Config, MatrixConfig, Strategy, VenueConfig
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.records import EVENT
from alephtx.core.risk_schema import Risk
from alephtx.engine.backtest import Backtest, Tape, Venue

MS = 1_000_000
START = 1_700_000_000_000 * MS
SCRIPTED = str(Path(__file__).parent / "replayed" / "scripted.py")
LOOSE = Risk(
    notional_max=Decimal(10**9), position_notional_max=Decimal(10**9), band_bps=5_000,
    orders_per_s=10_000, stale_ms=600_000, drawdown_max=Decimal(10**9), self_trade="allow",
    open_orders_max=16,
)  # fmt: skip
PERP = Instrument(
    key="toy:BTC-USDT-PERP", venue="toy", symbol="BTCUSDT", base="BTC", quote="USDT",
    settle="USDT", contract=words.LINEAR, price_scale=0, qty_scale=0, tick_size=Decimal(1),
    lot_size=Decimal(1), maker_fee=Decimal("0.001"), taker_fee=Decimal("0.002"),
)  # fmt: skip
PLACE = {"op": words.PLACE, "type": words.LIMIT, "tif": words.GTC}
TAKE = {"op": words.PLACE, "type": words.MARKET, "tif": words.IOC}
UPDATES = ("kind", "tag", "price", "qty", "reason", "status", "leaves", "at")


def tape(*rows):
    """Return EVENT rows of (ms, kind, side, price, qty[, flags or seq]); heard at once.

    Each is a message, except those with flags 0.
    """
    made = np.zeros(len(rows), EVENT)
    for row, (ms, kind, side, price, qty, *more) in zip(made, rows, strict=True):
        row["ts_event"] = row["ts_recv"] = START + round(ms * MS)
        row["kind"], row["side"], row["price"], row["qty"] = kind, side, price, qty
        row["flags"] = more[0] if more else words.LAST_IN_MESSAGE
        row["seq"] = more[1] if len(more) > 1 else 0
    return made


def book(ms, *levels):
    """Return the rows of a whole book: CLEAR, then (side, price, qty)."""
    whole = [(ms, words.CLEAR, 0, 0, 0, words.SNAPSHOT)]
    whole += [(ms, words.DELTA, *level, words.SNAPSHOT) for level in levels]
    whole[-1] = (*whole[-1][:5], words.SNAPSHOT | words.LAST_IN_MESSAGE)
    return whole


def configured(table, lines, *, risk=LOOSE):
    lines = [{**line, "at": START + round(line["at"] * MS)} for line in lines]
    for line in lines:
        if "expires_ms" in line:
            line["expires_ns"] = START + round(line.pop("expires_ms") * MS)
    keys = tuple(instrument.key for instrument in table)
    return Config(
        matrix=MatrixConfig(path="/nowhere"),
        venues={"toy": VenueConfig(symbols=("BTCUSDT",))},
        accounts={"main": Account(venue="toy")},
        risk=risk,
        strategies={
            "script": Strategy(
                use=SCRIPTED, instruments=keys, accounts=("main",), own={"lines": lines}
            )
        },
    )


def table_of(*changes):
    """Return a table of the toy instrument, or of one for each dict of changes to it."""
    table = Instruments()
    for change in changes or ({},):
        table.add(msgspec.structs.replace(PERP, **change))
    return table


def play(rows, lines=(), *, venue=None, table=None, risk=LOOSE, sets=None, before=None):
    """Run a tape (or a list of them) under a script; `sets` are scripts of further lanes.

    before: called with the backtest before it runs.
    """
    table = table or table_of()
    tapes = [Tape(part) for part in (rows if isinstance(rows, list) else [rows])]
    configs = [configured(table, script, risk=risk) for script in (lines, *(sets or ()))]
    test = Backtest(configs, table, tapes, venue=venue or Venue())
    if before is not None:
        before(test)
    return test.run()


def told(test, lane=0, *names):
    """Return the reports that a lane's script heard: the named columns, all by default."""
    state = test.lanes[lane].strategies[0].state[0]
    assert state["told"] <= len(state["updates"])
    columns = [UPDATES.index(name) for name in names or UPDATES]
    rows = state["updates"][: state["told"]].tolist()
    return [tuple(row[column] for column in columns) for row in rows]


def heard(test, lane=0):
    """Return (kind, ms, price, qty, flags of the top) of each event that a script heard."""
    state = test.lanes[lane].strategies[0].state[0]
    assert state["heard"] <= len(state["events"])
    rows = state["events"][: state["heard"]].tolist()
    return [(row[0], (row[1] - START) / MS, row[2], row[3], row[4]) for row in rows]
