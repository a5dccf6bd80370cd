"""The part of the kernels' door that needs Numba: compilation, under a lock, kept for the next.

Imported when the first kernel must be compiled or read from Numba's own cache; `core.kernel` says
what is compiled and where it is kept.
"""

import fcntl
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import numba
from numba.core import sigutils
from numba.core.ccallback import CFunc
from numba.core.registry import cpu_target

from alephtx.core import stored
from alephtx.core.callee import (
    CalleeCompiler,
    EntryCompiler,
    bind_environments,
    callee,
    join,
    keep_environment,
)
from alephtx.core.kernel import compiled, listeners, naming
from alephtx.core.log import logger
from alephtx.core.quick_numba import be_quick

log = logger("kernel")
be_quick()

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


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let no garbage be collected meanwhile: trees of live objects are a fifth of a compilation."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end a compilation wherever it comes, as KeyboardInterrupt.

    Where LLVM calls back into Python it is raised in a ctypes callback, which drops it; what Numba
    then says is that code is missing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, dropped = sys.unraisablehook, False

    def note(said: Any) -> None:
        nonlocal dropped
        if said.exc_type is KeyboardInterrupt:
            dropped = True
        else:
            before(said)

    sys.unraisablehook = note
    try:
        yield
    except Exception as error:
        if dropped:
            raise KeyboardInterrupt from error
        raise
    finally:
        sys.unraisablehook = before
    if dropped:
        raise KeyboardInterrupt


def _announce(name: str) -> None:
    compiled.append(name)
    for listener in listeners:
        listener(name)


Leave = Callable[[Any, Any, bytes], None]
"""Called with signature, result of compilation and object code of what has been made or read."""


def _keep_whole(kept: Any, name: str, leave: Leave | None = None) -> None:
    """Make a function's cache survive damage and lack of space, and say when it has to compile."""
    load, save, rebuild = kept.load_overload, kept.save_overload, kept._impl.rebuild  # noqa: SLF001
    objects: list[bytes] = []

    def rebuild_and_note(context: Any, payload: Any) -> Any:
        objects[:] = [payload[0][2][0]]
        return rebuild(context, payload)

    def load_or_announce(signature: Any, context: Any) -> Any:
        try:
            found = load(signature, context)
        except Exception as error:  # noqa: BLE001 - unpickling damaged files raises anything
            log.warning("kernel_cache_damaged", kernel=name, error=error)
            kept.flush()
            found = None
        if found is None:
            _announce(name)
        elif leave is not None:
            leave(signature, found, objects.pop())
        return found

    def save_or_warn(signature: Any, result: Any) -> None:
        try:
            save(signature, result)
            if leave is not None:
                leave(signature, result, result.library._get_compiled_object())  # noqa: SLF001
        except OSError as error:
            log.every(60).warning("kernel_not_cached", kernel=name, error=error)

    kept.load_overload, kept.save_overload = load_or_announce, save_or_warn
    if leave is not None:
        kept._impl.rebuild = rebuild_and_note  # noqa: SLF001 - no public hook exists


def _leaver(function: Any, directory: Path, kind: str) -> Leave:
    """Return what leaves an entry for processes that load it without Numba; see `core.stored`."""

    def leave(signature: Any, result: Any, code: bytes) -> None:
        if kind == "address":
            keep_environment(result)
        arguments, _ = sigutils.normalize_signature(signature)
        shape = stored.shape_of_all(arguments, stored.shape_of_type)
        if shape is None or result.environment.consts:
            return
        path = stored.place(directory, function, kind, shape)
        told = result.fndesc
        symbol = (
            told.llvm_cfunc_wrapper_name if kind == "address" else told.llvm_cpython_wrapper_name
        )
        if not path.exists():
            with suppress(OSError):  # then the next process asks Numba
                stored.keep(path, function, symbol, told.env_name, code)

    return leave


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


def _compile_once(dispatcher: Any, directory: Path, name: str, leave: Leave | None = None) -> None:
    """Make the dispatcher compile under the directory's lock, and once for every kind of int."""
    original, overloads = dispatcher.compile, dispatcher.overloads

    def compile_locked(signature: Any) -> Any:
        arguments, _ = sigutils.normalize_signature(signature)
        known = len(overloads)
        with _locked(directory), _uncollected(), interruptible():
            result = original(tuple(map(_widened, arguments)))
        if leave is not None and len(overloads) > known:  # machine code, which a callee has none of
            bind_environments()
        return result

    dispatcher.compile = compile_locked
    _keep_whole(dispatcher._cache, name, leave)  # noqa: SLF001 - no public hook exists


def make_dispatcher(function: Any, options: dict[str, bool | str], directory: Path | None) -> Any:
    """Return a kernel's dispatcher, which compiles it, or reads it, when it is called."""
    if directory is None:  # typed at a prompt: nothing to digest, so nothing to keep
        return numba.njit(**options)(function)
    name = _name(function)
    with _numba_cache(directory / "called"):
        called: Any = callee(function, options)
    with _numba_cache(directory):
        dispatcher = numba.njit(cache=True, pipeline_class=EntryCompiler, **options)(function)
    _compile_once(called, directory, name)
    _compile_once(dispatcher, directory, name, _leaver(function, directory, "python"))
    # What a caller compiles and links against; numba asks the dispatcher that the name is bound to.
    dispatcher.get_call_template = called.get_call_template
    dispatcher.get_overload = called.get_overload
    dispatcher.called = called
    return dispatcher


def _name(function: Any) -> str:
    return f"{Path(function.__code__.co_filename).stem}.{function.__qualname__}"


def compiled_entry(function: Any, arguments: tuple[Any, ...]) -> Callable[..., Any]:
    """Compile a kernel for the types of these arguments and return its bare entry."""
    dispatcher = function.dispatcher
    types = tuple(numba.typeof(argument) for argument in arguments)
    dispatcher.compile(types)
    return cast(Callable[..., Any], dispatcher.overloads[types].entry_point)


def compile_callee(function: Any, arguments: tuple[Any, ...]) -> None:
    """Compile a kernel as kernels that call it with such arguments see it."""
    function.dispatcher.called.compile(tuple(map(numba.typeof, arguments)))


def signature_of(examples: tuple[Any, ...]) -> Any:
    """Return the signature of a function of such arguments that returns an int."""
    return numba.types.int64(*(_widened(numba.typeof(example)) for example in examples))


def normal(signature: Any) -> Any:
    """Return a signature as what Numba makes of it; it can be looked up."""
    return sigutils.normalize_signature(signature)


_NATIVE = {"nopython": True, "error_model": "numpy", "_nrt": False}


def compile_native(function: Any, signature: Any, directory: Path | None) -> tuple[int, Any]:
    """Compile a plain function with one signature; return its address and its owner."""
    owner: Any = CFunc(function, signature, {}, _NATIVE, pipeline_class=EntryCompiler)
    if directory is None:
        owner.compile()
    else:
        with _numba_cache(directory), _locked(directory), _uncollected(), interruptible():
            owner.enable_caching()
            leave = _leaver(function, directory, "address")
            _keep_whole(owner._cache, _name(function), leave)  # noqa: SLF001
            owner.compile()
    bind_environments()
    return int(owner.address), owner


def compile_together(
    functions: list[Any], examples: list[tuple[Any, ...]], directory: Path
) -> list[tuple[int, Any]]:
    """Compile plain functions of one file as one module; return their addresses and owners.

    Kept and found as `core.stored` has it; nothing where it cannot be. A function that does not
    compile is named in its error's notes.
    """
    signatures = []
    for function, example in zip(functions, examples, strict=True):
        with naming(function):
            signatures.append(signature_of(example))
    shapes = [stored.shape_of_all(one.args, stored.shape_of_type) for one in signatures]
    if None in shapes or any(function.__closure__ for function in functions):
        return []
    apart = stored.place(directory, functions[0], "apart", ",".join(map(str, shapes)))
    with _numba_cache(directory), _locked(directory), _uncollected(), interruptible():
        if apart.exists():  # an earlier process found that they cannot be kept
            return []
        found = stored.addresses_at(directory, functions, shapes)
        if found is not None:  # another process was first
            return found
        results = [_as_callee(*pair) for pair in zip(functions, signatures, strict=True)]
        library = join(results)
        names = [result.fndesc.llvm_cfunc_wrapper_name for result in results]
        with suppress(OSError):  # then the next process compiles
            if not _keep_together(directory, functions, shapes, results, library):
                apart.parent.mkdir(parents=True, exist_ok=True)
                apart.touch()
                return []
    bind_environments()
    return [(int(library.get_pointer_to_function(name)), library) for name in names]


def _keep_together(
    directory: Path,
    functions: list[Any],
    shapes: list[str | None],
    results: list[Any],
    library: Any,
) -> bool:
    """Keep functions that share their code; False where one of them cannot be."""
    if any(result.environment.consts for result in results):
        return False
    code = library._get_compiled_object()  # noqa: SLF001 - no public one exists
    for function, shape, result in zip(functions, shapes, results, strict=True):
        path, told = stored.place(directory, function, "address", str(shape)), result.fndesc
        entry = told.llvm_cfunc_wrapper_name
        if not stored.keep(path, function, entry, told.env_name, code):
            return False
    return True


def _as_callee(function: Any, signature: Any) -> Any:
    """Compile a plain function and its C wrapper, for `join`."""
    _announce(_name(function))
    owner: Any = CFunc(function, normal(signature), {}, _NATIVE, pipeline_class=CalleeCompiler)
    with naming(function):
        return owner._compile_uncached()  # noqa: SLF001 - the public one keeps it apart


def type_of(intrinsic: Any) -> Any:
    """Return the type that Numba knows one of its intrinsics by."""
    context = cpu_target.typing_context
    context.refresh()
    return context.resolve_value_type(intrinsic)
