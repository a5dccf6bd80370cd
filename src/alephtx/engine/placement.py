"""Put our threads where [machine] says, and say what came of it.

A thread is pinned by its native id, so that the loop thread has a core of its own while the rest of
its process stays elsewhere. Nothing here fails a run but a core that does not exist and
`realtime = "require"`; what the system refuses is a warning with the remedy. What was applied is in
the log and, for the engine, in status.json.
"""

import ctypes
import os
import resource

from alephtx.core.config_schema import Config, MachineConfig
from alephtx.core.errors import ConfigError
from alephtx.core.log import logger

log = logger("placement")

PRIORITY = 1
"""Of SCHED_FIFO: the lowest is above every ordinary thread, and below the kernel's own."""

RECEIVER = PRIORITY + 1
"""A thread that sleeps until bytes come goes before one that only waits for what it brings."""

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK = 14


def check_cores(machine: MachineConfig) -> None:
    """Refuse cores that this process may not use; ConfigError."""
    allowed = os.sched_getaffinity(0)
    missing = sorted(machine.named - allowed)
    if missing:
        said = ", ".join(map(str, missing))
        here = ", ".join(map(str, sorted(allowed)))
        raise ConfigError(
            f"machine: there is no core {said} here, or this process may not use it",
            remedy=f"it may use {here}; `alephtx doctor` says more",
        )
    if machine.realtime != "off" and len(allowed) < 2:
        raise ConfigError(
            "machine.realtime: there is one core only, which a loop that spins would not give back",
            remedy='write realtime = "off" and node.wait = "adaptive"',
        )


def place_process(what: str, cpu: int | None, *, lock: bool = False) -> dict[str, str]:
    """Pin this process, for its entry: threads that it starts later inherit it. Returns what is so.

    what: as it is shown, such as "main" or "feeder".
    """
    told = {}
    if cpu is not None:
        told[what] = _pin(0, cpu)
    if lock:
        told["memory"] = lock_memory()
    if told:
        log.info("process_placed", **told)
    return told


def place_loop(config: Config, native_id: int | None) -> dict[str, str]:
    """Pin the loop's thread and raise its priority, as far as that is asked for and possible.

    native_id: None where the step is driven by something else than a thread of its own.
    """
    machine = config.machine
    if native_id is None or (machine.loop_cpu is None and machine.main_cpu is None):
        return {}
    if machine.loop_cpu is None:  # it inherited the main thread's core, which was not meant
        others = _process_cores() - {machine.main_cpu}
        os.sched_setaffinity(native_id, others or _process_cores())
        return {}
    told = _pin(native_id, machine.loop_cpu)
    if machine.realtime != "off":
        told += f", {_raise_priority(native_id, machine.realtime)}"
    log.info("loop_placed", loop=told)
    return {"loop": told}


def priority_of(config: Config) -> int:
    """Return the highest priority of SCHED_FIFO that a run with this config asks for."""
    return RECEIVER if config.feeders_wait == "sleep" else PRIORITY


def place_receiver(config: Config, native_id: int) -> None:
    """Let a feeder's receiving thread that sleeps between messages go before the others.

    One that spins would keep everybody else off its core.
    """
    if config.machine.realtime != "off" and config.feeders_wait == "sleep":
        told = _raise_priority(native_id, config.machine.realtime, RECEIVER)
        log.info("receiver_placed", receiver=told)


def _process_cores() -> set[int]:
    """Return every core the process could use, whatever it was pinned to since."""
    return set(range(os.cpu_count() or 1))


def _pin(thread: int, cpu: int) -> str:
    try:
        os.sched_setaffinity(thread, {cpu})
    except OSError as error:
        log.warning("not_pinned", cpu=cpu, error=str(error), remedy="alephtx doctor")
        return f"not pinned to cpu {cpu}: {error.strerror}"
    return f"cpu {cpu}"


def _raise_priority(thread: int, asked: str, priority: int = PRIORITY) -> str:
    try:
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        remedy = "setcap cap_sys_nice=ep on Python, or `ulimit -r 2` for the user"
        if asked == "require":
            raise ConfigError(
                f'machine.realtime = "require": {error.strerror}', remedy=remedy
            ) from None
        log.warning("no_realtime", error=str(error), remedy=remedy)
        return "ordinary priority"
    return f"SCHED_FIFO {priority}"


def lock_memory() -> str:
    """Keep every page that is touched from now on in memory; return what came of it.

    Pages are locked when they are first touched, not all at once: matrix and journal touch theirs
    when they are opened, and large reserved ranges are never touched whole. With a limit on locked
    memory, later mappings would fail in the middle of a run, so then nothing is locked.
    """
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    if hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    elif not has_capability(_CAP_IPC_LOCK):
        remedy = "ulimit -l unlimited, or LimitMEMLOCK=infinity in the service"
        log.warning("memory_not_locked", limit_bytes=hard, remedy=remedy)
        return f"not locked: at most {hard:,} bytes may be"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        error = os.strerror(ctypes.get_errno())
        log.warning("memory_not_locked", error=error)
        return f"not locked: {error}"
    return "locked"


def has_capability(number: int) -> bool:
    """Tell whether this process has one of Linux's capabilities."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - one line of it
            held = next(line.split()[1] for line in status if line.startswith("CapEff:"))
    except (OSError, StopIteration):
        return False
    return bool(int(held, 16) >> number & 1)


def cores_of(pid: int) -> str:
    """Return the cores that a process's main thread is pinned to, "" where it is not, or gone."""
    try:
        cores = os.sched_getaffinity(pid)
    except OSError:
        return ""
    if not pid or len(cores) >= (os.cpu_count() or 1):
        return ""
    return ", ".join(map(str, sorted(cores)))
