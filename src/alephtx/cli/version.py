"""`alephtx version`: what this is, and what it stands on."""

import argparse
import json
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("numpy", "numba", "llvmlite", "msgspec", "picows", "uvloop", "aiohttp")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print one name and version a line."""
    found = {"alephtx": _version("alephtx"), "python": platform.python_version()}
    found["platform"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    found |= {name: _version(name) for name in PACKAGES}
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:<9} {value}")
    return 0


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
