"""`alephtx twin`: simulate venues on this machine, and say how to point a config at them."""

import argparse
import json

import uvloop

from alephtx.twins.main import add_arguments, announce, options_of, serve
from alephtx.twins.options import TwinOptions


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Simulate venues on loopback, with their real wire protocol, on a shipped recording. "
        "Prints the tables that a config needs to trade there; Ctrl-C ends it."
    )
    add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the ports as one JSON line")


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C; exit code 3 for options or ports that cannot be used."""
    wanted = options_of(options)

    def ready(ports: dict[str, int]) -> None:
        announce(wanted, ports)
        print(json.dumps(ports) if options.json else tables(wanted, ports), flush=True)

    uvloop.run(serve(wanted, ready))
    return 0


def tables(options: TwinOptions, ports: dict[str, int]) -> str:
    """Return the venues and accounts of running twins as tables of a config."""
    from alephtx.serve.demo import SYMBOLS, endpoints

    told = ["# Twins run at these addresses until Ctrl-C; paste this into a config."]
    for venue, port in ports.items():
        symbols = ", ".join(f'"{symbol}"' for symbol in SYMBOLS[venue])
        told += [f"[venues.{venue}]", f"symbols = [{symbols}]", 'environment = "twin"']
        told += [f'{role} = "{address}"' for role, address in endpoints(venue, port).items()]
        if venue in options.fees:
            maker, taker = (fee * 10_000 for fee in options.fees[venue])
            told += [f'maker_fee_bps = "{maker:f}"', f'taker_fee_bps = "{taker:f}"']
        told.append("")
    for venue in ports:
        key = [] if venue == "hyperliquid" else ['key = "twin:key"']
        told += [f"[accounts.{venue}]", f'venue = "{venue}"', *key, 'secret = "twin"', ""]
    return "\n".join(told)
