"""The rows: what is measured, against what, and what the promise is.

A row of the product is only a config: `account` and `strategy` are lines of those tables.
"""

from typing import Literal, NamedTuple

EXCHANGE_CORE, CLIENT_CORE = 0, 1


class Row(NamedTuple):
    """One line of the table. against: the yardstick's name; ratio_max: what was promised.

    client: who answers. cores: of the product's feeder, main and loop thread. p99_us: promised too.
    """

    name: str
    client: Literal["echo", "product", "ccxt", "nautilus"]
    stamps: Literal["user", "kernel"] = "user"
    venue: str = "binance_usdm"
    tls: bool = False
    shape: str = "short"
    against: str = ""
    ratio_max: float = 0.0
    p99_us: float = 0.0
    wait: str = "spin"
    account: str = ""
    strategy: str = ""
    feeder: bool = True
    orders_by_http: bool = False
    main_core: int = EXCHANGE_CORE
    fifo: bool = False


ECHO, ECHO_KERNEL, ECHO_TLS = "echo", "echo, kernel stamps", "echo, TLS"
ECHO_REAL = "echo, 1.6 KB"
HYPER = "Hyperliquid, "
ECHO_HYPER_KERNEL = HYPER + "echo, kernel stamps"

ROWS = (
    Row(ECHO, "echo"),
    Row(ECHO_REAL, "echo", shape="real"),
    Row(ECHO_KERNEL, "echo", "kernel"),
    Row(ECHO_TLS, "echo", tls=True),
    Row(
        "gateway",
        "product",
        "kernel",
        against=ECHO_KERNEL,
        ratio_max=2.0,
        p99_us=100.0,
        main_core=CLIENT_CORE,
        fifo=True,
    ),
    Row(ECHO_HYPER_KERNEL, "echo", "kernel", "hyperliquid"),
    Row(
        HYPER + "gateway",
        "product",
        "kernel",
        "hyperliquid",
        against=ECHO_HYPER_KERNEL,
        main_core=CLIENT_CORE,
        fifo=True,
        orders_by_http=True,
    ),
    Row("ccxt.pro", "ccxt", "kernel", against=ECHO_KERNEL),
    Row("NautilusTrader", "nautilus", "kernel", against=ECHO_KERNEL),
)
