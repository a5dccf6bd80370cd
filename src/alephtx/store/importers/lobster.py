"""LOBSTER message files: time, type, order id, size, price, direction; no header.

https://lobsterdata.com/info/DataStructure.php. Times are seconds after midnight in New York, prices
dollars x 10,000, direction that of the resting order. Types: 1 new, 2 part cancelled, 3 deleted,
4 executed, 5 executed against a hidden order, 6 cross, 7 halt (price -1 halted, 0 quoting, 1
trading). Orders older than the file are not in it: what is told of them makes no row, except their
trades. A file of N levels tells nothing of what happens beyond them: an order that left them may be
gone. The orderbook file beside it is not read.
"""

from pathlib import Path

import numpy as np

from alephtx.core import words
from alephtx.core.words import LAST_IN_MESSAGE
from alephtx.store import order_flow as flow
from alephtx.store.columns import Batch, Column, Table
from alephtx.store.lines import first_fields, first_lines
from alephtx.store.reading import Reading, Rows, Stream, plain_instrument
from alephtx.store.scan_csv import DECIMAL
from alephtx.store.sessions import midnight_ns

NAMES = ["time", "type", "order", "size", "price", "direction"]
ZONE = "America/New_York"
_OPS = {1: flow.ADD, 2: flow.REDUCE, 3: flow.REMOVE, 4: flow.EXECUTE, 5: flow.PRINT, 6: flow.PRINT}


class Lobster:
    """Reads one message file."""

    name = "lobster"

    def sniff(self, path: Path) -> bool:
        """Say whether the first line is a message."""
        lines = first_lines(path, 1)
        fields = lines[0].split(",") if lines else []
        return (
            len(fields) in (6, 7)
            and "." in fields[0]
            and fields[0].replace(".", "", 1).isdigit()
            and float(fields[0]) < 86_400
            and fields[1] in ("1", "2", "3", "4", "5", "6", "7")
            and fields[5] in ("1", "-1")
        )

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield the messages in the order of the file."""
        fields = first_fields(path)
        names = [*NAMES, "owner"][: max(6, len(fields))]
        table = Table(path, [Column(name, DECIMAL, 9 if name == "time" else 0) for name in NAMES],
                      names)  # fmt: skip
        symbol = path.name.removeprefix("lobster_").partition("_")[0].upper()
        instrument = plain_instrument(
            reading.options, venue="nasdaq", symbol=symbol, price_scale=4, qty_scale=0, quote="USD",
            tick=100,
        )  # fmt: skip
        midnight = midnight_ns(path, reading.options, ZONE)
        orders = flow.OrderFlow()
        for batch in table.batches(reading):
            yield instrument, orders.rows(_operations(batch, midnight, reading))
        yield instrument, orders.finish(reading)


def _operations(batch: Batch, midnight: int, reading: Reading) -> Rows:
    kinds = batch["type"]
    for n in np.flatnonzero((kinds < 1) | (kinds > 7)).tolist():
        reading.damaged(int(batch.lines[n]), "type", f"{kinds[n]} is none of 1 to 7")
    ops = flow.make_ops(len(batch))
    for kind, op in _OPS.items():
        ops[kinds == kind, flow.OP] = op
    ops[:, flow.ORDER] = batch["order"]
    ops[:, flow.PRICE_AT], ops[:, flow.QTY_AT] = batch["price"], batch["size"]
    ops[:, flow.SIDE_AT] = np.where(kinds == 1, batch["direction"], -batch["direction"])
    ops[kinds == 6, flow.SIDE_AT] = 0
    ops[:, flow.EVENT_NS] = midnight + batch["time"]
    ops[:, flow.FLAGS_AT] = LAST_IN_MESSAGE
    halts = (kinds == 7) & (batch["price"] != 0)
    ops[halts, flow.OP] = flow.SAY
    ops[halts, flow.PRICE_AT] = np.where(
        batch["price"][halts] == 1, words.TRADING, words.HALTED
    )  # fmt: skip
    return ops
