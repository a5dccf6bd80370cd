"""A bar strategy: loaded, checked, its parameters read, and compiled into the loops that run it."""

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.core.errors import ConfigError, PluginError
from alephtx.core.instruments import CONTRACT_NAMES, Instrument, Instruments
from alephtx.core.kernel import kernel_around
from alephtx.core.plugins import load_file
from alephtx.engine._call import not_compiled
from alephtx.lab import bar_walk as w

Rows = np.ndarray[Any, Any]
Section = Mapping[str, Any]

SHIPPED = {"sma_cross": "alephtx.strategies.sma_cross"}
NEEDED = ("PARAMS", "STATE", "config_to_params", "on_bar")


def load_bar_strategy(strategy: ModuleType | str | Path) -> ModuleType:
    """Return a bar strategy's module; PluginError says what it lacks."""
    if isinstance(strategy, str) and strategy in SHIPPED:
        return importlib.import_module(SHIPPED[strategy])
    if isinstance(strategy, str) and not strategy.endswith(".py"):
        raise PluginError(
            f"there is no bar strategy named {strategy!r}",
            remedy=f"known: {', '.join(SHIPPED)}; or name a file, my_strategy.py",
        )
    module: Any = load_file(strategy) if isinstance(strategy, str | Path) else strategy
    said = file_of(module)
    if missing := [name for name in NEEDED if not hasattr(module, name)]:
        raise PluginError(
            f"{said} is no bar strategy: it lacks {', '.join(missing)}", remedy="see docs/bars.md"
        )
    if getattr(module, "COMPILED", None) is not True:
        raise PluginError(f"{said}: COMPILED is not True", remedy="bar strategies are compiled")
    takes = len(inspect.signature(getattr(module.on_bar, "py_func", module.on_bar)).parameters)
    if takes != 5:
        raise PluginError(f"{said}: on_bar takes {takes} arguments, but 5 are given")
    return module


def file_of(module: Any) -> str:
    """Return what errors call a strategy by."""
    return str(getattr(module, "__file__", "the strategy"))


def table_of(instrument: Instrument) -> Instruments:
    """Return the table of one instrument; ConfigError where equity is no straight line of price."""
    if instrument.contract not in (words.SPOT, words.LINEAR):
        raise ConfigError(
            f"{instrument.key} is {CONTRACT_NAMES.get(instrument.contract)}; bars know spot and "
            "linear contracts",
            remedy="use alephtx backtest",
        )
    return Instruments([instrument])


def params_of(module: Any, table: Instruments, sets: Sequence[Section]) -> Rows:
    """Return a PARAMS row for each set."""
    rows = np.zeros(len(sets), module.PARAMS)
    for j, section in enumerate(sets):
        made = module.config_to_params(dict(section), table)
        if getattr(made, "dtype", None) != rows.dtype or made.shape != (1,):
            raise PluginError(
                f"config_to_params gave {type(made).__name__}, not one row of PARAMS",
                remedy="return np.zeros(1, PARAMS), filled in",
            )
        rows[j] = made[0]
    return rows


def read_only(bars: Rows) -> Rows:
    """Return bars as loops take them: one behind the other, not to be replaced."""
    shown: Rows = np.ascontiguousarray(bars).view()
    shown.flags.writeable = False
    return shown


@cache
def _around(on_bar: Any, which: str) -> Any:
    return kernel_around(getattr(w, which), on_bar=on_bar)


def compiled(module: Any, which: str) -> Any:
    """Return a loop of `bar_walk`, walk or decide, around the strategy."""
    return _around(module.on_bar, which)


@contextmanager
def compiling(module: Any) -> Iterator[None]:
    """Make of what Numba cannot take one error that says where."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("numba."):
            raise
        raise not_compiled(module, "on_bar", error) from None
