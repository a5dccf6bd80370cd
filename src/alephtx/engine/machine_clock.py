"""Looks at the clock: what it is read from, and how far from the truth it may be."""

import contextlib
import ctypes
import shutil
import subprocess
from collections.abc import Iterator

from alephtx.core.config_schema import Config
from alephtx.engine.machine import COSTS, GOOD, Files, Finding, unseen

_SOURCE = "sys/devices/system/clocksource/clocksource0"
FAST = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"}
"""What user space reads without a call of the kernel; others are read by one, or slower."""

_TIME_ERROR, _STA_UNSYNC, _STA_NANO = 5, 0x0040, 0x2000
OFFSET_US = 1_000


class Timex(ctypes.Structure):
    """struct timex of Linux."""

    _fields_ = [
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long), ("esterror", ctypes.c_long), ("status", ctypes.c_int),
        ("constant", ctypes.c_long), ("precision", ctypes.c_long), ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2), ("tick", ctypes.c_long), ("rest", ctypes.c_long * 32),
    ]  # fmt: skip


def look_at_source(files: Files, config: Config | None) -> Iterator[Finding]:
    """Name the clock source; what a read takes is measured elsewhere."""
    source, others = (files.read(f"{_SOURCE}/{n}_clocksource") for n in ("current", "available"))
    if not source:
        yield unseen("clock source")
    elif source in FAST:
        yield Finding("clock source", f"{source} (of {others})")
    else:
        better = next((name for name in others.split() if name in FAST), "tsc")
        cost = "300 to 2000 ns a look, and the loop looks once a round"
        remedy = f"echo {better} > /{_SOURCE}/current_clocksource"
        yield Finding("clock source", f"{source} (of {others})", COSTS, cost, remedy)


def look_at_truth(files: Files, config: Config | None) -> Iterator[Finding]:
    """Say how far the clock may be off, and who keeps it."""
    keeper = _chrony() or _named_keeper(files)
    hardware = [path.name for path in files.find("dev/ptp[0-9]*")]
    late = "" if hardware else "receive stamps are the kernel's, 1 to 20 us late"
    yield Finding("hardware clock", ", ".join(hardware) or "none", cost=late)
    state, read = Timex(), -1
    with contextlib.suppress(OSError, AttributeError):
        read = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state))
    if read < 0:
        yield unseen("clock's offset")
        return
    unit = 1_000 if state.status & _STA_NANO else 1
    offset, bound = abs(state.offset) / unit, state.maxerror
    value = f"{offset:,.1f} us to be slewed, at most {bound:,} us off; {keeper or 'no keeper seen'}"
    remedy = "apt install chrony; chronyc -n tracking"
    if read == _TIME_ERROR or state.status & _STA_UNSYNC:
        cost = "nobody sets the clock: venue times and ours drift apart by up to 50 us a second"
        yield Finding("clock's offset", value, COSTS, cost, remedy)
    elif max(offset, 0 if keeper.startswith("chrony") else bound) > OFFSET_US:
        cost = "delays from venue to us are wrong by as much; time-outs are not"
        yield Finding("clock's offset", value, COSTS, cost, remedy)
    else:
        yield Finding("clock's offset", value, GOOD)


def _chrony() -> str:
    """Return what chrony says of itself, "" where there is none."""
    program = shutil.which("chronyc")
    if program is None:
        return ""
    try:
        said = subprocess.run(
            [program, "-n", "tracking"], capture_output=True, text=True, timeout=2, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    told = dict(line.split(" : ", 1) for line in said.splitlines() if " : " in line)
    told = {name.strip(): value.strip() for name, value in told.items()}
    if "System time" not in told:
        return ""
    return f"chrony, {told['System time']}, root {told.get('Root dispersion', '?')}"


def _named_keeper(files: Files) -> str:
    running = {files.read(str(p.relative_to(files.root))) for p in files.find("proc/[0-9]*/comm")}
    names = ("chronyd", "ntpd", "systemd-timesyn", "ptp4l", "phc2sys", "openntpd")
    return ", ".join(sorted(name for name in names if name in running))
