"""Interleaved rounds: what is compared is measured in turns; a busy machine hits all alike."""

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path


def interleave(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Run every way once a round, in turn; return the median of what each returned."""
    seen: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seen[name].append(way())
    return {name: statistics.median(values) for name, values in seen.items()}


def machine() -> str:
    """Return the processor and how many of it there are."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def peak_mib() -> float:
    """Return the most memory this process has held, in MiB; 0 where Linux does not say.

    Not getrusage's: that begins with what the parent held.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    held = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(held[0]) / 1024 if held else 0.0


def options(description: str) -> argparse.ArgumentParser:
    """Return the parser that all benches share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--rounds", type=int, default=15, help="medians are of so many")
    return parser


def report(
    title: str, figures: dict[str, float], unit: str, *, against: dict[str, str], as_json: bool
) -> None:
    """Print every figure, and its ratio to the one that it is compared with.

    against: figure -> the other one; the ratio says how many times as fast the first one is.
    """
    load = round(os.getloadavg()[0], 1)
    ratios = {name: figures[other] / figures[name] for name, other in against.items()}
    if as_json:
        told = {"bench": title, "unit": unit, "figures": figures, "against": against,
                "ratios": ratios, "machine": machine(), "load": load}  # fmt: skip
        sys.stdout.write(json.dumps(told) + "\n")
        return
    sys.stdout.write(f"{title}  ({machine()}; load {load})\n")
    for name, value in figures.items():
        ratio = f"   {ratios[name]:6.2f} x as fast as {against[name]}" if name in ratios else ""
        sys.stdout.write(f"  {name:<42} {value:12.3f} {unit}{ratio}\n")
