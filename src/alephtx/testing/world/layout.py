"""Which venues a world has, and what its engine is told to do on them."""

from decimal import Decimal
from pathlib import Path

from alephtx.core.config_schema import (
    Account,
    Config,
    MatrixConfig,
    Node,
    Risk,
    Shared,
    Strategy,
    VenueConfig,
)
from alephtx.testing.world.pool import ENGINE, LOCAL_CENTS, OTHER, TOTAL_CENTS, URL

VENUES = {"binance_spot": "spot", "binance_usdm": "usdm"}
KEYS = ("binance_spot:BTC-USDT", "binance_usdm:BTC-USDT-PERP")
PORTS = {"binance_spot": 20_001, "binance_usdm": 20_002}

POOL = Shared(
    pool=URL, engines=(ENGINE, OTHER), firm_gross_max=Decimal(TOTAL_CENTS) / 100,
    local_share=Decimal(LOCAL_CENTS) / 100, lost_ms=1_000,
)  # fmt: skip
"""What an engine that shares its gross limit with another is told."""


def config_of(folder: Path, officers: dict[str, str], shared: Shared | None) -> Config:
    """Return what the engine is told: two venues, a pair and a market maker."""
    venues = {}
    for venue, port in PORTS.items():
        address = f"127.0.0.1:{port}"
        venues[venue] = VenueConfig(
            symbols=("BTCUSDT",), environment="twin", http=f"http://{address}",
            market=f"ws://{address}", private=f"ws://{address}", trade=f"ws://{address}",
        )  # fmt: skip
    accounts = {
        name: Account(venue=venue, key="twin:key", secret="twin")  # noqa: S106 - the twins' own
        for venue, name in VENUES.items()
    }
    quotes = {"qty_base": "0.01", "inventory_max_base": "0.5", "half_spread_bps": "0.04",
              "requote_bps": "0.06", "skew_bps": "0.02"}  # fmt: skip
    pair = {"qty_base": "0.01", "position_max_base": "0.5", "trigger_bps": "0.1",
            "unwind_bps": "-1", "assume_parity": True, "fee_aware": False,
            "cooldown_ms": 200}  # fmt: skip
    names = tuple(accounts)
    return Config(
        node=Node(name="world", engine=ENGINE, mode="live", runs=str(folder / "runs")),
        matrix=MatrixConfig(path=str(folder / "matrix"), depth=4),
        risk=Risk(
            notional_max=Decimal(4_000), position_notional_max=Decimal(4_000),
            orders_per_s=20, stale_ms=3_000, drawdown_max=Decimal(5_000), officers=officers,
        ),
        shared=shared,
        venues=venues,
        accounts=accounts,
        strategies={
            "arb": Strategy(use="arbitrage", instruments=KEYS, accounts=names, own=pair),
            "mm": Strategy(use="market_maker", instruments=KEYS[1:], accounts=names[1:],
                           own=quotes),
        },
    )  # fmt: skip
