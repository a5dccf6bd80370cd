"""The one door to Numba: `@kernel`, with a cache that cannot go stale and is filled once.

Numba's own cache looks only at the file of the function itself: after an edit of a callee or of a
constant in another file it returned wrong results (measured). So each file that holds kernels gets
a cache directory named by a digest of its own text and of every file it imports, directly or not,
from its own package or from ours, below a directory named by Python, numba, llvmlite and CPU. An
edit recompiles what depends on it and nothing else; a user's strategy file is treated the same way.
Compilation holds a file lock per directory, so n cold processes compile once and the others load. A
damaged or full cache costs a compilation, never a start.

Numba is imported when something must be compiled, or is called from Python in a process that did
not ask for stored code (`prefer_stored`): its import is longer than most backtests
(docs/decisions/0026).

With NUMBA_DISABLE_JIT=1 kernels are plain Python, for coverage and debugging.
"""

import functools
import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, Self, TypeAlias, TypeVar, cast

import llvmlite
from llvmlite import binding as llvm

from alephtx.core import stored
from alephtx.core.errors import ConfigError
from alephtx.core.sources import PACKAGE, forget_sources, source_digest

__all__ = ["PACKAGE", "forget_sources", "source_digest"]

F = TypeVar("F", bound=Callable[..., Any])

Int: TypeAlias = Any
"""An integer of a kernel: an int, or the NumPy scalar that a row's field gives un-jitted. mypy
cannot follow arithmetic that mixes the two, so it is Any by name."""

compiled: list[str] = []
"""Names of the functions this process had to compile, in order: empty on a warm start."""

listeners: list[Callable[[str], None]] = []
"""Called with a function's name when it must be compiled, before the work starts."""


def _jit() -> bool:
    """Tell what Numba will say: whether it compiles."""
    said = os.environ.get("NUMBA_DISABLE_JIT", "0").strip()
    if said.lstrip("-").isdigit() and not Path(".numba_config.yaml").exists():
        return int(said) == 0
    import numba

    return not numba.config.DISABLE_JIT


JIT = _jit()


def cache_root() -> Path:
    """Return the directory of compiled kernels: ALEPHTX_CACHE, else the user's cache directory.

    Where the latter cannot be written, a private directory under the system's temporary one.
    Machine code is loaded from here, so a directory that others own or may write is refused.
    """
    if chosen := os.environ.get("ALEPHTX_CACHE"):
        root = Path(chosen).expanduser().absolute()
        if not _private(root):
            raise ConfigError(
                f"ALEPHTX_CACHE={chosen}: the directory cannot be written, or others may write it",
                remedy="name a directory of your own, or unset it",
            )
        return root
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    root = Path(base) / "alephtx" / "kernels"
    if _private(root):
        return root
    spare = Path(tempfile.gettempdir()) / f"alephtx-kernels-{os.getuid()}"
    if _private(spare):
        return spare
    raise ConfigError(
        f"no directory for compiled kernels: neither {root} nor {spare} can be written",
        remedy="set ALEPHTX_CACHE to a directory of your own",
    )


def _private(directory: Path) -> bool:
    """Make a directory if need be; say whether we may write it and nobody else may."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
    except OSError:
        return False
    ours = status.st_uid == os.getuid() and not status.st_mode & 0o022
    return ours and os.access(directory, os.W_OK | os.X_OK)


@cache
def toolchain_digest() -> str:
    """Digest of everything but sources that decides the machine code."""
    spec = importlib.util.find_spec("numba")  # finds it, does not run it
    version = Path(spec.origin).with_name("_version.py") if spec and spec.origin else None
    parts = (
        sys.version,
        version.read_text() if version else "",
        llvmlite.__version__,
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def cache_directory(path: Path, digest: str = "") -> Path:
    """Return where the kernels of one source file are kept. digest: of its text, if known."""
    return cache_root() / toolchain_digest() / f"{path.stem}-{digest or source_digest(path)}"


@cache
def _file(name: str) -> Path | None:
    """Return the real path of a code's file, None where there is none."""
    path = os.path.realpath(name)
    return Path(path) if os.path.isfile(path) else None  # noqa: PTH113 - hundreds at a start


def _source_of(function: Callable[..., Any]) -> Path | None:
    return _file(function.__code__.co_filename)


# Without reference counts: a kernel allocates nothing, and counting the arrays of a namedtuple at
# every call was most of the order table's time (measured: 4.2 us an order with, 0.6 without).
# Nothing enters a kernel as a C callback; strategies are, through `address_of`.
# forceinline is said of every kernel: left unsaid, Numba hands it on from whichever caller is
# compiled first, and what a cache holds would depend on the order in which it was filled.
_OPTIONS: dict[str, bool | str] = {
    "nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True,
    "forceinline": False,
}  # fmt: skip


def kernel(function: F) -> F:
    """Compile a function of integers and arrays for the hot path.

    nogil, no bounds checks, integer overflow wraps, division by zero follows NumPy. Kernels return
    codes and never raise. They allocate nothing: arrays come from the caller, views of them are
    free. Callees must be kernels, imported at the top of the file. An entry from Python is
    compiled when Python calls it first; what only kernels call has none.
    """
    return cast(F, _Kernel(function, _OPTIONS)) if JIT else function


def inline_kernel(function: F) -> F:
    """Compile a small function that is always expanded into its callers.

    For helpers that take a View, a table or a gate: a namedtuple of arrays is some hundred words
    that a call pushes and its callee reads back, as many of them as it reads (docs/decisions/0029).
    Each caller grows by it, so not for what is long and has many callers.
    """
    return cast(F, _Kernel(function, {**_OPTIONS, "forceinline": True})) if JIT else function


def kernel_around(function: F, **callees: Callable[..., Any]) -> F:
    """Compile a plain function for the hot path with other functions, expanded, as these names.

    For a loop around what a user wrote, where a call by address would cost as much as the work. Its
    machine code is kept under a digest of all their texts and of which functions these are; around
    a closure, whose values no text tells, it is not kept. Compiled anew for other callees, so not
    for what is large.
    """
    plain = {name: getattr(one, "py_func", one) for name, one in callees.items()}
    inner: dict[str, Any] = {name: inline_kernel(one) for name, one in plain.items()}
    space = {**function.__globals__, **inner}
    made = FunctionType(function.__code__, space, function.__name__, function.__defaults__)
    functools.update_wrapper(made, function)
    return cast(F, _Kernel(made, _OPTIONS, tuple(inner.values())) if JIT else made)


_making = threading.RLock()


class _Kernel(functools.partial):  # type: ignore[type-arg]
    """A function that is compiled when it is needed; then a call is Numba's own, 30 ns later."""

    py_func: Callable[..., Any]
    options: dict[str, bool | str]
    _path: Path | None
    _digest: str
    _dispatcher: Any
    _known: dict[Any, Any]

    def __new__(
        cls,
        function: Callable[..., Any],
        options: dict[str, bool | str],
        given: "tuple[_Kernel, ...]" = (),
    ) -> Self:
        self = super().__new__(cls, function)
        functools.update_wrapper(self, function)
        self.py_func, self.options, self._dispatcher = function, options, None
        self._known = {}  # entries that were loaded, by the key of their arguments
        # Of the text as it is now: when the kernel is compiled the file may say something else.
        self._path = _source_of(function)
        self._digest = source_digest(self._path) if self._path else ""
        if given:  # kernels that its own text does not import
            keepable = all(one.directory and not one.py_func.__closure__ for one in given)
            self._path = self._path if keepable else None
            told = "\0".join([self._digest, *(one.told for one in given)])
            self._digest = hashlib.sha256(told.encode()).hexdigest()[:16]
        self._becomes(self._first)
        return self

    @property
    def directory(self) -> Path | None:
        """Return where the kernel is kept, None for one that was typed at a prompt."""
        return cache_directory(self._path, self._digest) if self._path else None

    @property
    def told(self) -> str:
        """Return what tells the kernel from all others: its texts, and which of them it is."""
        code = self.py_func.__code__
        return f"{self._digest} {code.co_qualname} {code.co_firstlineno}"

    def _becomes(self, function: Callable[..., Any]) -> None:
        self.__setstate__((function, (), {}, self.__dict__))

    def _first(self, *arguments: Any, **named: Any) -> Any:
        if _prefer_stored and not named:
            key = stored.key_of(arguments)
            found = self._known.get(key)
            if found is None:
                found = stored_entry(self, arguments)
                if found is not None and key is not None:
                    self._known[key] = found
            if found is not None:
                return found(*arguments)
        return self.dispatcher(*arguments, **named)

    @property
    def dispatcher(self) -> Any:
        """Return Numba's dispatcher of this function, which Python calls from now on."""
        if self._dispatcher is None:
            from alephtx.core.compiling import make_dispatcher

            with _making:
                if self._dispatcher is None:
                    made = make_dispatcher(self.py_func, self.options, self.directory)
                    self._becomes(made)
                    self._dispatcher = made
        return self._dispatcher

    @property
    def _numba_type_(self) -> Any:
        """What Numba asks of a name in a function that it compiles."""
        return self.dispatcher._numba_type_

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.dispatcher, name)

    def __reduce__(self) -> str:
        return self.py_func.__qualname__


class Intrinsic:
    """A function that is not compiled but written down for LLVM; made when Numba asks for it.

    home: returns the module where `name` is Numba's intrinsic.
    """

    def __init__(self, home: Callable[[], Any], name: str) -> None:
        self._home, self._name = home, name

    @property
    def _numba_type_(self) -> Any:
        from alephtx.core.compiling import type_of

        return type_of(getattr(self._home(), self._name))


# -- what is entered from Python or by address ---------------------------------------------------

_prefer_stored = False
_entries: dict[tuple[Any, str], Any] = {}
_native: dict[tuple[Any, Any], tuple[int, Any]] = {}  # function, signature -> address, owner


def prefer_stored() -> None:
    """Let this process load machine code without Numba, where an earlier one left it.

    For processes that begin, compute and end: a start without Numba is a second shorter, a call
    from Python some microseconds longer.
    """
    global _prefer_stored  # noqa: PLW0603 - of the process, once
    _prefer_stored = JIT and stored.usable()


def stored_entry(function: Any, arguments: tuple[Any, ...]) -> Any:
    """Return a kernel's entry for such arguments as an earlier process left it, or None."""
    shape = stored.shape_of_all(arguments)
    if shape is None or function.directory is None:
        return None
    if (function, shape) not in _entries:
        path = stored.place(function.directory, function.py_func, "python", shape)
        _entries[function, shape] = stored.callable_at(path, function.py_func)
    return _entries[function, shape]


def entry(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """Compile a kernel for the types of these arguments and return its bare entry.

    The dispatcher looks up the types of its arguments anew at every call, which for namedtuples of
    arrays costs 3-4 us (measured; the entry 1.2 us). The caller vows to pass the same types ever
    after - dtype, dimensions, contiguity: nothing checks them. Keep the kernel alive.
    """
    if not JIT:
        return function
    if _prefer_stored and (found := stored_entry(function, arguments)) is not None:
        return cast(Callable[..., Any], found)
    from alephtx.core.compiling import compiled_entry

    return compiled_entry(function, arguments)


def address_of(function: Callable[..., Any], *examples: Any) -> tuple[int, Any]:
    """Compile a plain function of such arguments, which returns an int; see `native_address`."""
    function = getattr(function, "py_func", function)
    shape = stored.shape_of_all(examples)
    path = _source_of(function)
    if _prefer_stored and shape is not None and path is not None:
        if (function, shape) not in _native:
            place = stored.place(cache_directory(path), function, "address", shape)
            if (found := stored.address_at(place, function.__globals__)) is not None:
                _native[function, shape] = found
        if (function, shape) in _native:
            return _native[function, shape]
    from alephtx.core.compiling import signature_of

    return native_address(function, signature_of(examples))


def addresses_of(
    functions: list[Callable[..., Any]], examples: list[tuple[Any, ...]]
) -> list[tuple[int, Any]]:
    """Compile plain functions, each of such arguments, together; see `native_address`.

    Those of one file become one module: what they share is optimised and emitted once. Where one
    does not compile, its name is in the error's notes.
    """
    functions = [getattr(function, "py_func", function) for function in functions]
    shapes = [stored.shape_of_all(example) for example in examples]
    keys = list(zip(functions, shapes, strict=True))
    if None not in shapes and stored.usable() and not all(key in _native for key in keys):
        _native.update(zip(keys, _together(functions, examples, shapes), strict=False))
    found = []
    for key, function, example in zip(keys, functions, examples, strict=True):
        with naming(function):
            found.append(_native.get(key) or address_of(function, *example))
    return found


@contextmanager
def naming(function: Callable[..., Any]) -> Iterator[None]:
    """Note in an error which function does not compile."""
    try:
        yield
    except Exception as error:
        error.add_note(function.__name__)
        raise


def _together(
    functions: list[Callable[..., Any]], examples: list[tuple[Any, ...]], shapes: list[str | None]
) -> list[tuple[int, Any]]:
    """Return addresses and owners of functions of one file, nothing where they are not of one."""
    homes = {_source_of(function) for function in functions}
    home = homes.pop() if len(homes) == 1 else None
    if home is None:
        return []
    directory = cache_directory(home)
    if _prefer_stored:
        found = stored.addresses_at(directory, functions, shapes)
        if found is not None:
            return found
    from alephtx.core.compiling import compile_together

    return compile_together(functions, examples, directory)


def native_address(function: Callable[..., Any], signature: Any) -> tuple[int, Any]:
    """Compile a plain function with one signature and return its address and its owner.

    The owner must be kept alive as long as the address is in use; the process keeps it. The address
    never leaves the process. Used for strategies: the engine enters them by address, so that the
    engine's own kernels stay cached whatever strategy runs.
    """
    from alephtx.core.compiling import compile_native, normal

    function = getattr(function, "py_func", function)
    signature = normal(signature)
    if (function, signature) not in _native:
        path = _source_of(function)
        directory = None if path is None else cache_directory(path)
        _native[function, signature] = compile_native(function, signature, directory)
    return _native[function, signature]
