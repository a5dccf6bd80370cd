"""Enters a codec's stages as the loop does: by address, on bytes and rows in memory."""

import ctypes

from alephtx.core.kernel import kernel
from alephtx.core.ports import (
    MARKET_ROWS,
    MARKET_TS_RECV,
    MARKET_WORDS,
    ORDER_FRAME,
    ORDER_NOW,
    ORDER_PAYLOAD,
    ORDER_WORDS,
    Batch,
)
from alephtx.core.stages import call_stage, stage_address


@kernel
def _enter(address, state, a, b):
    return call_stage(address, state, a, b)


class Entered:
    """A stage that is called as (int, int)."""

    def __init__(self, stage):
        self.stage = stage
        self.address, self.owner = stage_address(stage.function)

    def __call__(self, a, b):
        return int(_enter(self.address, self.stage.state, a, b))


class Scanner:
    """A codec's market stage."""

    def __init__(self, codec):
        self.stage = codec.market_stage()
        self.enter = Entered(self.stage)
        self.words = self.stage.owners[MARKET_WORDS]
        self.rows = self.stage.owners[MARKET_ROWS]

    def __call__(self, frame, ts_recv):
        """Return what the stage says of a frame that ends where foreign memory begins."""
        memory = ctypes.create_string_buffer(frame, max(len(frame), 1))
        self.words[MARKET_TS_RECV] = ts_recv
        return self.enter(ctypes.addressof(memory), len(frame))


def agree(scanner, codec, frames, ts_recv):
    """Assert that the stage gives the rows of decode, or declines; return (taken, declined)."""
    out, counts = Batch(events=40_000), [0, 0]
    for frame in frames:
        found = scanner(frame, ts_recv)
        out.clear()
        codec.decode("market", frame, ts_recv, out)
        counts[found < 0] += 1
        if found >= 0:
            assert found == out.event_count
            assert scanner.rows[:found].tolist() == out.events[:found].tolist()
    return counts


class Desk:
    """A codec's order stages."""

    def __init__(self, codec):
        self.stages = codec.order_stages()
        self.write, self.seal = Entered(self.stages.write), Entered(self.stages.seal)
        self.words = self.stages.write.owners[ORDER_WORDS]

    def written(self, rows, now_ns):
        """Return the payload to be signed, or the code of the refusal."""
        self.words[ORDER_NOW] = now_ns
        size = self.write(rows.ctypes.data, len(rows))
        return size if size < 0 else ctypes.string_at(int(self.words[ORDER_PAYLOAD]), size)

    def sealed(self, signature):
        """Return the finished frame, or the code of the refusal."""
        memory = ctypes.create_string_buffer(signature, max(len(signature), 1))
        size = self.seal(ctypes.addressof(memory), len(signature))
        return size if size < 0 else ctypes.string_at(int(self.words[ORDER_FRAME]), size)
