"""The texts that a kernel's machine code depends on: a file, and all that it imports of ours.

Text alone counts, not a file's time or size. What a process has read stays as it was read: a
module that is imported must keep the digest of the text it was imported from.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent

_IMPORT = re.compile(  # begins with a plain newline: twice as fast as with a line's begin
    r"\n[ \t]*(?:from[ \t]+(?P<dots>\.*)(?P<source>[\w.]*)[ \t]+import[ \t]+"
    r"(?P<names>\([^)]*\)|[^\n#]*)|import[ \t]+(?P<modules>[^\n#]+))"
)
_WORD, _DOTTED = re.compile(r"\w+"), re.compile(r"[\w.]+")

_sources: dict[str, tuple[bytes, tuple[str, ...]]] = {}  # file -> digest of its text, its imports


def imports_of(path: Path) -> tuple[Path, ...]:
    """Return the files that a file imports, as far as they are of its package or ours; sorted."""
    return tuple(Path(name) for name in _source(str(path))[1])


def _source(path: str) -> tuple[bytes, tuple[str, ...]]:
    if path not in _sources:
        with open(path, "rb") as file:  # noqa: PTH123 - strings: a start reads a hundred files
            text = file.read()
        found: set[str] = set()
        roots = tuple({_root(os.path.dirname(path)), str(PACKAGE.parent)})  # noqa: PTH120
        for match in _IMPORT.finditer("\n" + text.decode("utf-8", "replace")):
            found.update(_files_of(match, path, roots))
        _sources[path] = hashlib.sha256(text).digest(), tuple(sorted(found))
    return _sources[path]


def _files_of(match: re.Match[str], path: str, roots: tuple[str, ...]) -> Iterator[str]:
    """Yield the files that one import statement of a file reads, as far as they are ours or its."""
    dots, source, names, modules = match.group("dots", "source", "names", "modules")
    if modules is not None:
        dotted = _DOTTED.findall(modules)
    else:
        dotted = [source, *(f"{source}.{name}".strip(".") for name in _WORD.findall(names))]
        if dots:
            roots = (str(Path(path).parents[len(dots) - 1]),)
    for root in roots:
        for name in dotted:
            yield from _files_at(root, name)


@cache
def _files_at(root: str, name: str) -> tuple[str, ...]:
    """Return the file and the package that a dotted name below a root may be."""
    above, _, last = name.rpartition(".")
    folder = f"{root}/{above.replace('.', '/')}" if above else root
    here = _listing(folder) if not above or _is_folder(root, above) else frozenset[str]()
    found = []
    if f"{last}.py" in here:
        found.append(f"{folder}/{last}.py")
    if last in here and "__init__.py" in _listing(f"{folder}/{last}"):
        found.append(f"{folder}/{last}/__init__.py")
    return tuple(found)


@cache
def _is_folder(root: str, name: str) -> bool:
    """Tell whether a dotted name below a root is a folder: most are files, and hold no others."""
    above, _, last = name.rpartition(".")
    if above and not _is_folder(root, above):
        return False
    folder = f"{root}/{above.replace('.', '/')}" if above else root
    return last in _listing(folder) and bool(_listing(f"{folder}/{last}"))


@cache
def _listing(folder: str) -> frozenset[str]:
    """Return the names in a folder; none where there is no such folder."""
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return frozenset()


def _root(folder: str) -> str:
    """Return the directory that a folder's package is imported from."""
    while "__init__.py" in _listing(folder):
        folder = os.path.dirname(folder)  # noqa: PTH120
    return folder


@cache
def source_digest(path: Path) -> str:
    """Digest of a file and of every file it imports, directly or not, from its package or ours."""
    seen: dict[str, bytes] = {}
    todo = [str(path)]
    while todo:
        current = todo.pop()
        if current not in seen:
            seen[current], imports = _source(current)
            todo.extend([one for one in imports if one not in seen])
    digest = hashlib.sha256()
    for current in sorted(seen):
        digest.update(seen[current])
    return digest.hexdigest()[:16]


def forget_sources(path: Path | None = None) -> None:
    """Read one file's source anew on the next decoration (None: all); for hot swap and tests.

    Only the file that is run again may be forgotten: a module that stays imported must keep the
    digest of the text it was imported from, or the cache would marry old code to new text.
    """
    if path is None:
        _sources.clear()
    else:
        _sources.pop(str(path), None)
    for remembered in (_listing, _files_at, _is_folder, source_digest):
        remembered.cache_clear()
