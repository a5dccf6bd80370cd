"""Make the two replay files of this example from bars of eight hours.

    python examples/funding_carry/market.py

The source has, of Binance's BTC/USDT spot and BTCUSDT perpetual, the open, high, low and close of
every eight hours and the funding rate settled at the bar's begin, times in London. What becomes of
a bar that begins at T:

    T - 1 s   MARK     the close of the perpetual's bar before
    T - 1 s   FUNDING  the rate settled at T, payable at T
    T         TOP      the bar's open, bid and ask half a basis point away, 10 BTC on each

So nothing is known before it was: the rate is told a second before it is settled (the venue's own
estimate is final then) and there is no market to trade on before it is paid. Spread and sizes are
made up; prices and rates are not. Highs, lows and volumes are not used.
"""

import csv
import gzip
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.core.records import EVENT
from alephtx.store.rowmaking import tops
from alephtx.store.ticks import write_ticks

DATA = Path(__file__).parents[1] / "data"
SOURCE = DATA / "btc_8h_binance.csv.gz"
SECOND = 1_000_000_000
LONDON = ZoneInfo("Europe/London")
HALF_SPREAD = Decimal("0.00005")
SIZE = Decimal(10)
_BTC: dict[str, Any] = {"symbol": "BTCUSDT", "base": "BTC", "quote": "USDT", "settle": "USDT"}
SPOT = Instrument(
    key="binance_spot:BTC-USDT", venue="binance_spot", contract=words.SPOT, price_scale=2,
    qty_scale=5, tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"),
    maker_fee=Decimal("0.001"), taker_fee=Decimal("0.001"), **_BTC,
)  # fmt: skip
PERP = Instrument(
    key="binance_usdm:BTC-USDT-PERP", venue="binance_usdm", contract=words.LINEAR, price_scale=1,
    qty_scale=3, tick_size=Decimal("0.1"), lot_size=Decimal("0.001"),
    maker_fee=Decimal("0.0002"), taker_fee=Decimal("0.0005"), **_BTC,
)  # fmt: skip


def bars(pair: str) -> list[tuple[int, dict[str, str]]]:
    """Return (ns of the begin, the line) of a pair's bars, oldest first."""
    found = []
    with gzip.open(SOURCE, "rt") as lines:
        for line in csv.DictReader(lines):
            if line["pair"] == pair:
                local = datetime.fromisoformat(line["time"]).replace(
                    tzinfo=ZoneInfo("Europe/London")
                )
                found.append((int(local.timestamp()) * SECOND, line))
    return sorted(found, key=lambda bar: bar[0])


def touches(instrument: Instrument, lines: list[tuple[int, dict[str, str]]]) -> Any:
    """Return a TOP message a bar."""
    at = np.array([ns for ns, _ in lines], np.int64)
    sides = []
    for sign, rounding in ((-1, ROUND_FLOOR), (1, ROUND_CEILING)):
        prices = [Decimal(line["open"]) * (1 + sign * HALF_SPREAD) for _, line in lines]
        scaled = [p.scaleb(instrument.price_scale).to_integral_value(rounding) for p in prices]
        lots = np.full(len(at), int(SIZE.scaleb(instrument.qty_scale)), np.int64)
        sides += [np.array([int(price) for price in scaled], np.int64), lots]
    return tops(at, at, *sides)


def fundings(instrument: Instrument, lines: list[tuple[int, dict[str, str]]]) -> Any:
    """Return MARK and FUNDING messages a second before each bar but the first."""
    rows = np.zeros(2 * (len(lines) - 1), EVENT)
    for k, ((_, before), (ns, line)) in enumerate(pairwise(lines)):
        mark, rate = rows[2 * k], rows[2 * k + 1]
        mark["kind"], rate["kind"] = words.MARK, words.FUNDING
        mark["price"] = int(Decimal(before["close"]).scaleb(instrument.price_scale))
        rate["price"], rate["qty"] = int(Decimal(line["funding rate"]).scaleb(12)), ns
        mark["ts_event"] = rate["ts_event"] = mark["ts_recv"] = rate["ts_recv"] = ns - SECOND
    rows["flags"] = words.LAST_IN_MESSAGE | words.EXCHANGE_CLOCK
    return rows


def numbered(rows: Any) -> Any:
    """Return rows in the order of time, their messages numbered."""
    rows = rows[np.argsort(rows["ts_event"], kind="stable")]
    ends = (rows["flags"] & words.LAST_IN_MESSAGE) != 0
    rows["seq"] = np.cumsum(ends) - ends
    return rows


def make(folder: Path) -> None:
    """Write both replay files into a folder."""
    spot, perp = bars("BTC/USDT"), bars("BTCUSDT")
    write_ticks(folder / "btc_8h_spot.ticks", SPOT, numbered(touches(SPOT, spot)))
    rows = np.concatenate([fundings(PERP, perp), touches(PERP, perp)])
    write_ticks(folder / "btc_8h_perp.ticks", PERP, numbered(rows))


if __name__ == "__main__":
    make(DATA)
