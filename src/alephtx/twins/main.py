"""Start twins as a process: several venues, free or given ports, one start time.

python -m alephtx.twins.main binance_spot binance_usdm --ports-file ports.json
"""

import argparse
import asyncio
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from alephtx.core.clock import MachineClock
from alephtx.core.errors import ConfigError
from alephtx.core.log import logger
from alephtx.twins.options import TwinOptions
from alephtx.twins.server import TwinServer, VenueTwin

VENUES: dict[str, tuple[str, str]] = {
    "binance_spot": ("alephtx.twins.binance_spot", "twin_of"),
    "binance_usdm": ("alephtx.twins.binance_futures", "usdm_of"),
    "binance_coinm": ("alephtx.twins.binance_futures", "coinm_of"),
    "hyperliquid": ("alephtx.twins.hyperliquid", "twin_of"),
}
"""Venue -> (module, maker); a maker takes TwinOptions and returns a VenueTwin."""


def make_twin(venue: str, options: TwinOptions) -> VenueTwin:
    """Return the twin of a venue by name; ConfigError names the known ones."""
    if venue not in VENUES:
        raise ConfigError(f"no twin of {venue!r}", remedy=f"known: {', '.join(sorted(VENUES))}")
    module, maker = VENUES[venue]
    make: Callable[[TwinOptions], Any] = getattr(importlib.import_module(module), maker)
    twin = make(options)
    if not isinstance(twin, VenueTwin):
        raise ConfigError(f"{module}.{maker} did not make a VenueTwin")
    return twin


def make_server(options: TwinOptions) -> TwinServer:
    """Return a server of the wanted venues, not started."""
    twins = {make_twin(venue, options): options.ports.get(venue, 0) for venue in options.venues}
    return TwinServer(
        twins,
        start_at_ns=options.start_at_ns or None,
        speed=options.speed,
        loop=options.loop,
        funding_every_s=options.funding_every_s,
    )


async def serve(options: TwinOptions, ready: Callable[[dict[str, int]], None]) -> None:
    """Serve until cancelled or told to stop by SIGTERM or SIGINT; `ready` gets venue -> port."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Signal handlers need the main thread; elsewhere the caller cancels instead.
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    async with make_server(options) as server:
        ready(server.ports)
        while not stop.is_set():
            server.check()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.5)


def announce(options: TwinOptions, ports: dict[str, int]) -> None:
    """Write the ports where others wait for them."""
    if options.ports_file:
        # Written aside and renamed: a reader that polls for the file never sees half of it.
        target = Path(options.ports_file)
        half = target.with_name(f"{target.name}.{os.getpid()}")
        try:
            half.write_bytes(msgspec.json.encode(ports))
            half.replace(target)
        except OSError as error:
            raise ConfigError(f"{target} cannot be written: {error.strerror}") from error
    logger().info("twins_started", **{name: str(port) for name, port in ports.items()})


def run_twins(options: TwinOptions) -> None:
    """Serve in this process until SIGTERM or SIGINT; prints the ports as one JSON line."""

    def ready(ports: dict[str, int]) -> None:
        announce(options, ports)
        sys.stdout.write(msgspec.json.encode(ports).decode() + "\n")
        sys.stdout.flush()

    uvloop.run(serve(options, ready))


def _pairs(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or name not in VENUES:
        raise ConfigError(f"{text!r} is not VENUE=VALUE", remedy=f"known: {', '.join(VENUES)}")
    return name, value


def _port(venue: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) < 65536:
        raise ConfigError(f"port {text!r} of {venue} is not 0 to 65535")
    return int(text)


def _fees(text: str) -> tuple[Decimal, Decimal]:
    try:
        maker, taker = (Decimal(part) for part in text.split("/"))
    except (ValueError, InvalidOperation):
        raise ConfigError(f"fees {text!r} are not MAKER/TAKER, e.g. 0.0002/0.0005") from None
    return maker, taker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a twin process takes; `options_of` reads it."""
    parser.add_argument("venues", nargs="+", choices=sorted(VENUES), metavar="VENUE",
                        help=f"one or more of {', '.join(VENUES)}")  # fmt: skip
    parser.add_argument("--port", action="append", default=[], metavar="VENUE=PORT")
    parser.add_argument("--fees", action="append", default=[], metavar="VENUE=MAKER/TAKER")
    parser.add_argument("--ports-file", default="", help="write the ports there, as JSON")
    parser.add_argument("--start-in-s", type=float, default=0.0, help="begin that much later")
    parser.add_argument("--speed", type=float, default=1.0, help="0: as fast as it goes")
    parser.add_argument("--once", action="store_true", help="do not loop the recording")
    parser.add_argument("--skew-ms", type=int, default=0, help="the venues' clocks against ours")
    parser.add_argument("--funding-every-s", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)


def options_of(given: argparse.Namespace) -> TwinOptions:
    """Return what was asked for; ConfigError names what cannot be read."""
    begin = int(given.start_in_s * 1e9)
    return TwinOptions(
        venues=tuple(dict.fromkeys(given.venues)),
        ports={name: _port(name, value) for name, value in map(_pairs, given.port)},
        fees={name: _fees(value) for name, value in map(_pairs, given.fees)},
        start_at_ns=MachineClock().now() + begin if begin else 0,
        speed=given.speed,
        loop=not given.once,
        skew_ms=given.skew_ms,
        seed=given.seed,
        funding_every_s=given.funding_every_s,
        ports_file=given.ports_file,
    )


def main(arguments: Sequence[str]) -> int:
    """Parse the command line and run; see --help."""
    parser = argparse.ArgumentParser(
        prog="python -m alephtx.twins.main", description="Simulate venues on loopback."
    )
    add_arguments(parser)
    run_twins(options_of(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
