"""A killer over real twins and real sockets, without an engine: what the journal says is ours."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import numpy as np

from alephtx.core import identity, words
from alephtx.core.clock import MachineClock
from alephtx.core.config import load_config
from alephtx.core.records import INTENT, UPDATE
from alephtx.engine.kill_words import KillRequest
from alephtx.engine.killer import Killer
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.venues import fetch_instruments
from alephtx.matrix.journal import EPOCH, Journal, JournalHeader
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import UPDATE as UPDATE_RECORD
from alephtx.serve.demo import SYMBOLS, endpoints
from alephtx.twins.exchange import TwinOrder
from tests.twins.clients import serving

VENUES = ("binance_spot", "binance_usdm", "binance_coinm", "hyperliquid")
ENGINE, EPOCH_NUMBER = 3, 5
NODE = """\
[node]
name = "kill"
mode = "live"
engine = 3
runs = "{runs}"
[risk]
notional_max = 1000
position_notional_max = 1000
drawdown_max = 100
"""


def config_text(folder, ports, *, exclusive, extra=""):
    parts = [NODE.format(runs=folder / "runs")]
    for venue, port in ports.items():
        where = "\n".join(f'{k} = "{v}"' for k, v in endpoints(venue, port).items())
        symbols = ", ".join(f'"{symbol}"' for symbol in SYMBOLS[venue])
        key = "" if venue == "hyperliquid" else 'key = "twin:key"\n'
        parts.append(
            f'[venues.{venue}]\nsymbols = [{symbols}]\nenvironment = "twin"\n{where}\n'
            f'[accounts.{venue}]\nvenue = "{venue}"\n{key}secret = "twin"\n'
            f"exclusive = {str(exclusive).lower()}\n{extra}"
        )
    return "\n".join(parts)


class Desk:
    """One run's directory and journal, its twins, and a killer when it is asked for."""

    def __init__(self, served, folder, run, config, instruments):
        self.served, self.folder, self.run = served, folder, run
        self.config, self.instruments = config, instruments
        header = JournalHeader(
            node="kill", engine=ENGINE, instruments=instruments.to_json(),
            accounts=msgspec.json.encode(list(config.accounts)),
        )  # fmt: skip
        self.journal = Journal.open(run.journal, header=header, segment_bytes=8 << 20)
        self.journal.append(EPOCH, np.array([EPOCH_NUMBER], np.int64).tobytes(), ts=self.now())
        self.placed = 0

    @staticmethod
    def now():
        return MachineClock().now()

    def exchange(self, venue):
        return self.served.twins[venue].exchange

    def intend(self, venue, *, age_s=60, proven=True, **fields):
        """Journal an order of ours, and by default its acknowledgement; returns its id."""
        self.placed += 1
        order_id = identity.first_order_id(ENGINE, EPOCH_NUMBER) + self.placed
        account = list(self.config.accounts).index(venue)
        index = self.instruments.of_venue(venue)[0]
        row = np.zeros(1, INTENT)
        row["op"], row["order_id"], row["instrument"] = words.PLACE, order_id, index
        row["account"], row["verdict"] = account, words.PASS
        for name, value in fields.items():
            row[name] = value
        ts = self.now() - int(age_s * 1e9)
        self.journal.append(INTENT_RECORD, row.tobytes(), ts=ts)
        if proven:
            self.hear(words.ACK, order_id, venue, status=words.NEW)
        return order_id

    def hear(self, kind, order_id, venue, **fields):
        """Journal a report of an order."""
        row = np.zeros(1, UPDATE)
        row["kind"], row["order_id"], row["cum_qty"] = kind, order_id, -1
        row["account"] = list(self.config.accounts).index(venue)
        row["instrument"] = self.instruments.of_venue(venue)[0]
        for name, value in fields.items():
            row[name] = value
        self.journal.append(UPDATE_RECORD, row.tobytes(), ts=self.now())

    def rest(self, venue, order_id=0, *, account=0, **fields):
        """Rest an order at the twin, deep in the book; order_id 0 is somebody else's."""
        exchange = self.exchange(venue)
        market = exchange.by_symbol[SYMBOLS[venue][0]]
        bid = exchange.depth(market, words.BUY, 1)[0][0]
        step = 10 * market.tick
        price = int(bid * 0.98) // step * step
        text = identity.to_cloid if venue == "hyperliquid" else identity.to_text
        client_id = text(order_id) if order_id else "" if venue == "hyperliquid" else "by-hand"
        made = {
            "order_id": 0, "client_id": client_id, "account": exchange.accounts[account],
            "market": market, "side": words.BUY, "type": words.LIMIT, "tif": words.GTC,
            "price": price, "qty": 20 * max(market.lot, market.qty_min),
            "extra": {"type": "LIMIT", "tif": "GTC", "stp": "NONE"},
        }  # fmt: skip
        return exchange.place(TwinOrder(**{**made, **fields}))

    def fill(self, venue, lots, side=words.BUY):
        """Take from the twin's book as one of our orders, and journal intent and fills."""
        order_id = self.intend(venue, side=side, proven=False)
        before = len(self.exchange(venue).trades)
        self.rest(venue, order_id, side=side, qty=lots, **self.taking(venue, side))
        instrument = self.instruments[self.instruments.of_venue(venue)[0]]
        market = self.exchange(venue).by_symbol[instrument.symbol]
        filled = 0
        for trade in list(self.exchange(venue).trades)[before:]:
            qty = instrument.qty_lots(market.qty(trade.qty))
            filled += qty
            self.hear(
                words.FILL, order_id, venue, trade_id=trade.trade_id, side=side, qty=qty,
                price=instrument.price_ticks(market.price(trade.price)),
                fee_currency=self.instruments.currency(instrument.settle),
            )  # fmt: skip
        self.hear(words.ORDER_STATE, order_id, venue, status=words.FILLED, cum_qty=filled)
        return filled

    def taking(self, venue, side):
        """Return how an order takes from the book there."""
        if venue != "hyperliquid":
            extra = {"type": "MARKET", "tif": "IOC", "stp": "NONE"}
            return {"type": words.MARKET, "tif": words.IOC, "price": 0, "extra": extra}
        exchange = self.exchange(venue)
        market = exchange.by_symbol[SYMBOLS[venue][0]]
        touch = exchange.depth(market, -side, 1)[0][0]
        step = 100 * market.tick
        return {"tif": words.IOC, "price": int(touch * (1 + side * 0.01)) // step * step}

    def open_at(self, venue):
        exchange = self.exchange(venue)
        return [o.client_id for a in exchange.accounts for o in exchange.open_of(a)]

    def position(self, venue):
        """Return the twin's position of the first symbol, in lots of the twin."""
        exchange = self.exchange(venue)
        market = exchange.by_symbol[SYMBOLS[venue][0]]
        return exchange.accounts[0].positions[market.symbol].qty

    def request(self, **fields):
        clock = MachineClock()
        made = {"id": "1", "ts": clock.now(), "asked_ns": clock.monotonic(), "reason": "a test",
                "wait_s": 10.0}  # fmt: skip
        return KillRequest(**{**made, **fields})

    async def kill(self, **fields):
        """Let a fresh killer do one request; returns its report."""
        self.journal.sync()
        killer = Killer(self.run)
        (self.run.path / "kill").mkdir(exist_ok=True)
        try:
            return await killer.kill(self.request(**fields))
        finally:
            await killer.close()


@asynccontextmanager
async def standing(folder, *venues, exclusive=True, extra="", skew_ms=0):
    """Serve twins with a run beside them that has no process."""
    async with serving(*(venues or VENUES), skew_ms=skew_ms) as served:
        file = folder / "config.toml"
        file.write_text(config_text(folder, served.ports, exclusive=exclusive, extra=extra))
        config = load_config(file)
        instruments = await fetch_instruments(config, MachineClock())
        run = RunDirectory.create(folder / "runs", "kill", config.dump())
        run.save_instruments(instruments)
        desk = Desk(served, folder, run, config, instruments)
        try:
            yield desk
        finally:
            desk.journal.close()


async def until(condition, seconds=10):
    """Wait for a condition while the twins go on."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
