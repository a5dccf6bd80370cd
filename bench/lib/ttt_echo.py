"""The yardstick: a process that does nothing but answer bytes by bytes, compiled, polling.

python ttt_echo.py '{"hot": port, "core": 1, "ca": "", "bytes": 330}'
"""

import json
import os
import ssl
import sys

import numpy as np
import ttt_compiled as compiled
from ttt_links import client_frame, connect

MARKET_PATH = "/public/stream?streams=btcusdt@depth@0ms"
TRADE_PATH = "/ws-fapi/v1"


def order_like(size: int) -> bytes:
    """Return a frame as long as an order."""
    head, tail = b'{"id":"', b'","method":"order.place"}'
    return client_frame(head + b"x" * (size - len(head) - len(tail)) + tail)


def main() -> None:
    """Echo until the exchange hangs up, or this process is ended."""
    given = json.loads(sys.argv[1])
    os.sched_setaffinity(0, {given["core"]})
    context = None
    if given["ca"]:
        context = ssl.create_default_context(cafile=given["ca"])
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    market = connect(given["hot"], MARKET_PATH, context)
    trade = connect(given["hot"], TRADE_PATH, context)
    for link in (market, trade):
        link.sock.setblocking(False)
    frame = np.frombuffer(order_like(given["bytes"]), np.uint8)
    buf = np.zeros(1 << 16, np.uint8)
    compiled.echo(
        market.fd, market.ssl, trade.fd, trade.ssl, buf, buf.ctypes.data,
        frame.ctypes.data, frame.size,
    )  # fmt: skip


if __name__ == "__main__":
    main()
