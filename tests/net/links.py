"""A link over a socket pair, driven by hand, and a naive parser of frames to compare with."""

import ctypes
import socket
import struct
import time

from alephtx.net import link_words as w
from alephtx.net.bytes_ring import BytesRing
from alephtx.net.frames import link_next, link_poll
from alephtx.net.link_words import LinkMemory
from alephtx.net.wake import Wake
from tests.net.servers import frame

BROKEN = [
    (frame(b"a", rsv=4), w.RULE_RSV), (frame(b"a", rsv=2), w.RULE_RSV),
    (frame(b"a", rsv=1), w.RULE_RSV), (frame(b"", 9, rsv=4), w.RULE_RSV),
    *((frame(b"a", opcode), w.RULE_OPCODE) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    (b"\x81\x85mask12345", w.RULE_MASKED), (b"\x81\xfe", w.RULE_MASKED),
    (b"\x89\x80", w.RULE_MASKED), (b"\x81\xff", w.RULE_MASKED),
    (frame(b"p" * 126, 9), w.RULE_CONTROL), (frame(b"p", 9, fin=False), w.RULE_CONTROL),
    (frame(b"p" * 70_000, 10)[:10], w.RULE_CONTROL), (frame(b"", 8, fin=False), w.RULE_CONTROL),
    (frame(b"c", 0), w.RULE_NO_START), (frame(b"c" * 200, 0), w.RULE_NO_START),
    (frame(b"a", fin=False) + frame(b"b"), w.RULE_NO_END),
    (frame(b"a", fin=False) + frame(b"b" * 200, 2, fin=False), w.RULE_NO_END),
    (b"\x81\x7e\x00\x7d" + b"x" * 125, w.RULE_LENGTH), (b"\x81\x7e\x00\x00", w.RULE_LENGTH),
    (b"\x81\x7f" + struct.pack(">Q", 65535), w.RULE_LENGTH),
    (b"\x81\x7f" + struct.pack(">Q", 1 << 63), w.RULE_LENGTH),
    (b"\x81\x7f" + b"\xff" * 8, w.RULE_LENGTH), (frame(b"x", 8), w.RULE_CLOSE),
]  # fmt: skip
"""What a server may not send, and the rule that it breaks."""


class Bench:
    """A link whose peer is the other end of a socket pair; this thread is its loop."""

    def __init__(self, *, message_max=1 << 16, backlog_max=1 << 16, ring=1 << 20, stamps=False):
        self.ours, self.peer = socket.socketpair()
        self.ours.setblocking(False)
        self.memory = LinkMemory(message_max=message_max, backlog_max=backlog_max)
        self.address, self.words = self.memory.address, self.memory.words
        self.wake = Wake()
        self.to_python, self.from_python = BytesRing(ring), BytesRing(1 << 20)
        self.words[w.FD], self.words[w.WAKE] = self.ours.fileno(), self.wake.address
        self.words[w.TO_PYTHON] = self.to_python.address
        self.words[w.FROM_PYTHON] = self.from_python.address
        self.words[w.OFFSET] = time.time_ns() - time.monotonic_ns()
        self.words[w.STAMPS] = stamps

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ours.close()
        self.peer.close()
        self.wake.close()

    def shown(self):
        """Return (opcode, payload) of every message that link_next shows, and its last word."""
        found = []
        while (size := link_next(self.address)) >= 0:
            payload = ctypes.string_at(int(self.words[w.MSG_AT]), size)
            found.append((int(self.words[w.MSG_OPCODE]), payload))
        return found, size

    def fed(self, data, cuts=()):
        """Send bytes in pieces that end at the cuts; return the messages shown after each."""
        found = []
        link_poll(self.address)
        for begin, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
            left = memoryview(data)[begin:end]
            while left:
                left = left[self.peer.send(left[: 1 << 15]) :]
                while link_poll(self.address) > 0:
                    found += self.shown()[0]
        return found

    def parked(self):
        """Return (reason, code, detail) once the link is parked, else None."""
        if self.words[w.STATE] != w.PARKED:
            return None
        return tuple(int(self.words[k]) for k in (w.REASON, w.CODE, w.DETAIL))

    def received(self):
        """Return the frames that the peer has got, as (opcode, payload)."""
        return unmasked(self.received_bytes())

    def received_bytes(self):
        """Return what the peer has got."""
        self.peer.setblocking(False)
        data = b""
        while True:
            try:
                piece = self.peer.recv(1 << 20)
            except BlockingIOError:
                break
            if not piece:
                break
            data += piece
        self.peer.setblocking(True)
        return data


def unmasked(data):
    """Take client frames apart, byte by byte; every one must be whole, final and masked."""
    found = []
    while data:
        assert data[0] & 0xF0 == 0x80
        assert data[1] & 0x80
        size, at = data[1] & 0x7F, 2
        if size == 126:
            (size,), at = struct.unpack(">H", data[2:4]), 4
            assert size > 125
        elif size == 127:
            (size,), at = struct.unpack(">Q", data[2:10]), 10
            assert size > 0xFFFF
        key, body = data[at : at + 4], data[at + 4 : at + 4 + size]
        assert len(body) == size
        found.append((data[0] & 15, bytes(b ^ key[i % 4] for i, b in enumerate(body))))
        data = data[at + 4 + size :]
    return found


def naive(data, message_max):
    """Read server frames as RFC 6455 has it: (messages, pongs due, why it ends or None).

    Written apart from the kernel: one function, slices, no state between calls.
    """
    messages, pongs, parts, kind = [], [], None, 0
    at = 0
    while len(data) - at >= 2:
        first, second = data[at], data[at + 1]
        size, head = second & 0x7F, 2
        if second & 0x80:
            return messages, pongs, w.PROTOCOL
        if size > 125:
            width = 2 if size == 126 else 8
            head = 2 + width
            if len(data) - at < head:
                break
            size = int.from_bytes(data[at + 2 : at + head], "big")
            if size < (126 if width == 2 else 65536) or size >> 63:
                return messages, pongs, w.PROTOCOL
        opcode, final = first & 15, bool(first & 0x80)
        if first & 0x70 or opcode not in (0, 1, 2, 8, 9, 10):
            return messages, pongs, w.PROTOCOL
        if opcode >= 8 and (size > 125 or not final):
            return messages, pongs, w.PROTOCOL
        if opcode < 8:
            if (opcode == 0) is (parts is None):
                return messages, pongs, w.PROTOCOL
            if size + len(parts or b"") > message_max:
                return messages, pongs, w.TOO_BIG
        if len(data) - at - head < size:
            break
        body = data[at + head : at + head + size]
        at += head + size
        if opcode == 8:
            return messages, pongs, w.PROTOCOL if size == 1 else w.BY_PEER
        if opcode == 9:
            pongs.append(body)
        elif opcode < 8:
            kind = opcode or kind
            parts = (parts or b"") + body
            if final:
                messages.append((kind, parts))
                parts = None
    return messages, pongs, None
