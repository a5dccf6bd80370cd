"""There is one way to a send: strategy, gate, journal, outbox ring, gateway; read off the source.

Each link of the chain may be called from the functions named here and from nowhere else; whoever
adds a caller has to say so in this file. One door stands beside the chain: the killer's flatten. A
planted detour is caught (the test of the test).
"""

import ast
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import alephtx
from alephtx.core import words as w
from alephtx.core.records import INTENT
from alephtx.engine import context as c
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import read
from tests.engine.bench import Bench

SOURCE = Path(alephtx.__file__).parent

# What is called -> the functions that may, "room/file.py:function".
CANCELLING = {
    "engine/session.py:cancel_order", "engine/tryout.py:_stop", "execution/outbox.py:cancel",
}  # fmt: skip
MAY = {
    "judge": {"engine/emit.py:judge"},  # gate_check
    # The canary of a swap asks a gate of its own; what it wants goes nowhere.
    "judge by address": {"engine/emit.py:emit", "engine/swap_apply.py:ask"},
    "commit": {"engine/emit.py:emit"},  # journal, order table
    "see out": {"engine/emit.py:emit"},
    "fill the outbox": {"engine/emit.py:_see_out", "engine/entry_out.py:_pass_on"},
    "empty the outbox": {
        "engine/pump.py:__init__", "engine/tryout.py:_run_step", "engine/warm.py:_step",
    },
    "submit": CANCELLING | {
        "engine/pump.py:_hand_over", "engine/tryout.py:_run_step", "execution/gateway.py:submit",
    },
    # Flatten is a person's: it closes positions with the engine hung. tests/engine/test_killer.py
    # shows that it can only make them smaller.
    "encode": {
        "execution/outbox.py:_encoded", "engine/shadow.py:submit", "execution/flatten.py:_send",
    },
    "encode by the outbox": {"execution/outbox.py:_encode", "execution/outbox.py:_may_send"},
    # The compiled stages in place of `encode`: behind the gate in the loop, else in the outbox.
    "frame": {"engine/entry_out.py:_framed", "execution/staged.py:__init__"},
    "write by stages": {"execution/outbox.py:_leave_at_once"},
    "give a writer": {"engine/accounts.py:_write_staged"},
    "leave at once": {"execution/outbox.py:submit"},
    "emit by address": {
        "engine/emit.py:enter", "engine/step.py:_drain_commands", "engine/leg_guard.py:_send",
    },
}  # fmt: skip


def links(call: ast.Call) -> str:
    """Return which link of the chain a call is, "" for none."""
    name = ast.unparse(call.func)
    first = ast.unparse(call.args[0]) if call.args else ""
    if name.endswith("gate_check"):
        return "judge"
    if name == "_commit":
        return "commit"
    if name == "_see_out":
        return "see out"
    if "push" in name and ("A_OUTBOX" in first or "outbox" in name):
        return "fill the outbox"
    if ("pop" in name and "outbox" in name) or (name == "entry" and first == "spsc_take"):
        return "empty the outbox"
    if name.endswith(".submit") and "executor" not in name:
        return "submit"
    if name.endswith("codec.encode"):
        return "encode"
    if name == "framed" or (name == "entry" and first == "framed"):
        return "frame"
    if name.endswith("writer.write"):
        return "write by stages"
    if name.endswith(".write_with"):
        return "give a writer"
    if name.endswith("._leave_at_once"):
        return "leave at once"
    if name == "self._encoded":
        return "encode by the outbox"
    if name == "call_stage" and "A_EMIT" in first:
        return "emit by address"
    if name == "call_stage" and "A_JUDGE" in first:
        return "judge by address"
    return ""


def callers(files: dict[str, str]) -> dict[str, set[str]]:
    """Return who calls each link, over sources by file name."""
    found = defaultdict(set)
    for name, text in files.items():
        for function in ast.walk(ast.parse(text)):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and (link := links(node)):
                    found[link].add(f"{name}:{function.name}")
    return found


def sources() -> dict[str, str]:
    """Return the package by file; `testing` is for tests of venues and runs in no engine."""
    files = {str(path.relative_to(SOURCE)): path.read_text() for path in SOURCE.rglob("*.py")}
    return {name: text for name, text in files.items() if not name.startswith("testing/")}


def test_every_link_is_called_from_where_it_may_and_nowhere_else():
    assert callers(sources()) == MAY


@pytest.mark.parametrize(
    ("link", "line"),
    [
        ("fill the outbox", "spsc_push(addresses[A_OUTBOX], row)"),
        ("fill the outbox", "self.rings.outbox.push(row)"),
        ("submit", "gateway.submit(row)"), ("encode", "self.codec.encode(rows, now, 1)"),
        ("commit", "_commit(x, 0)"), ("see out", "_see_out(x, 0, 1)"),
        ("empty the outbox", "engine.rings.outbox.pop(row)"),
        ("empty the outbox", "entry(spsc_take, 0, 0, 0)"),
        ("frame", "framed(entry, rows, 1, op, now, mono)"),
        ("write by stages", "self.writer.write(raw, op, now, mono)"),
        ("give a writer", "gateway.outbox.write_with(writer)"),
        ("leave at once", "self._leave_at_once(raw, rows)"),
        ("emit by address", "call_stage(addresses[A_EMIT], x, s, 1)"),
        ("judge by address", "call_stage(addresses[A_JUDGE], x, s, 1)"),
        ("judge", "gate_check(intents, n, view, gate, table, positions, 0)"),
    ],
)  # fmt: skip
def test_a_detour_is_found(link, line):
    planted = {**sources(), "serve/detour.py": f"def shortcut(self):\n    {line}\n"}
    assert callers(planted)[link] - MAY[link] == {"serve/detour.py:shortcut"}


@pytest.mark.parametrize("place", sorted(CANCELLING))
def test_who_submits_past_the_gate_only_cancels(place):
    file, _, name = place.partition(":")
    tree = ast.parse((SOURCE / file).read_text())
    functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    text = ast.unparse(functions[name])
    if "self._cancels(" in text:
        text += ast.unparse(functions["_cancels"])
    assert "words.CANCEL" in text
    assert "PLACE" not in text
    assert "AMEND" not in text


def test_what_waited_is_signed_anew_only_where_it_is_a_cancel():
    tree = ast.parse((SOURCE / "execution" / "outbox.py").read_text())
    (send,) = [
        n for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef) and n.name == "_may_send"
    ]
    calls = [
        n for n in ast.walk(send) if isinstance(n, ast.Call) and links(n) == "encode by the outbox"
    ]
    assert [ast.unparse(call.args[0].func) for call in calls] == ["self._cancels"]


def test_all_is_in_the_journal_before_what_passed_is_handed_over():
    """A row that the journal did not take gets a verdict, so it cannot leave either."""
    tree = ast.parse((SOURCE / "engine" / "emit.py").read_text())
    functions = {n.name: ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    for name, steps in {
        "emit": ["[A_JUDGE]", "_commit(", "_see_out("],
        "_commit": ["journal_append(", "if kept < 0", "['verdict'] = DENY_HALTED", "return 1"],
        "_see_out": ["['verdict'] == PASS", "spsc_push(addresses[A_OUTBOX]"],
    }.items():
        places = [functions[name].index(step) for step in steps]
        assert places == sorted(places), name
        assert [functions[name].count(step) for step in steps] == [1] * len(steps), name


@pytest.mark.kernel
def test_nothing_leaves_that_was_denied_or_not_journaled(tmp_path):
    """At run time: what Python hands in passes the gate too, and what leaves is in the journal."""
    bench = Bench(tmp_path)
    try:
        bench.top(6_000_000, 6_000_100)
        bench.step()
        for price in (6_000_000, 1_000_000):
            batch = np.zeros(c.INTENTS_MAX, INTENT)
            row = batch[:1]
            row["rule"] = 1
            row["op"], row["type"], row["tif"], row["side"] = w.PLACE, w.LIMIT, w.GTC, w.BUY
            row["qty"], row["price"], row["verdict"] = 1000, price, w.PASS
            row["ts_sent"], row["nonce"] = 1, 1  # a lie: then it would never leave
            bench.engine.rings.python_intents.push(batch)
        bench.step()
        left = bench.sent()
        records = [r for r in read(tmp_path / "journal") if r.kind == INTENT_RECORD]
        intents = [np.frombuffer(record.payload, INTENT)[0] for record in records]
        kept = {int(row["order_id"]): row for row in intents}
        assert [int(row["price"]) for row in left] == [6_000_000, 6_000_000]
        assert not any(row["ts_sent"] or row["nonce"] for row in left)
        assert all(kept[int(row["order_id"])]["verdict"] == w.PASS for row in left)
        assert sum(row["verdict"] == w.DENY_BAND for row in kept.values()) == 1
        assert bench.ctx.counters[c.C_DENIED] == 1
    finally:
        bench.close()
