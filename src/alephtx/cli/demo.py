"""`alephtx demo`: replay real recordings over real sockets and trade on them."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.add_argument("--seconds", type=float, default=None, help="stop after that long")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON line")
    parser.add_argument("--runs", default="runs", help="where the run directory is made")
    parser.add_argument("--mode", choices=("live", "paper", "shadow"), default="live")
    parser.add_argument("--speed", type=float, default=1.0, help="n-fold replay")


def run(options: argparse.Namespace) -> int:
    """Run the demo."""
    import uvloop

    from alephtx.core.kernel import prefer_stored
    from alephtx.serve.demo import Demo

    prefer_stored()

    demo = Demo(runs=options.runs, mode=options.mode, speed=options.speed, as_json=options.json)
    return uvloop.run(demo.run(options.seconds))
