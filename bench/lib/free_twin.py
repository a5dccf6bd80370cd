"""A Binance Spot twin without rate limits, as a process: prints its port, serves until it is ended.

python free_twin.py PORTS_FILE
"""

import asyncio
import json
import sys
from pathlib import Path

import uvloop

from alephtx.twins.binance_spot import BinanceSpotTwin
from alephtx.twins.limits import Window
from alephtx.twins.main import make_server
from alephtx.twins.options import TwinOptions


async def serve(ports_file: Path) -> None:
    """Serve until cancelled."""
    BinanceSpotTwin.weights = (Window("1M", 1 << 40, 60),)
    BinanceSpotTwin.order_limits = (Window("10S", 1 << 40, 10), Window("1D", 1 << 40, 86_400))
    async with make_server(TwinOptions(venues=("binance_spot",))) as server:
        half = ports_file.with_suffix(".half")
        half.write_text(json.dumps(server.ports))
        half.replace(ports_file)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
