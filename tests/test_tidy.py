"""The house rules that no linter knows; each is checked to catch what it is for."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "alephtx"
OURS = sorted(p for d in ("src", "tests", "bench") for p in (ROOT / d).rglob("*.py"))
LIBRARY = sorted(SOURCE.rglob("*.py"))

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "stuff", "base"}
NUMBA_HOMES = {
    "core/kernel.py", "core/compiling.py", "core/stored.py", "core/callee.py", "core/atomics.py",
    "core/quick_numba.py", *(p.relative_to(SOURCE).as_posix() for p in SOURCE.rglob("*_code.py")),
}  # fmt: skip
CLOCK_HOME = "core/clock.py"
PRINT_HOMES = ("cli/", "serve/terminal.py", "serve/drive.py", "testing/world/__main__.py")
FLOAT_FREE = ("venues/", "ledger/")
CLOCK_READS = {
    ("time", "time"), ("time", "time_ns"), ("time", "sleep"), ("datetime", "now"),
    ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"),
}  # fmt: skip
OFFERED = {
    "alephtx.matrix.signals": "for signal plugins, which are not ours",
    "alephtx.testing.synthetic": "for benches and users' tests",
    "alephtx.lab.bars": "for research on bars, in scripts and notebooks",
    "alephtx.store.bar_tables": "for research on bars, in scripts and notebooks",
    "alephtx.analysis.cointegration": "for research before a pair is traded",
}
"""Modules that are there for others to import, and why."""

MARKERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
EVENT = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

pytestmark = pytest.mark.smoke


def name_of(path):
    return path.relative_to(SOURCE).as_posix()


@cache
def tree_of(text):
    return ast.parse(text)


def long_functions(text):
    for node in ast.walk(tree_of(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield node.lineno, f"{node.name} has {length} lines"


def imports_of(text):
    """Yield (line, dotted module) of every import of a file."""
    for node in ast.walk(tree_of(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def numba_imports(text):
    return [(line, name) for line, name in imports_of(text) if name.split(".")[0] == "numba"]


def clock_reads(text):
    """Yield what reads the machine's clock or waits, however it was imported."""
    aliases = {}
    for node in ast.walk(tree_of(text)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                aliases[alias.asname or alias.name] = (node.module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name] = (alias.name, "")
    for node in ast.walk(tree_of(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else node.value.id
            module, part = aliases.get(owner, (owner, ""))
            if (part or module, node.attr) in CLOCK_READS:
                yield node.lineno, f"{owner}.{node.attr}"
        elif isinstance(node, ast.Name) and aliases.get(node.id) in CLOCK_READS:
            yield node.lineno, node.id


def calls(text, name):
    for node in ast.walk(tree_of(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node.lineno, f"{name}("


def swallowed(text):
    """Yield handlers that drop an error without a word."""
    for node in ast.walk(tree_of(text)):
        if isinstance(node, ast.ExceptHandler):
            wide = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            empty = all(isinstance(part, ast.Pass | ast.Continue) for part in node.body)
            if node.type is None or (wide and empty):
                yield node.lineno, "an error is swallowed"


def odd_events(text):
    """Yield log events that are not snake_case."""
    for node in ast.walk(tree_of(text)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("debug", "info", "warning", "error")
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and not EVENT.fullmatch(str(node.args[0].value))
        ):
            yield node.lineno, f"log event {node.args[0].value!r}"


def markers(text):
    for number, line in enumerate(text.splitlines(), 1):
        if MARKERS.search(line):
            yield number, line.strip()


def found(paths, rule, *arguments):
    return [
        f"{path.relative_to(ROOT)}:{line}: {said}"
        for path in paths
        for line, said in rule(path.read_text(), *arguments)
    ]


def tidy(problems):
    assert not problems, "\n" + "\n".join(problems)


def test_files_fit():
    long = [
        f"{p.relative_to(ROOT)}: {n} lines"
        for p in OURS
        if (n := len(p.read_text().splitlines())) > FILE_LINES_MAX
    ]
    tidy(long)


def test_functions_fit_a_screen():
    tidy(found(OURS, long_functions))


def test_files_are_named_for_what_is_in_them():
    tidy([str(p) for p in OURS if p.stem.strip("_") in BANNED_NAMES])


def test_numba_has_one_door():
    others = [p for p in LIBRARY if name_of(p) not in NUMBA_HOMES]
    tidy(found(others, numba_imports))


def test_clocks_are_read_in_one_file():
    others = [p for p in LIBRARY if name_of(p) != CLOCK_HOME]
    tidy(found(others, clock_reads))


def test_only_the_terminal_prints():
    others = [p for p in LIBRARY if not name_of(p).startswith(PRINT_HOMES)]
    tidy(found(others, calls, "print"))


def test_no_float_where_money_is_decided():
    exact = [p for p in LIBRARY if name_of(p).startswith(FLOAT_FREE)]
    tidy(found(exact, calls, "float"))


def test_no_error_is_swallowed():
    tidy(found(OURS, swallowed))


def test_log_events_are_snake_case():
    tidy(found(LIBRARY, odd_events))


def test_nothing_is_left_to_do():
    tidy(found([p for p in OURS if p != Path(__file__)], markers))


def entry_modules():
    """Modules that are started by name: entry points, and `python -m` with the name as a string."""
    text = (ROOT / "pyproject.toml").read_text()
    named = set(re.findall(r'"(alephtx[\w.]*)(?::\w+)?"', text))
    for path in LIBRARY:
        for node in ast.walk(tree_of(path.read_text())):
            if isinstance(node, ast.Constant) and str(node.value).startswith("alephtx."):
                named.add(node.value)
    return named


def test_every_module_is_used_by_another():
    """A module that nobody imports is dead, or a test's only friend."""
    used = set()
    for path in LIBRARY:
        for node in ast.walk(tree_of(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                used.add(node.module)
                used.update(f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Import):
                used.update(alias.name for alias in node.names)
    assert not used.intersection(OFFERED), "used now: take it off the list"
    used |= entry_modules() | set(OFFERED)
    dead = []
    for path in LIBRARY:
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        public = module.startswith(("alephtx.cli", "alephtx.testing"))
        if parts[-1] not in ("__init__", "__main__") and not public and module not in used:
            dead.append(module)
    tidy(dead)


def test_docstrings_open_every_module():
    tidy([name_of(p) for p in LIBRARY if not ast.get_docstring(tree_of(p.read_text()))])


@pytest.mark.parametrize(
    ("rule", "arguments", "bad", "good"),
    [
        (long_functions, (), "def f():\n" + "    x = 1\n" * 70, "def f():\n" + "    x = 1\n" * 69),
        (numba_imports, (), "def f():\n    from numba.core import x", "import numbat"),
        (clock_reads, (), "import time as t\nt.time_ns()", "import time\ntime.monotonic_ns()"),
        (clock_reads, (), "from time import sleep as s\ns(1)", "import asyncio\nasyncio.sleep(1)"),
        (clock_reads, (), "from datetime import datetime\ndatetime.now()", "view.now"),
        (clock_reads, (), "import datetime\ndatetime.datetime.now()", "clock.now()"),
        (calls, ("print",), "print(1)", "out.print(1)"),
        (calls, ("float",), "x = float(y)", "x: float = y"),
        (swallowed, (), "try:\n    f()\nexcept Exception:\n    pass",
         "try:\n    f()\nexcept KeyError:\n    pass"),
        (swallowed, (), "try:\n    f()\nexcept:\n    g()", "try:\n    f()\nfinally:\n    g()"),
        (odd_events, (), "log.info('Book resynced')", "log.info('book_resynced')"),
        (markers, (), "x = 1  # TO" + "DO: y", "x = 1  # done"),
    ],
)  # fmt: skip
def test_each_rule_catches_what_it_is_for(rule, arguments, bad, good):
    assert list(rule(bad, *arguments))
    assert not list(rule(good, *arguments))


def test_this_python_is_one_we_support():
    assert sys.version_info >= (3, 11)
