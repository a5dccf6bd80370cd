"""Limits of a running engine change by signed commands: journaled first, replayed after a crash."""

from decimal import Decimal

import msgspec
import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.clock import ManualClock
from alephtx.core.config_schema import Risk
from alephtx.core.errors import ConfigError
from alephtx.core.records import INTENT
from alephtx.core.secrets import Secret
from alephtx.engine import context as c
from alephtx.engine.limit_apply import apply_change
from alephtx.engine.limit_commands import POLL_NS, Answer, Current, LimitDesk
from alephtx.engine.recovery import fold
from alephtx.engine.rundir import read_asked
from alephtx.matrix.journal import COMMAND, NOTE, journal_append, read
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.risk import state as g
from alephtx.risk.changes import Change, Signed, private_key, public_text, sign
from tests.engine.bench import NOW, Bench

pytestmark = pytest.mark.kernel

KEY = private_key(Secret("33" * 32))
E8 = 10**8


class Desk:
    """A bench with a desk, and the hand that puts commands into its inbox."""

    def __init__(self, folder, **limits):
        risk = Risk(
            notional_max=Decimal(10_000), position_notional_max=Decimal(20_000),
            orders_per_s=1000, officers={"ann": public_text(KEY)}, **limits,
        )  # fmt: skip
        self.bench = Bench(folder, risk=risk)
        self.run = folder / "run-1"
        self.run.mkdir()
        self.clock = ManualClock(NOW)
        self.desk = self.fresh(self.bench)
        self.count = 0
        self.poll()

    def fresh(self, bench):
        return LimitDesk(bench.config, self.run, self.clock, bench.ctx, bench.instruments)

    def poll(self):
        self.clock.advance(POLL_NS)
        self.desk.poll(self.bench.engine.rings.commands.push)

    def put(self, key=KEY, data=None, **fields):
        self.count += 1
        said = {
            "run": "run-1", "who": "ann", "when_ns": self.clock.now(), "action": "set",
            "limit": "notional_max", "old": "10000", "new": "50", "reason": "test",
            "nonce": f"{self.count:032x}",
        }  # fmt: skip
        signed = sign(Change(**(said | fields)), key)
        name = f"{self.count:032x}.json"
        raw = msgspec.json.encode(signed) if data is None else data
        (self.desk.paths.inbox / name).write_bytes(raw)
        return name

    def ask(self, **fields):
        """Deliver a command, let the loop serve it, return the answer."""
        name = self.put(**fields)
        self.poll()
        self.bench.step()
        self.poll()
        return msgspec.json.decode((self.desk.paths.done / name).read_bytes(), type=Answer)

    def commands(self):
        kept = read(self.bench.folder / "journal")
        return [msgspec.json.decode(r.payload) for r in kept if r.kind == COMMAND]


@pytest.fixture
def at(tmp_path):
    made = Desk(tmp_path)
    yield made
    made.bench.close()


def test_a_change_is_journaled_and_then_in_force(at):
    name = at.put()
    at.poll()
    gate = at.bench.ctx.gate
    assert gate.notional_max[0, 0] == 10_000 * E8  # handed over, not yet served
    assert at.commands() == []
    assert not (at.desk.paths.inbox / name).exists()
    at.bench.step()
    assert (gate.notional_max[0] == 50 * E8).all()
    (entry,) = at.commands()
    assert entry["accepted"]
    assert entry["change"]["old"] == "10000"
    assert entry["change"]["new"] == "50"
    assert entry["change"]["who"] == "ann"
    at.poll()
    assert msgspec.json.decode((at.desk.paths.done / name).read_bytes())["accepted"]
    shown = msgspec.json.decode(at.desk.paths.current.read_bytes(), type=Current)
    assert ("", "notional_max", "50") in [(r.scope, r.limit, r.value) for r in shown.limits]
    at.bench.top(6_000_000, 6_000_100)
    at.bench.step()
    assert at.bench.sent() == []
    assert at.bench.ctx.counters[c.C_DENIED_BY + words.DENY_NOTIONAL] == 1


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"old": "9999"}, "notional_max is 10000, not 9999"),
        ({"who": "eve"}, "'eve' is no officer"),
        ({"run": "run-2"}, "this is run run-1"),
        ({"limit": "nothing"}, "there is no limit 'nothing'"),
        ({"new": "0"}, "not above zero"),
        ({"new": "30000"}, "more than position_notional_max"),
        ({"when_ns": NOW - 400 * 10**9}, "s old"),
        ({"when_ns": NOW + 400 * 10**9}, "s old"),
        ({"scope": "accounts.x", "limit": "leverage_max", "old": "none", "new": "2"}, "accounts.x"),
        ({"limit": "leverage_max", "old": "none", "new": "2000"}, "not a leverage"),
        ({"limit": "hours", "old": "none", "new": "Moo"}, "not a trading window"),
        ({"limit": "open_orders_max", "old": "64", "new": "65"}, "room"),
        ({"limit": "qty_max", "old": "none", "new": "0.0000001"}, "less than one lot"),
        ({"action": "rearm", "limit": "drawdown", "old": "latched", "new": "armed"}, "is armed"),
        ({"action": "rearm", "limit": "drawdown", "old": "armed", "new": "armed"}, "from latched"),
        ({"action": "enable", "limit": "drawdown", "scope": "accounts.a", "old": "latched",
          "new": "armed"}, "nothing to enable"),
        ({"data": b"{"}, "is no command"), ({"data": b"\xff"}, "is no command"),
        ({"data": b"x" * (17 << 10)}, "larger than"),
    ],
)  # fmt: skip
def test_a_refused_change_is_journaled_and_changes_nothing(at, fields, match):
    before = [array.copy() for array in at.bench.ctx.gate]
    answer = at.ask(**fields)
    assert not answer.accepted
    assert match in answer.said
    (entry,) = at.commands()
    assert not entry["accepted"]
    assert match in entry["why"]
    for name, was, now in zip(g.GateState._fields, before, at.bench.ctx.gate, strict=True):
        assert np.array_equal(was, now), name


def test_forged_signature_is_refused_and_spends_no_nonce(at):
    stranger = private_key(Secret("44" * 32))
    assert "signature is not ann's" in at.ask(key=stranger, nonce="a" * 32).said
    assert at.ask(nonce="a" * 32).accepted


def test_a_nonce_counts_once_even_after_a_restart(at):
    assert at.ask(nonce="b" * 32).accepted
    answer = at.ask(nonce="b" * 32, old="50", new="40")
    assert "was used before" in answer.said
    at.desk = at.fresh(at.bench)
    for payload in at.commands():
        at.desk.replay(msgspec.json.encode(payload))
    assert at.desk.spent == {"b" * 32}


def test_a_restarted_engine_has_the_changed_limits(at, tmp_path):
    assert at.ask().accepted
    assert not at.ask(old="10000", new="60").accepted
    assert at.ask(
        limit="leverage_max", scope="accounts.a", old="none", new="2.5", reason="x"
    ).accepted
    (tmp_path / "second").mkdir()
    second = Bench(tmp_path / "second", risk=at.bench.config.risk)
    try:
        desk = at.fresh(second)
        desk.replay(b"not json")
        desk.replay(b'{"kind": "kill", "accepted": true}')
        fold(at.bench.folder / "journal", second.ctx, second.instruments, desk.replay)
        assert (second.ctx.gate.notional_max[0] == 50 * E8).all()
        assert second.ctx.gate.accounts[0, g.LEVERAGE_MAX] == 250
        assert desk.current().limits == at.desk.current().limits
    finally:
        second.close()


def test_one_command_at_a_time_in_order(at):
    first, second = at.put(), at.put(old="50", new="40")
    at.poll()
    at.poll()
    assert not (at.desk.paths.done / second).exists()
    at.bench.step()
    at.poll()
    assert (at.desk.paths.done / first).exists()
    at.bench.step()
    at.poll()
    assert at.desk.risk.notional_max == 40


def test_a_full_ring_of_commands_only_delays(at):
    name = at.put()
    at.clock.advance(POLL_NS)
    at.desk.poll(lambda row: False)
    assert (at.desk.paths.inbox / name).exists()
    assert at.desk.spent == set()
    at.poll()
    at.bench.step()
    at.poll()
    assert at.desk.risk.notional_max == 50


def test_a_change_that_the_journal_does_not_take_does_not_happen(at):
    name = at.put()
    at.poll()
    row, filler = np.zeros(8, np.int64), np.zeros(1 << 20, np.uint8)
    journal = at.bench.journal.map
    for size in (1 << 20, 64):
        while journal_append(journal, NOTE, 1, 0, 1, filler.ctypes.data, size) > 0:
            continue
    assert at.bench.engine.rings.commands.pop(row)
    assert apply_change(journal, row, 1, NOW) == 0
    at.poll()
    answer = msgspec.json.decode((at.desk.paths.done / name).read_bytes(), type=Answer)
    assert not answer.accepted
    assert at.desk.risk.notional_max == 10_000
    assert at.bench.ctx.gate.notional_max[0, 0] == 10_000 * E8


def test_a_folder_that_cannot_be_written_is_logged_and_survived(at):
    for path in at.desk.paths.inbox.iterdir():
        path.unlink()
    at.desk.paths.inbox.rmdir()
    at.desk.paths.inbox.write_text("in the way")
    at.poll()
    at.desk.paths.inbox.unlink()
    at.desk.paths.inbox.mkdir()
    assert at.ask().accepted


def test_a_directory_among_the_commands_is_passed_over(at):
    (at.desk.paths.inbox / "0.json").mkdir()
    (at.desk.paths.inbox / "1.json").symlink_to("nowhere")
    assert at.ask().accepted
    assert len(at.commands()) == 1
    with pytest.raises(ConfigError, match=r"2.json cannot be read"):
        read_asked(at.desk.paths.inbox / "2.json", Signed, "command")


def test_rearm_and_enable_lift_their_latches_and_are_replayed(at):
    gate = at.bench.ctx.gate
    gate.latched[0] = gate.firm[g.FIRM_LATCHED] = 1
    gate.accounts[1, g.RATIO_LATCHED] = gate.accounts[0, g.LATCHED] = 1
    gate.accounts[1, g.ORDERS] = 99
    rearm = {"action": "rearm", "limit": "drawdown", "old": "latched", "new": "armed"}
    for scope in ("", "strategies.quoter", "accounts.a"):
        assert at.ask(scope=scope, **rearm).accepted
    enable = {**rearm, "action": "enable", "limit": "order_ratio"}
    assert at.ask(scope="accounts.b", **enable).accepted
    assert not gate.latched.any()
    assert not gate.accounts[:, (g.LATCHED, g.RATIO_LATCHED, g.ORDERS)].any()
    assert gate.firm[g.FIRM_LATCHED] == 0
    gate.latched[0] = 1
    at.desk.replay(msgspec.json.encode(at.commands()[1]))
    assert gate.latched[0] == 0


@pytest.mark.parametrize(
    ("verdict", "rule", "place"),
    [
        (words.DENY_HALTED, g.RULE_DRAWDOWN, ("latched", (0,))),
        (words.DENY_HALTED, g.RULE_ACCOUNT_DRAWDOWN, ("accounts", (1, g.LATCHED))),
        (words.DENY_HALTED, g.RULE_FIRM_DRAWDOWN, ("firm", (g.FIRM_LATCHED,))),
        (words.DENY_ORDER_RATIO, g.RULE_ORDER_RATIO, ("accounts", (1, g.RATIO_LATCHED))),
        (words.DENY_HALTED, g.RULE_HALTED, None),
        (words.DENY_OVERFLOW, g.RULE_DRAWDOWN, None),
    ],
)
def test_latches_are_found_again_in_the_journal(at, tmp_path, verdict, rule, place):
    row = np.zeros(1, INTENT)
    row["op"], row["account"], row["verdict"], row["rule"] = words.PLACE, 1, verdict, rule
    at.bench.journal.append(INTENT_RECORD, row.tobytes(), ts=1)
    gate = at.bench.ctx.gate
    fold(at.bench.folder / "journal", at.bench.ctx, at.bench.instruments)
    set_ = {("latched", (0,)): gate.latched[0], ("firm", (g.FIRM_LATCHED,)): gate.firm[2],
            ("accounts", (1, g.LATCHED)): gate.accounts[1, g.LATCHED],
            ("accounts", (1, g.RATIO_LATCHED)): gate.accounts[1, g.RATIO_LATCHED]}  # fmt: skip
    assert {key for key, value in set_.items() if value} == ({place} if place else set())
