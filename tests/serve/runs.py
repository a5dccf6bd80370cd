"""Run directories for the tests of the report: written by the journal's own writer, row by row."""

import json
from decimal import Decimal

import msgspec
import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.records import INTENT, UPDATE
from alephtx.engine.rundir import RunDirectory
from alephtx.matrix import journal
from alephtx.matrix.journal import Journal, JournalHeader

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
SPOT, PERP, COIN = 0, 1, 2
ARB, MAKER = 0, 1
MONEY = Decimal("0.00000001")

CONFIG = """\
[node]
name = "demo"
[accounts.spot]
venue = "binance_spot"
key = "env:SPOT_KEY"
[accounts.usdm]
venue = "binance_usdm"
[accounts.coinm]
venue = "binance_coinm"
[strategies.arb]
use = "arbitrage"
instruments = ["binance_spot:BTC-USDT", "binance_usdm:BTC-USDT-PERP", "binance_coinm:BTC-USD-PERP"]
[strategies.mm]
use = "market_maker"
instruments = ["binance_usdm:BTC-USDT-PERP"]
"""


def instrument(key, contract, **fields):
    return Instrument(
        key=key,
        venue=key.split(":")[0],
        symbol=key,
        base="BTC",
        contract=contract,
        underlying="BTC",
        **fields,
    )


def make_instruments():
    tick, fees = Decimal("0.1"), {"maker_fee": Decimal("0.0001"), "taker_fee": Decimal("0.0002")}
    return Instruments(
        [
            instrument(
                "binance_spot:BTC-USDT", words.SPOT, quote="USDT", settle="USDT", price_scale=2,
                qty_scale=5, tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"), **fees,
            ),
            instrument(
                "binance_usdm:BTC-USDT-PERP", words.LINEAR, quote="USDT", settle="USDT",
                price_scale=1, qty_scale=3, tick_size=tick, lot_size=Decimal("0.001"), **fees,
            ),
            instrument(
                "binance_coinm:BTC-USD-PERP", words.INVERSE, quote="USD", settle="BTC",
                price_scale=1, qty_scale=0, tick_size=tick, lot_size=Decimal(1),
                contract_value=Decimal(100), **fees,
            ),
        ]
    )  # fmt: skip


INSTRUMENTS = make_instruments()
KEYS = [one.key for one in INSTRUMENTS]


class Writer:
    """Writes a run: orders and what became of them, then the files beside the journal."""

    def __init__(self, base, *, config=CONFIG, name="20231114-221320-demo-00aa", table=INSTRUMENTS):
        self.run = RunDirectory(base / name)
        for folder in (self.run.path, self.run.journal):
            folder.mkdir(parents=True)
        self.run.config.write_text(config)
        self.table = table
        self.run.instruments.write_bytes(table.to_json())
        header = JournalHeader(node="demo", engine=1, instruments=table.to_json())
        self.journal = Journal.open(
            self.run.journal, header=header, background=False, segment_bytes=1 << 20
        )
        self.order_id = 1 << 54
        self.trade_id = 0
        self.random = np.random.default_rng(3)

    def rows(self, kind, dtype, ts, /, **fields):
        row = np.zeros(1, dtype)
        for name, value in fields.items():
            row[name] = value
        if self.journal.append(kind, row.tobytes(), ts=ts) < 0:
            self.journal.roll()
            self.journal.append(kind, row.tobytes(), ts=ts)

    def balances(self, account, ts=START, **totals):
        rows = [{"currency": name, "total": total} for name, total in totals.items()]
        payload = msgspec.json.encode({"account": account, "balances": rows})
        self.journal.append(journal.BALANCES, payload, ts=ts)

    def place(self, ts, i, side, price, qty, *, strategy=MAKER, **fields):
        """Journal a PLACE; price in ticks, qty in lots. Returns the order id."""
        self.order_id += 1
        given = {"op": words.PLACE, "type": words.LIMIT, "tif": words.GTC, **fields}
        self.rows(
            journal.INTENT, INTENT, ts, order_id=self.order_id, instrument=i, account=i, side=side,
            price=price, qty=qty, strategy=strategy, ts_intent=ts, **given,
        )  # fmt: skip
        return self.order_id

    def cancel(self, ts, order_id, i=PERP, strategy=MAKER):
        self.rows(
            journal.INTENT, INTENT, ts, target_order_id=order_id, instrument=i, account=i,
            op=words.CANCEL, ts_intent=ts, strategy=strategy,
        )  # fmt: skip

    def update(self, ts, order_id, kind, i=PERP, **fields):
        given = {"cum_qty": -1, "ts_recv": ts, "account": i, **fields}
        self.rows(journal.UPDATE, UPDATE, ts, order_id=order_id, kind=kind, instrument=i, **given)

    def fill(self, ts, order_id, i, side, price, qty, *, fee="0", currency="USDT", **fields):
        """Journal a fill; fee as text in a currency."""
        self.trade_id += 1
        given = {"trade_id": self.trade_id, "liquidity": words.MAKER, "ts_event": ts, **fields}
        self.update(
            ts, order_id, words.FILL, i, side=side, price=price, qty=qty,
            fee=int(Decimal(fee) / MONEY), fee_currency=self.table.currencies.index(currency),
            **given,
        )  # fmt: skip

    def live(self, ts, i, side, price, qty, **fields):
        """Journal an order up to the venue's acknowledgement."""
        order = self.place(ts, i, side, price, qty, **fields)
        sent = ts + int(self.random.lognormal(12.5, 0.5))
        self.update(sent, order, words.SENT, i)
        self.update(sent + int(self.random.lognormal(14.7, 0.4)), order, words.ACK, i)
        return order

    def close(self, *, samples=None, summary=None, status=None):
        self.journal.close()
        if samples is not None:
            (self.run.path / "samples.json").write_text(json.dumps(samples))
        if summary is not None:
            self.run.summary.write_text(json.dumps(summary))
        if status is not None:
            self.run.status.write_text(json.dumps(status))
        return self.run


def sample(ts, mids, spread=0.5):
    """Return a sample of all instruments."""
    return {
        "ts": ts,
        "mids": dict(zip(KEYS, mids, strict=True)),
        "tops": {
            key: [str(mid - spread / 2), str(mid + spread / 2)]
            for key, mid in zip(KEYS, mids, strict=True)
        },
    }


def make_summary(**fields):
    row = {"p50": 18_000, "p99": 120_000, "max": 9_000_000, "count": 44_000}
    state = {
        "seen_blind": 4_120, "seen_aware": 37, "best_blind_e8": 52_300, "best_aware_e8": 9_300,
        "trades": 12, "hedges": 1,
    }  # fmt: skip
    return {
        "mode": "live", "events": 290_417, "resyncs": 2, "reconciled": True,
        "differences": {"spot": [], "usdm": [], "coinm": []}, "left_open": [], "alarms": [],
        "latency_ns": {"wire_to_matrix": row, "matrix_to_intent": {**row, "p50": 5_900}},
        "strategies": [{"name": "arb", "state": state}, {"name": "mm", "state": {"quotes": 3}}],
        "layers": {
            "layers": [{"layer": "L1", "strategies": 2, "order": {**row, "p90": 90_000}}],
            "strategies": [
                {"name": "mm", "layer": "L1", "budget_ns": 2_000_000, "over": 3, "breaches": 1,
                 "order": {"count": 440, "p50": 700_000, "p90": 900_000, "p99": 1_500_000,
                           "p999": 2_500_000, "most": 9_000_000}},
            ],
        },
        "feeders": {"binance_spot": {"events": 5, "wire_to_matrix_p50": 17_000}}, **fields,
    }  # fmt: skip


def walk(seconds):
    """Return samples of a market that wanders, every half second, and its middles."""
    random = np.random.default_rng(7)
    steps = random.normal(0, 3, 2 * seconds).cumsum()
    noise = random.normal(0, 2.5, (2 * seconds, 3))
    mids = np.round(61_800 + steps[:, None] + noise + [9, -9, 0], 2)
    times = [START + k * SECOND // 2 for k in range(2 * seconds)]
    return [sample(ts, row.tolist()) for ts, row in zip(times, mids, strict=True)], mids


def busy_run(base, seconds=120, **options):
    """Write a run with a maker, an arbitrage, denials, a rejection, a resync and open orders."""
    writer = Writer(base, **options)
    samples, mids = walk(seconds)
    writer.balances(SPOT, USDT="1000000", BTC="20")
    writer.balances(PERP, USDT="1000000")
    writer.balances(COIN, BTC="20")
    for second in range(1, seconds - 2):
        ts, at = START + second * SECOND, mids[2 * second]
        side = words.BUY if second % 2 else words.SELL
        price = round(float(at[PERP]) * 10) - side * 3
        order = writer.live(ts, PERP, side, price, 10, flags=words.POST_ONLY)
        if second % 3:
            done = ts + 5_000_000 * second
            writer.fill(done, order, PERP, side, price, 10, fee="0.0618", status=words.FILLED)
        else:
            writer.cancel(ts + 600_000_000, order)
            writer.update(ts + 603_000_000, order, words.CANCEL_ACK)
        if second % 10 == 0:
            _pair(writer, ts, side, at)
        if second % 7 == 0:
            writer.place(ts, PERP, side, price, 10_000, verdict=words.DENY_NOTIONAL)
    order = writer.live(ts, PERP, words.BUY, 617_000, 10)
    reason = {"reason": words.REASON_WOULD_CROSS, "code": -5022}
    refused = writer.place(ts, PERP, words.BUY, 617_000, 10)
    writer.update(ts + 1_000_000, refused, words.REJECT, **reason)
    writer.update(ts, 0, words.RESYNC_BEGIN)
    writer.update(ts + SECOND, 0, words.RESYNC_END)
    return writer.close(samples=samples, summary=make_summary(), status={"ts": ts})


def _pair(writer, ts, side, at):
    """Trade spot against the coin-margined contract, both as takers."""
    given = {"strategy": ARB, "tif": words.IOC, "group_id": ts}
    price = round(float(at[SPOT]) * 100) + side * 50
    order = writer.live(ts, SPOT, side, price, 1_000, **given)
    taken = {"liquidity": words.TAKER}
    coin = "BTC" if side == words.BUY else "USDT"
    fee = "0.000002" if side == words.BUY else "0.12"
    writer.fill(ts + 4_000_000, order, SPOT, side, price, 1_000, fee=fee, currency=coin, **taken)
    price = round(float(at[COIN]) * 10) - side * 5
    order = writer.live(ts, COIN, -side, price, 6, **given)
    writer.fill(
        ts + 4_500_000, order, COIN, -side, price, 6, fee="0.000002", currency="BTC", **taken
    )
