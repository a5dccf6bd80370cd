"""A limit of a real engine changes by a signed command, and a killed engine comes back with it."""

import json
import os
import signal

import pytest

from alephtx import cli
from tests.test_cli_runs import PATIENCE, World, alephtx, engine_of, twin, until

__all__ = ["twin"]  # a fixture of the other file

pytestmark = [pytest.mark.flow, pytest.mark.timeout(900)]


def test_a_changed_limit_denies_at_once_and_outlives_kill_9(tmp_path, twin):
    made = alephtx("limits", "--json", "key", "ann.key", folder=tmp_path)
    public = json.loads(made.stdout)["public"]
    world = World(tmp_path, twin, name="limits")
    text = world.text.replace("[risk]\n", f'[risk]\nofficers = {{ ann = "{public}" }}\n')
    (tmp_path / "config.toml").write_text(text)
    try:
        process = world.start("run")
        world.quoting()
        key = f"file:{tmp_path / 'ann.key'}"
        who = ["--who", "ann", "--key", key, "--reason", "a test"]
        told = alephtx("limits", "set", "notional_max", "20", *who, folder=tmp_path)
        assert told.returncode == cli.OK, told.stdout + told.stderr
        assert "notional_max: 20000 -> 20, in force" in told.stdout
        until(lambda: world.status()["denied"].get("notional"), "a denial")

        current = world.run / "limits" / "current.json"
        current.unlink()
        os.kill(engine_of(world), signal.SIGKILL)
        until(current.exists, "the next engine's limits")
        assert (
            "notional_max                                 20\n"
            in alephtx("limits", folder=tmp_path).stdout
        )
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE) == cli.OK, world.said()
        assert "reconciled with every venue: yes" in world.said()
    finally:
        world.close()
