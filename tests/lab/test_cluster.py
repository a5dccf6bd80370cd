"""On Ray the same sets come to the same, and a killed worker costs time only."""

import os

import pytest

from alephtx.lab.cluster import run_on_ray
from alephtx.lab.trial import run_task
from tests.lab.test_crash import tasks_of

pytest.importorskip("ray", reason="the extra cluster: half a gigabyte")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture
def ray(monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))


def test_a_worker_killed_on_ray_loses_nothing_and_counts_nothing_twice(lab, ray):
    path = lab(space="[space.strategies.maker]\nhalf = [0.5, 1.5, 2.5]")
    mark = path.parent / "died"
    act = (
        f"if section['half'] == 1.5 and not os.path.exists({str(mark)!r}): "
        f"open({str(mark)!r}, 'w').close(); os.kill(os.getpid(), 9)"
    )
    tasks = tasks_of(path, act)
    found = sorted(
        (one for many in run_on_ray(tasks, 2, "ray") for one in many), key=lambda one: one.id
    )
    assert mark.exists()
    assert found == [one for task in tasks for one in run_task(task)]
    assert [one.error for one in found] == [""] * 3
