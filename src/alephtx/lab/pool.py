"""Run tasks in processes of this machine; a worker that dies takes no task with it.

Workers are spawned, not forked, and end when their parent does, however it ends. A task whose
worker died is given to another; after ATTEMPTS of them it is the task's fault.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for

from alephtx.core.errors import SimulationError
from alephtx.lab.trial import Outcome, Task, run_task

ATTEMPTS = 3


def run_locally(tasks: Sequence[Task], workers: int) -> Iterator[list[Outcome]]:
    """Yield the outcomes of every task once, in the order in which they end."""
    waiting = deque((task, 1) for task in tasks)
    while waiting:
        yield from _run_until_broken(waiting, min(workers, len(waiting)))


def _run_until_broken(waiting: deque[tuple[Task, int]], workers: int) -> Iterator[list[Outcome]]:
    """Go on until all is done, or a worker died: what was under way is waiting again then."""
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    going: dict[Future[list[Outcome]], tuple[Task, int]] = {}
    try:
        while waiting or going:
            while waiting and len(going) < workers:
                going[executor.submit(run_task, waiting[0][0])] = waiting[0]
                waiting.popleft()  # not sooner: submit raises where it is broken already
            for future in wait(going, return_when=FIRST_COMPLETED).done:
                task = going.pop(future)
                try:
                    found = future.result()
                except BrokenProcessPool:
                    going[future] = task
                    raise
                yield found
    except BrokenProcessPool:
        if deadly := [task for task, attempt in going.values() if attempt == ATTEMPTS]:
            raise _deadly(deadly) from None
        waiting.extend((task, attempt + 1) for task, attempt in going.values())
    finally:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        executor.shutdown(wait=True, cancel_futures=True)


def _deadly(tasks: list[Task]) -> SimulationError:
    sets = [one for task in tasks for one in task.sets]
    told = "; ".join(str({path: str(v) for path, v in one.items()}) for one in sets[:3])
    return SimulationError(
        f"{ATTEMPTS} workers died while they ran {len(sets)} sets: {told}",
        remedy="is there memory enough? fewer lanes or workers take less",
    )


def _begin() -> None:
    """Make a process a worker: Ctrl-C is its parent's affair, and its parent's end is its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)
