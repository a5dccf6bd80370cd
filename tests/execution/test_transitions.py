"""The table itself: complete, and nothing that is over moves by a mere report."""

import pytest

from alephtx.core import words as w
from alephtx.execution import transitions as t

REPORTS = range(w.SENT, w.NOT_FOUND + 1)


@pytest.mark.smoke
def test_terminal_states_never_move_back():
    for status in t.OVER:
        for kind in REPORTS:
            target = t.TRANSITIONS[status, kind]
            if kind == w.FILL and status == w.REJECTED:
                assert target == w.UNKNOWN
            else:
                assert target in (t.SAME, t.STALE, t.CLASH, status)
        for said in range(12):
            assert t.STATES[status, said] in (t.SAME, t.STALE, t.CLASH)


def test_live_states_have_an_answer_to_every_report():
    for status in t.LIVE:
        for kind in REPORTS:
            assert t.TRANSITIONS[status, kind] in (
                t.SAME,
                t.STALE,
                t.BY_FILLS,
                t.CLASH,
                *range(1, 12),
            )
        for kind, target in ((w.CANCEL_ACK, w.CANCELED), (w.EXPIRE, w.EXPIRED)):
            assert t.TRANSITIONS[status, kind] == target


def test_no_report_leads_to_a_state_only_the_engine_may_set():
    engine_only = {w.PENDING_NEW, w.DENIED}
    reached = set(t.TRANSITIONS.ravel().tolist())
    assert not reached & (engine_only - {w.DENIED})
    assert (
        set(t.TRANSITIONS[:, [k for k in REPORTS if k != w.FILL]].ravel().tolist()) & engine_only
        == set()
    )


def test_tables_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        t.TRANSITIONS[1, 1] = 5
