"""What becomes of recorded messages, against the same said in plain Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.cli.data import FORMATS
from alephtx.core import words
from alephtx.core.ports import JoinRule
from alephtx.engine import ingest
from alephtx.engine.ingest import BREAK, GOING_ON, HOLD, KEEP, WAITING, decimals_needed, judge
from alephtx.feed.join import APPLY, GAP, SKIP, join, join_snapshot, make_states
from tests.store.market import rows_of

pytestmark = pytest.mark.kernel

MESSAGES = st.lists(
    st.tuples(st.integers(0, 1), st.booleans(), st.integers(0, 6), st.integers(0, 3),
              st.integers(0, 2)), max_size=12,
)  # fmt: skip


def recorded(drawn):
    """Messages of (instrument, of a book, last id, ids in it, levels)."""
    made = []
    for i, of_book, last, span, levels in drawn:
        if of_book:
            first = last - span
            made.append({"kind": words.SEQ, "instrument": i, "price": first, "qty": first - 1,
                         "seq": last, "open": levels > 0})  # fmt: skip
            made += [{"kind": words.DELTA, "instrument": i, "open": n < levels - 1}
                     for n in range(levels)]  # fmt: skip
        else:
            made.append({"kind": words.TRADE, "instrument": i})
    return rows_of(*made)


def plain(rule, states, modes, hold, rows):
    fates, gaps, start = [], 0, 0
    while start < len(rows):
        end = start
        while not rows[end]["flags"] & words.LAST_IN_MESSAGE:
            end += 1
        head = rows[start]
        if head["kind"] == words.SEQ:
            i = int(head["instrument"])
            said = (int(head[name]) for name in ("price", "qty", "seq", "ts_recv"))
            verdict = join(rule, states, i, *said)
            no_hope = verdict not in (APPLY, SKIP, GAP) and not hold and modes[i] == WAITING
            if verdict == GAP or no_hope:
                modes[i], gaps = GOING_ON, gaps + 1
                first, rest = KEEP | BREAK, KEEP
            elif verdict == APPLY:
                first, rest = 0, KEEP
            elif verdict == SKIP:
                first, rest = 0, 0
            else:
                first, rest = 0, KEEP if modes[i] == GOING_ON else 0
            if hold and verdict not in (APPLY, SKIP):
                first, rest = first | HOLD, rest | HOLD
        else:
            first = rest = KEEP
        fates += [first] + [rest] * (end - start)
        start = end + 1
    return fates, gaps


@given(MESSAGES, st.sampled_from([int(rule) for rule in JoinRule]), st.booleans(),
       st.integers(-1, 6))  # fmt: skip
def test_every_row_meets_the_fate_that_the_rules_say(drawn, rule, hold, snapshot):
    rows = recorded(drawn)
    states, modes = (make_states(2), make_states(2)), (np.zeros(2, np.int64), np.zeros(2, np.int64))
    if snapshot >= 0:
        for each in states:
            join_snapshot(each, 0, snapshot)
    fates = np.zeros(len(rows), np.int64)
    gaps = judge(rule, states[0], modes[0], int(hold), rows, len(rows), fates)
    assert (fates.tolist(), gaps) == plain(rule, states[1], modes[1], hold, rows)
    assert modes[0].tolist() == modes[1].tolist()


@given(st.lists(st.integers(-(10**12), 10**12), max_size=9), st.integers(0, 9))
def test_decimals_needed_are_those_of_text(values, scale):
    array = np.array(values, np.int64)
    digits = [str(abs(v)).rjust(scale, "0")[-scale:].rstrip("0") if scale else "" for v in values]
    assert decimals_needed(array, len(array), scale) == max(map(len, digits), default=0)


def test_importers_have_names_of_their_own():
    names = [importer.name for importer in ingest.importers()]
    assert sorted(names) == sorted(FORMATS)
