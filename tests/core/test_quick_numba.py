"""What Numba is spared says what Numba says: each is held against its own."""

import json
import operator
import subprocess
import sys

import pytest

pytest.importorskip("numba")

from hypothesis import given
from hypothesis import strategies as st
from llvmlite.binding import ffi
from numba import float64, int32, int64, types, uint64
from numba.core import base, event, ir
from numba.core.compiler import Flags, run_frontend
from numba.core.errors import TypingError
from numba.core.registry import cpu_target
from numba.core.targetconfig import TargetConfig

from alephtx.core import quick_numba

BOOLEANS = ("enable_pyobject", "no_cpython_wrapper", "nrt", "forceinline", "no_cfunc_wrapper")


def listed(flags):
    """What Numba's own `values` says."""
    return {name: getattr(flags, name) for name in flags.options}


@st.composite
def some_flags(draw):
    flags = Flags()
    for name in draw(st.sets(st.sampled_from(BOOLEANS))):
        setattr(flags, name, draw(st.booleans()))
    return flags


@given(some_flags(), some_flags())
def test_flags_compare_as_their_listed_options_do(one, other):
    quick_numba.be_quick()
    assert one.values() == listed(one)
    assert (one == other) == (listed(one) == listed(other))
    if one == other:
        assert hash(one) == hash(other)
    assert hash(one) == hash(tuple(sorted(listed(one))))


def test_a_default_that_is_set_equals_one_that_is_not():
    quick_numba.be_quick()
    one, other = Flags(), Flags()
    one.forceinline = Flags.options["forceinline"].default
    assert one == other
    assert one != "flags"
    assert TargetConfig.__eq__ is quick_numba._equal


LEARN = """
import json, sys
import alephtx.core.compiling
from numba.np import arraymath, linalg
told = ["scipy.linalg" in sys.modules, arraymath._HAVE_BLAS, linalg.ensure_blas.__module__]
import numba, numpy
told.append(numba.njit(lambda a: numpy.dot(a, a))(numpy.ones(3)))
print(json.dumps([*told, "scipy.linalg" in sys.modules]))
"""


def test_linear_algebra_is_imported_by_a_function_that_needs_it_and_not_before():
    done = subprocess.run([sys.executable, "-c", LEARN], capture_output=True, check=True)
    assert json.loads(done.stdout) == [False, True, "numba.np.linalg", 3.0, True]


# -- operators -----------------------------------------------------------------------------------

KINDS = (
    int64, int32, uint64, float64, types.boolean, types.literal(7), types.literal(-1),
    int64[::1], int64[:, ::1], float64[:], types.UniTuple(int64, 2), types.none,
)  # fmt: skip
OPERATORS = (
    operator.add, operator.sub, operator.mul, operator.floordiv, operator.truediv, operator.lt,
    operator.eq, operator.and_, operator.rshift, operator.getitem, operator.iadd, operator.neg,
    operator.not_, operator.is_,
)  # fmt: skip


def answer(ask, function, arguments):
    """The signature that is found, or which error there is: some are mistakes of Numba's."""
    context = cpu_target.typing_context
    context.refresh()
    try:
        return ask(context.resolve_value_type(function), context, arguments, {})
    except Exception as error:
        return type(error)


@given(st.sampled_from(OPERATORS), st.lists(st.sampled_from(KINDS), min_size=1, max_size=2))
def test_a_remembered_operator_means_what_numba_finds_each_time(function, arguments):
    arguments = tuple(arguments)
    said = answer(quick_numba._ask_meaning, function, arguments)
    for _ in range(2):
        assert answer(quick_numba._meaning, function, arguments) == said


def test_an_operator_of_what_is_not_fixed_is_asked_anew():
    assert answer(quick_numba._meaning, operator.getitem, (types.ListType(int64), int64))
    assert answer(quick_numba._meaning, operator.add, (types.unicode_type, int64)) is TypingError
    asked = {type(one) for _, arguments, _ in quick_numba._meanings for one in arguments}
    assert not asked & {types.ListType, types.UnicodeType}


# -- registries ----------------------------------------------------------------------------------

LATE = """
import alephtx.core.compiling
import numba
from numba.extending import overload

def one(x):
    return x + 1

numba.njit(lambda x: x)(1)

@overload(one)
def _(x):
    return lambda x: x + 1

@numba.njit
def calls(x):
    return one(x)

print(calls(41))
"""


def test_what_is_registered_after_the_first_compilation_is_found():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, check=True)
    assert done.stdout.strip() == b"42"


# -- variables -----------------------------------------------------------------------------------


def as_numba_lists(value):
    """Numba's own, in its words."""
    if isinstance(value, ir.Var):
        return [value]
    if isinstance(value, ir.Expr):
        return as_numba_lists(value._kws)
    if isinstance(value, ir.Inst):
        return value.list_vars() if type(value) is not ir.Stmt else as_numba_lists(value.__dict__)
    if isinstance(value, (list, tuple)):
        return [one for each in value for one in as_numba_lists(each)]
    if isinstance(value, dict):
        return [one for each in value.values() for one in as_numba_lists(each)]
    return []


def some_code(rows, n):
    """Of every kind of instruction that a kernel has."""
    total, pair = 0, (n, rows)
    for k in range(n):
        if rows[k] > k and not (n == 3 or k == n):
            rows[k] = total = total + pair[0] * -k
        else:
            rows[k : n + 1, ...][0] += max(total, abs(k), key=n)
    del pair
    return [total, {n: total}, f"{total}"]


def test_the_variables_of_instructions_are_those_that_numba_lists():
    count = 0
    for block in run_frontend(some_code).blocks.values():
        for statement in block.body:
            found = statement.list_vars()
            assert found == as_numba_lists(statement.__dict__), statement
            count += len(found)
    assert count > 50


# -- locks and signatures ------------------------------------------------------------------------


def test_nobody_times_the_locks():
    with event.install_timer("numba:llvm_lock", None) as timer:
        event.start_event("numba:llvm_lock")
        event.end_event("numba:llvm_lock")
    assert not timer.done
    assert ffi.lib._lock._cblist == []


def test_whether_a_function_takes_a_place_is_read_from_its_signature():
    for function in (lambda loc: loc, lambda a, *, loc=1: loc, lambda a: a, lambda a, **more: a):
        for _ in range(2):
            assert base._has_loc(function) == quick_numba._has_loc(function)
