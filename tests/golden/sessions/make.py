"""Record the reference session anew: `python tests/golden/sessions/make.py [live|paper] [SECONDS]`.

A market maker trades BTCUSDT on the Binance USD-M twin, which replays the recording of 2024-08-08
(src/alephtx/twins/recordings/README.md), over real sockets. What `alephtx diff` reads of the run is
kept beside this file, the recording packed as small as it gets.
"""

import asyncio
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import zstandard

from alephtx.serve.demo import TwinProcess, endpoints

HERE = Path(__file__).parent
VENUE = "binance_usdm"
CONFIG = """\
[node]
name = "reference"
mode = "{mode}"
runs = "{folder}/runs"
[matrix]
path = "/dev/shm/aleph-reference-{pid}"
[risk]
notional_max = 20000
position_notional_max = 60000
band_bps = 50
orders_per_s = 50
stale_ms = 3000
drawdown_max = 2000
[venues.binance_usdm]
symbols = ["BTCUSDT"]
environment = "twin"
{addresses}
record = true
maker_fee_bps = "1.8"
taker_fee_bps = "4.5"
[accounts.usdm]
venue = "binance_usdm"
key = "twin:key"
secret = "twin"
[strategies.mm_btc]
use = "market_maker"
instruments = ["binance_usdm:BTC-USDT-PERP"]
accounts = ["usdm"]
half_spread_bps = "0.1"
skew_bps = "0.5"
requote_bps = "0.2"
qty_base = "0.01"
inventory_max_base = "0.1"
"""


async def trade(folder: Path, mode: str, seconds: str) -> Path:
    """Run the session; returns its directory."""
    twins = TwinProcess(folder, (VENUE,))
    await twins.start("--once", "--start-in-s", "4", "--fees", f"{VENUE}=0.00018/0.00045")
    try:
        where = endpoints(VENUE, twins.ports[VENUE])
        addresses = "\n".join(f'{role} = "{address}"' for role, address in where.items())
        text = CONFIG.format(mode=mode, folder=folder, pid=os.getpid(), addresses=addresses)
        (folder / "config.toml").write_text(text)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "alephtx.cli", "run", str(folder / "config.toml"), "--fresh",
            "--seconds", seconds, "--json",
        )  # fmt: skip
        if await process.wait():
            sys.exit("the session did not end well")
    finally:
        await twins.stop()
    return (folder / "runs" / "latest").resolve()


def keep(run: Path, to: Path) -> None:
    """Copy what a comparison reads, without paths of this machine."""
    shutil.rmtree(to, ignore_errors=True)
    (to / "recordings").mkdir(parents=True)
    shutil.copy(run / "instruments.json", to)
    for name in ("journal", "inputs"):
        shutil.copytree(run / name, to / name, ignore=shutil.ignore_patterns("lock"))
    for name in ("config.toml", "summary.json"):
        text = (run / name).read_text()
        text = re.sub(r'(runs = |"report":)"[^"]*"', r'\1"."', text)
        text = re.sub(r'path = "[^"]*"', 'path = "/nowhere"', text)
        (to / name).write_text(text)
    for path in (run / "recordings").glob("*.zst"):
        with path.open("rb") as file:
            frames = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            packed = zstandard.ZstdCompressor(level=22).compress(frames.read())
        (to / "recordings" / path.name).write_bytes(packed)


def main(mode: str = "live", seconds: str = "24") -> None:
    """Trade and keep."""
    with tempfile.TemporaryDirectory(prefix="aleph-session-") as folder:
        keep(asyncio.run(trade(Path(folder), mode, seconds)), HERE / "maker")


if __name__ == "__main__":
    main(*sys.argv[1:])
