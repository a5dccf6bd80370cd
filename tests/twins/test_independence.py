"""A twin checks our codecs only as long as it knows nothing of them."""

import ast
import re
from pathlib import Path

import grimp
import pytest

import alephtx

FORBIDDEN = ("alephtx.venues", "alephtx.signers")
ALLOWED = ("alephtx.core", "alephtx.matrix", "alephtx.sim", "alephtx.twins")
SOURCE = Path(alephtx.__file__).parent / "twins"
NAMED = re.compile(r"alephtx\.(venues|signers)\b|importlib\.metadata|core\.plugins")


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("alephtx", cache_dir=None)


@pytest.fixture(scope="module")
def twins(graph):
    return {"alephtx.twins"} | graph.find_descendants("alephtx.twins")


def test_twins_are_in_the_graph(twins):
    """Guards the tests below against an empty set."""
    assert {"alephtx.twins.hyperliquid", "alephtx.twins.binance_spot"} <= twins


def test_twins_reach_no_codec_and_no_signer_on_any_path(graph, twins):
    reached = set().union(*(graph.find_upstream_modules(module) for module in twins))
    assert not {module for module in reached if module.startswith(FORBIDDEN)}


def test_twins_import_only_the_rooms_below_them(graph, twins):
    for module in twins:
        for imported in graph.find_modules_directly_imported_by(module):
            assert imported.startswith(ALLOWED), f"{module} imports {imported}"


def test_codecs_and_signers_know_nothing_of_twins(graph, twins):
    for room in FORBIDDEN:
        for module in {room} | graph.find_descendants(room):
            assert not graph.find_upstream_modules(module) & twins, module


def texts_of(source):
    """Yield every string of a module that is code, so that docstrings may name other rooms."""
    tree = ast.parse(source)
    docs = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docs:
            yield node.value


def test_twins_name_no_codec_for_a_late_import():
    """An import by name would pass the graph unseen."""
    for path in SOURCE.glob("*.py"):
        assert not [text for text in texts_of(path.read_text()) if NAMED.search(text)], path.name


def test_search_for_late_imports_finds_one():
    planted = '"""alephtx.venues in a docstring is fine."""\nload("alephtx.signers.evm")\n'
    assert [text for text in texts_of(planted) if NAMED.search(text)] == ["alephtx.signers.evm"]
