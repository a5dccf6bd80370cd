"""Stored machine code: the same answers without the compiler, never stale, never fatal."""

import json
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

from alephtx.core import kernel as door
from alephtx.core import stored
from alephtx.core.records import EVENT, INTENT, TICK, UPDATE

pytestmark = pytest.mark.skipif(not door.JIT, reason="nothing is compiled")

CALLEE = (
    "from alephtx.core.kernel import kernel\n\nFACTOR = 3\n\n\n"
    "@kernel\ndef scaled(x):\n    return x * FACTOR\n"
)
CALLER = (
    "from alephtx.core.kernel import kernel\nfrom lake.callee import scaled\n\n\n"
    "@kernel\ndef total(row):\n    s = 0\n    for i in range(row.shape[0]):\n"
    "        s += scaled(row[i])\n    return s\n\n\n"
    "def plain(row, by):\n    return total(row) // by\n"
)
ASK = """
import ctypes, json, sys
import numpy as np
from alephtx.core import kernel
kernel.prefer_stored()
from lake.caller import plain, total
row = np.arange(5)
value = [total(row), total(row[::2]), kernel.entry(total, row)(row)]
address, owner = kernel.address_of(plain, 7, 2)
told = {"value": value, "numba": "numba.core" in sys.modules, "compiled": kernel.compiled}
print(json.dumps(told))
"""
ASK = ASK.replace("kernel.address_of(plain, 7, 2)", "kernel.address_of(plain, row, 2)")


@pytest.fixture
def lake(tmp_path):
    """A package of kernels outside ours, with a cold cache of its own."""
    folder = tmp_path / "lake"
    folder.mkdir()
    for name, text in (("__init__", ""), ("callee", CALLEE), ("caller", CALLER)):
        (folder / f"{name}.py").write_text(text)
    return folder


def ask(lake, program=ASK, **environment):
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=lake.parent,
        env={**os.environ, "ALEPHTX_CACHE": str(lake.parent / "cache"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def files(lake):
    return sorted((lake.parent / "cache").rglob("*.code"))


def test_the_second_process_answers_without_numba_and_an_edit_is_seen(lake):
    cold, warm = ask(lake), ask(lake)
    assert cold["value"] == warm["value"] == [30, 18, 30]
    assert (cold["numba"], warm["numba"], warm["compiled"]) == (True, False, [])
    assert len(files(lake)) == 3  # two layouts of a row, one address
    text = (lake / "callee.py").read_text()
    (lake / "callee.py").write_text(text.replace("FACTOR = 3", "FACTOR = 4"))
    assert ask(lake)["value"] == [40, 24, 40]
    (lake / "callee.py").write_text(text)
    back = ask(lake)
    assert (back["value"], back["numba"]) == ([30, 18, 30], False)


def test_damage_and_what_numba_is_told_by_variables_cost_an_import_not_an_answer(lake):
    ask(lake)
    for k, path in enumerate(files(lake)):
        data = bytearray(path.read_bytes())
        data[len(data) * (k + 1) // 5] ^= 1
        path.write_bytes(data[: len(data) - 3 * (k == 2)])
    damaged = ask(lake)
    assert (damaged["value"], damaged["numba"], damaged["compiled"]) == ([30, 18, 30], True, [])
    told = ask(lake, NUMBA_OPT="1")
    assert (told["value"], told["numba"]) == ([30, 18, 30], True)


def test_a_kernel_that_prints_or_raises_is_left_to_numba_or_does_the_same(lake):
    (lake / "callee.py").write_text(
        "from alephtx.core.kernel import kernel\n\n\n@kernel\ndef scaled(x):\n    if x > 1:\n"
        "        raise ValueError('too big')\n    print('scaling', x)\n    return x\n"
    )
    program = """
import json
import numpy as np
from alephtx.core import kernel
kernel.prefer_stored()
from lake.caller import total
try:
    total(np.arange(5))
except ValueError as error:
    print(json.dumps(str(error)))
"""
    assert [ask(lake, program) for _ in range(2)] == ["too big", "too big"]


class Two(NamedTuple):
    left: np.ndarray
    right: np.ndarray


def test_a_shape_says_of_values_what_it_says_of_their_types():
    from numba import typeof

    square = np.zeros((3, 4), np.int32)
    frozen = np.zeros(2)
    frozen.setflags(write=False)
    values = [
        1, -5, 2.5, True, b"bytes", np.int64(7), np.float64(1),
        square, square.T, square[:, ::2], frozen,
        *(np.zeros(2, kind) for kind in (EVENT, INTENT, TICK, UPDATE)),
        np.zeros(2, np.dtype([("a", np.int8), ("b", np.int64, (3,))], align=True)),
        Two(square, frozen), (1, square),
    ]  # fmt: skip
    shapes = [stored.shape_of(value) for value in values]
    assert shapes == [stored.shape_of_type(typeof(value)) for value in values]
    assert None not in shapes
    assert len(set(shapes)) == len(shapes) - 3  # the ints are one, the reals are one
    for one, shape in zip(values, shapes, strict=True):  # the quick key tells the same apart
        for other, its in zip(values, shapes, strict=True):
            if stored.key_of((one,)) == stored.key_of((other,)):
                assert shape == its, (one, other)
    odd = [None, "x", 1 << 63, np.uint64(1), np.datetime64(1, "s"), [1], (1, None)]
    assert [stored.shape_of(value) for value in odd] == [None] * len(odd)
    assert [stored.key_of((value,)) for value in odd] == [None] * len(odd)
    assert [stored.key_of((value,)) for value in (1, -(1 << 63))] == [(int,)] * 2


MANY = """
import json, sys
import numpy as np
from alephtx.core import kernel
kernel.prefer_stored()
from lake.many import first, taken
numbers = np.arange(9, dtype=np.uint8)
value = [first(b"seven", 1), first(b"", 0), first(numbers, 2), first(b"nine", 1)]
value += [taken(1), taken(True), taken(2.5), taken(2), taken(BIG), taken(3)]
print(json.dumps({"value": list(map(float, value)), "numba": "numba.core" in sys.modules}))
"""


def test_a_kernel_is_called_with_every_kind_and_each_time_its_own_code_answers(lake):
    (lake / "many.py").write_text(
        "from alephtx.core.kernel import kernel\n\n\n"
        "@kernel\ndef first(data, k):\n    return data[k] if len(data) > k else -1\n\n\n"
        "@kernel\ndef taken(by):\n    return by\n"
    )
    plain = MANY.replace("BIG", "4")
    cold, warm = ask(lake, plain), ask(lake, plain)
    assert cold["value"] == warm["value"] == [101, -1, 2, 105, 1, 1, 2.5, 2, 4, 3]
    assert (cold["numba"], warm["numba"]) == (True, False)
    big = ask(lake, MANY.replace("BIG", "(1 << 63) + 2048"))
    assert big["value"][-2:] == [float((1 << 63) + 2048), 3], "Numba's, which knows unsigned words"
    assert big["numba"]


LINKAGE = (
    ("x86_64-unknown-linux-gnu", ({"sought"}, {"sought", ""})),
    ("aarch64-unknown-linux-gnu", ({"sought"}, {"sought", ""})),
    ("arm64-apple-macosx", None),
)


def test_what_an_object_needs_is_read_from_it_and_other_formats_are_refused():
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = """
    declare i64 @sought(i64)
    define i64 @found(i64 %x) {
      %y = call i64 @sought(i64 %x)
      ret i64 %y
    }
    """
    for triple, needs in LINKAGE:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        machine = llvm.Target.from_triple(triple).create_target_machine()
        module = llvm.parse_assembly(text)
        module.triple = triple
        assert stored.linkage(machine.emit_object(module)) == needs


PAIR = (
    "from alephtx.core.kernel import kernel\nfrom lake.callee import scaled\n\n\n"
    "@kernel\ndef shared(x):\n    return scaled(x) + 1\n\n\n"
    "def one(x):\n    return shared(x)\n\n\n"
    "def two(x, by):\n    return shared(x) // by\n\n\n"
    "def odd(x):\n    return x.nothing\n"
)
TOGETHER = """
import ctypes, json, sys
from alephtx.core import kernel
if sys.argv[1] == "stored":
    kernel.prefer_stored()
from lake.pair import odd, one, two
from lake.callee import scaled
functions, examples = [one, two], [(7,), (7, 2)]
if sys.argv[1] == "apart":  # not of one file
    functions, examples = [one, two, scaled], [(7,), (7, 2), (7,)]
notes = []
if sys.argv[1] == "odd":
    try:
        kernel.addresses_of([one, odd], [(7,), (7,)])
    except Exception as error:
        notes = [type(error).__name__, *error.__notes__]
found = kernel.addresses_of(functions, examples)
again = kernel.addresses_of(functions, examples)
word = ctypes.c_int64
value = [
    ctypes.CFUNCTYPE(*[word] * (1 + len(example)))(address)(*example)
    for (address, _), example in zip(found, examples)
]
told = {"value": value, "numba": "numba.core" in sys.modules, "compiled": kernel.compiled}
told |= {"notes": notes, "same": [a for a, _ in found] == [a for a, _ in again]}
print(json.dumps(told))
"""


def together(lake, how):
    return ask(lake, TOGETHER.replace("sys.argv[1]", repr(how)))


@pytest.fixture
def pair(lake):
    (lake / "pair.py").write_text(PAIR)
    return lake


def test_functions_of_one_file_are_one_module_and_found_by_every_kind_of_process(pair):
    cold, live, stored_one = (together(pair, how) for how in ("live", "live", "stored"))
    assert cold["value"] == live["value"] == stored_one["value"] == [22, 11]
    assert cold["compiled"] == ["pair.one", "pair.shared", "callee.scaled", "pair.two"]
    assert live["compiled"] == stored_one["compiled"] == []
    assert (live["numba"], stored_one["numba"]) == (True, False)
    assert cold["same"]
    codes = [stored.read(path)[1] for path in files(pair)]
    assert len(codes) == 2
    assert codes[0] == codes[1]
    (pair / "callee.py").write_text(CALLEE.replace("FACTOR = 3", "FACTOR = 5"))
    assert together(pair, "stored")["value"] == [36, 18]


def test_a_lost_or_damaged_half_is_compiled_again(pair):
    together(pair, "live")
    first, second = files(pair)
    first.unlink()
    assert together(pair, "stored")["value"] == [22, 11]
    second.write_bytes(second.read_bytes()[:-1])
    mended = together(pair, "stored")
    assert (mended["value"], mended["numba"]) == ([22, 11], True)


def test_functions_of_two_files_are_compiled_apart(pair):
    assert together(pair, "apart")["value"] == [22, 11, 21]


def test_the_function_that_does_not_compile_is_named(pair):
    told = together(pair, "odd")
    assert told["notes"] == ["TypingError", "odd"]
    assert told["value"] == [22, 11], "the others are as before"


def test_functions_that_print_are_left_to_numba_and_compiled_once(pair):
    text = PAIR.replace("def one(x):\n", "def one(x):\n    print(x, 'seen')\n")
    (pair / "pair.py").write_text(text)
    cold, live, stored_one = (together(pair, how) for how in ("live", "live", "stored"))
    assert cold["value"] == live["value"] == stored_one["value"] == [22, 11]
    assert live["compiled"] == stored_one["compiled"] == []
