"""Looks at memory and at what a process may have: shared memory, huge pages, locks, files, swap."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from alephtx.core.config_schema import Config
from alephtx.engine.machine import BROKEN, COSTS, GOOD, Files, Finding, unseen

_CAP_IPC_LOCK = 14
FILES_FEW = 1_024
MIB = 1 << 20
OURS_MIB = 400
"""What an engine with a matrix and two journal segments keeps, roughly."""


def look_at_shared_memory(files: Files, config: Config | None) -> Iterator[Finding]:
    """Hold what the matrix needs against what there is where it will lie."""
    from alephtx.core.config_schema import MatrixConfig
    from alephtx.matrix.layout import Geometry, file_bytes

    section = config.matrix if config is not None else MatrixConfig()
    need = file_bytes(
        Geometry(
            instruments_max=section.instruments_max,
            depth=section.depth,
            ring_slots=section.ring_slots,
        )
    )
    place = Path(section.path)
    has = place.stat().st_size if place.exists() else 0
    room = os.statvfs(place.parent)
    size, free = room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize
    value = f"{free / MIB:,.0f} of {size / MIB:,.0f} MiB free; the matrix takes {need / MIB:,.1f}"
    if free + has < need:
        cost = "the matrix cannot be made"
        remedy = (
            f"mount -o remount,size={-(-need * 2 // MIB)}M {place.parent}, or a smaller [matrix]"
        )
        yield Finding(str(place.parent), value, BROKEN, cost, remedy)
    else:
        yield Finding(str(place.parent), value)
    kind = _filesystem(files, place.parent)
    if kind and kind not in ("tmpfs", "ramfs", "hugetlbfs"):
        cost = "pages of the matrix are written to a disk now and then: 10 to 1000 us"
        remedy = 'matrix.path = "/dev/shm/..."'
        yield Finding("matrix lies on", kind, COSTS, cost, remedy)


def _filesystem(files: Files, folder: Path) -> str:
    """Return the kind of the file system that holds a folder, "" where that is not to be seen."""
    best, kind, real = "", "", os.path.realpath(folder)
    for line in files.read("proc/mounts").splitlines():
        parts = line.split()
        if len(parts) > 2 and len(parts[1]) >= len(best):
            inside = real == parts[1] or real.startswith(parts[1].rstrip("/") + "/")
            best, kind = (parts[1], parts[2]) if inside else (best, kind)
    return kind


def look_at_pages(files: Files, config: Config | None) -> Iterator[Finding]:
    """Say which pages there are, and whether they stay in memory."""
    at = "sys/kernel/mm/transparent_hugepage"
    for what, name, soft in (
        ("huge pages", "enabled", "madvise"),
        ("huge pages, shared memory", "shmem_enabled", "advise"),
    ):
        chosen = files.read(f"{at}/{name}").partition("[")[2].partition("]")[0]
        if not chosen:
            yield unseen(what)
        elif chosen in ("never", "deny"):
            cost = "a look-up of a page of 4 KiB is 5 to 30 ns where one of 2 MiB is free"
            yield Finding(what, chosen, COSTS, cost, f"echo {soft} > /{at}/{name}")
        else:
            yield Finding(what, chosen)
    held = [line.split()[1] for line in files.read("proc/meminfo").splitlines()
            if line.startswith("HugePages_Total:")]  # fmt: skip
    yield Finding("reserved huge pages", held[0]) if held else unseen("reserved huge pages")
    swaps = files.read("proc/swaps").splitlines()[1:]
    locks = config is not None and config.machine.lock_memory
    if swaps and not locks:
        cost = "a page that was swapped out takes 50 to 10,000 us to come back"
        yield Finding("swap", f"{len(swaps)} in use", COSTS, cost,
                      "swapoff -a, or machine.lock_memory = true")  # fmt: skip
    elif files.exists("proc/swaps"):
        yield Finding("swap", "none" if not swaps else "in use; our memory is locked")
    else:
        yield unseen("swap")


def look_at_limits(files: Files, config: Config | None) -> Iterator[Finding]:
    """Say how much may be locked and opened."""
    from alephtx.engine.placement import has_capability

    asked = config is not None and config.machine.lock_memory
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    if limit == resource.RLIM_INFINITY or has_capability(_CAP_IPC_LOCK):
        yield Finding("locked memory", "no limit")
    else:
        value = f"at most {limit / MIB:,.0f} MiB; an engine takes some {OURS_MIB}"
        cost = "lock_memory is without effect" if asked else "lock_memory would be without effect"
        remedy = "ulimit -l unlimited, or LimitMEMLOCK=infinity in the service"
        yield Finding("locked memory", value, COSTS if asked else GOOD, cost,
                      remedy if asked else "")  # fmt: skip
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES_FEW:
        verdict = BROKEN if soft < FILES_FEW // 4 else COSTS
        yield Finding("open files", f"{soft}", verdict, "connections are refused beyond it",
                      f"ulimit -n {max(hard, FILES_FEW)}")  # fmt: skip
    else:
        yield Finding("open files", f"{soft:,}")
