"""Cut the recordings that the twins ship with out of the full ones.

    python -m alephtx.twins.extract SOURCE_DIR [SECONDS]

SOURCE_DIR holds `l2_binance_raw_20240808/*.gz` and `hyperliquid_l2_20250126/*.gz` as published with
hftbacktest's examples. The six Binance files share one clock: the origin is the time of the last of
their six REST snapshots, the end is so many seconds later. Lines keep their bytes; the lines before
the origin stay, because a book is its snapshot plus the changes around it. Output: `.zst` files and
`window.json` next to this file.
"""

import gzip
import sys
from pathlib import Path

import msgspec
import zstandard

from alephtx.core.errors import SimulationError

TARGET = Path(__file__).parent / "recordings"
SECONDS = 270
BINANCE = {
    "binance_spot": {"BTCUSDT": "spot_btcusdt_20240808", "ETHUSDT": "spot_ethusdt_20240808"},
    "binance_usdm": {"BTCUSDT": "usdm_btcusdt_20240808", "ETHUSDT": "usdm_ethusdt_20240808"},
    "binance_coinm": {
        "BTCUSD_PERP": "cm_btcusd_perp_20240808",
        "ETHUSD_PERP": "cm_ethusd_perp_20240808",
    },
}
HYPERLIQUID = "btcusd_20250126"


class Window(msgspec.Struct, frozen=True):
    """The part of the common clock that is replayed, ns."""

    origin_ns: int
    end_ns: int


def load_window(directory: Path = TARGET) -> Window:
    """Read the window of the shipped Binance recordings."""
    return msgspec.json.decode((directory / "window.json").read_bytes(), type=Window)


def snapshot_ns(path: Path) -> int:
    """Return the receive time of the REST snapshot in a recording."""
    with gzip.open(path, "rb") as file:
        for line in file:
            if b'{"lastUpdateId"' in line[:40]:
                return int(line.partition(b" ")[0])
    raise SimulationError(f"{path.name} holds no REST snapshot")


def _compress(lines: list[bytes], target: Path) -> int:
    data = zstandard.ZstdCompressor(level=22).compress(b"".join(lines))
    target.write_bytes(data)
    return len(data)


def extract(source: Path, seconds: int = SECONDS, target: Path = TARGET) -> dict[str, int]:
    """Write the cut recordings and return the size of each in bytes."""
    target.mkdir(parents=True, exist_ok=True)
    folder = source / "l2_binance_raw_20240808"
    names = [name for venue in BINANCE.values() for name in venue.values()]
    origin = max(snapshot_ns(folder / f"{name}.gz") for name in names)
    window = Window(origin, origin + seconds * 1_000_000_000)
    (target / "window.json").write_bytes(msgspec.json.encode(window) + b"\n")
    sizes = {}
    for name in names:
        with gzip.open(folder / f"{name}.gz", "rb") as file:
            kept = [line for line in file if int(line.partition(b" ")[0]) <= window.end_ns]
        sizes[name] = _compress(kept, target / f"{name}.zst")
    with gzip.open(source / "hyperliquid_l2_20250126" / f"{HYPERLIQUID}.gz", "rb") as file:
        sizes[HYPERLIQUID] = _compress(list(file), target / f"{HYPERLIQUID}.zst")
    return sizes


def main(arguments: list[str]) -> int:
    """Run the cut; see the module."""
    if not arguments:
        sys.stderr.write("usage: python -m alephtx.twins.extract SOURCE_DIR [SECONDS]\n")
        return 2
    seconds = int(arguments[1]) if len(arguments) > 1 else SECONDS
    sizes = extract(Path(arguments[0]), seconds)
    for name, size in sizes.items():
        sys.stdout.write(f"{size:>10} {name}\n")
    sys.stdout.write(f"{sum(sizes.values()):>10} bytes in all\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
