"""Loads the golden Binance files and binds codecs to the instruments they speak of."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from alephtx.core.instruments import Instruments
from alephtx.core.ports import Batch
from alephtx.core.secrets import Secret
from alephtx.signers.hmac_sha256 import HmacSigner
from alephtx.venues.binance import BinanceCodec, BinanceVenue
from alephtx.venues.binance_coinm import BinanceCoinm
from alephtx.venues.binance_spot import BinanceSpot
from alephtx.venues.binance_usdm import BinanceUsdm

GOLDEN = Path(__file__).parent.parent / "golden" / "binance"
VENUES: dict[str, BinanceVenue] = {
    "spot": BinanceSpot(),
    "usdm": BinanceUsdm(),
    "coinm": BinanceCoinm(),
}
SYMBOLS = {
    "spot": ["BTCUSDT", "ETHUSDT"],
    "usdm": ["BTCUSDT", "ETHUSDT"],
    "coinm": ["BTCUSD_PERP", "ETHUSD_PERP"],
}
_FILES = {
    "spot": "spot_btcusdt_20240808.gz",
    "usdm": "usdm_btcusdt_20240808.gz",
    "coinm": "coinm_btcusd_perp_20240808.gz",
}
NOW = 1_763_700_001_234_000_000


@cache
def text(name: str) -> Any:
    """Return a golden JSON file."""
    return json.loads((GOLDEN / name).read_text())


def exchange_info(market: str) -> bytes:
    """Return the exchangeInfo answer of a market."""
    return msgspec.json.encode(text("exchange_info.json")[market])


@cache
def recorded(market: str) -> tuple[tuple[int, bytes], ...]:
    """Return (receive ns, frame) of a recording, the REST answer included."""
    with gzip.open(GOLDEN / _FILES[market]) as file:
        lines = [line.rstrip(b"\n").partition(b" ") for line in file]
    return tuple((int(stamp), frame) for stamp, _, frame in lines)


@cache
def frames(market: str) -> tuple[bytes, ...]:
    """Return the stream frames of a recording."""
    return tuple(frame for _, frame in recorded(market) if frame.startswith(b'{"stream"'))


@cache
def instruments() -> Instruments:
    """Return the instruments of all three markets, as the venue files parse them."""
    table = Instruments()
    for market, venue in VENUES.items():
        for instrument in venue.parse_instruments(exchange_info(market), SYMBOLS[market]):
            table.add(instrument)
    return table


def signer() -> HmacSigner:
    """Return a signer with throw-away keys."""
    return HmacSigner("goldenApiKey", Secret("golden-secret-of-no-worth"))


def codec(market: str, *, account: int = 3) -> BinanceCodec:
    """Return a codec with a signer."""
    return VENUES[market].bind(instruments(), signer(), account)


def encode(value: Any) -> bytes:
    """Return compact JSON, as the venue sends it."""
    return json.dumps(value, separators=(",", ":")).encode()


def updates(out: Batch) -> list[dict[str, int]]:
    """Return the update rows of a batch as dictionaries."""
    names = out.updates.dtype.names
    assert names is not None
    return [{name: int(out.updates[k][name]) for name in names} for k in range(out.update_count)]


def controls(out: Batch, kind: str) -> list[Any]:
    """Return the values of the controls of one kind."""
    return [control.value for control in out.controls if control.kind == kind]
