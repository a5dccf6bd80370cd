"""Plugins are found by name or path, and what is wrong with one is said in one line."""

import sys
from importlib.metadata import EntryPoint

import pytest

from alephtx.core import plugins
from alephtx.core.errors import PluginError

STRATEGY = """\
PARAMS = STATE = NEEDS = None
def config_to_params(section, instruments): return None
def on_event(event, view, params, state, intents): return {answer}
"""


@pytest.fixture
def offered(monkeypatch):
    """Offer entry points of our own making in place of the installed ones."""

    def offer(**values):
        points = [EntryPoint(n, v, "alephtx.venues") for n, v in values.items()]
        monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)

    return offer


def strategy(folder, text=None, answer=0):
    path = folder / "mine.py"
    path.write_text(STRATEGY.format(answer=answer) if text is None else text)
    return path


@pytest.mark.smoke
def test_our_own_venues_and_strategies_are_registered():
    assert {"binance_spot", "binance_usdm", "hyperliquid"} <= set(plugins.names("venues"))
    assert plugins.names("alephtx.strategies") == plugins.names("strategies")
    assert {"arbitrage", "market_maker"} <= set(plugins.names("strategies"))


def test_unknown_name_offers_near_misses():
    with pytest.raises(PluginError, match="did you mean 'binance_spot'"):
        plugins.find("venues", "binance_sopt")
    with pytest.raises(PluginError, match="known: "):
        plugins.find("venues", "zzz")
    with pytest.raises(PluginError, match="did you mean 'venues'"):
        plugins.names("venuse")


def test_entry_point_that_does_not_load_says_why(offered):
    offered(a="no_such_module_xyz:A", b="json:Nothing", c="json:JSONDecoder")
    with pytest.raises(PluginError, match="ModuleNotFoundError"):
        plugins.find("venues", "a")
    with pytest.raises(PluginError, match="AttributeError"):
        plugins.find("venues", "b")
    with pytest.raises(PluginError, match="lacks spec, request, parse_instruments, bind"):
        plugins.find("venues", "c")


def test_drop_in_wins_and_must_say_plugin(tmp_path, offered):
    offered(okx="json:JSONDecoder")
    folder = tmp_path / "venues"
    folder.mkdir()
    (folder / "_hidden.py").write_text("")
    (folder / "okx.py").write_text(
        "class Okx:\n    spec = request = parse_instruments = bind = 1\nPLUGIN = Okx\n"
    )
    (folder / "bare.py").write_text("x = 1\n")
    assert plugins.names("venues", tmp_path) == ["bare", "okx"]
    assert plugins.find("venues", "okx", tmp_path).__name__ == "Okx"
    with pytest.raises(PluginError, match="PLUGIN = YourClass"):
        plugins.find("venues", "bare", tmp_path)


def test_drop_in_strategy_is_the_module_itself(tmp_path):
    (tmp_path / "strategies").mkdir()
    strategy(tmp_path / "strategies", answer=3)
    assert plugins.find("strategies", "mine", tmp_path).on_event(0, 0, 0, 0, 0) == 3


def test_load_module_sees_an_edit_and_keeps_its_name(tmp_path):
    first = plugins.load_module(strategy(tmp_path, answer=1))
    second = plugins.load_module(strategy(tmp_path, answer=2))
    assert [m.on_event(0, 0, 0, 0, 0) for m in (first, second)] == [1, 2]
    assert first.__name__ == second.__name__
    assert sys.modules[second.__name__] is second


def test_load_module_of_two_files_with_one_name_keeps_them_apart(tmp_path):
    (tmp_path / "other").mkdir()
    one = plugins.load_module(strategy(tmp_path, answer=1))
    two = plugins.load_module(strategy(tmp_path / "other", answer=2))
    assert one.__name__ != two.__name__


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ndef f(:\n", r"mine\.py:2: SyntaxError: invalid syntax"),
        ("x = 1\n\ny = 1 / 0\n", r"mine\.py:3: ZeroDivisionError: division by zero"),
        ("def f():\n  raise ValueError('odd')\nf()\n", r"mine\.py:2: ValueError: odd"),
        ("import no_such_module_xyz\n", r"mine\.py:1: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", r"mine\.py:1: SystemExit: 3"),
        ("x = '\0'", r"mine\.py.*null bytes"),
        ("x = 1\n", "lacks PARAMS, STATE, NEEDS, config_to_params"),
        ("PARAMS = STATE = NEEDS = config_to_params = 1\n", "never acts"),
        ("PARAMS = STATE = NEEDS = config_to_params = 1\ndef on_event(event): return 0\n",
         "on_event takes 1 arguments, but 5 are given"),
    ],
)  # fmt: skip
def test_load_module_with_a_mistake_names_file_and_line(tmp_path, text, said):
    before = set(sys.modules)
    with pytest.raises(PluginError, match=said) as caught:
        plugins.load_module(strategy(tmp_path, text))
    assert "\n" not in str(caught.value)
    if "Error" in said:
        assert not {name for name in set(sys.modules) - before if "alephtx_file" in name}


def test_failed_reload_keeps_the_module_that_worked(tmp_path):
    good = plugins.load_module(strategy(tmp_path))
    with pytest.raises(PluginError):
        plugins.load_module(strategy(tmp_path, "("))
    assert sys.modules[good.__name__] is good


def test_load_module_interrupted_by_the_user_is_not_swallowed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        plugins.load_module(strategy(tmp_path, "raise KeyboardInterrupt\n"))


def test_load_file_of_nothing_readable_says_why(tmp_path, monkeypatch):
    with pytest.raises(PluginError, match="No such file"):
        plugins.load_file(tmp_path / "none.py")
    with pytest.raises(PluginError, match="directory"):
        plugins.load_file(tmp_path)
    with pytest.raises(PluginError, match="cannot be read"):
        plugins.load_file("a\0.py")
    monkeypatch.setattr(plugins, "SOURCE_BYTES_MAX", 10)
    with pytest.raises(PluginError, match="larger"):
        plugins.load_file(strategy(tmp_path))
