"""`alephtx doctor`: say what this host costs in latency, and how to change it."""

import argparse
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from alephtx.cli import CONFIG, OK, say

if TYPE_CHECKING:
    from alephtx.core.config_schema import Config
    from alephtx.engine.machine import Files, Finding

DEFAULT = "config.toml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.description = (
        "Look at processors, clock, memory, network and software of this host, and measure for two "
        "seconds: value, verdict, cost, remedy. Nothing is changed. Exit code 0 whatever is found."
    )
    parser.add_argument("config", nargs="?", help=f"hold a config against the host; {DEFAULT}")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.add_argument("--strict", action="store_true", help="exit code 3 if something is broken")
    parser.add_argument("--quick", action="store_true", help="read only, measure nothing")


def run(options: argparse.Namespace) -> int:
    """Print a block a finding, and how many there are of each kind."""
    from alephtx.core.config import load_config
    from alephtx.core.kernel import prefer_stored
    from alephtx.engine.machine import BROKEN, Files

    prefer_stored()
    given = options.config or (DEFAULT if Path(DEFAULT).exists() else None)
    config = load_config(given) if given else None
    found = examine(Files(), config, quick=options.quick)
    say({"config": given, "findings": found}, as_json=options.json, lines=lambda _: lines(found))
    broken = any(finding.verdict == BROKEN for finding in found)
    return CONFIG if broken and options.strict else OK


def examine(files: "Files", config: "Config | None", *, quick: bool = False) -> "list[Finding]":
    """Return every finding; what fails is one of them."""
    from alephtx.engine import (
        machine_clock,
        machine_cpu,
        machine_memory,
        machine_net,
        machine_software,
        machine_timing,
    )
    from alephtx.engine.machine import take

    looks = {
        "processors": machine_cpu.look_at_cores, "isolation": machine_cpu.look_at_isolation,
        "power": machine_cpu.look_at_power, "priorities": machine_cpu.look_at_priorities,
        "clock source": machine_clock.look_at_source, "clock": machine_clock.look_at_truth,
        "shared memory": machine_memory.look_at_shared_memory,
        "pages": machine_memory.look_at_pages, "limits": machine_memory.look_at_limits,
        "cards": machine_net.look_at_cards, "sockets": machine_net.look_at_sockets,
        "kernel": machine_software.look_at_kernel, "python": machine_software.look_at_python,
        "openssl": machine_software.look_at_openssl, "cache": machine_software.look_at_cache,
        **({} if quick else machine_timing.measured()),
    }  # fmt: skip
    return [one for what, look in looks.items() for one in take(what, partial(look, files, config))]


def lines(found: "list[Finding]") -> list[str]:
    """Return findings as lines: what it is, and below it what it costs and what helps."""
    told = []
    for one in found:
        told.append(f"{one.verdict:<7} {one.what}: {one.value}")
        if one.cost:
            told.append(f"        costs {one.cost}")
        if one.remedy:
            told.append(f"        help  {one.remedy}")
    count = Counter(one.verdict for one in found)
    told.append(", ".join(f"{count[verdict]} {verdict}" for verdict in sorted(count)))
    return told
