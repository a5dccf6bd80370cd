"""`alephtx check`: say what is wrong with a config, line by line, before a run finds out."""

import argparse
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from alephtx.core import plugins
from alephtx.core.config import Config, load_config
from alephtx.core.config_check import SECRET_KEYS, URL_SCHEMES
from alephtx.core.errors import AlephError, ConfigError
from alephtx.core.instruments import Instruments
from alephtx.core.secrets import resolve, scrub

OK, WARNING, ERROR = "ok", "warning", "error"


class Line(NamedTuple):
    """One thing that was looked at."""

    state: str
    what: str
    said: str


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.add_argument("config", nargs="?", default="config.toml", help="default: config.toml")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print one line per thing looked at; exit code 3 when one of them is an error."""
    lines = check(options.config)
    good = all(line.state != ERROR for line in lines)
    if options.json:
        print(json.dumps({"ok": good, "lines": [line._asdict() for line in lines]}))
    else:
        for line in lines:
            print(scrub(f"{line.state:<8} {line.what}: {line.said}"))
    return 0 if good else 3


def check(path: str | Path) -> list[Line]:
    """Look at a config and at all it names: plugins, secrets, folders. Nothing is sent anywhere."""
    try:
        config = load_config(path)
    except ConfigError as error:
        return [Line(ERROR, "config", said) for said in str(error).splitlines()]
    node = config.node
    lines = [Line(OK, "config", f"{path}: node {node.name}, engine {node.engine}, {node.mode}")]
    lines += [_looked_at(f"venue {name}", partial(_venue, config, name)) for name in config.venues]
    lines += [_outdone(config, name) for name in config.outdone_venues]
    lines += [_account(config, name) for name in config.accounts]
    lines += [
        _looked_at(f"strategy {name}", partial(_strategy, config, name))
        for name in config.strategies
    ]
    lines += _cores(config)
    lines.append(_folder("runs", Path(node.runs)))
    lines.append(_folder("matrix", Path(config.matrix.path).parent))
    return lines


def _looked_at(what: str, look: Callable[[], str]) -> Line:
    try:
        return Line(OK, what, look())
    except AlephError as error:
        return Line(ERROR, what, str(error))


def _venue(config: Config, name: str) -> str:
    venue = config.venues[name]
    spec = plugins.find("venues", name, config.node.plugins).spec
    if venue.environment not in spec.endpoints and venue.environment != "twin":
        known = ", ".join(sorted(spec.endpoints))
        raise ConfigError(f"it has no {venue.environment}", remedy=f"known: {known}")
    real = spec.endpoints.get("mainnet")
    for field in URL_SCHEMES:
        host = urlsplit(getattr(venue, field)).hostname
        if host and real and venue.environment != "mainnet":
            hosts = {urlsplit(getattr(real, other)).hostname for other in URL_SCHEMES}
            if host in hosts:
                raise ConfigError(f'{field} is mainnet, but environment = "{venue.environment}"')
    if strategies := config.direct_on(name):
        from alephtx.engine.venues import load_venue
        from alephtx.feed.lane import need_scanner

        codec = load_venue(name, config.node.plugins).bind(Instruments(), None, 0)
        need_scanner(codec, ", ".join(strategies))  # the engine ends of it when it starts
    symbols = f"{len(venue.symbols)} symbol{'s' if len(venue.symbols) > 1 else ''}"
    return f"{venue.environment}, {symbols}{', recorded' if venue.record else ''}"


def _outdone(config: Config, name: str) -> Line:
    strategies = ", ".join(config.direct_on(name))
    said = f'feeder = "engine" has no effect: the loop receives it, for {strategies}; remove it'
    return Line(WARNING, f"venue {name}", f'{said}, or write path = "split"')


def _account(config: Config, name: str) -> Line:
    account = config.accounts[name]
    what = f"account {name}"
    for field in SECRET_KEYS:
        if reference := getattr(account, field):
            try:
                resolve(reference)
            except ConfigError as error:
                # Paper signs nothing, so a secret that is missing there stops nothing.
                state = WARNING if config.node.mode == "paper" else ERROR
                return Line(state, what, f"{field}: {error}")
    if name not in config.loop_accounts:
        return Line(OK, what, f"{account.venue}, secrets found")
    return _loop_account(config, name)


def _loop_account(config: Config, name: str) -> Line:
    """Ask the venue's codec, as the engine does when it starts, whether the loop can send."""
    from alephtx.engine.venues import bind_codec
    from alephtx.execution.staged import order_stages_of

    account, what = config.accounts[name], f"account {name}"
    bad = ERROR if config.node.mode == "live" else WARNING  # only live orders leave from the loop
    try:
        codec = bind_codec(config, account, 0, Instruments())
    except AlephError as error:
        return Line(bad, what, str(error))
    sender = "the loop sends its orders"
    try:
        order_stages_of(name, codec)
    except ConfigError as error:
        if account.entry == "loop":
            return Line(bad, what, str(error).removeprefix(f"{what}: "))
        sender = f"the gateway sends its orders: {account.venue} has no compiled order entry"
    return Line(OK, what, f"{account.venue}, secrets found; {sender}")


def _strategy(config: Config, name: str) -> str:
    strategy = config.strategies[name]
    if strategy.is_file:
        plugins.load_module(strategy.use)
    else:
        plugins.find("strategies", strategy.use, config.node.plugins)
    return f"{Path(strategy.use).name} on {', '.join(strategy.instruments)}"


def _cores(config: Config) -> list[Line]:
    """Warn where threads that never sleep would take each other's time."""
    spinning, cores = config.spinners, len(os.sched_getaffinity(0))
    if not spinning:
        return []
    said = f"never sleep: {', '.join(spinning)}; cores: {cores}"
    if len(spinning) <= cores:
        return [Line(OK, "cores", said)]
    remedy = 'let some sleep: node.feeder_wait, node.main_wait, or node.wait = "adaptive"'
    return [Line(WARNING, "cores", f"{said}, so that they wait for each other; {remedy}")]


def _folder(what: str, folder: Path) -> Line:
    above = folder
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        return Line(ERROR, what, f"{folder} cannot be written")
    return Line(OK, what, str(folder))
