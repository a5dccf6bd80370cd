"""The rows: what is measured, against what, and what the promise is.

A row of the product is only a config: `market`, `account` and `strategy` are lines of the tables of
venue, account and strategy.
"""

import os
import shutil
from importlib.util import find_spec
from typing import Literal, NamedTuple

from lib.ttt_compiled import HAS_TLS

CORES = sorted(os.sched_getaffinity(0))
EXCHANGE_CORE, CLIENT_CORE = CORES[0], CORES[-1]


class Row(NamedTuple):
    """One line of the table. against: the yardstick's name; ratio_max: what was promised.

    client: who answers. signature: one of the library's, measured beside the round on the same
    core, is added. main_core: of the engine's main thread; main_wait: how it waits.
    orders_by_http: the trade link is HTTP. needs: a module without which the product
    has no such path. p99_us, median_us: promised too.
    inside: no sockets, see `ttt_inside`.
    """

    name: str
    client: Literal["echo", "product", "ccxt", "nautilus", "inside"]
    stamps: Literal["user", "kernel"] = "user"
    venue: str = "binance_usdm"
    tls: bool = False
    shape: str = "short"
    against: str = ""
    ratio_max: float = 0.0
    p99_us: float = 0.0
    median_us: float = 0.0
    signature: bool = False
    wait: str = "spin"
    account: str = ""
    strategy: str = ""
    market: str = ""
    main_wait: str = "sleep"
    feeder_wait: str = "as wait"
    main_core: int = EXCHANGE_CORE
    orders_by_http: bool = False
    needs: str = ""

    def missing(self) -> str:
        """Say why a row cannot be measured, "" when it can."""
        if self.tls and (shutil.which("openssl") is None or not HAS_TLS):
            return "no openssl, or no libssl.so.3"
        if self.needs and find_spec(self.needs) is None:
            return f"the product has no such path: {self.needs} is missing"
        return ""


ECHO, ECHO_KERNEL, ECHO_TLS = "echo", "echo, kernel stamps", "echo, TLS"
ECHO_REAL = "echo, 1.6 KB"
HYPER = "Hyperliquid: "
ECHO_HYPER, ECHO_HYPER_KERNEL = HYPER + "echo + signature", HYPER + "echo + signature, kernel"
SPINS_US = 100.0
BY_DIRECT = {"strategy": 'path = "direct"', "needs": "alephtx.engine.direct"}
BY_LOOP = {"account": 'entry = "loop"', "needs": "alephtx.engine.direct"}
ONE_THREAD = {"market": 'feeder = "engine"', "main_wait": "spin", "needs": "alephtx.engine.hosted"}
"""Feeder and gateway share the engine's main thread, which spins: beside it only the loop does."""


def _yardstick(name: str, **how: object) -> Row:
    return Row(name, "echo", **how)  # type: ignore[arg-type]


def _product(name: str, against: str, ratio_max: float, **how: object) -> Row:
    return Row(
        name, "product", against=against, ratio_max=ratio_max, p99_us=SPINS_US,
        **how,  # type: ignore[arg-type]
    )  # fmt: skip


def _peer(name: str, client: str) -> Row:
    return Row(name, client, "kernel", against=ECHO_KERNEL)  # type: ignore[arg-type]


ROWS = (
    _yardstick(ECHO),
    _product("direct", ECHO, 1.3, **BY_DIRECT),
    _yardstick(ECHO_REAL, shape="real"),
    _product("direct, 1.6 KB", ECHO_REAL, 1.3, shape="real", **BY_DIRECT),
    _yardstick(ECHO_TLS, tls=True),
    _product("direct, TLS", ECHO_TLS, 1.3, tls=True, **BY_DIRECT),
    _yardstick(ECHO_KERNEL, stamps="kernel"),
    _product("direct, kernel stamps", ECHO_KERNEL, 1.45, stamps="kernel", **BY_DIRECT),
    _product("ring", ECHO_KERNEL, 1.7, stamps="kernel",
             feeder_wait="sleep", **BY_LOOP),
    _product("gateway", ECHO_KERNEL, 2.0, stamps="kernel", **ONE_THREAD),
    _yardstick(ECHO_HYPER, venue="hyperliquid", signature=True),
    _product(HYPER + "direct", ECHO_HYPER, 1.3, venue="hyperliquid", **BY_DIRECT),
    _yardstick(ECHO_HYPER_KERNEL, venue="hyperliquid", stamps="kernel", signature=True),
    _product(
        HYPER + "gateway", ECHO_HYPER_KERNEL, 0.0, venue="hyperliquid", stamps="kernel",
        **ONE_THREAD,
    ),
    Row("message to signed order, inside", "inside", median_us=2.0),
    Row("message to signed order, 1.6 KB", "inside", shape="real"),
    Row(HYPER + "message to signed order, prepared nonces", "inside", venue="hyperliquid",
        median_us=4.0),
    _peer("ccxt.pro", "ccxt"),
    _peer("NautilusTrader", "nautilus"),
)  # fmt: skip
