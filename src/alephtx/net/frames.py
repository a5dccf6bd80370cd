"""Frames in: read, take apart as RFC 6455 has it, join, answer pings, hand the rest to Python.

For the loop that serves links (`net.link_words`), once a round and link:

    link_poll(link)                 one read that does not wait
    while (size := link_next(link)) >= 0:
        ...                         the message is at MSG_AT until the next link_poll
        link_hand(link)             if Python is to have it
    link_serve(link)                send what Python queued
    link_flush(link)                send what the system did not take before

`link_round` is that loop for a link whose messages all go to Python. Nothing is read beyond what
was received. Close frames and whatever a peer may not do park the link; Python finds out why and
ends it. Text is not checked to be UTF-8: whoever scans it takes no more than he understands.
"""

from alephtx.core.atomics import (
    compare_exchange,
    load_acquire,
    load_relaxed,
    monotonic_ns,
    store_relaxed,
)
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.memory import load_big_word, load_byte, move_bytes
from alephtx.core.packed import rows_at
from alephtx.core.syscalls import (
    AGAIN,
    INTERRUPTED,
    realtime_ns,
    recv,
    recv_stamped,
    stamp_of,
    tls_read,
)
from alephtx.net import link_words as w
from alephtx.net.bytes_ring import bytes_push
from alephtx.net.link_words import LINK_WORDS, WORDS
from alephtx.net.sending import (
    CLOSE,
    GONE,
    PING,
    PONG,
    fail,
    link_flush,
    link_send,
    link_serve,
    park,
)
from alephtx.net.wake import wake_main

NOTHING = -1
"""What `link_next` says when no whole message is there."""

_BEHIND_FOR_NS = 1_000_000  # how long a difference of two clocks is believed
_BEHIND_WIDTH_NS = 2_000  # a reading that takes no longer is good
_BEHIND_DOUBT_NS = 50_000  # one that takes longer is not believed
_STAMP_AGE_NS = 60_000_000_000
_PROTOCOL_ERROR, _TOO_BIG_CODE, _ABNORMAL = 1002, 1009, 1006
_NO_CODE = 1005


@kernel
def link_poll(link: Int) -> int:
    """Read once. Returns bytes that `link_next` has to look at, 0 for none, GONE.

    Reads nothing while `link_next` has not said NOTHING. Takes up a link that is NEW, parks one
    that the main thread asks for.
    """
    state = load_acquire(link + 8 * w.STATE)
    if state != w.LIVE and _take_up(link, state) == GONE:
        return GONE
    words = rows_at(link, LINK_WORDS, WORDS)
    if words[w.HELD] and link_hand(link) == 0:
        return 0
    if words[w.MORE]:  # a read may find the end, and what is here comes first
        return max(1, int(words[w.RX_END] - words[w.RX_AT]))
    if load_relaxed(link + 8 * w.PAUSED):
        return 0
    room = _make_room(link)
    if room <= 0:
        return 0
    at, fd, ssl = int(words[w.RX] + words[w.RX_END]), int(words[w.FD]), int(words[w.SSL])
    stamped = 0
    if ssl:
        got = tls_read(ssl, at, room)
    elif words[w.STAMPS]:
        got = recv_stamped(fd, at, room, link + 8 * w.HEADER)
        stamped = 1
    else:
        got = recv(fd, at, room)
    if got > 0:
        words[w.RX_END] += got
        _stamp(link, stamped)
        return got
    if got == AGAIN or got == INTERRUPTED:
        return 0
    if got == 0:
        return park(link, w.END, _ABNORMAL, 0)
    return fail(link, got)


@kernel
def _take_up(link: Int, state: Int) -> int:
    """Own a new link, or give one back: 0 or GONE. What came behind its handshake is looked at."""
    if state == w.ASKED:
        return park(link, w.BY_US, _ABNORMAL, 0)
    if state != w.NEW or compare_exchange(link + 8 * w.STATE, w.NEW, w.LIVE) != w.NEW:
        return GONE
    words = rows_at(link, LINK_WORDS, WORDS)
    _stamp(link, 0)
    words[w.MORE] = 1 if words[w.RX_END] > words[w.RX_AT] else 0
    return 0


@inline_kernel
def _make_room(link: Int) -> int:
    """Return how many bytes fit behind what was read, after moving it down where that is due."""
    words = rows_at(link, LINK_WORDS, WORDS)
    at, end, size = int(words[w.RX_AT]), int(words[w.RX_END]), int(words[w.RX_SIZE])
    joining = int(words[w.JOIN_OPCODE])
    if at == end and not joining:
        words[w.RX_AT] = words[w.RX_END] = 0
        return size
    if at and (size - end < size >> 2 or at + words[w.NEED] > size):
        return _move_down(link)
    return size - end


@kernel
def _move_down(link: Int) -> int:
    """Move what has been joined and what was not yet looked at to the buffer's beginning."""
    words = rows_at(link, LINK_WORDS, WORDS)
    base, at, end = int(words[w.RX]), int(words[w.RX_AT]), int(words[w.RX_END])
    kept = 0
    if words[w.JOIN_OPCODE]:
        kept = int(words[w.JOIN_SIZE])
        move_bytes(base, base + int(words[w.JOIN_AT]), kept)
        words[w.JOIN_AT] = 0
    move_bytes(base + kept, base + at, end - at)
    words[w.RX_AT] = kept
    words[w.RX_END] = kept + end - at
    return int(words[w.RX_SIZE]) - (kept + end - at)


@inline_kernel
def _stamp(link: Int, stamped: Int) -> int:
    """Note when what was just read came, in our clock: by the kernel's stamp if there is one."""
    words = rows_at(link, LINK_WORDS, WORDS)
    mono = monotonic_ns()
    store_relaxed(link + 8 * w.LAST_NS, mono)
    now = mono + int(words[w.OFFSET])
    words[w.TS_READ] = now
    words[w.MSG_STAMPED] = 0
    if stamped:
        real = stamp_of(link + 8 * w.HEADER)
        if mono - words[w.BEHIND_AT] > _BEHIND_FOR_NS:
            _measure_behind(link, mono)
        came = real - int(words[w.BEHIND])
        if real and words[w.BEHIND_AT] and now - _STAMP_AGE_NS < came <= now:
            words[w.TS_READ] = came
            words[w.MSG_STAMPED] = 1
    return 0


@kernel
def _measure_behind(link: Int, mono: Int) -> int:
    """Measure how far CLOCK_REALTIME is from our clock; BEHIND_AT 0 where nobody can tell."""
    words = rows_at(link, LINK_WORDS, WORDS)
    best = _BEHIND_DOUBT_NS
    words[w.BEHIND_AT] = 0
    for _ in range(3):
        before = monotonic_ns()
        real = realtime_ns()
        width = monotonic_ns() - before
        if width < best:
            best = width
            words[w.BEHIND] = real - (before + width // 2 + int(words[w.OFFSET]))
            words[w.BEHIND_AT] = mono
        if width < _BEHIND_WIDTH_NS:
            break
    return 0


@kernel
def link_next(link: Int) -> int:
    """Find the next whole message. Returns its payload's bytes, NOTHING, or GONE.

    MSG_AT, MSG_OPCODE and MSG_TS then say where it is, what, and when it came. Answers pings on the
    way. A message that was handed and held goes to Python first. ~20 ns for a frame that is whole.
    """
    if load_acquire(link + 8 * w.STATE) != w.LIVE:
        return GONE
    words = rows_at(link, LINK_WORDS, WORDS)
    if words[w.HELD] and link_hand(link) == 0:
        return NOTHING
    while True:
        at, end = int(words[w.RX_AT]), int(words[w.RX_END])
        base = int(words[w.RX]) + at
        words[w.NEED] = 0
        words[w.MORE] = 0
        if end - at < 2:
            return NOTHING
        first, size, head = load_byte(base), load_byte(base + 1), 2
        if size >= 126:  # a masked one, too, which is refused below
            head = _head_of(size)
            if end - at < head:
                return NOTHING
            size = _long_size(base, size)
        if size < 0 or first & 0x70:
            return _refuse(link, first, load_byte(base + 1))
        opcode = first & 0x0F
        joined = int(words[w.JOIN_OPCODE])
        if opcode > 2:
            if not CLOSE <= opcode <= PONG or size > 125 or first < 0x80:
                return _refuse(link, first, load_byte(base + 1))
        else:
            if (opcode == 0) != (joined != 0):
                return _refuse(link, first, 0)
            sum_size = size  # below 2^63: nothing is added to a size that is too large alone
            if sum_size <= words[w.MESSAGE_MAX] and joined:
                sum_size += int(words[w.JOIN_SIZE])
            if sum_size > words[w.MESSAGE_MAX]:
                return park(link, w.TOO_BIG, _TOO_BIG_CODE, sum_size)
        if end - at - head < size:
            words[w.NEED] = head + size
            return NOTHING
        words[w.RX_AT] = at + head + size
        if opcode > 2:
            if _control(link, opcode, base + head, size) == GONE:
                return GONE
        elif opcode and first >= 0x80:
            return _show(link, opcode, base + head, size)
        else:
            whole = _join(link, first, at + head, size)
            if whole >= 0:
                return whole


@inline_kernel
def _head_of(second: Int) -> int:
    """Return how long a frame's head is, by its second byte; a masked one is not read on."""
    return 4 if second == 126 else 10 if second == 127 else 2


@inline_kernel
def _long_size(base: Int, second: Int) -> int:
    """Return the size that stands in two or eight bytes; negative for one that may not be."""
    if second == 126:
        size = load_byte(base + 2) << 8 | load_byte(base + 3)
        return size if size > 125 else -1
    if second == 127:
        size = load_big_word(base + 2)  # negative: the highest bit is set
        return size if size > 0xFFFF else -1
    return -1


@kernel
def _refuse(link: Int, first: Int, second: Int) -> int:
    """Park a link whose peer broke a rule, and say which."""
    opcode = first & 0x0F
    if first & 0x70:
        rule = w.RULE_RSV
    elif 2 < opcode < CLOSE or opcode > PONG:
        rule = w.RULE_OPCODE
    elif second >= 0x80:
        rule = w.RULE_MASKED
    elif opcode >= CLOSE:
        rule = w.RULE_CONTROL
    elif second == 126 or second == 127:
        rule = w.RULE_LENGTH
    else:
        rule = w.RULE_NO_END if opcode else w.RULE_NO_START
    return park(link, w.PROTOCOL, _PROTOCOL_ERROR, rule)


@kernel
def _control(link: Int, opcode: Int, address: Int, size: Int) -> int:
    """Answer a ping, ignore a pong, park on a close frame. Returns GONE when the link is."""
    if opcode == PING:
        done = link_send(link, address, size, PONG)
        if done == 0:
            return park(link, w.FLOOD, _ABNORMAL, 0)
        return GONE if done == GONE else 0
    if opcode == CLOSE:
        words = rows_at(link, LINK_WORDS, WORDS)
        if size == 1:
            return park(link, w.PROTOCOL, _PROTOCOL_ERROR, w.RULE_CLOSE)
        words[w.MSG_AT] = address
        words[w.MSG_SIZE] = size
        code = load_byte(address) << 8 | load_byte(address + 1) if size else _NO_CODE
        return park(link, w.BY_PEER, code, size)
    return 0


@inline_kernel
def _show(link: Int, opcode: Int, address: Int, size: Int) -> int:
    words = rows_at(link, LINK_WORDS, WORDS)
    words[w.MSG_AT] = address
    words[w.MSG_SIZE] = size
    words[w.MSG_OPCODE] = opcode
    words[w.MSG_TS] = words[w.TS_READ]
    words[w.MORE] = 1
    store_relaxed(link + 8 * w.MESSAGES, int(words[w.MESSAGES]) + 1)
    store_relaxed(link + 8 * w.BYTES_IN, int(words[w.BYTES_IN]) + size)
    return size


@kernel
def _join(link: Int, first: Int, offset: Int, size: Int) -> int:
    """Join a part of a message to those before; returns the message's size when it is whole."""
    words = rows_at(link, LINK_WORDS, WORDS)
    if words[w.JOIN_OPCODE] == 0:
        words[w.JOIN_OPCODE] = first & 0x0F
        words[w.JOIN_AT] = offset
        words[w.JOIN_SIZE] = size
        return NOTHING
    base, begin, had = int(words[w.RX]), int(words[w.JOIN_AT]), int(words[w.JOIN_SIZE])
    move_bytes(base + begin + had, base + offset, size)
    words[w.JOIN_SIZE] = had + size
    if first < 0x80:
        return NOTHING
    opcode = int(words[w.JOIN_OPCODE])
    words[w.JOIN_OPCODE] = 0
    return _show(link, opcode, base + begin, had + size)


@kernel
def link_hand(link: Int) -> int:
    """Hand the message that `link_next` showed to the main thread. Returns 1, or 0: held.

    Held: the ring is full. `link_next` then tries again and shows nothing else before.
    """
    words = rows_at(link, LINK_WORDS, WORDS)
    done = bytes_push(
        int(words[w.TO_PYTHON]),
        int(words[w.MSG_OPCODE]),
        int(words[w.MSG_TS]),
        int(words[w.MSG_STAMPED]),
        int(words[w.MSG_AT]),
        int(words[w.MSG_SIZE]),
    )
    words[w.HELD] = 0 if done == 1 else 1
    wake_main(int(words[w.WAKE]))
    return 1 if done == 1 else 0


@kernel
def link_round(link: Int, budget: Int) -> int:
    """Serve one link whose messages all go to Python, once. Returns what was done, 0 for nothing.

    budget: messages at most; more wait for the next round.
    """
    done = link_poll(link)
    if done == GONE:
        return 0
    done = 1 if done > 0 else 0
    while budget > 0 and link_next(link) >= 0:
        done += 1
        budget -= 1
        if link_hand(link) == 0:
            break
    sent = link_serve(link)
    if sent > 0:
        done += sent
    link_flush(link)
    return done


@kernel
def link_rounds(links: Int, n: Int, rounds: Int) -> int:
    """Serve n links, whose addresses (0: none) are words at `links`, so often; what was done."""
    done = 0
    for _ in range(rounds):
        for k in range(n):
            link = load_acquire(links + 8 * k)
            if link:
                done += link_round(link, 64)
    return done
