"""`alephtx try`: run a strategy over the shipped recording and say what it did."""

import argparse
from typing import Any

from alephtx.cli import OK, UNRECONCILED, say
from alephtx.cli.run import seconds
from alephtx.core.errors import ConfigError

INSTRUMENT = "binance_spot:BTC-USDT"
SYMBOLS = "BTC and ETH at binance_spot, binance_usdm and binance_coinm"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Run a strategy over a recording of the market, as fast as it goes, through the same "
        "decoder, books, gate, journal and paper accounts as `alephtx run`. The recording holds "
        f"270 s of {SYMBOLS}. It shows what the strategy does, not what it would earn."
    )
    # argparse would show the options first, but takes no KEY=VALUE after one.
    parser.usage = (
        "alephtx try STRATEGY [KEY=VALUE ...] [--instrument KEY ...] [--seconds N] [--json]"
    )
    parser.add_argument(
        "strategy", metavar="STRATEGY", help="a .py file, or the name of an installed one"
    )
    parser.add_argument("own", nargs="*", metavar="KEY=VALUE", help="the strategy's own keys")
    parser.add_argument(
        "--instrument", action="append", metavar="KEY", help=f"may be repeated; {INSTRUMENT}"
    )
    parser.add_argument("--seconds", type=seconds, default=60.0, help="of the market; default: 60")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Try it; exit code 6 where the paper accounts and our ledger differ."""
    from alephtx.core.kernel import prefer_stored
    from alephtx.engine.tryout import try_strategy
    from alephtx.serve.warming import compile_kernels

    own = dict(_pair(text) for text in options.own)
    wanted = tuple(dict.fromkeys(options.instrument or [INSTRUMENT]))
    prefer_stored()
    compile_kernels()
    tried = try_strategy(options.strategy, wanted, own, options.seconds)
    say(tried, as_json=options.json, lines=lines)
    return OK if tried.reconciled else UNRECONCILED


def _pair(text: str) -> tuple[str, Any]:
    """Return a key and its value as TOML would have them: a whole number, true, false or text."""
    key, sign, value = text.partition("=")
    if not sign or not key.isidentifier():
        raise ConfigError(f"{text!r} is not KEY=VALUE", remedy="e.g. qty_base=0.01")
    if value in ("true", "false"):
        return key, value == "true"
    digits = value.removeprefix("-")
    whole = digits.isascii() and digits.isdigit() and len(digits) <= 18
    return key, int(value) if whole else value


def lines(tried: Any) -> list[str]:
    """Return the result for a person."""
    counts = tried.counters
    told = [
        f"tried      {tried.strategy} on {', '.join(tried.instruments)}",
        f"market     {tried.market_s:.0f} s, {tried.frames:,} messages in {tried.took_s:.2f} s",
        f"orders     {counts['orders']:,} sent, {counts['fills']:,} fills, "
        f"{counts['denied']:,} denied by the gate" + _pairs(tried.denied, ": {}"),
    ]
    told += [
        f"{name:<10} {_pairs(tried.money[name], '{}') or '0'}"
        for name in ("realized", "unrealized", "fees")
    ]
    held = {key.partition("/")[2]: qty for key, qty in tried.money["positions"].items()}
    told.append(f"positions  {_pairs(held, '{}') or 'flat'}")
    told.append(f"state      {_pairs(tried.state, '{}') or 'none'}")
    if counts["strategy_errors"]:
        told.append(f"error      on_... returned a wrong count {counts['strategy_errors']} times")
    told.append(f"books      {'equal' if tried.reconciled else 'DIFFERENT'}")
    return told + [f"           {difference}" for difference in tried.differences]


def _pairs(values: dict[str, Any], frame: str) -> str:
    return frame.format(", ".join(f"{k} {v}" for k, v in values.items())) if values else ""
