"""A sweep says what single backtests say, goes on where it was, and learns only from the past."""

import json
import re
from decimal import Decimal

import pytest

from alephtx import cli
from alephtx.core.errors import ConfigError
from alephtx.engine.backtest import Backtest
from alephtx.engine.market import load_market
from alephtx.lab.plan import load_sweep, with_set
from alephtx.lab.sweep import run_sweep
from alephtx.lab.trial import Task, run_task


def swept(path, *, resume=False, workers=1, told=None):
    sweep = load_sweep(path)
    told = [] if told is None else told
    return run_sweep(
        sweep, path.parent / "out", resume=resume, workers=workers, cluster="local",
        advance=lambda done, known: told.append((done, known)),
    )  # fmt: skip


def test_every_set_comes_to_what_its_own_backtest_comes_to(lab, monkeypatch):
    monkeypatch.setattr(
        "alephtx.lab.sweep.run_locally", lambda tasks, workers: map(run_task, tasks)
    )
    path, told = lab(), []
    found = swept(path, told=told)
    assert (found.ran, found.kept, len(found.whole.rows)) == (6, 0, 6)
    assert told[-1] == (6, 6)
    sweep = load_sweep(path)
    market = load_market(sweep.config)
    for chosen in sweep.space.grid():
        test = Backtest(
            [with_set(sweep.config, chosen)], market.instruments, market.tapes, venue=market.venue
        ).run()
        held, top = test.lanes[0].ctx.positions[0, 0], test.lanes[0].ctx.top[0]
        worth = (int(top["bid"]) + int(top["ask"])) / 2 * int(held["qty"]) - int(held["cost"])
        net = (int(held["realized"]) - int(held["fees"])) / 1e8 + worth / 1e4
        params = {path: str(value) for path, value in chosen.items()}
        row = next(row for row in found.whole.rows if row.params == params)
        assert row.net == pytest.approx(net, abs=1e-6)
        assert row.fills == int(held["fills"]) > 0
    assert [r.net for r in found.whole.rows] == sorted(
        (r.net for r in found.whole.rows), reverse=True
    )
    assert found.whole.periods >= 30
    assert found.whole.overfitting is not None
    with pytest.raises(ConfigError, match="has 6 results already"):
        swept(path)
    again = swept(path, resume=True)
    assert (again.ran, again.kept) == (0, 6)
    assert again.whole == found.whole


def test_a_set_that_cannot_run_hinders_no_other(lab):
    path = lab(space="[space.strategies.maker]\nqty = [50, 10_000_000_000_000_000_000_000, 25]")
    sweep = load_sweep(path)
    sets = list(sweep.space.grid())
    found = run_task(Task(sweep.config, _span(sweep), 10**9, sets, ["a", "b", "c"]))
    assert [bool(one.error) for one in found] == [False, True, False]
    assert "OverflowError" in found[1].error
    assert found[0].fills > 0


def _span(sweep):
    from alephtx.lab.trial import open_window, span_of

    return span_of(open_window(sweep.config, None))


def test_walk_forward_learns_before_it_tries(lab, monkeypatch):
    monkeypatch.setattr(
        "alephtx.lab.sweep.run_locally", lambda tasks, workers: map(run_task, tasks)
    )
    path = lab(space="[walk]\ntrain_s = 9\ntest_s = 6\npurge_s = 2\nembargo_s = 1\n"
               "[space.strategies.maker]\nhalf = [0.5, 2.5]")  # fmt: skip
    found = swept(path)
    assert len(found.folds) >= 2
    for one in found.folds:
        assert one.test[0] - one.train[-1][1] == 2 * 10**9
        assert one.chosen.net == max(row.net for row in one.in_sample.rows)
        assert one.out_of_sample.params == one.chosen.params
    for one, after in zip(found.folds, found.folds[1:], strict=False):
        assert one.test[1] == after.test[0]
    assert found.out_net == pytest.approx(sum(o.out_of_sample.net for o in found.folds))
    assert len(found.folds[0].out_of_sample.values) == 6
    parted = found.folds[2]
    assert [end - start for start, end in parted.train] == [5 * 10**9, 3 * 10**9]
    sweep, half = load_sweep(path), parted.chosen.params
    span, alone = _span(sweep), 0.0
    assert parted.train[0][0] == span.start_ns + 12 * 10**9
    for part in parted.train:
        (outcome,) = run_task(Task(sweep.config, part, 10**9, [half_of(half)], ["a"]))
        alone += outcome.net
    assert parted.chosen.net == pytest.approx(alone)


def test_what_fails_in_a_walk_is_told_and_counted(lab, monkeypatch, capsys):
    monkeypatch.setattr(
        "alephtx.lab.sweep.run_locally", lambda tasks, workers: map(run_task, tasks)
    )
    walk = "[walk]\ntrain_s = 15\ntest_s = 6\n[space.strategies.maker]\n"
    path = lab(space=f"{walk}qty = [50, 10_000_000_000_000_000_000_000]")
    out = ["--out", str(path.parent / "out")]
    assert cli.main(["lab", "sweep", str(path), *out]) == 0
    said = capsys.readouterr().out
    assert "6 sets run, 0 kept from before, 2 failed, " in said
    (row,) = (line for line in said.splitlines() if line.startswith("failed in sample: "))
    assert "maker.qty=10000000000000000000000: OverflowError" in row
    path = lab(space=f"{walk}qty = [10_000_000_000_000_000_000_000]", name="two")
    assert cli.main(["lab", "sweep", str(path), "--out", str(path.parent / "two")]) == cli.CONFIG
    told = capsys.readouterr()
    assert "every set failed: OverflowError" in told.out
    assert "all 2 sets failed; the first: OverflowError" in told.err


def half_of(params):
    return {path: Decimal(value) for path, value in params.items()}


RAISES = """
import numpy as np
from alephtx.core.view import Needs
COMPILED = False
NEEDS = Needs(depth=0, timer_ns=1_000_000_000)
PARAMS = STATE = np.dtype([("at", "i8")])
def config_to_params(section, instruments):
    return np.full(1, int(section["at"]), np.int64).view(PARAMS)
def on_timer(now, view, params, state, intents):
    state[0]["at"] += 1
    if state[0]["at"] == params[0]["at"]:
        raise RuntimeError("out of luck")
    return 0
"""


def test_a_strategy_that_raises_on_the_way_fails_its_set_alone(lab):
    path = lab(space="[space.strategies.maker]\nat = [5, 1_000_000]")
    (path.parent / "raises.py").write_text(RAISES)
    config = path.parent / "maker.toml"
    text = re.sub(r'use = ".*"', f'use = "{path.parent}/raises.py"\nat = 1', config.read_text())
    config.write_text(text)
    sweep = load_sweep(path)
    sets = list(sweep.space.grid())
    found = run_task(Task(sweep.config, _span(sweep), 10**9, sets, ["a", "b"]))
    line = RAISES[: RAISES.index("raise ")].count("\n") + 1
    where = f"{path.parent}/raises.py:{line}"
    assert [one.error for one in found] == [
        f"strategy maker stopped: on_timer raised RuntimeError('out of luck') at {where}", "",
    ]  # fmt: skip


def test_the_verb_runs_in_processes_and_prints(lab, capsys):
    path = lab("lanes = 2\n")
    assert cli.main(["lab", "sweep", str(path), "--workers", "2"]) == 0
    told = capsys.readouterr().out
    assert "6 sets run, 0 kept" in told
    assert "probability of overfitting" in told
    assert cli.main(["lab", "sweep", str(path), "--resume", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ran"], found["kept"]) == (0, 6)
    assert cli.main(["lab", "sweep", str(path)]) == cli.CONFIG


@pytest.mark.parametrize(
    ("top", "space", "said"),
    [
        ("serch = 'grid'", None, "did you mean search"),
        ("search = 'all'", None, "search"),
        ("lanes = 0", None, "lanes"),
        ("walk = 3", None, "walk"),
        ("", "[walk]\ntrain_s = 1\n[space.strategies.maker]\nhalf = [1]", "test_s"),
        ("", "[walk]\ntrian_s = 1\n[space.strategies.maker]\nhalf = [1]", "did you mean train_s"),
        ("", "[space.strategies.maker]\nhalv = [1]", "did you mean half"),
        ("", "[space.strategies.taker]\nhalf = [1]", "no such strategy"),
        ("", "", "space is empty"),
        ("x = ", None, "not TOML"),
    ],
)  # fmt: skip
def test_mistakes_in_a_sweep_file_are_named(lab, top, space, said):
    with pytest.raises(ConfigError, match=said):
        load_sweep(lab(top) if space is None else lab(top, space))


def test_a_sweep_without_a_backtest_is_refused(lab):
    path = lab()
    config = path.parent / "maker.toml"
    config.write_text(config.read_text().partition("[backtest]")[0])
    with pytest.raises(ConfigError, match=r"no \[backtest\]"):
        load_sweep(path)
