"""What tells whether two backtests were the same: one hash of integers.

It covers the rows of every tape that the venue has run and their units; every order that was sent
and every report that was heard, fills among them, in their order (`engine.replay.fold`, CRC-32C on
the way); and at the end the lane's positions, the venue's own books of it, and what still rests.
Floats are in none of them, so it is the same in every process, for any size of batch, alone or
beside other lanes, compiled or not.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from alephtx.core.ports import Rows
from alephtx.matrix.crc32c import START, crc_words
from alephtx.sim.bottle import T_NEXT

if TYPE_CHECKING:
    from alephtx.engine.backtest import Backtest
    from alephtx.engine.tapes import Tape

_RESTING = ("order_id", "price", "qty")


def inputs_hash(tapes: "list[Tape]", streams: Rows) -> bytes:
    """Return the hash of what has run of the tapes; 8 GB of rows take a second."""
    digest = hashlib.blake2b(digest_size=16)
    for tape, stream in zip(tapes, streams, strict=True):
        count = int(stream[T_NEXT])
        rows = np.ascontiguousarray(tape.rows[:count])
        words = rows.nbytes // 8
        told = int(crc_words(START, rows.ctypes.data, words)) if words else 0
        digest.update(f"{count} {told} {tape.base} {tape.unit} {tape.qty_unit}\n".encode())
    return digest.digest()


def lane_hash(test: "Backtest", inputs: bytes, j: int) -> str:
    """Return 16 hexadecimal digits of a lane and its inputs."""
    bottle, digest = test.bottle, hashlib.blake2b(inputs, digest_size=8)
    digest.update(int(bottle.digest[j]).to_bytes(8, "little", signed=True))
    for rows in (test.lanes[j].ctx.positions, bottle.held[j], bottle.cash[j], bottle.live[j]):
        digest.update(np.ascontiguousarray(rows).tobytes())
    for i, s in np.ndindex(bottle.live[j].shape):
        orders = bottle.orders[j, i, s, : bottle.live[j, i, s]]
        for name in _RESTING:
            digest.update(np.ascontiguousarray(orders[name]).tobytes())
    return digest.hexdigest()
