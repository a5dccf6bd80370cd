"""The kernel door: results never go stale, n processes compile once, damage costs a compilation."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import alephtx
from alephtx.core import kernel as door
from alephtx.core import sources
from alephtx.core.errors import ConfigError

PACKAGE = Path(alephtx.__file__).parent
pytestmark = pytest.mark.skipif(not door.JIT, reason="there is no cache without the JIT")

FILES = {
    "__init__.py": "",
    "constants.py": "FACTOR = 3\n",
    "callee.py": (
        "from alephtx.core.kernel import kernel\nfrom .constants import FACTOR\n\n\n"
        "@kernel\ndef scaled(x):\n    return x * FACTOR\n"
    ),
    "caller.py": (
        "from alephtx.core.kernel import kernel\nfrom river.callee import scaled\n\n\n"
        "@kernel\ndef total(n):\n    s = 0\n    for i in range(n):\n        s += scaled(i)\n"
        "    return s\n"
    ),
    "other.py": (
        "from alephtx.core.kernel import kernel\n\n\n@kernel\ndef apart(x):\n    return x + 1\n"
    ),
}
ASK = """
import json
from alephtx.core import kernel
from river.caller import total
from river.other import apart
value = [total(5), apart(1)]
print(json.dumps({"value": value, "compiled": kernel.compiled}))
"""


@pytest.fixture
def river(tmp_path):
    """A package of kernels outside ours, with a cold cache of its own."""
    folder = tmp_path / "river"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def start(river, program=ASK, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=river.parent,
        env={**os.environ, "ALEPHTX_CACHE": str(river.parent / "cache"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return {**json.loads(output.splitlines()[-1]), "errors": errors}


def ask(river, program=ASK, **environment):
    return finish(start(river, program, **environment))


def test_edit_of_a_callee_or_its_constant_is_never_answered_from_the_old_cache(river):
    cold = ask(river)
    assert (cold["value"], sorted(cold["compiled"])) == (
        [30, 2], ["callee.scaled", "caller.total", "other.apart"],
    )  # fmt: skip
    assert ask(river)["compiled"] == []
    constants = river / "constants.py"
    before = constants.stat()
    constants.write_text("FACTOR = 5\n")
    os.utime(constants, ns=(before.st_atime_ns, before.st_mtime_ns))  # size and time do not tell
    edited = ask(river)
    assert edited["value"] == [50, 2]
    assert sorted(edited["compiled"]) == ["callee.scaled", "caller.total"]
    constants.write_text("FACTOR = 3\n")
    back = ask(river)
    assert (back["value"], back["compiled"]) == ([30, 2], [])


def test_a_callee_that_python_calls_as_well_is_compiled_for_both(river):
    program = ASK.replace("value = [total(5), apart(1)]", "value = [total(5), scaled(7)]")
    program = program.replace("import total", "import scaled, total")
    cold, warm = ask(river, program), ask(river, program)
    assert cold["value"] == warm["value"] == [30, 21]
    assert sorted(cold["compiled"]) == ["callee.scaled", "callee.scaled", "caller.total"]
    assert warm["compiled"] == []


def test_a_callee_has_no_machine_code(river):
    ask(river)
    (called,) = (river.parent / "cache").rglob("callee-*/called/**/callee.scaled*.nbc")
    entered = [p.name for p in (river.parent / "cache").rglob("*.nbc") if "called" not in p.parts]
    assert sorted(name.split("-")[0] for name in entered) == ["caller.total", "other.apart"]
    assert b"\x7fELF" not in called.read_bytes()


def test_a_callee_is_expanded_because_it_says_so_not_because_its_caller_is(river):
    (river / "middle.py").write_text(
        "from alephtx.core.kernel import inline_kernel, kernel\n"
        "from river.callee import scaled\n\n\n"
        "@inline_kernel\ndef between(x):\n    return scaled(x)\n\n\n"
        "@kernel\ndef around(x):\n    return between(x)\n"
    )
    program = """
import json
from river.callee import scaled
from river.middle import around, between
assert around(2) == 6
kept = [next(iter(one.dispatcher.called.overloads.values())) for one in (scaled, between)]
print(json.dumps({"expanded": ["alwaysinline" in one.library.get_llvm_str() for one in kept]}))
"""
    assert ask(river, program)["expanded"] == [False, True]


def test_a_callee_may_print_and_raise(river):
    """Both need what numba keeps beside the machine code; a print without it hung."""
    (river / "callee.py").write_text(
        "from alephtx.core.kernel import kernel\n\n\n@kernel\ndef scaled(x):\n    if x > 1:\n"
        "        raise ValueError('too big')\n    print('scaling', x)\n    return x\n"
    )
    program = """
from river.caller import total
try:
    total(5)
except ValueError as error:
    print(error)
"""
    for _ in ("cold", "warm"):
        process = start(river, program)
        output, errors = process.communicate(timeout=300)
        assert (output.splitlines(), errors) == (["scaling 0", "scaling 1", "too big"], "")


def test_cold_processes_at_once_compile_each_kernel_once(river):
    answers = [finish(process) for process in [start(river) for _ in range(4)]]
    assert all(answer["value"] == [30, 2] for answer in answers)
    total = sorted(name for answer in answers for name in answer["compiled"])
    assert total == ["callee.scaled", "caller.total", "other.apart"]


def test_damaged_cache_costs_a_compilation_and_is_mended(river):
    ask(river)
    for path in (river.parent / "cache").rglob("*.nb?"):
        path.write_bytes(path.read_bytes()[:20] if path.suffix == ".nbi" else b"")
    damaged = ask(river)
    assert damaged["value"] == [30, 2]
    assert len(damaged["compiled"]) == 3
    assert "kernel_cache_damaged" in damaged["errors"]
    assert ask(river)["compiled"] == []


def test_full_disk_is_a_warning(river):
    program = (
        "import numba.core.caching as c\n"
        "def full(*a): raise OSError(28, 'No space left on device')\n"
        "c.IndexDataCacheFile.save = full\n" + ASK
    )
    answer = ask(river, program)
    assert answer["value"] == [30, 2]
    assert "kernel_not_cached" in answer["errors"]


def test_native_address_gives_the_same_answer_and_is_cached(river):
    program = """
import ctypes, json
from numba import types
from alephtx.core import kernel
from river.caller import total
heard = []
kernel.listeners.append(heard.append)
address, owner = kernel.native_address(total, types.int64(types.int64))
value = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)(5)
print(json.dumps({"value": value, "compiled": kernel.compiled, "heard": heard}))
"""
    cold, warm = ask(river, program), ask(river, program)
    assert (cold["value"], warm["value"]) == (30, 30)
    assert "caller.total" in cold["compiled"]
    assert cold["heard"] == cold["compiled"]
    assert warm["compiled"] == []


def test_native_address_divides_by_zero_without_an_exception():
    address, owner = door.native_address(divide, numba.types.int64(numba.types.int64))
    import ctypes

    assert isinstance(ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)(0), int)
    assert owner.address == address


def divide(x):
    return 7 // x


def test_kernel_typed_at_a_prompt_is_compiled_but_not_kept():
    space = {"kernel": door.kernel, "native_address": door.native_address}
    exec("def f(x):\n    return x + 1\nk = kernel(f)\n", space)
    assert space["k"](1) == 2
    address, _ = door.native_address(space["f"], numba.types.int64(numba.types.int64))
    assert address


def test_without_the_jit_a_kernel_is_the_function_itself(river):
    program = ASK.replace("kernel.compiled}", "kernel.compiled, 'kind': type(total).__name__}")
    answer = ask(river, program, NUMBA_DISABLE_JIT="1")
    assert (answer["value"], answer["compiled"], answer["kind"]) == ([30, 2], [], "function")


def test_chosen_cache_that_cannot_be_trusted_is_refused_with_a_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALEPHTX_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="ALEPHTX_CACHE"):
        door.cache_root()
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("ALEPHTX_CACHE", str(shared))
    with pytest.raises(ConfigError, match="others may write it"):
        door.cache_root()


def test_cache_falls_back_to_a_private_temporary_directory(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("ALEPHTX_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(door.tempfile, "gettempdir", lambda: str(tmp_path))
    spare = door.cache_root()
    assert spare == tmp_path / f"alephtx-kernels-{os.getuid()}"
    assert spare.stat().st_mode & 0o777 == 0o700
    spare.chmod(0o777)
    with pytest.raises(ConfigError, match="no directory for compiled kernels"):
        door.cache_root()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "good"))
    assert door.cache_root() == tmp_path / "good" / "alephtx" / "kernels"


def test_imports_found_by_pattern_are_those_the_parser_finds():
    """The digest is only as good as the list of imports; this holds it against Python's parser."""
    for path in sorted(PACKAGE.rglob("*.py")):
        expected = {file for file in parsed_imports(path) if file.is_file()}
        assert set(sources.imports_of(path)) >= expected, path


def parsed_imports(path):
    root = PACKAGE.parent
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.startswith("alephtx"):
                base = root.joinpath(*name.split("."))
                yield base.with_suffix(".py")
                yield base / "__init__.py"


def test_digest_of_a_file_changes_with_what_it_imports_and_only_then(river):
    digests = {name: door.source_digest(river / name) for name in FILES}
    (river / "constants.py").write_text("FACTOR = 7\n")
    for name in FILES:
        door.forget_sources(river / name)
    changed = {name for name in FILES if door.source_digest(river / name) != digests[name]}
    assert changed == {"constants.py", "callee.py", "caller.py"}


def test_forgetting_a_user_file_keeps_the_digest_of_what_stays_imported(river):
    before = door.source_digest(river / "caller.py")
    (river / "constants.py").write_text("FACTOR = 9\n")
    door.forget_sources(river / "caller.py")
    assert door.source_digest(river / "caller.py") == before


def test_forgetting_everything_reads_anew(river):
    first = door.source_digest(river / "other.py")
    (river / "other.py").write_text("x = 1\n")
    door.forget_sources()
    assert door.source_digest(river / "other.py") != first


def test_compile_lock_is_reentrant_and_released(tmp_path):
    from alephtx.core import compiling

    with compiling._locked(tmp_path), compiling._locked(tmp_path):
        assert tmp_path in compiling._held
    assert tmp_path not in compiling._held


def test_kernel_on_rows_equals_its_python_self():
    from alephtx.core.records import INSTRUMENT
    from alephtx.core.units import round_price

    row = np.zeros(1, INSTRUMENT)
    row[0]["tick_step"], row[0]["tick_rule"] = 7, 1
    for price in range(-50, 50):
        for side in (1, -1):
            assert round_price(row, price, side) == plain_round(row, price, side)


def plain_round(row, price, side):
    step = int(row[0]["tick_step"])
    return price // step * step if side > 0 else -(-price // step * step)
