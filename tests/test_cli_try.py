"""`alephtx try` as the tutorial tells a newcomer to use it: real processes, the real file."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alephtx.cli import CONFIG, OK, USAGE, main
from alephtx.cli.try_ import _pair
from alephtx.core.errors import ConfigError
from alephtx.core.kernel import cache_root
from alephtx.engine.warm import ensure_warm

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial-first-strategy.md"


@pytest.fixture
def lean(tmp_path):
    path = tmp_path / "lean.py"
    path.write_text(re.search(r"```python\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)[1])
    return path


def tried(file, *options, **environment):
    """Run the verb; returns its result."""
    result = subprocess.run(
        [sys.executable, "-m", "alephtx.cli", "try", file.name, *options, "--json"],
        cwd=file.parent, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == OK, result.stderr
    return json.loads(result.stdout)


def without_times(result):
    return {name: value for name, value in result.items() if name != "took_s"}


def compiled_in(cache):
    """Return when each file of machine code was written; it lies below its module's folder."""
    kinds = (".nbc", ".nbi", ".code")
    files = [path for path in cache.rglob("*") if path.suffix in kinds]
    return {path.relative_to(cache): path.stat().st_mtime_ns for path in files}


def test_tutorial_strategy_trades_and_an_edit_compiles_nothing_else(lean, tmp_path):
    """What the page promises: type, see, edit, type again, see something else, soon."""
    ensure_warm(lambda line: None)
    cache = tmp_path / "cache"  # of our own: other tests compile meanwhile
    shutil.copytree(cache_root(), cache)
    cache.chmod(0o700)
    first = tried(lean, "ratio=4", "qty=0.0002", ALEPHTX_CACHE=str(cache))
    assert first["frames"] > 5_000
    assert first["counters"]["orders"] > 10
    assert first["counters"]["fills"] > 5
    assert first["reconciled"]
    text = lean.read_text()
    assert "ratio * top" in text
    lean.write_text(text.replace("ratio * top", "8 * ratio * top"))
    before = compiled_in(cache)
    second = tried(lean, "ratio=4", "qty=0.0002", ALEPHTX_CACHE=str(cache))
    assert second["counters"]["orders"] < first["counters"]["orders"]
    written = [path for path, at in compiled_in(cache).items() if before.get(path) != at]
    assert written
    assert [path for path in written if not path.parts[1].startswith("lean-")] == []


def test_page_shows_what_comes_out(lean, capsys, monkeypatch):
    monkeypatch.chdir(lean.parent)
    block = re.search(r"```text\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)[1]
    command = re.search(r"^\$ alephtx (try .*)$", TUTORIAL.read_text(), re.MULTILINE)[1]
    assert main(command.split()) == OK
    took = r"in [0-9.]+ s"
    assert re.sub(took, "", capsys.readouterr().out) == re.sub(took, "", block)


def test_same_words_give_the_same_result_compiled_or_not(lean):
    compiled = tried(lean, "--seconds", "1")
    plain = tried(lean, "--seconds", "1", NUMBA_DISABLE_JIT="1")
    assert compiled["counters"]["events"] > 100
    assert without_times(compiled) == without_times(plain)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["lean.py", "raito=4"], CONFIG, "did you mean ratio"),
        (["lean.py", "ratio"], CONFIG, "'ratio' is not KEY=VALUE"),
        (["lean.py", "qty=0.00000001"], CONFIG, "outside"),
        (["none.py"], CONFIG, "none.py cannot be read"),
        (["lean.py", "--instrument", "binance_spot:DOGE-USDT"], CONFIG, "no recording of"),
        (["lean.py", "--instrument", "hyperliquid:BTC-USD-PERP"], CONFIG, "too short"),
        (["lean.py", "--instrument", "nowhere:BTC-USDT"], CONFIG, "no twin of 'nowhere'"),
    ],
)
def test_try_of_what_cannot_be_is_one_line(words, code, said, lean, capsys, monkeypatch):
    monkeypatch.chdir(lean.parent)
    assert main(["try", *words]) == code
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "x"])
def test_seconds_that_are_none_are_wrong_usage(seconds, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["try", "lean.py", "--seconds", seconds])
    assert ended.value.code == USAGE


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("a=1", ("a", 1)), ("a=-3", ("a", -3)), ("a=true", ("a", True)), ("a=0.5", ("a", "0.5")),
        ("a=", ("a", "")), ("a=b=c", ("a", "b=c")), ("a=" + "9" * 40, ("a", "9" * 40)),
    ],
)  # fmt: skip
def test_pair_is_read_as_toml_would(text, pair):
    assert _pair(text) == pair


@pytest.mark.parametrize("text", ["", "a", "=1", "1a=2", "a b=1"])
def test_pair_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        _pair(text)
