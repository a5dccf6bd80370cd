"""Several streams as one, against the same said by a sort of everything at once."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.records import EVENT
from alephtx.store.arrange import Arranger
from alephtx.store.catalogue import renumber
from alephtx.store.pack import make_survey, survey
from alephtx.store.weaving import woven
from tests.store.market import T0, rows_of

pytestmark = pytest.mark.kernel

ONCE = words.TICK_EXCHANGE | words.TICK_LOCAL


@st.composite
def messages(draw, source):
    """Draw one source's messages as we heard them: (ts_event, ts_recv, rows)."""
    made, recv = [], 0
    for n, rows in enumerate(draw(st.lists(st.integers(1, 3), max_size=8))):
        recv += draw(st.integers(0, 3))
        event = max(1, recv - draw(st.integers(-4, 6)))
        made.append((T0 + event, T0 + recv, [(source, n, k) for k in range(rows)]))
    return made


def stream_of(source):
    """Return a source's messages as `store.arrange` makes a stream of them."""
    arranger = Arranger()
    rows = rows_of(*(
        {"kind": words.TRADE, "ts_event": event, "ts_recv": recv, "price": 1 + s, "qty": 1 + n,
         "side": 1, "flags": words.EXCHANGE_CLOCK, "open": k < len(body) - 1}
        for event, recv, body in source for s, n, k in body
    ))  # fmt: skip
    chunks = (arranger.push(rows) if len(rows) else []) + arranger.finish()
    return np.concatenate([np.zeros(0, EVENT), *chunks])


def in_pieces(rows, sizes):
    """Yield rows in chunks of about so many, each of whole messages."""
    ends = np.flatnonzero(rows["flags"] & words.LAST_IN_MESSAGE) + 1
    start = k = 0
    while start < len(rows):
        upto = start + sizes[k % len(sizes)]
        end = int(ends[min(np.searchsorted(ends, upto), len(ends) - 1)])
        yield rows[start:end]
        start, k = end, k + 1


def whole(streams, sizes, batch_rows):
    opened = [lambda rows=rows: in_pieces(rows, sizes) for rows in streams]
    return np.concatenate([np.zeros(0, EVENT), *woven(opened, batch_rows)])


def plain(sources):
    """Return (source, message, flag) as they stand in the one stream, by sorting all of them."""
    every = [
        (event, recv, s, n)
        for s, source in enumerate(sources)
        for n, (event, recv, _) in enumerate(source)
    ]
    heard = sorted(every, key=lambda m: (m[1], m[2], m[3]))
    place = {m: k for k, m in enumerate(heard)}
    sent = sorted(every, key=lambda m: (m[0], place[m]))
    rank = {m: k for k, m in enumerate(sent)}
    overtook = {m for k, m in enumerate(heard) if any(rank[o] < rank[m] for o in heard[k + 1 :])}
    made, i, j = [], 0, 0
    while i < len(heard) or j < len(sent):
        while j < len(sent) and sent[j] in overtook:
            made.append((*sent[j][2:], words.TICK_EXCHANGE))
            j += 1
        while i < len(heard) and heard[i] in overtook:
            made.append((*heard[i][2:], words.TICK_LOCAL))
            i += 1
        if i < len(heard):
            assert heard[i] == sent[j]
            made.append((*heard[i][2:], 0))
            i, j = i + 1, j + 1
    return made


def told(rows):
    last = rows[(rows["flags"] & words.LAST_IN_MESSAGE) != 0]
    return [(int(r["price"]) - 1, int(r["qty"]) - 1, int(r["flags"]) & ONCE) for r in last]


@given(st.data(), st.integers(1, 3))
def test_what_is_woven_is_what_a_sort_of_all_makes(data, count):
    sources = [data.draw(messages(s)) for s in range(count)]
    rows = whole([stream_of(source) for source in sources], [100], 1 << 10)
    assert told(rows) == plain(sources)
    renumber(rows, 0)
    assert survey(rows, len(rows), make_survey()) == -1
    for s, source in enumerate(sources):
        mine = rows[rows["price"] == 1 + s]
        for order, other in ((1, words.TICK_EXCHANGE), (0, words.TICK_LOCAL)):
            kept = mine[(mine["flags"] & other) == 0]
            by = sorted(range(len(source)), key=lambda n: (source[n][order], n))
            assert kept["qty"].tolist() == [1 + n for n in by for _ in source[n][2]]
            assert kept["ts_event"].tolist() == [source[n][0] for n in by for _ in source[n][2]]


@given(st.data(), st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(1, 9))
def test_the_sizes_of_batches_change_nothing(data, sizes, batch_rows):
    streams = [stream_of(data.draw(messages(s))) for s in range(2)]
    expected = whole(streams, [1 << 20], 1 << 10)
    assert whole(streams, sizes, batch_rows).tobytes() == expected.tobytes()


def test_memory_is_a_few_batches_however_far_the_clocks_are_apart():
    """One source is stamped a day late, so that all of it was overtaken by the other."""
    day, length, count = 86_400_000_000_000, 128, 100

    def opened(late):
        for n in range(count):
            rows = np.zeros(length, EVENT)
            rows["kind"], rows["flags"] = words.TRADE, words.LAST_IN_MESSAGE
            rows["ts_event"] = T0 + 1000 * n + np.arange(length)
            rows["ts_recv"] = rows["ts_event"] + late
            yield rows

    for _ in woven([lambda: opened(0)], length):  # what is compiled is not counted
        pass
    written, doubled = 0, 0
    tracemalloc.start()
    for rows in woven([lambda: opened(day), lambda: opened(0)], length):
        written += len(rows)
        doubled += int(np.count_nonzero(rows["flags"] & ONCE))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    overtook = count * length - 1  # the last one of the late source is last in both orders
    assert (written, doubled) == (2 * count * length + overtook, 2 * overtook)
    assert peak < count * length * EVENT.itemsize / 4
