"""The yardstick: a process that does nothing but answer bytes by bytes, compiled, polling.

python ttt_echo.py '{"hot": port, "core": 1, "ca": "", "bytes": 330, "venue": ...}'
"""

import json
import os
import ssl
import sys

import numpy as np
import ttt_compiled as compiled
from ttt_links import client_frame, connect

PATHS = {
    "binance_usdm": ("/public/stream?streams=btcusdt@depth@0ms", "/ws-fapi/v1"),
    "hyperliquid": ("/ws", "/ws"),
}
ASKED = {
    "binance_usdm": b"",
    "hyperliquid": b'{"method":"subscribe","subscription":{"type":"l2Book","coin":"BTC"}}',
}
TAILS = {
    "binance_usdm": b'","method":"order.place"}',
    "hyperliquid": b'","request":{"type":"action"}}',
}
"""By which the exchange knows an order."""


def order_like(size: int, venue: str) -> bytes:
    """Return a frame as long as an order."""
    head, tail = b'{"id":"', TAILS[venue]
    return client_frame(head + b"x" * (size - len(head) - len(tail)) + tail)


def main() -> None:
    """Echo until the exchange hangs up, or this process is ended."""
    given = json.loads(sys.argv[1])
    os.sched_setaffinity(0, {given["core"]})
    context = None
    if given["ca"]:
        context = ssl.create_default_context(cafile=given["ca"])
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    market, trade = (connect(given["hot"], path, context) for path in PATHS[given["venue"]])
    if asked := ASKED[given["venue"]]:
        market.send(client_frame(asked))
        market.read()  # its confirmation
    for link in (market, trade):
        link.sock.setblocking(False)
    frame = np.frombuffer(order_like(given["bytes"], given["venue"]), np.uint8)
    buf = np.zeros(1 << 16, np.uint8)
    compiled.echo(
        market.fd, market.ssl, trade.fd, trade.ssl, buf, buf.ctypes.data,
        frame.ctypes.data, frame.size,
    )  # fmt: skip


if __name__ == "__main__":
    main()
