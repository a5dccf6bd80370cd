"""The recorded Binance symbols with their venues' filters, and the twins' default accounts."""

from decimal import Decimal
from typing import Any

from alephtx.core import words
from alephtx.twins.accounts import TWIN_KEY, TWIN_SECRET, Account, Market

Fees = tuple[Decimal, Decimal]


def spot_markets() -> list[Market]:
    """Return the two recorded symbols with the venue's filters.

    Quantities count in the wire's eight decimals: recorded books carry finer ones than the step.
    """

    def make(base: str, step: int, price_max: int) -> Market:
        return Market(
            symbol=f"{base}USDT",
            base=base,
            quote="USDT",
            settle="USDT",
            price_scale=2,
            qty_scale=8,
            lot=step,
            price_max=price_max,
            qty_min=step,
            qty_max=9_000 * 10**8,
            notional_min=Decimal(5),
            percent_up=Decimal(5),
            percent_down=Decimal("0.2"),
        )

    return [make("BTC", 1_000, 100_000_000), make("ETH", 10_000, 100_000_000)]


def usdm_markets() -> list[Market]:
    """Return the two recorded USD-M perpetuals."""
    common: dict[str, Any] = {"quote": "USDT", "settle": "USDT", "contract": words.LINEAR}
    common |= {"percent_up": Decimal("1.05"), "percent_down": Decimal("0.95"), "price_scale": 2}
    return [
        Market(
            symbol="BTCUSDT",
            base="BTC",
            qty_scale=3,
            tick=10,
            price_min=55_680,
            price_max=452_906_400,
            qty_max=1_000_000,
            notional_min=Decimal(100),
            **common,
        ),
        Market(
            symbol="ETHUSDT",
            base="ETH",
            qty_scale=3,
            price_min=3_986,
            price_max=30_617_700,
            qty_max=10_000_000,
            notional_min=Decimal(20),
            **common,
        ),
    ]


def coinm_markets() -> list[Market]:
    """Return the two recorded COIN-M perpetuals: quantities are contracts of 100 and 10 USD."""

    def make(base: str, value: int, price_scale: int, price_max: int) -> Market:
        return Market(
            symbol=f"{base}USD_PERP",
            base=base,
            quote="USD",
            settle=base,
            contract=words.INVERSE,
            contract_value=Decimal(value),
            price_scale=price_scale,
            qty_scale=0,
            price_max=price_max,
            qty_max=1_000_000,
            percent_up=Decimal("1.05"),
            percent_down=Decimal("0.95"),
        )

    return [make("BTC", 100, 1, 45_290_640), make("ETH", 10, 2, 30_617_700)]


def spot_account(fees: Fees = (Decimal("0.001"), Decimal("0.001"))) -> Account:
    """Return the default account: public twin credentials, (maker, taker) fees."""
    return Account(
        name="main",
        key=TWIN_KEY,
        secret=TWIN_SECRET,
        total={"USDT": Decimal(1_000_000), "BTC": Decimal(20), "ETH": Decimal(400)},
        maker_fee=fees[0],
        taker_fee=fees[1],
    )


def usdm_account(fees: Fees = (Decimal("0.0002"), Decimal("0.0005"))) -> Account:
    """Return the default USD-M account, (maker, taker) fees."""
    return Account(
        name="main",
        key=TWIN_KEY,
        secret=TWIN_SECRET,
        total={"USDT": Decimal(1_000_000)},
        maker_fee=fees[0],
        taker_fee=fees[1],
    )


def coinm_account(
    fees: Fees = (Decimal("0.0002"), Decimal("0.0005")),
) -> Account:
    """Return the default COIN-M account, (maker, taker) fees."""
    return Account(
        name="main",
        key=TWIN_KEY,
        secret=TWIN_SECRET,
        total={"BTC": Decimal(20), "ETH": Decimal(400)},
        maker_fee=fees[0],
        taker_fee=fees[1],
    )
