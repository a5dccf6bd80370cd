"""The join kernel against the venue's rules as plain sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.ports import JoinRule
from alephtx.feed import join as j
from alephtx.feed.join import APPLY, GAP, SKIP, WAIT, join

SPOT, FUTURES, FULL = int(JoinRule.SPOT), int(JoinRule.FUTURES), int(JoinRule.FULL)


class Plain:
    """The naive pair: the documents' sentences, one after the other."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.local, self.seeded, self.skips = None, False, []

    def snapshot(self, last_update_id):
        self.local, self.seeded, self.skips = last_update_id, True, []

    def judge(self, rule, first, previous, seq, ts):
        verdict = getattr(self, f"judge_{JoinRule(rule).name.lower()}")(first, previous, seq)
        if verdict == SKIP and not self.seeded and self.local is not None:
            self.skips.append(ts)
            if len(self.skips) > j.SKIPS_MAX or ts - self.skips[0] > j.SKIPS_NS:
                verdict = GAP
        if verdict == APPLY:
            self.local, self.seeded, self.skips = seq, False, []
        if verdict == GAP:
            self.reset()
        return verdict

    def judge_full(self, first, previous, seq):
        return SKIP if self.local is not None and not self.seeded and seq < self.local else APPLY

    def judge_spot(self, first, previous, seq):
        if self.local is None:
            return WAIT
        if first > seq:
            return GAP
        if self.seeded:
            if seq <= self.local:
                return SKIP
            return APPLY if first <= self.local + 1 <= seq else GAP
        if seq <= self.local:
            return SKIP
        return GAP if first > self.local + 1 else APPLY

    def judge_futures(self, first, previous, seq):
        if self.local is None:
            return WAIT
        if first > seq:
            return GAP
        if self.seeded:
            if seq < self.local:
                return SKIP
            return APPLY if first <= self.local <= seq else GAP
        if previous == self.local:
            return APPLY
        return SKIP if seq <= self.local else GAP


ID = st.integers(0, 30)
STEP = st.one_of(
    st.tuples(st.just("message"), ID, st.one_of(st.just(-1), ID), ID),
    st.tuples(st.just("next"), st.integers(0, 4), st.integers(-1, 2), st.just(0)),
    st.tuples(st.just("snapshot"), ID, ID, ID),
    st.tuples(st.just("reset"), ID, ID, ID),
)


@pytest.mark.kernel
@given(st.sampled_from(JoinRule), st.lists(STEP, max_size=80), st.integers(0, 300_000_000))
def test_kernel_equals_the_plain_rules(rule, steps, pace_ns):
    states = j.make_states(3)
    plain = Plain()
    tip = 0
    for number, (kind, a, b, c) in enumerate(steps):
        if kind == "snapshot":
            j.join_snapshot(states, 1, a)
            plain.snapshot(a)
        elif kind == "reset":
            j.join_reset(states, 1)
            plain.reset()
        else:
            # `next` makes mostly continuous messages, with small overlaps and holes.
            message = (tip + 1 + b, tip + b, tip + 1 + a) if kind == "next" else (a, b, c)
            message += (number * pace_ns,)
            assert join(int(rule), states, 1, *message) == plain.judge(rule, *message)
            tip = max(tip, message[2])
    assert not states[[0, 2]].any()


@pytest.mark.kernel
@pytest.mark.smoke
def test_first_event_contains_the_id_after_the_snapshot_on_spot_and_the_id_itself_on_futures():
    for rule, first, verdict in [
        (SPOT, 101, APPLY),
        (SPOT, 102, GAP),
        (FUTURES, 100, APPLY),
        (FUTURES, 101, GAP),
    ]:
        states = j.make_states(1)
        j.join_snapshot(states, 0, 100)
        assert join(rule, states, 0, first, 99, 105, 0) == verdict


@pytest.mark.kernel
def test_event_that_ends_at_the_snapshot_is_dropped_on_spot_and_applied_on_futures():
    for rule, verdict in [(SPOT, SKIP), (FUTURES, APPLY)]:
        states = j.make_states(1)
        j.join_snapshot(states, 0, 100)
        assert join(rule, states, 0, 95, 94, 100, 0) == verdict


@pytest.mark.kernel
def test_lost_event_is_a_gap_and_the_rest_waits_for_a_snapshot():
    states = j.make_states(1)
    j.join_snapshot(states, 0, 100)
    assert join(FUTURES, states, 0, 98, 97, 103, 0) == APPLY
    assert join(FUTURES, states, 0, 104, 103, 108, 0) == APPLY
    assert join(FUTURES, states, 0, 115, 112, 118, 0) == GAP
    assert join(FUTURES, states, 0, 119, 118, 120, 0) == WAIT


@pytest.mark.kernel
@pytest.mark.parametrize("rule", [SPOT, FUTURES, FULL])
def test_duplicates_are_skipped_and_a_restarted_sequence_is_noticed(rule):
    states = j.make_states(1)
    j.join_snapshot(states, 0, 100)
    assert join(rule, states, 0, 100, 99, 110, 0) == APPLY
    old = (50, 49, 60, 0)
    assert [join(rule, states, 0, *old) for _ in range(j.SKIPS_MAX)] == [SKIP] * j.SKIPS_MAX
    assert join(rule, states, 0, *old) == GAP


@pytest.mark.kernel
@pytest.mark.parametrize("rule", [SPOT, FUTURES, FULL])
def test_a_restarted_sequence_of_few_messages_is_noticed_by_time(rule):
    """Found in a simulated world: where two messages came a second, a dead book stood for four."""
    states = j.make_states(1)
    j.join_snapshot(states, 0, 100)
    assert join(rule, states, 0, 100, 99, 110, 1_000) == APPLY
    assert join(rule, states, 0, 50, 49, 60, 2_000) == SKIP
    assert join(rule, states, 0, 61, 60, 62, 2_000 + j.SKIPS_NS) == SKIP
    assert join(rule, states, 0, 63, 62, 64, 2_001 + j.SKIPS_NS) == GAP


@pytest.mark.kernel
def test_whole_books_apply_at_once_and_of_the_same_time_again():
    states = j.make_states(1)
    assert [join(FULL, states, 0, 0, -1, t, 0) for t in (5, 5, 4, 6)] == [APPLY, APPLY, SKIP, APPLY]


@pytest.mark.kernel
def test_range_that_is_none_is_a_gap():
    states = j.make_states(1)
    j.join_snapshot(states, 0, 100)
    assert join(SPOT, states, 0, 110, 100, 101, 0) == GAP
