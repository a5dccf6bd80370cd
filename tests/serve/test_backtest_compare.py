import json

import numpy as np
import pytest

from alephtx import cli
from alephtx.analysis.sharpe import sharpe
from alephtx.engine.outside import find_run
from alephtx.serve import backtest_compare, backtest_compared
from alephtx.serve.backtest_compare import _merged, compare, probability_better, ratio
from tests.serve.backtests import busy_backtest
from tests.serve.pages import Page
from tests.serve.runs import CONFIG, KEYS, PERP, SECOND, START, busy_run

A, B, LIVE = "20231114-221320-demo-00aa", "20231114-221321-demo-00bb", "20231114-221322-demo-00cc"
PATH = f"{KEYS[PERP]} USDT"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Two backtests of one market, the second with another config, and a live run."""
    folder = tmp_path_factory.mktemp("runs")
    busy_backtest(folder, rows=6_000)
    changed = CONFIG.replace('name = "demo"', 'name = "<other>"') + "half_spread = 3\n"
    busy_backtest(folder, rows=6_000, edge=6, name=B, config=changed)
    busy_run(folder, name=LIVE)
    return folder


@pytest.fixture(scope="module")
def compared(base):
    return compare([run_of(base, A), run_of(base, B)])


def run_of(base, name):
    return find_run(name, base)


def grid(n):
    return START + np.arange(n + 1) * SECOND


def curve(gains):
    return grid(len(gains)), np.concatenate([[0.0], np.cumsum(gains)])


def test_comparison_names_only_what_differs_in_config(compared):
    found, _ = compared
    assert found.runs == [A, B]
    assert found.config == {
        "node.name": ['"demo"', '"<other>"'],
        "strategies.mm.half_spread": [None, "3"],
    }
    assert found.counts["orders"] == [400, 400]


def test_comparison_shows_causes_that_add_up_and_markouts_with_bands(compared):
    found, _ = compared
    causes = found.pnl[PATH]
    for k in range(2):
        parts = sum(float(v[k]) for name, v in causes.items() if name != "total")
        assert parts == pytest.approx(float(causes["total"][k]))
    assert float(causes["spread"][1]) > float(causes["spread"][0])
    for after in ("5 s", "30 s", "60 s"):
        first, second = found.markouts[KEYS[PERP]][after]
        assert first["low"] <= first["markout"] <= first["high"]
        assert second["markout"] > first["markout"]  # four ticks better, the same market
    assert found.drawdown["USDT"][0] <= 0


def test_comparison_of_a_clearly_better_run_is_nearly_certain(compared):
    found, _ = compared
    (only,) = found.ratios[0]
    assert only.currency == "USDT"
    assert only.periods == 599 or only.periods == 598
    assert only.better == pytest.approx(1.0, abs=0.1)
    assert not found.notes or all("no market data" in note for note in found.notes)


def test_equal_runs_have_no_winner(base):
    found, _ = compare([run_of(base, A), run_of(base, A)])
    assert found.config == {}
    (only,) = found.ratios[0]
    assert only.better is None
    assert only.reason == "the runs earned the same at every moment"


def test_probability_is_even_for_runs_of_the_same_kind_and_falls_when_they_swap():
    random = np.random.default_rng(4)
    a, noise = random.normal(0.1, 1, 2_000), random.normal(0, 0.5, 2_000)
    better = probability_better(a, a + 0.05 + noise)
    assert 0.9 < better < 1.0
    assert probability_better(a + 0.05 + noise, a) == pytest.approx(1 - better)
    far = [probability_better(random.normal(0, 1, 400), random.normal(0, 1, 400), seed=s)
           for s in range(12)]  # fmt: skip
    assert 0.2 < np.mean(far) < 0.8


def test_pairing_takes_out_what_both_owe_to_the_market():
    random = np.random.default_rng(5)
    market = random.normal(0, 1, 1_000)
    a, b = market, market + 0.05 + random.normal(0, 0.05, 1_000)
    shuffled = random.permutation(b)
    assert probability_better(a, b) > 0.99
    assert probability_better(a, shuffled) < 0.98


@pytest.mark.parametrize(
    ("first", "this", "said"),
    [
        (np.ones(10), -np.ones(10), "10 shared periods prove nothing"),
        (np.arange(50.0), np.zeros(50), "a run's equity does not move"),
    ],
)
def test_what_cannot_be_said_is_not(first, this, said):
    found = ratio("USDT", curve(first), curve(this))
    assert found.better is None
    assert found.reason == said


def test_rare_gains_are_not_judged():
    rare = np.zeros(200)
    rare[100] = 1.0
    found = ratio("USDT", curve(rare), curve(np.arange(200.0)))
    assert found.better is None
    assert found.reason == "too few periods in which equity moves"


def test_only_shared_time_counts():
    gains = np.random.default_rng(1).normal(0, 1, 100)
    first, this = curve(gains), curve(gains * 2)
    late = (this[0] + 40 * SECOND, this[1])
    assert ratio("USDT", first, late).periods == 60
    never = (this[0] + 500 * SECOND, this[1])
    assert ratio("USDT", first, never).reason == "the runs share no time"
    empty = (np.zeros(0, np.int64), np.zeros(0))
    assert ratio("USDT", empty, this).reason == "the runs share no time"


def test_long_runs_keep_their_periods_and_are_drawn_in_longer_ones():
    gains = np.random.default_rng(4).normal(0.01, 1, 9_000)
    found = ratio("USDT", curve(gains), curve(gains[::-1]))
    assert (found.step_ns, found.periods) == (SECOND, 9_000)
    assert found.first == sharpe(np.diff(curve(gains)[1]))
    assert found.better is not None
    drawn = _merged(np.arange(9_000.0))
    assert len(drawn) == 1_800 <= backtest_compare.PERIODS_MAX
    assert drawn[:2].tolist() == [0 + 1 + 2 + 3 + 4, 5 + 6 + 7 + 8 + 9]


def test_live_run_is_compared_as_far_as_its_files_allow(base):
    found, sides = compare([run_of(base, A), run_of(base, LIVE)])
    assert found.modes == ["backtest", "live"]
    assert "the runs do not cover the same time" in " ".join(found.notes)
    assert "markouts with bands are for backtests" in " ".join(found.notes)
    causes = found.pnl["USDT"]
    assert sum(float(v[1]) for n, v in causes.items() if n != "total") == pytest.approx(
        float(causes["total"][1])
    )
    assert found.counts["fills"][1] == 100
    assert found.ratios[0][0].periods > 100
    assert "BTC" in sides[1].curves


def report(base, *words):
    return cli.main(["report", *words, "--runs", str(base)])


def test_verb_prints_a_comparison_and_writes_its_page(base, tmp_path, capsys):
    page = tmp_path / "c.html"
    assert report(base, A, B, "--html", str(page)) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    for words in ("config that differs", "half_spread", f"P&L of {PATH}", "P(this > first)"):
        assert words in told
    made = Page(page.read_text(encoding="utf-8"))
    assert not made.problems
    assert '"<other>"' in made.text("main")
    (overlay,) = made.data["overlay"]
    assert [run["name"] for run in overlay["runs"]] == ["A", "B"]


def test_verb_gives_the_comparison_as_json(base, capsys):
    assert report(base, A, B, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["runs"] == [A, B]
    assert told["ratios"][0][0]["currency"] == "USDT"


def test_verb_rewrites_the_page_of_a_backtest(base, capsys):
    assert report(base, B) == 0
    path = capsys.readouterr().out.strip()
    assert path == str(base / B / "report.html")
    assert 'id="markouts"' in (base / B / "report.html").read_text(encoding="utf-8")


def test_verb_refuses_a_page_of_one_run_and_a_place_that_is_none(base, tmp_path, capsys):
    assert report(base, A, "--html", "x.html") == cli.CONFIG
    assert "name two runs" in capsys.readouterr().err
    assert report(base, A, B, "--html", str(tmp_path)) == cli.CONFIG
    assert "cannot be written" in capsys.readouterr().err


def test_run_that_did_not_end_is_not_compared(base, tmp_path, capsys):
    run = busy_backtest(tmp_path, rows=300, seconds=60, count=4)
    run.summary.unlink()
    assert report(base, A, str(run.path)) == cli.CONFIG
    assert "did not end" in capsys.readouterr().err


def test_lines_of_hostile_names_steer_no_terminal(compared):
    found, _ = compared
    told = "\n".join(backtest_compared.lines(found, width=70))
    assert max(map(len, told.splitlines())) <= 70
    found.runs[0] = "\x1b[2Jx"
    assert "\x1b" not in "\n".join(backtest_compared.lines(found))
    found.runs[0] = A
