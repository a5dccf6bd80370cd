"""The words of a link: what the loop thread and the main thread know of one WebSocket.

A link is one block of int64 words, followed by its transmit buffer, its receive buffer and a page
that nobody may touch, in one mapping. Kernels take the address of the block. Who may touch what:

- STATE is shared and only touched through atomics. NEW: the main thread made it and the loop has
  not seen it. LIVE: the loop owns everything, socket and TLS included. ASKED: as LIVE, and the main
  thread wants it back: the loop parks it at its next look. PARKED: the main thread owns everything;
  the loop reads STATE and nothing else, so the block must outlive its address in the loop's list.
  NEW -> LIVE and NEW -> PARKED, LIVE -> ASKED are exchanges, so each has one winner.
- PAUSED is written by the main thread: the loop reads nothing meanwhile.
- LAST_NS to DETAIL are written by the loop and may be looked at by the main thread at any time.
- All else is the owner's alone.

Receive buffer: [RX_AT, RX_END) was read and not yet looked at. While the parts of a fragmented
message come, [JOIN_AT, JOIN_AT + JOIN_SIZE) is what has been joined so far, before RX_AT. What
`link_next` shows lies before RX_AT too, and is overwritten by the next `link_poll`.
Transmit buffer: [TX_AT, TX_END) was framed and not yet taken by the system.
"""

import ctypes
import mmap
import os
from typing import Any

import numpy as np

from alephtx.core.errors import ConfigError
from alephtx.core.syscalls import STAMP_WORDS

Rows = np.ndarray[Any, Any]

# States.
NEW, LIVE, ASKED, PARKED = 0, 1, 2, 3

# Why a link was parked: REASON, with a close code in CODE (what ours says, or what the peer's
# said) and more in DETAIL.
BY_PEER = 1  # the peer's close frame; its payload is at MSG_AT, MSG_SIZE
PROTOCOL = 2  # a frame that RFC 6455 does not allow; DETAIL is one of the rules below
TOO_BIG = 3  # a message above MESSAGE_MAX; DETAIL is its size, as far as it is known
END = 4  # the peer hung up without a close frame
FAILED = 5  # a system call failed; DETAIL is the errno
TLS_BROKE = 6  # DETAIL is OpenSSL's error
BY_US = 7  # the main thread asked for it
FLOOD = 8  # the peer pings and does not read our answers
LOOP_ENDED = 9  # the loop that served it is over

# Rules of RFC 6455 that a peer broke.
RULE_RSV, RULE_OPCODE, RULE_MASKED, RULE_CONTROL = 1, 2, 3, 4
RULE_NO_START, RULE_NO_END, RULE_LENGTH, RULE_CLOSE = 5, 6, 7, 8
RULES = {
    RULE_RSV: "a reserved bit was set",
    RULE_OPCODE: "a reserved opcode",
    RULE_MASKED: "a masked frame from a server",
    RULE_CONTROL: "a control frame in parts or above 125 bytes",
    RULE_NO_START: "a continuation of nothing",
    RULE_NO_END: "a new message inside an unfinished one",
    RULE_LENGTH: "a length that is not in its shortest form, or negative",
    RULE_CLOSE: "a close frame of one byte",
}

# Words, by cache line.
STATE, PAUSED = 0, 1
LAST_NS = 16  # CLOCK_MONOTONIC when bytes last came
MESSAGES, BYTES_IN = 17, 18  # whole messages and their payload bytes
FRAMES_OUT, BYTES_OUT = 19, 20  # frames queued, bytes that the system took
REASON, CODE, DETAIL = 21, 22, 23
FD, SSL, STAMPS, WAKE = 32, 33, 34, 35  # SSL, WAKE: addresses or 0; STAMPS: ask the kernel for them
TO_PYTHON, FROM_PYTHON = 36, 37  # addresses of bytes_rings
OFFSET = 38  # our clock = CLOCK_MONOTONIC + this
MESSAGE_MAX, BACKLOG_MAX = 39, 40
RX, RX_SIZE, TX, TX_SIZE = 41, 42, 43, 44
RX_AT, RX_END, NEED = 48, 49, 50  # NEED: bytes that the frame at RX_AT has, where known
JOIN_OPCODE, JOIN_AT, JOIN_SIZE = 51, 52, 53  # JOIN_OPCODE 0: no message is in parts
TS_READ, BEHIND, BEHIND_AT = 54, 55, 56  # BEHIND: CLOCK_REALTIME - our clock, as of BEHIND_AT
HELD = 57  # 1: the message shown is still to be handed to Python
MORE = 58  # 1: `link_next` has shown a message and not yet said that there is no other
MSG_AT, MSG_SIZE, MSG_OPCODE, MSG_TS = 64, 65, 66, 67  # what `link_next` shows; our clock, ns
MSG_STAMPED = 68  # 1: MSG_TS is the kernel's receive stamp, 0: when we had read it
TX_AT, TX_END = 72, 73
KEY = 74  # to 77: the state of the masking keys' generator
CLOSING = 78  # 1: our close frame is on its way, nothing may follow it
OUT = 80  # to 83: what `link_serve` sees of from_python
HEADER = 84  # to 100: `core.syscalls.recv_stamped` works here
LINK_WORDS = 104
assert HEADER + STAMP_WORDS <= LINK_WORDS

WORDS: Rows = np.zeros(1, np.int64)
"""For `rows_at(link, LINK_WORDS, WORDS)`: a link's words as an array."""

PAGE = mmap.PAGESIZE
RX_SIZE_MIN = 1 << 14
TX_RESERVE = 1 << 12
"""Of the transmit buffer, kept for answers to pings and for the close frame."""

HEAD_MAX = 14
"""Bytes of the longest frame head."""


class LinkMemory:
    """A link's block and buffers in one mapping of its own; freed when nothing refers to it.

    message_max: bytes of the largest message. backlog_max: bytes of frames that may wait to be
    sent. Both decide the buffers' sizes: powers of two.
    """

    def __init__(self, *, message_max: int, backlog_max: int) -> None:
        if message_max < 1 or backlog_max < 1:
            raise ConfigError("a link needs room for at least one byte each way")
        self.rx_size = _power(max(RX_SIZE_MIN, message_max + (message_max >> 1) + HEAD_MAX))
        self.tx_size = _power(backlog_max + TX_RESERVE)
        head = -(-LINK_WORDS * 8 // PAGE) * PAGE
        size = head + self.tx_size + self.rx_size + PAGE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_POPULATE", 0)
        self._mapping = mmap.mmap(-1, size, flags=flags)
        whole = np.frombuffer(self._mapping, np.uint8)
        self.address: int = whole.ctypes.data
        self.words: Rows = whole[: LINK_WORDS * 8].view(np.int64)
        _forbid(self.address + size - PAGE)
        words = self.words
        words[RX], words[RX_SIZE] = self.address + head + self.tx_size, self.rx_size
        words[TX], words[TX_SIZE] = self.address + head, self.tx_size
        words[MESSAGE_MAX], words[BACKLOG_MAX] = message_max, backlog_max
        words[KEY : KEY + 4] = np.frombuffer(os.urandom(16), np.uint32)
        words[KEY] |= 1  # all zeros would stay so


def _power(size: int) -> int:
    """Return the power of two, at least a page, that holds so many bytes."""
    return max(PAGE, 1 << (size - 1).bit_length())


def _forbid(page: int) -> None:
    """Make a page untouchable, so that a read past the receive buffer is a crash and no guess."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0) != 0:
        raise OSError(ctypes.get_errno(), "no guard page behind a receive buffer")
