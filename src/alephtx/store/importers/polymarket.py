"""Polymarket quotes in Parquet: ts, slug, bid, ask; one row a market and look.

Every market is an instrument of its own, a binary contract whose price is between 0 and 1. Rows
are not in order and are sorted by market and time. Sizes were not recorded: a side that is there
has one lot. `segment` counts the collector's outages: a GAP row stands where it grows.
"""

from pathlib import Path
from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.core.records import EVENT
from alephtx.store import rowmaking
from alephtx.store.damage import DataError
from alephtx.store.reading import Reading, Rows, Stream, plain_instrument
from alephtx.store.tables import parquet_batches, parquet_names, scaled

WANTED = ["ts", "slug", "bid", "ask"]
PRICE_SCALE = 4


class Polymarket:
    """Reads one file of quotes; --only takes markets by their slugs."""

    name = "polymarket"

    def sniff(self, path: Path) -> bool:
        """Say whether the columns are those of quotes."""
        return set(WANTED) <= set(parquet_names(path))

    def read(self, path: Path, reading: Reading) -> Stream:
        """Yield market by market, each in the order of time."""
        import pyarrow as pa

        columns = [*WANTED, *(["segment"] if "segment" in parquet_names(path) else [])]
        only = {*reading.options.only} | ({reading.options.symbol} - {""})
        parts = []
        for row, batch in parquet_batches(path, reading, columns):
            table = pa.Table.from_batches([batch])
            if not pa.types.is_string(table.schema.field("slug").type):
                raise DataError(
                    f"{path}: slug is {table.schema.field('slug').type}, not text",
                    remedy="the file is damaged, or of another collector",
                )
            table = table.append_column("row", pa.array(np.arange(batch.num_rows) + row))
            if only:
                keep = pa.compute.is_in(table["slug"], pa.array(sorted(only)))
                table = table.filter(keep)
            parts.append(table)
        if not parts:
            return
        table = pa.concat_tables(parts).sort_by([("slug", "ascending"), ("ts", "ascending")])
        yield from _markets(table.combine_chunks(), reading)


def _markets(table: Any, reading: Reading) -> Stream:
    slugs = table["slug"].combine_chunks().dictionary_encode()
    numbers = slugs.indices.to_numpy(zero_copy_only=False)
    names = slugs.dictionary.to_pylist()
    event = _nanoseconds(table["ts"])
    bid, ask = (_prices(table[name]) for name in ("bid", "ask"))
    segment = (
        np.asarray(table["segment"].fill_null(0)) if "segment" in table.column_names
        else np.zeros(len(numbers), np.int64)
    )  # fmt: skip
    good = (event > 0) & (bid >= 0) & (ask >= 0) & (numbers >= 0)
    rows = np.asarray(table["row"])
    for n in np.flatnonzero(~good).tolist():
        reading.damaged(int(rows[n]), "", "no quote: a price, time or market that cannot be")
    starts = np.flatnonzero(np.diff(numbers, prepend=-2))
    ends = np.append(starts[1:], len(numbers))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        keep = np.flatnonzero(good[start:end]) + start
        if not len(keep):
            continue
        instrument = plain_instrument(
            reading.options, venue="polymarket", symbol=names[numbers[start]],
            price_scale=PRICE_SCALE, qty_scale=0, contract=words.BINARY, quote="USDC",
        )  # fmt: skip
        yield instrument, _tops(event[keep], bid[keep], ask[keep], segment[keep])


def _tops(event: Rows, bid: Rows, ask: Rows, segment: Rows) -> Rows:
    rows = rowmaking.tops(
        event, 0, bid, (bid > 0).astype(np.int64), ask, (ask > 0).astype(np.int64)
    )
    breaks = np.flatnonzero(np.diff(segment)) + 1
    gaps = np.zeros(len(breaks), EVENT)
    gaps["kind"], gaps["flags"] = words.GAP, words.LAST_IN_MESSAGE | words.EXCHANGE_CLOCK
    gaps["ts_event"] = event[breaks]
    return np.insert(rows, 2 * breaks, gaps)


def _nanoseconds(column: Any) -> Rows:
    import pyarrow as pa

    stamps = column.cast(pa.timestamp("ns")).cast(pa.int64()).fill_null(0)
    return np.asarray(stamps)


def _prices(column: Any) -> Rows:
    """Return prices in ticks, 0 where there is none, negative where they cannot be."""
    values = np.asarray(column.fill_null(0.0), np.float64)
    ticks = scaled(values, PRICE_SCALE)
    return np.where((ticks > 10**PRICE_SCALE) | (ticks < 0), -1, ticks)
