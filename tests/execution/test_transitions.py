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


def test_an_answer_without_a_status_and_word_of_our_own_sending_move_nothing():
    assert (t.STATES[:, 0] == t.SAME).all()
    assert (t.TRANSITIONS[:, w.SENT] == t.SAME).all()
    assert (t.TRANSITIONS[:, w.ORDER_STATE] == t.SAME).all()


def test_an_answer_that_an_order_lives_is_old_where_it_is_over_and_a_clash_where_it_never_was():
    for status in t.OVER:
        for said in (*t.LIVE, w.FILLED):
            never = status in (w.REJECTED, w.DENIED)
            want = t.SAME if said == status else t.CLASH if never else t.STALE
            assert t.STATES[status, said] == want
    for status in t.LIVE:
        assert t.STATES[status, w.FILLED] == w.FILLED
        for said in t.LIVE:
            cancelling = status == w.PENDING_CANCEL
            assert t.STATES[status, said] == (t.SAME if cancelling else t.BY_FILLS)
        for said, kind in ((w.CANCELED, w.CANCEL_ACK), (w.EXPIRED, w.EXPIRE)):
            assert t.STATES[status, said] == t.TRANSITIONS[status, kind]
        assert t.STATES[status, w.REJECTED] == t.TRANSITIONS[status, w.REJECT]


def test_words_that_nobody_says_are_old():
    """Status 0 and kinds and statuses beyond the words: nothing moves."""
    assert (t.TRANSITIONS[0, w.ACK : w.ORDER_STATE] == t.STALE).all()
    assert (t.TRANSITIONS[:, w.NOT_FOUND + 1 :] == t.STALE).all()
    assert t.TRANSITIONS.shape == (12, 16)
    assert t.STATES.shape == (12, 12)


def test_what_is_no_status_is_told_apart_from_every_status():
    words = {t.SAME, t.STALE, t.BY_FILLS, t.CLASH}
    assert len(words) == 4
    assert max(words) <= 0


def test_tables_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        t.TRANSITIONS[1, 1] = 5
