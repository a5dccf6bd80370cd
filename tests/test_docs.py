"""What the documents show is true: blocks run, load or parse, and links lead somewhere.

By the language of a fenced block: in `console` lines after `$` are parsed as our commands and make
targets, and in `console run` executed, their output compared (`...` stands for anything); `python`
is executed, `python sketch` parsed and its imports checked; `toml` is valid, and a config where it
has our tables; `json` is valid; `text` is a picture.
"""

import argparse
import ast
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from alephtx import cli
from alephtx.core.config import parse_config
from alephtx.core.config_schema import Config

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LANGUAGES = {"console", "console run", "python", "python sketch", "toml", "json", "text", "mermaid"}
TABLES = {"node", "matrix", "risk", "venues", "accounts", "strategies", "backtest"}
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")
PATIENCE = 300
"""Seconds a block may take: a replay compiled beside the rest of the suite takes a hundred."""

ELSEWHERE = ("git", "cd", "cp", "export", "chmod", "python", "python3", "apt", "sudo", "printf")


def blocks(*languages):
    found = []
    for path in DOCUMENTS:
        text = path.read_text()
        for match in FENCE.finditer(text):
            if match[1].strip() in languages:
                line = text.count("\n", 0, match.start()) + 1
                name = f"{path.relative_to(ROOT)}:{line}"
                found.append(pytest.param(match[2], id=name))
    return found


def commands(block):
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def test_every_block_says_what_it_is():
    odd = [
        f"{path.relative_to(ROOT)}: ```{match[1]}"
        for path in DOCUMENTS
        for match in FENCE.finditer(path.read_text())
        if match[1].strip() not in LANGUAGES
    ]
    assert odd == []


@pytest.mark.parametrize("block", blocks("console", "console run"))
def test_console_block_names_commands_that_exist(block):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert commands(block)
    for command in commands(block):
        check_command(command, targets)


def check_command(command, targets):
    for part in command.split("&&"):
        words = [w for w in shlex.split(part, comments=True) if not re.match(r"[A-Z_]+=", w)]
        if not words:
            continue
        program = words[0].removeprefix(".venv/bin/")
        if program == "alephtx":
            parser = cli.parser(words[1:])
            parser.exit_on_error = False
            try:
                parser.parse_args(words[1:])
            except (SystemExit, argparse.ArgumentError) as error:
                assert "--help" in words, f"{command}: {error}"
        elif program == "make":
            named = [word for word in words[1:] if "=" not in word]
            assert set(named) <= targets, command
        else:
            assert program in ELSEWHERE, f"{command}: {program} is not one of {ELSEWHERE}"


@pytest.mark.parametrize("block", blocks("console run"))
def test_console_block_prints_what_it_shows(block, tmp_path):
    """Run the commands in an empty folder that holds only the example config."""
    (tmp_path / "config.example.toml").write_text((ROOT / "config.example.toml").read_text())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shown = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    for part in shown:
        command, _, expected = part.partition("\n")
        result = subprocess.run(
            command.replace(".venv/bin/", ""), shell=True, cwd=tmp_path, text=True,
            timeout=PATIENCE, env={**os.environ, "PATH": path},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        pattern = re.escape(expected.strip()).replace(r"\.\.\.", ".*?")
        assert re.fullmatch(pattern, result.stdout.strip(), re.DOTALL), result.stdout


@pytest.mark.parametrize("block", blocks("python"))
def test_python_block_runs(block, tmp_path):
    (tmp_path / "config.example.toml").write_text((ROOT / "config.example.toml").read_text())
    result = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("block", blocks("python sketch"))
def test_python_sketch_parses_and_names_what_exists(block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("alephtx"):
            module = importlib.import_module(node.module)
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert missing == [], f"{node.module} lacks {missing}"


@pytest.mark.parametrize("block", blocks("toml"))
def test_toml_block_is_valid_and_loads_where_it_is_a_config(block, tmp_path):
    """A block of some of our tables stands for the example config with these tables in it."""
    tables = set(tomllib.loads(block))
    if tables <= TABLES:
        for name in re.findall(r'^use *= *"([^"/]+\.py)"', block, re.MULTILINE):
            (tmp_path / name).write_text("")
        known = (ROOT / "config.example.toml").read_text()
        text = block if "venues" in tables else known_without(known, tables) + block
        parse_config(text, str(tmp_path / "config.toml"))


def known_without(text, tables):
    """Return the example config without the tables that a fragment replaces."""
    parts = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    return "".join(p for p in parts if not re.match(rf"\[({'|'.join(tables)})[].]", p))


@pytest.mark.parametrize("block", blocks("json"))
def test_json_block_is_valid(block):
    assert json.loads(block) is not None


def anchors(text):
    """Return the anchors of a document's headings, as web views of it make them."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path, text):
    for match in LINK.finditer(FENCE.sub("", text)):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        where = (path.parent / file).resolve()
        if not where.exists():
            yield f"{path.name}: {target} is not there"
        elif anchor and anchor not in anchors(where.read_text() if file else text):
            yield f"{path.name}: {target} has no such heading"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    assert list(broken_links(path, path.read_text())) == []


def test_broken_links_are_caught():
    text = (
        "[a](none.md) [b](README.md) [c](#heading-one) [d](#two) [e](https://x.y)\n# Heading one\n"
    )
    assert [said.partition(": ")[2] for said in broken_links(ROOT / "X.md", text)] == [
        "none.md is not there",
        "#two has no such heading",
    ]


@pytest.mark.parametrize(
    "command", ["alephtx chek", "alephtx init --wat", "make nothing", "curl x"]
)
def test_commands_that_do_not_exist_are_caught(command):
    with pytest.raises(AssertionError):
        check_command(command, {"test"})


def test_readme_lists_the_verbs_that_there_are():
    told = re.findall(
        r"^\| `alephtx (\w+)` \| (.+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert told == list(cli.VERBS.items())


PROMISES = re.findall(
    r"^\|[^|]+\| `(tests/\S+)::(\w+)` \|$", (ROOT / "README.md").read_text(), re.MULTILINE
)


@pytest.mark.parametrize(("file", "test"), PROMISES)
def test_promise_of_the_readme_names_a_test_that_exists(file, test):
    assert re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_promises_are_found():
    assert len(PROMISES) >= 15


DOTTED = re.compile(r"`([a-z_]+(?:\.\w+)+)[^`]*`")
ROOMS = {path.name for path in (ROOT / "src" / "alephtx").iterdir() if path.is_dir()}


def named(text):
    """Yield the names of our code in a text, `room.module.thing`; keys of a config are none."""
    for match in DOTTED.finditer(FENCE.sub("", text)):
        first, _, rest = match[1].partition(".")
        table = getattr(Config.__annotations__.get(first), "__annotations__", {})
        odd = re.search(r"\b(X|py|log|json|toml)\b", rest)
        if first in ROOMS and not odd and rest.split(".")[0] not in table:
            yield match[1]


def resolves(name):
    """Tell whether a dotted name leads to a module of ours or to something in one."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(["alephtx", *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            fields = [*getattr(thing, "__annotations__", {}), *getattr(thing, "_fields", ())]
            if part in fields:
                return True
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_names_of_code_lead_somewhere(path):
    assert [name for name in named(path.read_text()) if not resolves(name)] == []


def test_names_that_lead_nowhere_are_caught():
    assert list(named("`core.clock.nothing` `feed.main` `json.loads` `matrix.path`")) == [
        "core.clock.nothing", "feed.main",
    ]  # fmt: skip
    assert resolves("feed.main")
    assert resolves("engine.session.Session.open")
    assert not resolves("core.clock.nothing")


def test_example_config_is_one_file():
    package = ROOT / "src" / "alephtx" / "cli" / "config.example.toml"
    assert (ROOT / "config.example.toml").resolve() == package
