"""Binance COIN-M futures: inverse contracts of a fixed USD value, settled in the coin.

Written from ccxt 4.5.90 (endpoints, weights, listen key), recorded market frames of 2024-08-08 and
recorded exchangeInfo; the venue's own pages were only partly at hand (countdownCancelAll was).
Unverified: that `markPrice@1s` carries the index (`i`) here too; order counters per 10 s (none are
listed); the WS API `ws-dapi`, which ccxt names but whose methods are undocumented, so orders travel
by REST; the announced move of COIN-M to the USD-M endpoints (payloads then gain `st` and `ps`,
which both halves of the decoder take); the testnet's stream host.
"""

from decimal import Decimal

from alephtx.core import words
from alephtx.core.ports import Bucket, Endpoints, JoinRule, VenueSpec, What
from alephtx.venues.binance import BinanceVenue
from alephtx.venues.binance_instruments import Fees
from alephtx.venues.binance_queries import Dialect

SECOND_NS = 1_000_000_000


class BinanceCoinm(BinanceVenue):
    """Inverse perpetuals and futures; quantities are contracts."""

    contract = words.INVERSE
    fees = Fees(maker=Decimal("0.0001"), taker=Decimal("0.0005"))
    spec = VenueSpec(
        name="binance_coinm",
        join=JoinRule.FUTURES,
        endpoints={
            "mainnet": Endpoints(
                http="https://dapi.binance.com",
                market="wss://dstream.binance.com",
                private="wss://dstream.binance.com",
            ),
            "testnet": Endpoints(
                http="https://testnet.binancefuture.com",
                market="wss://dstream.binancefuture.com",
                private="wss://dstream.binancefuture.com",
            ),
        },
        buckets=(
            Bucket("weight", 2400, 60 * SECOND_NS),
            Bucket("orders_1m", 1200, 60 * SECOND_NS),
        ),
        signer="hmac_sha256",
        other_signers=("ed25519",),
        transport="http",
        bulk_cancel=True,
        amend=True,
        deadman=True,
    )
    dialect = Dialect(
        api="/dapi/v1",
        futures=True,
        depth_speed="0ms",
        public_path="/stream",
        mark_path="/stream",
        private_path="/ws/{key}",
        weights={
            What.SNAPSHOT: 20,
            What.ORDERS: 5,
            What.FILLS_SINCE: 5,
            What.FUNDING_SINCE: 20,
            What.DEADMAN: 10,
        },
        order_weights=(("weight", 1), ("orders_1m", 1)),
    )
