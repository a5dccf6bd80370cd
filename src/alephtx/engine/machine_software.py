"""Looks at what we stand on: kernel, mitigations, Python, packages, OpenSSL, compiled kernels."""

import ctypes
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from alephtx.core import kernel
from alephtx.core.config_schema import Config
from alephtx.engine.machine import BROKEN, COSTS, GOOD, Files, Finding, unseen

PACKAGES = ("uvloop", "picows", "numba", "llvmlite", "numpy", "msgspec")
KERNEL_LEAST = (5, 14)


def look_at_kernel(files: Files, config: Config | None) -> Iterator[Finding]:
    """Name the kernel and what it does against its own processors."""
    release = platform.release()
    numbers = tuple(int(part) for part in release.split(".")[:2] if part.isdigit())
    if len(numbers) == 2 and numbers < KERNEL_LEAST:
        cost = "pages of the journal fault in one by one: 0.5 to 2 us every 4 KiB"
        yield Finding("kernel", release, COSTS, cost, "Linux 5.14 or newer")
    else:
        yield Finding("kernel", release)
    known = {path.name: files.read(str(path.relative_to(files.root)))
             for path in files.find("sys/devices/system/cpu/vulnerabilities/*")}  # fmt: skip
    paid = sorted(name for name, text in known.items() if text.startswith("Mitigation"))
    if not known:
        yield unseen("mitigations")
    elif paid:
        cost = "0.1 to 1 us a system call; see `system call`"
        remedy = "mitigations=off on the kernel's command line, where nobody else's code runs"
        yield Finding("mitigations", ", ".join(paid), COSTS, cost, remedy)
    else:
        yield Finding("mitigations", "none on")


def look_at_python(files: Files, config: Config | None) -> Iterator[Finding]:
    """Name Python and what matters of its packages."""
    found = {name: _version(name) for name in PACKAGES}
    value = ", ".join(f"{name} {number}" for name, number in found.items())
    missing = [name for name, number in found.items() if not number]
    remedy = f"pip install {' '.join(missing)}" if missing else ""
    verdict = BROKEN if missing else GOOD
    yield Finding("python", f"{platform.python_version()}, {value}", verdict, remedy=remedy)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def look_at_openssl(files: Files, config: Config | None) -> Iterator[Finding]:
    """Say whether the direct path finds the library that it speaks TLS with."""
    direct = config is not None and bool(config.direct_venues or config.loop_accounts)
    try:
        library = ctypes.CDLL("libssl.so.3")
        library.OpenSSL_version.restype = ctypes.c_char_p
        said = library.OpenSSL_version(0) or b"OpenSSL 3"
    except (OSError, AttributeError):
        cost = "the direct path cannot speak TLS; the split path can"
        verdict = BROKEN if direct else COSTS
        yield Finding("libssl.so.3", "missing", verdict, cost, "apt install libssl3")
        return
    yield Finding("libssl.so.3", said.decode(errors="replace"))


def look_at_cache(files: Files, config: Config | None) -> Iterator[Finding]:
    """Say whether the next start finds its kernels compiled."""
    from alephtx.engine.warm import SHARES, missing, shares_of

    if not kernel.JIT:
        cost = "everything runs as plain Python, a hundred times slower"
        yield Finding("compiled kernels", "NUMBA_DISABLE_JIT is set", BROKEN, cost,
                      "unset NUMBA_DISABLE_JIT")  # fmt: skip
    elif not missing(shares_of(config) if config else SHARES):
        yield Finding("compiled kernels", f"all there, in {kernel.cache_root()}")
    else:
        cost = f"the next start compiles for half a minute on {min(2, os.cpu_count() or 1)} cores"
        yield Finding("compiled kernels", "not of this version", COSTS, cost, "alephtx warm")
