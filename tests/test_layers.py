"""The river flows one way: the contract holds, and a violation is caught by name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint(folder):
    """Run import-linter in a folder, on the package that is there."""
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()",
         "--no-cache"],
        cwd=folder, env={"PYTHONPATH": str(folder / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.fixture
def copy(tmp_path):
    """A copy of the tree, to do wrong in."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_keep_the_contract():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("room", "line", "said"),
    [
        ("core", "from alephtx.matrix import shm", "alephtx.core is not allowed to import"),
        ("risk", "from alephtx.execution import orders", "alephtx.risk is not allowed to import"),
        (
            "twins",
            "from alephtx.venues import binance_spot",
            "is not allowed to import alephtx.ven",
        ),
    ],
)
def test_planted_violation_is_caught_by_name(copy, room, line, said):
    (copy / "src" / "alephtx" / room / "planted.py").write_text(f'"""Wrong."""\n\n{line}\n')
    result = lint(copy)
    assert result.returncode != 0
    assert said in result.stdout
    assert "planted" in result.stdout


def test_room_without_a_place_is_caught(copy):
    room = copy / "src" / "alephtx" / "landfill"
    room.mkdir()
    (room / "__init__.py").write_text('"""Wrong."""\n')
    result = lint(copy)
    assert result.returncode != 0
    assert "landfill" in result.stdout
