"""Run tasks on a Ray cluster: the same function, elsewhere. Needs the extra `cluster`.

Ray gives a task whose worker died to another worker; a task has one result, which is taken once.
Paths of data and strategies must lead to the same files on every machine.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from alephtx.core.errors import ConfigError, SimulationError
from alephtx.lab.trial import Outcome, Task, run_task

RETRIES = 3


def run_on_ray(tasks: Sequence[Task], workers: int, address: str) -> Iterator[list[Outcome]]:
    """Yield the outcomes of every task once. address: "local" starts a cluster of this machine."""
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "Ray is not installed", remedy="pip install 'alephtx[cluster]', or --cluster local"
        ) from None
    ours = not ray.is_initialized()
    if ours:
        where: dict[str, Any] = {"num_cpus": workers} if address == "ray" else {"address": address}
        ray.init(log_to_driver=False, include_dashboard=False, **where)
    try:
        remote = ray.remote(max_retries=RETRIES, num_cpus=1)(run_task)
        going = [remote.remote(task) for task in tasks]
        while going:
            done, going = ray.wait(going)
            try:
                found = ray.get(done[0])
            except ray.exceptions.WorkerCrashedError:
                raise SimulationError(
                    f"{RETRIES + 1} workers died while they ran a task",
                    remedy="is there memory enough? fewer lanes take less",
                ) from None
            yield found
    finally:
        if ours:
            ray.shutdown()
