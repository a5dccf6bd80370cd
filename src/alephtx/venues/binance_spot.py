"""Binance Spot. https://developers.binance.com/docs/binance-spot-api-docs (read to 2026-07-17).

Orders and the private stream travel on the WS API; listen keys are gone since 2026-02-20. No
reduce-only, dead-man switch or GTD. Post-only is LIMIT_MAKER. Fees: lowest tier, no BNB discount.
"""

from decimal import Decimal

from alephtx.core import words
from alephtx.core.ports import Bucket, Endpoints, JoinRule, VenueSpec, What
from alephtx.venues.binance import BinanceVenue
from alephtx.venues.binance_instruments import Fees
from alephtx.venues.binance_queries import DAY_NS, Dialect

SECOND_NS = 1_000_000_000


class BinanceSpot(BinanceVenue):
    """The spot market."""

    contract = words.SPOT
    fees = Fees(maker=Decimal("0.001"), taker=Decimal("0.001"))
    spec = VenueSpec(
        name="binance_spot",
        join=JoinRule.SPOT,
        endpoints={
            "mainnet": Endpoints(
                http="https://api.binance.com",
                market="wss://stream.binance.com:9443",
                private="wss://ws-api.binance.com:443",
                trade="wss://ws-api.binance.com:443",
            ),
            "testnet": Endpoints(
                http="https://testnet.binance.vision",
                market="wss://stream.testnet.binance.vision",
                private="wss://ws-api.testnet.binance.vision",
                trade="wss://ws-api.testnet.binance.vision",
            ),
        },
        buckets=(
            Bucket("weight", 6000, 60 * SECOND_NS),
            Bucket("orders_10s", 100, 10 * SECOND_NS),
            Bucket("orders_1d", 200_000, DAY_NS),
        ),
        signer="hmac_sha256",
        other_signers=("ed25519",),
        transport="trade",
        bulk_cancel=True,
    )
    dialect = Dialect(
        api="/api/v3",
        futures=False,
        depth_speed="100ms",
        public_path="/stream",
        private_path="/ws-api/v3",
        trade_path="/ws-api/v3",
        trades="myTrades",
        cancel_all="openOrders",
        balances="account",
        fill_window_ns=DAY_NS,
        weights={
            What.SNAPSHOT: 50,
            What.INSTRUMENTS: 20,
            What.ORDERS: 80,
            What.ORDER: 4,
            What.FILLS_SINCE: 20,
            What.BALANCES: 20,
        },
        order_weights=(("weight", 1), ("orders_10s", 1), ("orders_1d", 1)),
    )
