"""Numba's flags, compared quickly: the same answers as from listing every option."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("numba")

from hypothesis import given
from hypothesis import strategies as st
from numba.core.compiler import Flags
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
