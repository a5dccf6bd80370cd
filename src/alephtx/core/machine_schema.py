"""[machine]: what a run asks of the machine it runs on; nothing unless it is written."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from alephtx.core.config_schema import Config

Cpu = Annotated[int, Meta(ge=0, le=4_095)]


class MachineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[machine]: cores for our threads, real-time priority, memory that stays (docs/host.md).

    loop_cpu: of the engine's compiled loop. main_cpu: of the engine's main thread and whatever it
    starts. feeder_cpus: the first feeder gets the first, and so on, from the beginning again when
    there are more feeders. realtime: SCHED_FIFO for a loop that spins; "try" goes on without it
    where the system refuses, "require" does not start. lock_memory: keep what engine and feeders
    use out of swap.
    """

    loop_cpu: Cpu | None = None
    main_cpu: Cpu | None = None
    feeder_cpus: Annotated[tuple[Cpu, ...], Meta(max_length=64)] = ()
    killer_cpu: Cpu | None = None
    realtime: Literal["off", "try", "require"] = "off"
    lock_memory: bool = False

    def feeder_cpu(self, k: int) -> int | None:
        """Return the core of the k-th feeder."""
        return self.feeder_cpus[k % len(self.feeder_cpus)] if self.feeder_cpus else None

    @property
    def named(self) -> set[int]:
        """Every core that is named."""
        single = (self.loop_cpu, self.main_cpu, self.killer_cpu)
        return {cpu for cpu in (*single, *self.feeder_cpus) if cpu is not None}


def check_machine(find: Callable[..., None], config: "Config") -> None:
    """Note where a thread that never sleeps would share its core with one that it would starve."""
    machine, spins = config.machine, config.node.wait == "spin"
    if machine.realtime != "off" and (not spins or machine.loop_cpu is None):
        said = f'"{machine.realtime}" is for a loop that spins on a core of its own'
        remedy = 'write node.wait = "spin" and machine.loop_cpu, or realtime = "off"'
        find(("machine", "realtime"), said, remedy)
    taken: dict[int, str] = {}
    if machine.loop_cpu is not None and spins:
        taken[machine.loop_cpu] = "the engine's loop"
    for name, what in (("main_cpu", "the engine's main thread"), ("killer_cpu", "the killer")):
        if (cpu := getattr(machine, name)) in taken:
            said = f"{cpu} is the core of {taken[cpu]}, which never sleeps"
            find(("machine", name), said, 'name another core, or write node.wait = "adaptive"')
        elif cpu is not None and what in config.spinners:
            taken[cpu] = what
    feeders_spin = config.feeders_wait == "spin"
    for k, venue in enumerate(config.fed_venues):
        cpu = machine.feeder_cpu(k)
        if cpu in taken:
            why = "and both spin" if feeders_spin else "and that one never sleeps"
            said = f"{cpu} is the core of {taken[cpu]} and of {venue}'s feeder, {why}"
            remedy = 'name a core a feeder, or write node.wait = "adaptive"'
            find(("machine", "feeder_cpus"), said, remedy)
        elif cpu is not None and feeders_spin:
            taken[cpu] = f"{venue}'s feeder"
