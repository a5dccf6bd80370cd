"""What `warm` compiles for orders and the direct path, apart: most runs need only some of it."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.core.instruments import Instruments


def direct(folder: Path) -> None:
    """Compile what hears and sends without Python; it writes orders, too."""
    from alephtx.core.nonce import next_nonces
    from alephtx.core.stages import stage_address
    from alephtx.engine.direct_turn import serve_links
    from alephtx.engine.entry_out import send_out
    from alephtx.feed.lane import lane_turn
    from alephtx.feed.spinner import Spinner

    for function in (serve_links, send_out, lane_turn):
        stage_address(function)
    Spinner().stop()
    next_nonces(np.zeros(1, np.int64).ctypes.data, 1, 1)
    asyncio.run(_link())
    orders(folder)


def orders(_folder: Path) -> None:
    """Compile what writes and signs the orders of the venues that come with the package."""
    from alephtx.core.clock import MachineClock
    from alephtx.core.secrets import Secret
    from alephtx.engine.venues import load_venue
    from alephtx.engine.warm import plain_instrument
    from alephtx.execution.staged import Staged, Writer
    from alephtx.net.buckets import Buckets
    from alephtx.signers.evm import EvmSigner
    from alephtx.signers.hmac_sha256 import HmacSigner

    signers: dict[str, tuple[str, Any]] = {
        "binance_spot": ("BTCUSDT", HmacSigner("warm", Secret("warm"))),
        "hyperliquid": ("BTC", EvmSigner(Secret("11" * 32))),
    }
    for venue, (symbol, signer) in signers.items():
        table = Instruments([plain_instrument(venue, words.LINEAR, symbol)])
        codec: Any = load_venue(venue).bind(table, signer, 0)
        Writer(Staged("warm", codec, Buckets(codec.spec.buckets, MachineClock())))


async def _link() -> None:
    """Do what the main thread does with a link and a venue's books that its loop has."""
    from alephtx.core.clock import MachineClock
    from alephtx.matrix.baton import Baton
    from alephtx.net.bytes_ring import BytesRing
    from alephtx.net.dial import Dialled
    from alephtx.net.loop_link import LoopLink
    from alephtx.net.wake import Wake

    baton = Baton(lambda: False)
    baton.run()
    with baton:
        baton.attended()
    assert not baton.handed_over
    ring = BytesRing(1 << 10)
    ring.push(b"")
    ring.pop()
    wake = Wake()
    for taken in (True, False):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.close()
        opened = Dialled(ours, None, b"", stamped=False)
        link = LoopLink(opened, lambda frame, ts_recv: None, clock=MachineClock(), wake=wake)
        link.send(b"")
        if taken:
            link.take()
        await link.close()
    wake.close()
