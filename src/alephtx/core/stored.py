"""Machine code that is loaded without its compiler.

Importing Numba and letting it read its own cache takes a second of processor time; the code itself
is mapped and linked in some milliseconds. So the object that Numba emits for each entry is kept in
a file of its own, with the names that it needs from outside. Whatever is missing, damaged or odd
is answered with None, and Numba does it.

An entry is found by the shape of its arguments: `shape_of` says of values what Numba's types say.
"""

import builtins
import ctypes
import hashlib
import importlib.machinery
import importlib.util
import os
import struct
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from llvmlite import binding as llvm

MAGIC = b"ALEPHTX-CODE-2\n"
FOLDER = "entries"
"""Where below a source's cache directory they lie."""

ENVIRONMENT = "_ZN08NumbaEnv"
"""How the names of Numba's environments begin."""

_DIGEST_BYTES = 32
_HOMES = ("_helperlib", "_dynfunc")
"""Numba's C libraries: what compiled code calls when it takes arguments apart or raises."""


class Header(msgspec.Struct, frozen=True):
    """symbol: the entry. environment: where its own environment's address is written.

    needs: names that others define.
    """

    symbol: str
    environment: str
    needs: list[str]


# -- the shape of arguments ----------------------------------------------------------------------


def shape_of(value: Any) -> str | None:
    """Return what decides the code for an argument: kinds, dimensions, order; None for the odd."""
    kind = type(value)
    if kind in (np.ndarray, np.memmap):
        return _array(value.dtype, value.ndim, _order(value.flags), bool(value.flags.writeable))
    if isinstance(value, tuple):
        return _joined(kind, [shape_of(one) for one in value])
    if kind is bool or kind is np.bool_:
        return "b"
    if kind is int:
        return "i" if -(1 << 63) <= value < 1 << 63 else None
    if isinstance(value, np.signedinteger):
        return "i"
    if kind is bytes:
        return "y"
    return "f" if kind is float or kind is np.float64 else None


def shape_of_type(kind: Any) -> str | None:
    """Return the same of one of Numba's types."""
    from numba import types
    from numba.np.numpy_support import as_dtype

    if type(kind) is types.Array:
        return _array(as_dtype(kind.dtype), kind.ndim, kind.layout, kind.mutable)
    if isinstance(kind, types.BaseTuple):
        made_by = getattr(kind, "instance_class", tuple)
        return _joined(made_by, [shape_of_type(one) for one in kind.types])
    if type(kind) is types.Bytes:
        return "y"
    plain = {types.boolean: "b", types.int64: "i", types.float64: "f"}
    return plain.get(kind)


_WORD = 1 << 63
_TOLD_BY_TYPE = frozenset((bool, float, bytes, np.bool_, np.float64, np.int64, np.int32))


def key_of(values: Any) -> tuple[Any, ...] | None:
    """Return what is equal only where shapes are, five times as fast; None: ask for the shape."""
    key: list[Any] = []
    for value in values:
        kind = type(value)
        if kind is int:
            if not -_WORD <= value < _WORD:
                return None
            key.append(kind)
        elif kind is np.ndarray:
            key.append((value.dtype, value.ndim, value.flags.num))
        elif kind in _TOLD_BY_TYPE:
            key.append(kind)
        elif isinstance(value, tuple):
            if (inner := key_of(value)) is None:
                return None
            key.append((kind, inner))
        else:
            return None
    return tuple(key)


def shape_of_all(values: Any, shape: Callable[[Any], str | None] = shape_of) -> str | None:
    """Return the shape of several arguments."""
    return _joined(tuple, [shape(value) for value in values])


def _joined(kind: type, shapes: list[str | None]) -> str | None:
    if None in shapes:
        return None
    named = "" if kind is tuple else f"{kind.__module__}.{kind.__qualname__}"
    return f"{named}({','.join(str(one) for one in shapes)})"


def _array(dtype: Any, dimensions: int, order: str, writeable: bool) -> str:
    return f"{_kind(dtype)}*{dimensions}{order}{'w' if writeable else 'r'}"


def _order(flags: Any) -> str:
    return "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"


@cache
def _kind(dtype: Any) -> str:
    if dtype.subdtype is not None:
        inner, extents = dtype.subdtype
        return f"{_kind(inner)}{list(extents)}"
    if dtype.fields is None:
        return str(dtype.str)
    fields = (f"{name}:{_kind(kind[0])}@{kind[1]}" for name, kind in dtype.fields.items())
    return f"{{{','.join(fields)};{dtype.itemsize}}}"


# -- files ---------------------------------------------------------------------------------------


def place(directory: Path, function: Any, kind: str, shape: str) -> Path:
    """Return where an entry is kept. kind: how it is entered."""
    code = function.__code__
    told = f"{function.__qualname__}\0{code.co_firstlineno}\0{kind}\0{shape}"
    name = hashlib.sha256(told.encode()).hexdigest()[:16]
    return directory / FOLDER / f"{function.__name__}-{name}.code"


def keep(path: Path, function: Any, symbol: str, environment: str, code: bytes) -> bool:
    """Write an entry; a reader sees all of it or nothing. OSError where the disk refuses.

    False for what is left to Numba: closures, and what reads a callee's environment, as `print`
    does.
    """
    found = linkage(code)
    if found is None or function.__closure__ is not None:
        return False
    if any(name.startswith(ENVIRONMENT) for name in found.used - {environment}):
        return False
    needs = sorted(found.undefined)
    front = msgspec.json.encode(Header(symbol, environment, needs))
    payload = struct.pack("<I", len(front)) + front + code
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.part")
    draft.write_bytes(MAGIC + hashlib.sha256(payload).digest() + payload)
    draft.replace(path)
    return True


def read(path: Path) -> tuple[Header, bytes] | None:
    """Return an entry's header and object, None where there is none that is whole."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    start = len(MAGIC) + _DIGEST_BYTES
    payload = memoryview(data)[start:]
    if not data.startswith(MAGIC) or data[len(MAGIC) : start] != hashlib.sha256(payload).digest():
        return None
    (size,) = struct.unpack_from("<I", payload)
    try:
        header = msgspec.json.decode(payload[4 : 4 + size], type=Header)
    except msgspec.MsgspecError:  # another version's
        return None
    return header, bytes(payload[4 + size :])


# -- ELF -----------------------------------------------------------------------------------------

_SECTION, _SYMBOL = struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_SYMBOLS, _RELOCATIONS = 2, 4
_ELF64 = b"\x7fELF\x02\x01"


class Linkage(NamedTuple):
    """Names of an object: those that it needs from outside, those that its code points to."""

    undefined: set[str]
    used: set[str]


def linkage(code: bytes) -> Linkage | None:
    """Read an ELF object's names; None for other formats."""
    if not code.startswith(_ELF64):
        return None
    (sections_at,) = struct.unpack_from("<Q", code, 0x28)
    size, count = struct.unpack_from("<HH", code, 0x3A)
    sections = [_SECTION.unpack_from(code, sections_at + k * size) for k in range(count)]
    symbols: list[tuple[str, int]] = []  # name, section: 0 = elsewhere
    for _, kind, _, _, at, length, link, _, _, _ in sections:
        if kind == _SYMBOLS:
            strings = sections[link][4]
            for offset in range(at, at + length, _SYMBOL.size):
                name, _, _, section, _, _ = _SYMBOL.unpack_from(code, offset)
                begin = strings + name
                symbols.append((code[begin : code.index(b"\0", begin)].decode(), section))
    used = {
        symbols[_RELOCATION.unpack_from(code, offset)[1] >> 32][0]
        for _, kind, _, _, at, length, _, _, _, _ in sections if kind == _RELOCATIONS
        for offset in range(at, at + length, _RELOCATION.size)
    }  # fmt: skip
    return Linkage({name for name, section in symbols[1:] if section == 0}, used)


# -- loading -------------------------------------------------------------------------------------

_alive: list[Any] = []
"""What holds code and environments; a process never gives any back."""


@cache
def usable() -> bool:
    """Tell whether this process may load: nothing is set that Numba would heed and we do not."""
    odd = [name for name in os.environ if name.startswith("NUMBA_")]
    odd = [name for name in odd if name not in ("NUMBA_DISABLE_JIT", "NUMBA_CACHE_DIR")]
    return not odd and not Path(".numba_config.yaml").exists() and _libraries() is not None


def address_at(path: Path, space: dict[str, Any]) -> tuple[int, Any] | None:
    """Load an entry; return its address and what keeps it, None where it cannot be loaded.

    space: the globals of its module.
    """
    found = _load(path, space)
    return found and (found[0], found[2])


def addresses_at(
    directory: Path, functions: list[Any], shapes: list[str | None]
) -> list[tuple[int, Any]] | None:
    """Load what was kept of several functions; None where one of them is missing."""
    if None in shapes:
        return None
    pairs = list(zip(functions, map(str, shapes), strict=True))
    places = [place(directory, function, "address", shape) for function, shape in pairs]
    if not all(path.exists() for path in places):
        return None
    linked: dict[bytes, Any] = {}  # those that were compiled together are one object
    found = []
    for path, function in zip(places, functions, strict=True):
        one = _load(path, function.__globals__, linked)
        if one is None:
            return None
        found.append((one[0], one[2]))
    return found


def callable_at(path: Path, function: Any) -> Any:
    """Return a function's entry that Python calls, as Numba would make it; None without one.

    The module is the function's own: whoever left the file may have known it by another name.
    """
    found, libraries = _load(path, function.__globals__), _libraries()
    module = sys.modules.get(function.__module__)
    if found is None or libraries is None or module is None:
        return None
    address, _, environment = found
    doc = f"compiled wrapper for {function.__name__!r}"
    make = libraries["_dynfunc"].make_function
    return make(module, function.__name__, doc, address, environment, ())


def _load(
    path: Path, space: dict[str, Any], linked: dict[bytes, Any] | None = None
) -> tuple[int, Header, Any] | None:
    """Link an entry and give it its environment. linked: what holds objects that are linked."""
    found, libraries = read(path), _libraries()
    if found is None or libraries is None:
        return None
    header, code = found
    linked = {} if linked is None else linked
    if (engine := linked.get(code)) is None:
        engine = _engine()
        if not all(_is_known(name) for name in header.needs):
            return None
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        linked[code] = engine
    environment = libraries["_dynfunc"].Environment(space)
    if place_ := engine.get_global_value_address(header.environment):
        ctypes.c_void_p.from_address(place_).value = id(environment)
    _alive.extend((engine, environment))
    address = int(engine.get_function_address(header.symbol))
    return (address, header, environment) if address else None


@cache
def _libraries() -> dict[str, Any] | None:
    """Return Numba's C libraries by name, loaded without Numba; None where they lie elsewhere."""
    spec = importlib.util.find_spec("numba")  # finds it, does not run it
    if spec is None or not spec.submodule_search_locations:
        return None
    finder = importlib.machinery.FileFinder(
        spec.submodule_search_locations[0],
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
    )
    found = {}
    for name in _HOMES:
        part = finder.find_spec(f"numba.{name}")
        if part is None or part.loader is None:
            return None
        found[name] = importlib.util.module_from_spec(part)
        part.loader.exec_module(found[name])
    return found


@cache
def _is_known(name: str) -> bool:
    """Tell whether a name can be linked, and tell LLVM of those that Numba would name."""
    address = 0
    if name == "_Py_NoneStruct":
        address = id(None)
    elif name.startswith("PyExc_"):
        address = id(getattr(builtins, name.removeprefix("PyExc_"), None))
    elif name.startswith("numba_"):
        for library in (_libraries() or {}).values():
            address = address or library.c_helpers.get(name.removeprefix("numba_"), 0)
    if address:
        llvm.add_symbol(name, address)
    return bool(llvm.address_of_symbol(name))


@cache
def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(llvm.get_process_triple())


def _engine() -> Any:
    """Return what links an object; once there is one, the process's own names are known too."""
    module = llvm.parse_assembly("")
    module.triple = llvm.get_process_triple()
    engine = llvm.create_mcjit_compiler(module, _target().create_target_machine(opt=3))
    engine.remove_module(module)  # of no use any more, and compiling it takes longer than a link
    return engine
