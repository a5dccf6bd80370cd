"""The one door to Numba: `@kernel`, a cache that cannot go stale, and compile-once across processes.

Numba's own cache looks only at the file of the function itself: after an edit of a callee or of a
constant in another file it returned wrong results (measured). So each file that holds kernels gets a
cache directory named by a digest of its own text and of every file of ours it imports, directly or
not, below a directory named by Python, numba, llvmlite and CPU. An edit recompiles what depends on
it and nothing else; a user's strategy file is treated the same way. Compilation holds a file lock
per directory, so n cold processes compile once and the others load.

With NUMBA_DISABLE_JIT=1 kernels are plain Python, for coverage and debugging.
"""

import fcntl
import hashlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import llvmlite
import numba
from llvmlite import binding as llvm

JIT = not numba.config.DISABLE_JIT
PACKAGE = Path(__file__).resolve().parent.parent

F = TypeVar("F", bound=Callable[..., Any])

Int: TypeAlias = Any
"""An integer of a kernel: an int, or the NumPy scalar that a row's field gives un-jitted. mypy cannot
follow arithmetic that mixes the two, so it is Any by name."""

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<source>alephtx[\w.]*)[ \t]+import[ \t]+(?P<names>\([^)]*\)|[^\n#]*)"
    r"|import[ \t]+(?P<module>alephtx[\w.]*))",
    re.MULTILINE,
)

compiled: list[str] = []
"""Names of the functions this process had to compile, in order: empty on a warm start."""

listeners: list[Callable[[str], None]] = []
"""Called with a function's name when it must be compiled, before the work starts."""


def cache_root() -> Path:
    """Return the directory of compiled kernels: ALEPHTX_CACHE, else the user's cache directory."""
    if chosen := os.environ.get("ALEPHTX_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "alephtx" / "kernels"


@cache
def toolchain_digest() -> str:
    """Digest of everything but sources that decides the machine code."""
    parts = (
        sys.version,
        numba.__version__,
        llvmlite.__version__,
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


@cache
def _direct_imports(path: Path) -> tuple[bytes, tuple[Path, ...]]:
    text = path.read_bytes()
    found: set[Path] = set()
    for match in _IMPORT.finditer(text.decode()):
        source = match["source"] or match["module"]
        names = re.findall(r"\w+", match["names"] or "")
        for dotted in (source, *(f"{source}.{name}" for name in names)):
            target = PACKAGE.joinpath(*dotted.split(".")[1:])
            if target.with_suffix(".py").is_file():
                found.add(target.with_suffix(".py"))
    return text, tuple(sorted(found))


@cache
def source_digest(path: Path) -> str:
    """Digest of a file and of every file of this package it imports, directly or not."""
    seen: dict[Path, bytes] = {}
    todo = [path]
    while todo:
        current = todo.pop()
        if current not in seen:
            text, imports = _direct_imports(current)
            seen[current] = text
            todo.extend(imports)
    digest = hashlib.sha256()
    for current in sorted(seen):
        digest.update(hashlib.sha256(seen[current]).digest())
    return digest.hexdigest()[:16]


def cache_directory(path: Path) -> Path:
    """Return where the kernels of one source file are kept."""
    return cache_root() / toolchain_digest() / f"{path.stem}-{source_digest(path)}"


def forget_sources() -> None:
    """Read sources anew on the next decoration; for hot swap and tests."""
    _direct_imports.cache_clear()
    source_digest.cache_clear()


_held: dict[Path, tuple[int, int]] = {}  # directory -> (file descriptor, depth)
_held_guard = threading.RLock()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory's compile lock; re-entrant, because a kernel compiles its callees."""
    with _held_guard:
        descriptor, depth = _held.get(directory, (-1, 0))
        if depth == 0:
            directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        _held[directory] = (descriptor, depth + 1)
        try:
            yield
        finally:
            descriptor, depth = _held[directory]
            if depth == 1:
                os.close(descriptor)
                del _held[directory]
            else:
                _held[directory] = (descriptor, depth - 1)


@contextmanager
def _numba_cache(directory: Path) -> Iterator[None]:
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(directory)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def _source_of(function: Callable[..., Any]) -> Path | None:
    path = Path(function.__code__.co_filename)
    return path.resolve() if path.is_file() else None


def _announce(name: str) -> None:
    compiled.append(name)
    for listener in listeners:
        listener(name)


def _compile_once(dispatcher: Any, directory: Path, name: str) -> None:
    """Make the dispatcher compile under the directory's lock, and say so when it must."""
    original = dispatcher.compile
    load = dispatcher._cache.load_overload  # noqa: SLF001 - no public hook exists

    def compile_locked(signature: Any) -> Any:
        with _locked(directory):
            return original(signature)

    def load_or_announce(signature: Any, context: Any) -> Any:
        found = load(signature, context)
        if found is None:
            _announce(name)
        return found

    dispatcher.compile = compile_locked
    dispatcher._cache.load_overload = load_or_announce  # noqa: SLF001


def kernel(function: F) -> F:
    """Compile a function of integers and arrays for the hot path.

    nogil, no bounds checks, integer overflow wraps, division by zero follows NumPy. Kernels return
    codes and never raise. Callees must be kernels, imported at the top of the file.
    """
    if not JIT:
        return function
    path = _source_of(function)
    if path is None:  # typed at a prompt: nothing to digest, so nothing to keep
        return numba.njit(nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]
    directory = cache_directory(path)
    with _numba_cache(directory):
        dispatcher = numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    _compile_once(dispatcher, directory, f"{path.stem}.{function.__qualname__}")
    return dispatcher  # type: ignore[no-any-return]


def native_address(function: Callable[..., Any], signature: Any) -> tuple[int, Any]:
    """Compile a plain function with one signature and return its address and its owner.

    The owner must be kept alive as long as the address is in use. The address never leaves the
    process. Used for strategies: the engine enters them by address, so that the engine's own kernels
    stay cached whatever strategy runs.
    """
    function = getattr(function, "py_func", function)
    path = _source_of(function)
    if path is None:
        owner = numba.cfunc(signature, nopython=True)(function)
        return int(owner.address), owner
    directory = cache_directory(path)
    with _numba_cache(directory), _locked(directory):
        owner = numba.cfunc(signature, nopython=True, cache=True)(function)
        if owner.cache_hits == 0:
            _announce(f"{path.stem}.{function.__qualname__}")
    return int(owner.address), owner
