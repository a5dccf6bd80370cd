"""Each signal is a plugin: named in pyproject.toml, conforming, strict about its config."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from alephtx.core import plugins
from alephtx.core.errors import ConfigError
from alephtx.signals import (
    book_imbalance,
    open_range,
    realised_vol,
    spread_zscore,
    trade_flow,
    vamp,
)
from alephtx.signals.running import Running, run_over
from alephtx.testing.signal import NotConforming, check_signal
from tests.signals.market import MS, A, B, empty_view, instruments, random_market

GROUP = "alephtx.signals"
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
NAMED = PROJECT["entry-points"][GROUP]
SHORT = {
    "trade_flow": {"tau_ms": 5_000},
    "realised_vol": {"fast_ms": 5_000},
    "spread_zscore": {"other": 1, "tau_ms": 5_000},
    "open_range": {"session_ms": 60_000, "open_ms": 15_000, "late_ms": 5_000},
}


@pytest.mark.parametrize("name", NAMED)
def test_signal_conforms(name):
    module = plugins.check(GROUP, EntryPoint(name, NAMED[name], GROUP).load(), name)
    assert check_signal(module, {"instrument": 0, **SHORT.get(name, {})}) > 1_000


def test_every_signal_file_is_named():
    kept = {"__init__", "elementary", "settings", "running"}
    files = {p.stem for p in Path(vamp.__file__).parent.glob("*.py")} - kept
    assert files == set(NAMED)


def odd(**changed):
    module = ModuleType("odd")
    for name in ("PARAMS", "STATE", "NEEDS", "config_to_params", "warmup_ns", "on_event"):
        setattr(module, name, changed.get(name, getattr(vamp, name)))
    return module


def test_kit_catches_what_it_is_for():
    calls = []

    def restless(event, view, params, state):
        calls.append(1)
        return float(len(calls))

    wrong = [
        (ModuleType("empty"), "lacks PARAMS"),
        (odd(NEEDS=3), "NEEDS"),
        (odd(on_event=lambda event: 0.0), "on_event takes"),
        (odd(on_event=restless), "the same events"),
        (odd(on_event=lambda event, view, params, state: np.inf), "infinite"),
        (odd(on_event=lambda event, view, params, state: np.nan), "never gave"),
        (odd(warmup_ns=lambda params: 10**12), "before its warm-up"),
    ]
    for module, said in wrong:
        with pytest.raises(NotConforming, match=said):
            check_signal(module, {"instrument": 0})


@pytest.mark.parametrize(
    ("module", "section", "said"),
    [
        (vamp, {}, "instrument is missing"),
        (vamp, {"instrument": "c:NONE"}, "is no instrument"),
        (vamp, {"instrument": 2}, "is no instrument"),
        (vamp, {"instrument": -1}, "is no instrument"),
        (vamp, {"instrument": True}, "is no instrument"),
        (vamp, {"instrument": A, "depht": 3}, "did you mean depth"),
        (vamp, {"instrument": A, "depth": 0}, "1 to 32"),
        (vamp, {"instrument": A, "depth": 5.0}, "no whole number"),
        (trade_flow, {"instrument": A, "of": "gross"}, "one of imbalance, net"),
        (trade_flow, {"instrument": A, "tau_ms": 10**18}, "no whole number"),
        (realised_vol, {"instrument": A, "fast_ms": 10}, "sample more often"),
        (open_range, {"instrument": A, "session_ms": 5, "open_ms": 5}, "is not below session_ms"),
        (open_range, {"instrument": A, "open_ms": 5, "late_ms": 6}, "is above open_ms"),
    ],
)
def test_config_that_is_wrong_is_told_by_key(module, section, said):
    with pytest.raises(ConfigError, match=said):
        module.config_to_params(section, instruments())


@pytest.mark.parametrize("value", [0.5, "nan", "x", "1e9", "-1", None, [], "0"])
def test_fraction_that_is_none_is_told(value):
    with pytest.raises(ConfigError, match="weight"):
        book_imbalance.config_to_params({"instrument": A, "weight": value}, instruments())
    with pytest.raises(ConfigError, match="other"):
        spread_zscore.config_to_params({"instrument": A, "other": A}, instruments())


def test_config_is_read_into_exact_numbers():
    row = spread_zscore.config_to_params(
        {"instrument": B, "other": A, "tau_ms": 250, "floor": "0.25"}, instruments()
    )[0]
    assert row.tolist() == (1, 0, 250 * MS, 0.25)
    assert realised_vol.warmup_ns(
        realised_vol.config_to_params({"instrument": A, "scale": "mid"}, instruments())
    ) == 60_100 * MS  # fmt: skip


def test_run_over_columns_is_the_same_as_event_by_event():
    alone, rows, tops, levels = [], [], [], []
    signal = Running(vamp, {"instrument": B}, instruments())
    for now, event, view in random_market(3, 300):
        event["ts_recv"] = now
        alone.append(signal(event, view))
        rows.append(event[0].copy())
        i = int(event[0]["instrument"])
        tops.append(view.top[i].copy())
        levels.append(view.levels[i].copy())
    fresh = Running(vamp, {"instrument": B}, instruments())
    found = run_over(fresh, empty_view(), np.array(rows), np.array(tops), np.array(levels))
    assert found.tobytes() == np.array(alone).tobytes()
