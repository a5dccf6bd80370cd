"""Binance USD-M futures. https://developers.binance.com/docs/derivatives/usds-margined-futures.

Streams are split since 2026-03-06: book, ticker and trade under /public, mark price under /market,
the account under /private. Post-only is GTX. Conditional orders live on another endpoint and are
not served. Amending loses the place in the queue. Fees: lowest tier, no BNB discount.
"""

from decimal import Decimal

from alephtx.core import words
from alephtx.core.ports import Bucket, Endpoints, JoinRule, VenueSpec, What
from alephtx.venues.binance import BinanceVenue
from alephtx.venues.binance_instruments import Fees
from alephtx.venues.binance_queries import Dialect

SECOND_NS = 1_000_000_000


class BinanceUsdm(BinanceVenue):
    """Linear perpetuals and futures, settled in stable coins."""

    contract = words.LINEAR
    fees = Fees(maker=Decimal("0.0002"), taker=Decimal("0.0005"))
    spec = VenueSpec(
        name="binance_usdm",
        join=JoinRule.FUTURES,
        endpoints={
            "mainnet": Endpoints(
                http="https://fapi.binance.com",
                market="wss://fstream.binance.com",
                private="wss://fstream.binance.com",
                trade="wss://ws-fapi.binance.com",
            ),
            "testnet": Endpoints(
                http="https://testnet.binancefuture.com",
                market="wss://fstream.binancefuture.com",
                private="wss://fstream.binancefuture.com",
                trade="wss://testnet.binancefuture.com",
            ),
        },
        buckets=(
            Bucket("weight", 2400, 60 * SECOND_NS),
            Bucket("orders_10s", 300, 10 * SECOND_NS),
            Bucket("orders_1m", 1200, 60 * SECOND_NS),
        ),
        signer="hmac_sha256",
        other_signers=("ed25519",),
        transport="trade",
        bulk_cancel=True,
        amend=True,
        deadman=True,
    )
    dialect = Dialect(
        api="/fapi/v1",
        futures=True,
        depth_speed="0ms",
        public_path="/public/stream",
        mark_path="/market/stream",
        private_path="/private/ws?listenKey={key}",
        trade_path="/ws-fapi/v1",
        balances="/fapi/v3/balance",
        positions="/fapi/v3/positionRisk",
        weights={
            What.SNAPSHOT: 20,
            What.ORDERS: 40,
            What.FILLS_SINCE: 5,
            What.BALANCES: 5,
            What.POSITIONS: 5,
            What.FUNDING_SINCE: 30,
            What.DEADMAN: 10,
        },
        order_weights=(("orders_10s", 1), ("orders_1m", 1)),
    )
