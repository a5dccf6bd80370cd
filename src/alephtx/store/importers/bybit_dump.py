"""Bybit's public dumps of trades: contracts and spot.

Contracts: timestamp (seconds with a fraction), symbol, side, size, price, ... Spot: id, timestamp
(milliseconds), price, volume, side. Both have a header line; columns behind those are not looked
at. Files of some years are sorted from the newest row to the oldest: such a file is read whole and
turned round.
"""

from pathlib import Path

import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.store import rowmaking
from alephtx.store.columns import PRICES, SIZES, Batch, Column, Table, header_of
from alephtx.store.reading import Reading, Stream, plain_instrument
from alephtx.store.scan_csv import DECIMAL, TEXT, WORD

CONTRACT = ["timestamp", "symbol", "side", "size", "price"]
SPOT = ["id", "timestamp", "price", "volume", "side"]
SIDES = {"buy": words.BUY, "sell": words.SELL}


class BybitDump:
    """Reads one file, packed or not."""

    name = "bybit_dump"

    def sniff(self, path: Path) -> bool:
        """Say whether the header is one of the two."""
        return header_of(path)[:5] in (CONTRACT, SPOT)

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield the trades in the order of time."""
        spot = header_of(path)[:5] == SPOT
        size = "volume" if spot else "size"
        wanted = [
            Column("timestamp", DECIMAL, 0 if spot else 9), Column("price", DECIMAL, PRICES),
            Column(size, DECIMAL, SIZES), Column("side", WORD, words=SIDES),
        ]  # fmt: skip
        if not spot:
            wanted.append(Column("symbol", TEXT))
        table = Table(path, wanted)
        scales = table.measure(reading)
        instrument: Instrument | None = None
        unit = 1_000_000 if spot else 1
        for batch in _in_order(table, reading):
            if instrument is None:
                symbol = _symbol_of(path) if spot else next(iter(batch.texts.values()))
                linear = words.INVERSE if symbol.endswith("USD") else words.LINEAR
                instrument = plain_instrument(
                    reading.options, venue="bybit_spot" if spot else "bybit", symbol=symbol,
                    price_scale=scales[0], qty_scale=scales[1],
                    contract=words.SPOT if spot else linear,
                )  # fmt: skip
            yield (
                instrument,
                rowmaking.trades(
                    batch["timestamp"] * unit, 0, batch["price"], batch[size], batch["side"]
                ),
            )


def _symbol_of(path: Path) -> str:
    """Return the symbol in a spot file's name, as in BTCUSDT-2024-08-08.csv.gz, BTCUSDT_2024-08."""
    name = path.name.partition(".")[0]
    for mark in ("-", "_"):
        name = name.partition(mark)[0]
    return name


def _in_order(table: Table, reading: Reading) -> list[Batch]:
    """Return the batches, turned round where the file goes back in time."""
    batches = list(table.batches(reading))
    if not batches or batches[0]["timestamp"][0] <= batches[-1]["timestamp"][-1]:
        return batches
    reading.note("the rows go from the newest to the oldest; they were turned round")
    return [batch.take(np.s_[::-1]) for batch in reversed(batches)]
