"""TPE asks the same again when told the same, and a sweep with it goes on where it was."""

import pytest

from alephtx.lab.plan import Plan, load_sweep
from alephtx.lab.search import search
from alephtx.lab.space import read_space
from alephtx.lab.sweep import run_sweep
from alephtx.lab.trial import run_task

pytest.importorskip("optuna", reason="the extra lab")
SPACE = {
    "strategies": {"m": {
        "a": {"from": 0, "to": 1000}, "b": {"from": 1, "to": 9, "step": 2},
        "mode": ["x", "y"], "c": {"values": [1, 2], "when": {"mode": ["y"]}},
    }}
}  # fmt: skip


def asked(trials=40, seed=1):
    """Return every set that TPE asks for, climbing towards a = 700."""
    rounds = search(
        Plan(config="x", search="tpe", trials=trials, seed=seed, lanes=8), read_space(SPACE)
    )
    found, sets = [], next(rounds)
    while True:
        found += sets
        try:
            sets = rounds.send([-abs(s["strategies.m.a"] - 700.0) for s in sets])
        except StopIteration:
            return found


def test_tpe_repeats_itself_and_climbs():
    sets = asked()
    assert sets == asked() != asked(seed=2)
    assert len(sets) == 40
    early, late = ([abs(s["strategies.m.a"] - 700) for s in part] for part in (sets[:8], sets[-8:]))
    assert sum(late) < sum(early)
    assert {s["strategies.m.b"] for s in sets} <= {1, 3, 5, 7, 9}
    assert all(("strategies.m.c" in s) == (s["strategies.m.mode"] == "y") for s in sets)


def test_a_sweep_with_tpe_goes_on_where_it_was(lab, monkeypatch):
    monkeypatch.setattr(
        "alephtx.lab.sweep.run_locally", lambda tasks, workers: map(run_task, tasks)
    )
    space = "[space.strategies.maker]\nhalf = { from = 0.5, to = 3.0 }"
    path = lab('search = "tpe"\ntrials = 6\nlanes = 2', space)
    named = {"workers": 1, "cluster": "local", "advance": lambda done, known: None}
    whole = run_sweep(load_sweep(path), path.parent / "a", resume=False, **named)
    kept = (path.parent / "a" / "results.jsonl").read_bytes().splitlines(keepends=True)
    assert len(kept) == whole.ran == 6
    (path.parent / "b").mkdir()
    (path.parent / "b" / "results.jsonl").write_bytes(b"".join(kept[:3]))
    again = run_sweep(load_sweep(path), path.parent / "b", resume=True, **named)
    assert (again.kept, again.ran) == (3, 3)
    assert again.whole == whole.whole
