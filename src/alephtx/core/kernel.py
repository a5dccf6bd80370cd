"""The one door to Numba: `@kernel`, with a cache that cannot go stale and is filled once.

Numba's own cache looks only at the file of the function itself: after an edit of a callee or of a
constant in another file it returned wrong results (measured). So each file that holds kernels gets
a cache directory named by a digest of its own text and of every file it imports, directly or not,
from its own package or from ours, below a directory named by Python, numba, llvmlite and CPU. An
edit recompiles what depends on it and nothing else; a user's strategy file is treated the same way.
Compilation holds a file lock per directory, so n cold processes compile once and the others load. A
damaged or full cache costs a compilation, never a start.

With NUMBA_DISABLE_JIT=1 kernels are plain Python, for coverage and debugging.
"""

import fcntl
import hashlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import llvmlite
import numba
from llvmlite import binding as llvm
from numba.core import sigutils
from numba.core.ccallback import CFunc

from alephtx.core.callee import bind_environments, callee
from alephtx.core.errors import ConfigError
from alephtx.core.log import logger

log = logger("kernel")

JIT = not numba.config.DISABLE_JIT
PACKAGE = Path(__file__).resolve().parent.parent

F = TypeVar("F", bound=Callable[..., Any])

Int: TypeAlias = Any
"""An integer of a kernel: an int, or the NumPy scalar that a row's field gives un-jitted. mypy
cannot follow arithmetic that mixes the two, so it is Any by name."""

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<dots>\.*)(?P<source>[\w.]*)[ \t]+import[ \t]+"
    r"(?P<names>\([^)]*\)|[^\n#]*)|import[ \t]+(?P<modules>[^\n#]+))",
    re.MULTILINE,
)

compiled: list[str] = []
"""Names of the functions this process had to compile, in order: empty on a warm start."""

listeners: list[Callable[[str], None]] = []
"""Called with a function's name when it must be compiled, before the work starts."""


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
    parts = (
        sys.version,
        numba.__version__,
        llvmlite.__version__,
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


_sources: dict[Path, tuple[bytes, tuple[Path, ...]]] = {}  # file -> text, files it imports


def _source(path: Path) -> tuple[bytes, tuple[Path, ...]]:
    if path not in _sources:
        text = path.read_bytes()
        found: set[Path] = set()
        for match in _IMPORT.finditer(text.decode("utf-8", "replace")):
            found.update(_files_of(match, path))
        _sources[path] = text, tuple(sorted(found))
    return _sources[path]


def _files_of(match: re.Match[str], path: Path) -> Iterator[Path]:
    """Yield the files that one import statement of a file reads, as far as they are ours or its."""
    roots = {_root(path), PACKAGE.parent}
    if match["modules"] is not None:
        dotted = re.findall(r"[\w.]+", match["modules"])
    else:
        names = re.findall(r"\w+", match["names"])
        source = match["source"]
        dotted = [source, *(f"{source}.{name}".strip(".") for name in names)]
        if match["dots"]:
            roots = {path.parents[len(match["dots"]) - 1]}
    for root in roots:
        for name in dotted:
            target = root.joinpath(*name.split("."))
            for file in (target.with_suffix(".py"), target / "__init__.py"):
                if file.is_file():
                    yield file


def _root(path: Path) -> Path:
    """Return the directory that a file's package is imported from."""
    folder = path.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


@cache
def source_digest(path: Path) -> str:
    """Digest of a file and of every file it imports, directly or not, from its package or ours."""
    seen: dict[Path, bytes] = {}
    todo = [path]
    while todo:
        current = todo.pop()
        if current not in seen:
            text, imports = _source(current)
            seen[current] = text
            todo.extend(imports)
    digest = hashlib.sha256()
    for current in sorted(seen):
        digest.update(hashlib.sha256(seen[current]).digest())
    return digest.hexdigest()[:16]


def cache_directory(path: Path) -> Path:
    """Return where the kernels of one source file are kept."""
    return cache_root() / toolchain_digest() / f"{path.stem}-{source_digest(path)}"


def forget_sources(path: Path | None = None) -> None:
    """Read one file's source anew on the next decoration (None: all); for hot swap and tests.

    Only the file that is run again may be forgotten: a module that stays imported must keep the
    digest of the text it was imported from, or the cache would marry old code to new text.
    """
    if path is None:
        _sources.clear()
    else:
        _sources.pop(path, None)
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


def _keep_whole(kept: Any, name: str) -> None:
    """Make a function's cache survive damage and lack of space, and say when it has to compile."""
    load, save = kept.load_overload, kept.save_overload

    def load_or_announce(signature: Any, context: Any) -> Any:
        try:
            found = load(signature, context)
        except Exception as error:  # noqa: BLE001 - unpickling damaged files raises anything
            log.warning("kernel_cache_damaged", kernel=name, error=error)
            kept.flush()
            found = None
        if found is None:
            _announce(name)
        return found

    def save_or_warn(signature: Any, result: Any) -> None:
        try:
            save(signature, result)
        except OSError as error:
            log.every(60).warning("kernel_not_cached", kernel=name, error=error)

    kept.load_overload, kept.save_overload = load_or_announce, save_or_warn


def _widened(kind: Any) -> Any:
    """Return int64 for every narrower int and every constant, else the type itself.

    Numba compiles a function anew for each constant and each width it is called with: a rounding
    mode named at the call made fourteen versions of one multiplication (measured: a third of the
    cold start). Callers widen their arguments instead, which costs nothing.
    """
    plain = numba.types.unliteral(kind)
    if isinstance(plain, numba.types.Integer) and plain.bitwidth < 64:
        return numba.types.int64
    return plain


def _compile_once(dispatcher: Any, directory: Path, name: str) -> None:
    """Make the dispatcher compile under the directory's lock, and once for every kind of int."""
    original = dispatcher.compile

    def compile_locked(signature: Any) -> Any:
        arguments, _ = sigutils.normalize_signature(signature)
        with _locked(directory):
            result = original(tuple(map(_widened, arguments)))
        bind_environments()
        return result

    dispatcher.compile = compile_locked
    _keep_whole(dispatcher._cache, name)  # noqa: SLF001 - no public hook exists


# Without reference counts: a kernel allocates nothing, and counting the arrays of a namedtuple at
# every call was most of the order table's time (measured: 4.2 us an order with, 0.6 without).
# Nothing enters a kernel as a C callback; strategies are, through `native_address`.
_OPTIONS: dict[str, bool | str] = {
    "nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True,
}  # fmt: skip


def kernel(function: F) -> F:
    """Compile a function of integers and arrays for the hot path.

    nogil, no bounds checks, integer overflow wraps, division by zero follows NumPy. Kernels return
    codes and never raise. They allocate nothing: arrays come from the caller, views of them are
    free. Callees must be kernels, imported at the top of the file. An entry from Python is
    compiled when Python calls it first; what only kernels call has none.
    """
    return _compiled(function, _OPTIONS)


def inline_kernel(function: F) -> F:
    """Compile a small function that is always expanded into its callers.

    For helpers that take a View, a table or a gate: a namedtuple of arrays is some hundred words
    that a call pushes and its callee reads back (measured: the gate's rules 2.3 us called, 0.1 us
    expanded). Each caller grows by it, so not for what is long and has many callers.
    """
    return _compiled(function, {**_OPTIONS, "forceinline": True})


def _compiled(function: F, options: dict[str, bool | str]) -> F:
    if not JIT:
        return function
    path = _source_of(function)
    if path is None:  # typed at a prompt: nothing to digest, so nothing to keep
        return numba.njit(**options)(function)
    name = f"{path.stem}.{function.__qualname__}"
    directory = cache_directory(path)
    with _numba_cache(directory / "called"):
        called: Any = callee(function, options)
    with _numba_cache(directory):
        dispatcher = numba.njit(cache=True, **options)(function)
    _compile_once(called, directory, name)
    _compile_once(dispatcher, directory, name)
    # What a caller compiles and links against; numba asks the dispatcher that the name is bound to.
    dispatcher.get_call_template = called.get_call_template
    dispatcher.get_overload = called.get_overload
    return dispatcher


def entry(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """Compile a kernel for the types of these arguments and return its bare entry.

    The dispatcher looks up the types of its arguments anew at every call, which for namedtuples of
    arrays costs 3-4 us (measured; the entry 1.2 us). The caller vows to pass the same types ever
    after - dtype, dimensions, contiguity: nothing checks them. Keep the kernel alive.
    """
    if not JIT:
        return function
    dispatcher: Any = function
    types = tuple(numba.typeof(argument) for argument in arguments)
    dispatcher.compile(types)
    compiled_entry: Callable[..., Any] = dispatcher.overloads[types].entry_point
    return compiled_entry


_native: dict[tuple[Any, Any], tuple[int, Any]] = {}  # function, signature -> address, owner


def native_address(function: Callable[..., Any], signature: Any) -> tuple[int, Any]:
    """Compile a plain function with one signature and return its address and its owner.

    The owner must be kept alive as long as the address is in use; the process keeps it. The address
    never leaves the process. Used for strategies: the engine enters them by address, so that the
    engine's own kernels stay cached whatever strategy runs.
    """
    function = getattr(function, "py_func", function)
    signature = sigutils.normalize_signature(signature)
    if (function, signature) in _native:
        return _native[function, signature]
    options = {"nopython": True, "error_model": "numpy", "_nrt": False}
    owner: Any = CFunc(function, signature, locals={}, options=options)
    path = _source_of(function)
    if path is None:
        owner.compile()
    else:
        directory = cache_directory(path)
        with _numba_cache(directory), _locked(directory):
            owner.enable_caching()
            _keep_whole(owner._cache, f"{path.stem}.{function.__qualname__}")  # noqa: SLF001
            owner.compile()
    bind_environments()
    _native[function, signature] = int(owner.address), owner
    return _native[function, signature]
