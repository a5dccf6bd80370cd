"""Join the venues' codecs with the store: recordings become streams by the code that trades.

The frames of a recording go through `Codec.decode` and `feed.join`, as in a feeder: deltas wait for
the recorded snapshot, what it covers is dropped, and a break in the venue's numbers becomes a GAP
row. After a gap, and where no snapshot was recorded, deltas are written on: the book is stale by
the GAP row until the next CLEAR, but nothing that was recorded is lost.
"""

import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.errors import AlephError
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.kernel import Int, kernel
from alephtx.core.plugins import find
from alephtx.core.ports import Batch, Codec, Venue, What
from alephtx.core.units import SIGNIFICANT_FIGURES
from alephtx.core.words import DELTA, LAST_IN_MESSAGE, SEQ, TOP, TRADE
from alephtx.feed.join import APPLY, BLANK, GAP, LAST, PHASE, SKIP, join, join_snapshot, make_states
from alephtx.store.damage import DataError
from alephtx.store.importers.raw import RawImporter, split_by_instrument
from alephtx.store.lines import line_blocks
from alephtx.store.reading import (
    Importer,
    Options,
    Reading,
    Rows,
    Stream,
    plain_instrument,
    scales_given,
)

BATCH_ROWS = 1 << 19
FRAME_ROWS = 1 << 15
HELD_ROWS_MAX = 1 << 22
SNAPSHOT_MARK = b'{"lastUpdateId"'
SYMBOL = re.compile(rb'"(?:s|coin)":"([^"\\]{1,40})"')
SNAPSHOT_SYMBOL = re.compile(rb'"symbol":"([^"\\]{1,40})"')
KIND = re.compile(rb'"(?:e|channel)":"([^"\\]{1,40})"')
STRAY_MAX, STRAY_OF = 2, 1_000
"""Symbols named so seldom in a recording that names another so often are damage."""
FINE = 8
"""Decimals that prices and quantities of a symbol without known rules are first read with."""

# What becomes of a row, as bits: it is written, it waits for a snapshot, a gap stands before it.
KEEP, HOLD, BREAK = 1, 2, 4
# What becomes of deltas that have no snapshot yet: wait for it, or go on without.
WAITING, GOING_ON = 0, 1


@kernel
def judge(rule: Int, states: Rows, modes: Rows, hold: Int, rows: Rows, n: Int, fates: Rows) -> int:
    """Decide what becomes of n rows of decoded messages; returns how often the sequence broke.

    modes: WAITING or GOING_ON by instrument. hold: 1 while a snapshot is still to come. fates[k]:
    bits; a message's SEQ row is kept only where it is to become the GAP row before the message.
    """
    start, gaps = 0, 0
    while start < n:
        end = start
        while end < n - 1 and (np.int64(rows[end]["flags"]) & LAST_IN_MESSAGE) == 0:
            end += 1
        end += 1
        first = rows[start]
        i = np.int64(first["instrument"])
        fate, head = KEEP, KEEP
        if np.int64(first["kind"]) == SEQ:
            verdict = join(
                rule, states, i, first["price"], first["qty"], first["seq"], first["ts_recv"]
            )
            waits = verdict != APPLY and verdict != SKIP and verdict != GAP
            broken = verdict == GAP or (waits and hold == 0 and modes[i] == WAITING)
            if broken:
                gaps += 1
                modes[i] = GOING_ON
            if verdict == SKIP:
                fate = 0
            elif waits or broken:
                fate = (KEEP if modes[i] == GOING_ON else 0) | (HOLD if hold == 1 else 0)
            head = (fate & HOLD) | ((KEEP | BREAK) if broken else 0)
        fates[start] = head
        for k in range(start + 1, end):
            fates[k] = fate
        start = end
    return gaps


class VenueDecoder:
    """One venue's codec over one recording; see `store.importers.raw.Decoder`."""

    def __init__(self, codec: Codec, reading: Reading, snapshots: int) -> None:
        self._codec, self._reading = codec, reading
        self._snapshots = snapshots
        self._instruments = list(codec.instruments)
        self._batch = Batch(BATCH_ROWS, 16)
        self._states = make_states(len(self._instruments))
        self._modes = np.zeros(len(self._instruments), np.int64)
        self._fates = np.zeros(BATCH_ROWS, np.int64)
        self._held: list[Rows] = []
        self._held_rows = 0
        self._done: list[Rows] = []
        self._waiting = 0
        self.gaps = 0

    @property
    def waiting(self) -> int:
        """Rows that `flush` would yield, about."""
        return self._waiting + self._batch.event_count

    def take(self, stamp: int, frame: bytes) -> str:
        """Decode one frame; return what is wrong with it."""
        batch = self._batch
        if batch.event_count + FRAME_ROWS > BATCH_ROWS:
            self._judge()
        before = batch.event_count
        try:
            if frame.startswith(SNAPSHOT_MARK):
                return self._snapshot(stamp, frame)
            count = self._codec.decode("market", frame, stamp, batch)
        except (AlephError, IndexError, ValueError, OverflowError) as error:
            batch.event_count, count = before, -1
            return f"not readable: {error}"
        if batch.controls:
            said = [c.value for c in batch.controls if c.kind == "error"]
            batch.controls.clear()
            if said:
                batch.event_count = before
                return str(said[0])
        if count < 0:
            batch.event_count = before
            named = KIND.search(frame)
            kind = named[1].decode() if named else "no kind"
            self._reading.note(f"frames of {kind} are not read")
        return ""

    def flush(self) -> Stream:
        """Yield what was decoded since the last call."""
        self._judge()
        done, self._done, self._waiting = self._done, [], 0
        if done:
            for i, rows in split_by_instrument(np.concatenate(done)):
                yield self._instruments[i], rows

    def finish(self) -> Stream:
        """Yield deltas that waited for a snapshot that could not be read."""
        self._give_up()
        yield from self.flush()

    def _judge(self) -> None:
        """Move the batch's rows to where they belong."""
        batch = self._batch
        rows, batch.event_count = batch.events[: batch.event_count], 0
        self._sort_out(rows)

    def _sort_out(self, rows: Rows) -> None:
        n, hold = len(rows), int(self._snapshots > 0)
        rule = int(self._codec.spec.join)
        fates = self._fates if n <= len(self._fates) else np.zeros(n, np.int64)
        self.gaps += judge(rule, self._states, self._modes, hold, rows, n, fates)
        fates = fates[:n]
        if hold:
            for _, held in split_by_instrument(rows[(fates & HOLD) != 0]):
                self._held.append(held)
                self._held_rows += len(held)
        keep = (fates & KEEP) != 0
        kept = rows[keep]
        broken = (fates[keep] & BREAK) != 0
        if broken.any():
            kept["kind"][broken] = words.GAP
            kept["flags"][broken] |= LAST_IN_MESSAGE
            kept["price"][broken] = kept["qty"][broken] = 0
        if len(kept):
            self._done.append(kept)
            self._waiting += len(kept)
        if self._held_rows > HELD_ROWS_MAX:
            self._reading.note("no snapshot for too long; deltas are taken without")
            self._give_up()

    def _give_up(self) -> None:
        """Take the deltas that wait without their snapshot, behind a gap."""
        self._judge()
        held, self._held, self._held_rows = self._held, [], 0
        waiting = [rows for rows in held if self._modes[rows["instrument"][0]] == WAITING]
        left, self._snapshots = self._snapshots, 0
        for rows in waiting:
            self._sort_out(rows)
        self._snapshots = left

    def _snapshot(self, stamp: int, frame: bytes) -> str:
        """Take a recorded REST answer: the book, then what waited for it."""
        self._judge()
        self._snapshots -= 1
        problem = self._seed(stamp, frame)
        if self._snapshots == 0:
            self._give_up()
        return problem

    def _seed(self, stamp: int, frame: bytes) -> str:
        batch = self._batch
        i = self._owner(frame)
        if i < 0:
            return "a snapshot of a symbol that is not known"
        (request,) = self._codec.request(What.SNAPSHOT, stamp, instrument=i)
        try:
            self._codec.reply(request, 200, {}, frame, batch)
        finally:
            rows, batch.event_count = batch.events[: batch.event_count].copy(), 0
            batch.controls.clear()
        if not len(rows):
            return "an empty snapshot"
        seq = int(rows[0]["seq"])
        if self._states[i, PHASE] != BLANK and self._states[i, LAST] >= seq:
            self._reading.note("a snapshot older than the book it would replace was passed over")
            return ""
        rows["ts_recv"] = stamp
        join_snapshot(self._states, i, seq)
        self._modes[i] = GOING_ON
        held = [part for part in self._held if part["instrument"][0] == i]
        self._held = [part for part in self._held if part["instrument"][0] != i]
        self._held_rows = sum(map(len, self._held))
        self._done.append(rows)
        at = len(self._done)
        for part in held:
            part["ts_recv"] = stamp
            self._sort_out(part)
        after = [part for part in self._done[at:] if len(part)]
        if after:  # the book is of before the first of them, whenever its answer came
            stamps = after[0]["ts_event"]
            if stamps[0] > 0 and (rows[0]["ts_event"] == 0 or rows[0]["ts_event"] > stamps[0]):
                rows["ts_event"] = stamps[0]
                rows["flags"] |= words.EXCHANGE_CLOCK
        return ""

    def _owner(self, frame: bytes) -> int:
        """Return the instrument that a snapshot is of, -1 when nobody can tell."""
        if len(self._instruments) == 1:
            return 0
        named = SNAPSHOT_SYMBOL.search(frame, 0, 200)
        symbol = named[1].decode() if named else ""
        return next((i for i, x in enumerate(self._instruments) if x.symbol == symbol), -1)


VENUE_MARKS = (
    (b'"channel":', "hyperliquid"),
    (b'"ps":', "binance_coinm"),
    (b'"pu":', "binance_usdm"),
    (b'"X":"MARKET"', "binance_usdm"),
    (b'{"e":"bookTicker"', "binance_usdm"),
    (b'"e":"depthUpdate"', "binance_spot"),
    (b'"u":', "binance_spot"),
    (b'"e":"trade"', "binance_spot"),
)
"""What in the first frames tells the dialect, the surest first."""


class Contents(msgspec.Struct):
    """What a first look into a recording found."""

    venue: str
    symbols: list[str]
    snapshots: int


def look_into(path: Path, options: Options) -> Contents:
    """Read a recording once for its venue, symbols and snapshots; about 100 MB/s."""
    symbols: Counter[str] = Counter()
    venue, snapshots = options.venue, 0
    for _, block in line_blocks(path, Reading(path, options)):
        venue = venue or next((name for mark, name in VENUE_MARKS if mark in block), "")
        snapshots += block.count(b" " + SNAPSHOT_MARK)
        for symbol, count in Counter(SYMBOL.findall(block)).items():
            symbols[symbol.decode("utf-8", "replace")] += count
    if not venue:
        raise DataError(
            f"{path}: no venue that is known here speaks like this", remedy="give --venue"
        )
    if options.symbol:
        symbols = Counter({options.symbol: 1})
    if not symbols:
        raise DataError(f"{path}: no symbol is named in it", remedy="give --symbol")
    # A letter that was damaged makes a symbol of its own; its frames are told as damage instead.
    often = max(symbols.values()) > STRAY_OF
    named = [s for s, count in symbols.most_common() if count > STRAY_MAX or not often]
    return Contents(venue, named, snapshots)


def _venue(name: str) -> Venue:
    """Return a venue's plugin, without what a running engine needs of it."""
    plugin = find("venues", name)
    made: Venue = plugin() if isinstance(plugin, type) else plugin
    return made


def known_instruments(venue: str, symbols: list[str]) -> dict[str, Instrument]:
    """Return the rules of the symbols that the twins know, by symbol."""
    from alephtx.twins.main import make_twin  # half a second, and only for recordings
    from alephtx.twins.options import TwinOptions

    twin: Any = make_twin(venue, TwinOptions(venues=(venue,)))
    if not hasattr(twin, "info"):
        return {}
    listed = {market.symbol for market in twin.exchange.markets}
    wanted = [symbol for symbol in symbols if symbol in listed]
    if not wanted:
        return {}
    answer = twin.info
    body = msgspec.json.encode(answer(None, {}))
    return {found.symbol: found for found in _venue(venue).parse_instruments(body, wanted)}


def _guess(venue: str, symbol: str, prices: int, lots: int, options: Options) -> Instrument:
    """Return an instrument of the venue's kind with the scales that its recording shows."""
    given = scales_given(options)
    prices, lots = (g if g >= 0 else s for g, s in zip(given, (prices, lots), strict=True))
    if venue == "hyperliquid":
        lots = max(lots, 6 - prices) if prices < 6 else lots
        made = plain_instrument(
            options, venue=venue, symbol=symbol, price_scale=max(0, 6 - lots), qty_scale=lots,
            contract=words.LINEAR, quote="USD", key=f"{venue}:{symbol}-USD-PERP",
        )  # fmt: skip
        return msgspec.structs.replace(
            made, base=symbol, quote="USD", settle="USDC", tick_rule=SIGNIFICANT_FIGURES,
            significant_figures=5,
        )  # fmt: skip
    contract = {"binance_usdm": words.LINEAR, "binance_coinm": words.INVERSE}.get(venue, words.SPOT)
    made = plain_instrument(
        options, venue=venue, symbol=symbol, price_scale=prices, qty_scale=lots, contract=contract
    )
    name, _, dated = symbol.partition("_")
    plain = plain_instrument(
        msgspec.structs.replace(options, instrument=None), venue=venue, symbol=name,
        price_scale=prices, qty_scale=lots, contract=contract,
    )  # fmt: skip
    kind = "" if contract == words.SPOT else f"-{dated or 'PERP'}"
    value = Decimal(100 if plain.base == "BTC" else 10)
    return msgspec.structs.replace(
        made, base=plain.base, quote=plain.quote, settle=plain.settle,
        key=f"{venue}:{plain.base}-{plain.quote}{kind}",
        contract_value=value if contract == words.INVERSE else Decimal(1),
    )  # fmt: skip


@kernel
def decimals_needed(values: Rows, n: Int, scale: Int) -> int:
    """Return how many of the scale's decimals the values use at least."""
    needed, unit = 0, 1
    for _ in range(scale):
        unit *= 10
    for k in range(n):
        while needed < scale and values[k] % unit != 0:
            needed += 1
            unit //= 10
    return needed


def shown_instruments(path: Path, reading: Reading, found: Contents) -> dict[str, Instrument]:
    """Decode a whole recording with fine scales to see which its symbols need."""
    options = reading.options
    finest = 6 if found.venue == "hyperliquid" else FINE
    table = Instruments(
        plain_instrument(Options(), venue=found.venue, symbol=symbol, price_scale=finest,
                         qty_scale=FINE, quote="?")
        for symbol in found.symbols
    )  # fmt: skip
    codec = _venue(found.venue).bind(table, None, 0)
    decoder = VenueDecoder(codec, Reading(path, options), found.snapshots)
    scales = np.zeros((len(table), 2), np.int64)
    limits = (table[0].price_scale, table[0].qty_scale)

    def look(stream: Stream) -> None:
        for instrument, rows in stream:
            i = table.index(instrument.key)
            kinds = rows["kind"]
            part = rows[(kinds == DELTA) | (kinds == TOP) | (kinds == TRADE)]
            for column, name in enumerate(("price", "qty")):
                values = np.ascontiguousarray(part[name])
                needed = decimals_needed(values, len(values), limits[column])
                scales[i, column] = max(scales[i, column], needed)

    for _, block in line_blocks(path, Reading(path, options)):
        for line in block.split(b"\n"):
            stamp, _, frame = line.partition(b" ")
            if stamp.isdigit() and len(stamp) <= 19 and frame:
                decoder.take(int(stamp), frame)
        look(decoder.flush())
    look(decoder.finish())
    return {
        symbol: _guess(found.venue, symbol, int(scales[i, 0]), int(scales[i, 1]), options)
        for i, symbol in enumerate(found.symbols)
    }


def decoder_of(path: Path, reading: Reading) -> VenueDecoder:
    """Look into a recording and bind its venue's codec to the instruments found in it.

    Their rules are those given, else those that the twins know, else what the file shows: its
    scales, without fees and limits.
    """
    options = reading.options
    found = look_into(path, options)
    if options.instrument is not None:
        found.symbols = [options.instrument.symbol]
        rules = {options.instrument.symbol: options.instrument}
    else:
        rules = known_instruments(found.venue, found.symbols)
        missing = [symbol for symbol in found.symbols if symbol not in rules]
        if missing:
            rules |= shown_instruments(
                path, reading, msgspec.structs.replace(found, symbols=missing)
            )
    # A damaged letter makes another symbol of the same instrument; the commoner one stands.
    by_key = {rules[symbol].key: rules[symbol] for symbol in reversed(found.symbols)}
    table = Instruments(reversed(by_key.values()))
    return VenueDecoder(_venue(found.venue).bind(table, None, 0), reading, found.snapshots)


def raw_importer() -> RawImporter:
    """Return the importer of raw recordings, with the venues' codecs in it."""
    return RawImporter(decoder_of)


def importers() -> list[Importer]:
    """Return all importers, those whose files are told apart most surely first."""
    from alephtx.store.importers import (
        binance_dump,
        bitstamp,
        bybit_dump,
        columns_map,
        databento,
        itch,
        lean,
        lob_parquet,
        lobster,
        own,
        polymarket,
        tardis,
    )  # fmt: skip

    return [
        own.Own(), raw_importer(), databento.Databento(), lean.Lean(), tardis.Tardis(),
        binance_dump.BinanceDump(), bybit_dump.BybitDump(), bitstamp.Bitstamp(), lobster.Lobster(),
        lob_parquet.LobParquet(), polymarket.Polymarket(), itch.Itch(), columns_map.ColumnsMap(),
    ]  # fmt: skip
