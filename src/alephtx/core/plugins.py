"""Find plugins: entry points, a folder of drop-ins, and single files.

Groups are `venues`, `strategies`, `signals`, `signers`, `rules` and `stores`; a package offers one
with `[project.entry-points."alephtx.venues"] okx = "okx_alephtx:Okx"`. A drop-in is
`<folder>/<group>/<name>.py`; where the group's plugin is a class, the file names it `PLUGIN`.
"""

import difflib
import hashlib
import inspect
import linecache
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from alephtx.core.errors import PluginError
from alephtx.core.kernel import forget_sources

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PREFIX = "alephtx."
GROUPS = ("venues", "strategies", "signals", "signers", "rules", "stores")
MODULE_GROUPS = ("strategies", "signals")
"""Groups whose plugin is the module itself, not an object in it."""

NEEDED: dict[str, tuple[str, ...]] = {
    "venues": ("spec", "request", "parse_instruments", "bind"),
    "strategies": ("PARAMS", "STATE", "NEEDS", "config_to_params"),
    "signals": ("PARAMS", "STATE", "NEEDS", "config_to_params", "warmup_ns", "on_event"),
    "signers": ("sign",),
}
HOOKS = {"on_start": 4, "on_event": 5, "on_update": 5, "on_timer": 5, "on_stop": 4}
"""A strategy's functions and how many arguments each takes."""

SOURCE_BYTES_MAX = 4 * 1024 * 1024


def names(group: str, folder: str | Path | None = None) -> list[str]:
    """Return the names on offer in a group, sorted."""
    return sorted({*_entry_points(group), *_drop_ins(group, folder)})


def find(group: str, name: str, folder: str | Path | None = None) -> Any:
    """Load a plugin by name; a drop-in in the folder wins over an installed one.

    Raises PluginError, naming near misses when there is no such plugin, and what is wrong with it
    when it does not load or lacks a name that its group needs.
    """
    drop_ins = _drop_ins(group, folder)
    if name in drop_ins:
        module = load_file(drop_ins[name])
        plugin = module if _group(group) in MODULE_GROUPS else getattr(module, "PLUGIN", None)
        if plugin is None:
            raise PluginError(f"{drop_ins[name]} has no PLUGIN", remedy="add: PLUGIN = YourClass")
        return check(group, plugin, str(drop_ins[name]))
    points = _entry_points(group)
    if name not in points:
        raise PluginError(
            f"there is no {_group(group)} plugin named {name!r}",
            remedy=_near(name, sorted({*points, *drop_ins})),
        )
    try:
        plugin = points[name].load()
    except Exception as error:
        raise PluginError(
            f"plugin {name!r} ({points[name].value}) does not load: {_last_line(error)}"
        ) from error
    return check(group, plugin, f"{name} ({points[name].value})")


def load_module(path: str | Path) -> ModuleType:
    """Load a strategy from a file of Python, afresh every time, and check that it is one.

    A second call sees an edited file: its kernels are compiled anew if, and only if, its text or
    that of a file it imports changed. Errors are one line with file and line number.
    """
    module: ModuleType = check("strategies", load_file(path), str(path))
    return module


def load_file(path: str | Path) -> ModuleType:
    """Run a file of Python as a module of its own and return it.

    The module's name is made from the file's full path: stable, so that compiled kernels are found
    again, and unlike any other module's. The file's own folder is not put on the import path.
    """
    file = Path(path).expanduser()
    try:
        file = file.resolve(strict=True)
        if file.stat().st_size > SOURCE_BYTES_MAX:
            raise PluginError(f"{file} is larger than {SOURCE_BYTES_MAX} bytes")
        text = file.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise PluginError(f"{path} cannot be read: {reason}") from None
    name = f"alephtx_file_{file.stem}_{hashlib.sha256(bytes(file)).hexdigest()[:12]}"
    forget_sources(file)
    linecache.checkcache(str(file))
    module = ModuleType(name)
    module.__file__ = str(file)
    before = sys.modules.get(name)
    sys.modules[name] = module  # annotations are looked up here while the file runs
    try:
        exec(compile(text, str(file), "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    except BaseException as error:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
        if not isinstance(error, Exception | SystemExit):
            raise
        raise PluginError(_where(error, file)) from None
    return module


def check(group: str, plugin: Any, said: str) -> Any:
    """Return the plugin if it has what its group needs, else raise PluginError."""
    group = _group(group)
    missing = [name for name in NEEDED.get(group, ()) if not hasattr(plugin, name)]
    if missing:
        raise PluginError(f"{said} is no {group} plugin: it lacks {', '.join(missing)}")
    if group == "strategies":
        _check_hooks(plugin, said)
    return plugin


def _check_hooks(plugin: Any, said: str) -> None:
    found = [name for name in HOOKS if callable(getattr(plugin, name, None))]
    if not {"on_event", "on_update", "on_timer"}.intersection(found):
        raise PluginError(f"{said} never acts: it has neither on_event, on_update nor on_timer")
    for name in found:
        function = getattr(plugin, name)
        takes = len(inspect.signature(getattr(function, "py_func", function)).parameters)
        if takes != HOOKS[name]:
            raise PluginError(
                f"{said}: {name} takes {takes} arguments, but {HOOKS[name]} are given"
            )


def raised_at(module: ModuleType, hook: str, error: BaseException) -> str:
    """Return file:line of a plugin's own innermost frame; where it has none, of the hook itself."""
    code = getattr(getattr(module, hook, None), "__code__", None)
    file = Path(str(module.__file__))
    lines = _lines_in(error, file) or [getattr(code, "co_firstlineno", 1)]
    return f"{file}:{lines[-1]}"


def _group(group: str) -> str:
    short = group.removeprefix(PREFIX)
    if short not in GROUPS:
        raise PluginError(f"unknown plugin group {group!r}", remedy=_near(short, list(GROUPS)))
    return short


def _entry_points(group: str) -> dict[str, "EntryPoint"]:
    from importlib.metadata import entry_points  # a run whose strategies are files needs none

    return {point.name: point for point in entry_points(group=PREFIX + _group(group))}


def _drop_ins(group: str, folder: str | Path | None) -> dict[str, Path]:
    if not folder:
        return {}
    files = sorted((Path(folder) / _group(group)).glob("*.py"))
    return {file.stem: file for file in files if not file.stem.startswith("_")}


def _near(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    if close:
        return f"did you mean {' or '.join(repr(item) for item in close)}?"
    return f"known: {', '.join(known) or 'none'}"


def _last_line(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()


def _where(error: BaseException, file: Path) -> str:
    """Return one line: the file and line of a user's error, and what it is."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"{file}:{error.lineno}: {type(error).__name__}: {error.msg}"
    lines = _lines_in(error, file)
    where = f"{file}:{lines[-1]}" if lines else str(file)
    return f"{where}: {_last_line(error)}"


def _lines_in(error: BaseException, file: Path) -> list[int]:
    frames = traceback.extract_tb(error.__traceback__)
    return [frame.lineno or 0 for frame in frames if frame.filename == str(file)]
