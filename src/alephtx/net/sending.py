"""Frames out: mask, queue, send, keep what the system did not take; and giving a link up.

For the thread that owns the link (`net.link_words`). Every frame has a fresh masking key from a
generator (Marsaglia's xorshift128) that the system's randomness seeded: the key keeps proxies from
reading what we send as HTTP, and no secret hangs on it.
"""

from alephtx.core.atomics import load_acquire, store_relaxed, store_release
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.memory import (
    load_byte,
    load_word,
    move_bytes,
    store_big_word,
    store_byte,
    store_word,
)
from alephtx.core.packed import rows_at
from alephtx.core.syscalls import (
    AGAIN,
    INTERRUPTED,
    TLS_FAILED,
    send,
    tls_error,
    tls_write,
)
from alephtx.net import link_words as w
from alephtx.net.bytes_ring import NONE, bytes_drop, bytes_peek
from alephtx.net.link_words import LINK_WORDS, WORDS
from alephtx.net.wake import wake_main

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

SENT, NO_ROOM = 1, 0
GONE = -2
"""The link is parked, or not yet the loop's."""

REFUSED = -3
"""The frame can never be sent: it is larger than the backlog may be, or follows our close."""

_LOW = (1 << 32) - 1


@kernel
def park(link: Int, reason: Int, code: Int, detail: Int) -> int:
    """Give a link to the main thread for good, say why, and wake it. Returns GONE."""
    words = rows_at(link, LINK_WORDS, WORDS)
    words[w.REASON] = reason
    words[w.CODE] = code
    words[w.DETAIL] = detail
    wake = int(words[w.WAKE])
    store_release(link + 8 * w.STATE, w.PARKED)
    wake_main(wake)
    return GONE


@kernel
def end_link(link: Int) -> int:
    """Park a link because its loop ends; does nothing to one that is parked or was never seen."""
    state = load_acquire(link + 8 * w.STATE)
    if state == w.LIVE or state == w.ASKED:
        return park(link, w.LOOP_ENDED, 1006, 0)
    return 0


@inline_kernel
def next_key(link: Int) -> int:
    """Return the next masking key, 32 random bits."""
    words = rows_at(link, LINK_WORDS, WORDS)
    first, last = int(words[w.KEY]), int(words[w.KEY + 3])
    mixed = first ^ (first << 11 & _LOW)
    words[w.KEY] = words[w.KEY + 1]
    words[w.KEY + 1] = words[w.KEY + 2]
    words[w.KEY + 2] = last
    key = last ^ last >> 19 ^ mixed ^ mixed >> 8
    words[w.KEY + 3] = key
    return key


@kernel
def mask_bytes(target: Int, source: Int, size: Int, key: Int) -> int:
    """Copy bytes, masked with the four bytes of a key in this machine's order; returns size."""
    high = key - (1 << 32) if key >> 31 else key
    wide = high << 32 | key
    whole = size & -8
    for at in range(0, whole, 8):
        store_word(target + at, load_word(source + at) ^ wide)
    for at in range(whole, size):
        store_byte(target + at, load_byte(source + at) ^ (key >> 8 * (at & 3)))
    return size


@kernel
def compose(link: Int, address: Int, size: Int, opcode: Int, bound: Int) -> int:
    """Append one masked frame to what waits to be sent. Returns SENT, NO_ROOM or REFUSED.

    bound: bytes that may wait afterwards.
    """
    words = rows_at(link, LINK_WORDS, WORDS)
    head = 6 if size < 126 else 8 if size < 1 << 16 else 14
    need = head + size
    if need > bound:
        return REFUSED
    begin, end = int(words[w.TX_AT]), int(words[w.TX_END])
    if end - begin + need > bound:
        return NO_ROOM
    base = int(words[w.TX])
    if begin and end + need > words[w.TX_SIZE]:
        move_bytes(base, base + begin, end - begin)
        begin, end = 0, end - begin
        words[w.TX_AT] = 0
    at = base + end
    store_byte(at, 0x80 | opcode)
    if head == 6:
        store_byte(at + 1, 0x80 | size)
    elif head == 8:
        store_byte(at + 1, 0x80 | 126)
        store_byte(at + 2, size >> 8)
        store_byte(at + 3, size)
    else:
        store_byte(at + 1, 0x80 | 127)
        store_big_word(at + 2, size)
    key = next_key(link)
    for k in range(4):
        store_byte(at + head - 4 + k, key >> 8 * k)
    mask_bytes(at + head, address, size, key)
    words[w.TX_END] = end + need
    words[w.FRAMES_OUT] += 1
    return SENT


@kernel
def push_out(link: Int) -> int:
    """Give the system what waits. Returns the bytes still waiting, or a negative refusal.

    AGAIN is never returned: nothing taken is all waiting. Refusals are -errno and TLS_FAILED.
    """
    words = rows_at(link, LINK_WORDS, WORDS)
    begin, end = int(words[w.TX_AT]), int(words[w.TX_END])
    base, fd, ssl = int(words[w.TX]), int(words[w.FD]), int(words[w.SSL])
    refused = 0
    while begin < end:
        if ssl:
            done = tls_write(ssl, base + begin, end - begin)
        else:
            done = send(fd, base + begin, end - begin)
        if done <= 0:
            # OpenSSL says 0 where the connection is over, as EPIPE says without TLS.
            refused = 0 if done == AGAIN or done == INTERRUPTED else -32 if done == 0 else done
            break
        begin += done
        words[w.BYTES_OUT] += done
    if begin == end:
        begin = end = 0
    words[w.TX_AT] = begin
    words[w.TX_END] = end
    return refused if refused < 0 else end - begin


@kernel
def fail(link: Int, refusal: Int) -> int:
    """Park a link whose socket refused: with the errno, or OpenSSL's error. Returns GONE."""
    if refusal == TLS_FAILED:
        return park(link, w.TLS_BROKE, 1006, tls_error())
    return park(link, w.FAILED, 1006, -refusal)


@kernel
def link_flush(link: Int) -> int:
    """Send what an earlier send had to keep. Returns the bytes that still wait, or GONE."""
    state = load_acquire(link + 8 * w.STATE)
    if state != w.LIVE and state != w.ASKED:
        return GONE
    words = rows_at(link, LINK_WORDS, WORDS)
    if words[w.TX_AT] == words[w.TX_END]:
        return 0
    left = push_out(link)
    return fail(link, left) if left < 0 else left


@kernel
def link_send(link: Int, address: Int, size: Int, opcode: Int) -> int:
    """Send one message as one frame, at once. Returns SENT, NO_ROOM, REFUSED or GONE.

    SENT: the system has it, or it waits behind what the system did not take. NO_ROOM: too much
    waits already; nothing of this frame was kept. The payload is only read.
    """
    state = load_acquire(link + 8 * w.STATE)
    if state != w.LIVE and state != w.ASKED:
        return GONE
    words = rows_at(link, LINK_WORDS, WORDS)
    if words[w.CLOSING]:
        return REFUSED
    bound = int(words[w.BACKLOG_MAX])
    if opcode >= CLOSE:  # controls may use the reserve
        bound += w.TX_RESERVE
    done = compose(link, address, size, opcode, bound)
    if done != SENT:
        return done
    if opcode == CLOSE:
        words[w.CLOSING] = 1
    left = push_out(link)
    return fail(link, left) if left < 0 else SENT


@kernel
def link_serve(link: Int) -> int:
    """Send what Python put into from_python, oldest first. Returns how many frames, or GONE.

    Stops where there is no room; a frame that can never be sent is dropped.
    """
    state = load_acquire(link + 8 * w.STATE)
    if state != w.LIVE and state != w.ASKED:
        return GONE
    words = rows_at(link, LINK_WORDS, WORDS)
    ring, out = int(words[w.FROM_PYTHON]), link + 8 * w.OUT
    count = 0
    size = bytes_peek(ring, out)
    while size != NONE:
        done = link_send(link, int(words[w.OUT + 3]), size, int(words[w.OUT]))
        if done == GONE:
            return GONE
        if done == NO_ROOM:
            break
        bytes_drop(ring)
        count += 1
        size = bytes_peek(ring, out)
    return count


@kernel
def say_close(link: Int, code: Int) -> int:
    """Send a close frame on a link that the caller owns, whatever its state; best effort.

    Returns what `push_out` does, or REFUSED where there is no room or one has been sent.
    """
    words = rows_at(link, LINK_WORDS, WORDS)
    if words[w.CLOSING]:
        return REFUSED
    words[w.CLOSING] = 1
    spare = link + 8 * w.OUT
    store_relaxed(spare, (code >> 8 & 0xFF) | (code & 0xFF) << 8)
    if compose(link, spare, 2, CLOSE, int(words[w.BACKLOG_MAX]) + w.TX_RESERVE) != SENT:
        return REFUSED
    return push_out(link)
