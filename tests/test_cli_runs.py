"""Runs from the command line: real processes trade on a twin, are looked at, killed, taken up."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest

from alephtx import cli
from alephtx.engine.warm import ensure_warm

pytestmark = [pytest.mark.flow, pytest.mark.timeout(900)]

PATIENCE = 120.0
"""Seconds for what takes two on an idle machine with warm kernels."""

CONFIG = """\
[node]
name = "{name}"
mode = "live"
[matrix]
path = "{matrix}"
[risk]
notional_max = 20000
position_notional_max = 60000
band_bps = 50
stale_ms = 3000
drawdown_max = 2000
{twin}
[strategies.mm]
use = "market_maker"
instruments = ["binance_usdm:BTC-USDT-PERP"]
accounts = ["binance_usdm"]
half_spread_bps = "{half_spread}"
skew_bps = "0.5"
requote_bps = "1"
qty_base = "0.01"
inventory_max_base = "0.1"
"""


def alephtx(*arguments, folder, timeout=PATIENCE):
    return subprocess.run(
        [sys.executable, "-m", "alephtx.cli", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def until(ask, what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := ask():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {seconds:g} s")


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """A running `alephtx twin`: the tables it printed, and its HTTP address; all kernels warm."""
    ensure_warm(lambda line: None)
    folder = tmp_path_factory.mktemp("twin")
    with (folder / "twin.toml").open("wb") as out, (folder / "twin.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "alephtx.cli", "twin", "binance_usdm"],
            stdout=out, stderr=log, cwd=folder,
        )  # fmt: skip
    try:

        def tables():
            assert process.poll() is None, (folder / "twin.log").read_text()
            return (folder / "twin.toml").read_text()

        text = until(tables, "the twin")
        yield text, tomllib.loads(text)["venues"]["binance_usdm"]["http"]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == cli.OK
    finally:
        process.kill()
        process.wait()


class World:
    """A folder with a config, and the runs that were started there; none outlives the test."""

    def __init__(self, folder, twin, name="cli", half_spread="2"):
        self.folder, self.address = folder, twin[1]
        self.matrix = Path(f"/dev/shm/aleph-test-{os.getpid()}-{folder.name}")
        self.text = CONFIG.format(
            name=name, matrix=self.matrix, twin=twin[0], half_spread=half_spread
        )
        (folder / "config.toml").write_text(self.text)
        self.started = []

    def start(self, *arguments):
        """Start `alephtx run` as a terminal does: leader of a process group."""
        number = len(self.started)
        with (self.folder / f"{number}.out").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "alephtx.cli", *arguments],
                stdout=out, stderr=out, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def said(self, number=-1):
        return (self.folder / f"{range(len(self.started))[number]}.out").read_text()

    def look(self):
        """Return what `alephtx status --json` says, None while there is no run."""
        found = alephtx("status", "--json", folder=self.folder)
        assert found.returncode in (cli.OK, cli.CONFIG), found.stderr
        return json.loads(found.stdout) if found.returncode == cli.OK else None

    @property
    def run(self):
        return (self.folder / "runs" / "latest").resolve()

    def status(self):
        path = self.folder / "runs" / "latest" / "status.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def quoting(self, after=0):
        """Wait until orders of ours are open in a status from after a moment; return it."""

        def ask():
            alive = self.started[-1].poll() is None
            assert alive, self.said()
            status = self.status()
            return (
                status.get("ts", 0) > after
                and not status["halted"]
                and status["accounts"][0]["live_orders"]
                and status
            )

        return until(ask, "an open order")

    def open_orders(self):
        """Return the truth: what is open at the twin."""
        with urllib.request.urlopen(f"{self.address}/_twin/account") as answer:
            told = json.loads(answer.read())
        return orders_in(told)

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
        for path in (self.folder / "runs").glob("*/processes.json"):
            for child in json.loads(path.read_text()):
                if child["pid"] and str(path.parent) in command_of(child["pid"]):
                    os.kill(child["pid"], signal.SIGKILL)
        self.matrix.unlink(missing_ok=True)


def orders_in(told):
    """Return every open order in the twin's truth, however deep."""
    if isinstance(told, dict):
        own = told.get("open_orders", [])
        return [*own, *(o for key, v in told.items() if key != "open_orders" for o in orders_in(v))]
    return [order for item in told for order in orders_in(item)] if isinstance(told, list) else []


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.fixture
def world(tmp_path, twin):
    made = World(tmp_path, twin)
    yield made
    made.close()


def engine_of(world):
    processes = json.loads((world.run / "processes.json").read_text())
    return next(p["pid"] for p in processes if p["name"] == "engine")


def test_a_run_is_seen_refused_twice_killed_resumed_and_ended(world):
    process = world.start("run")
    world.quoting()
    assert world.open_orders()
    seen = world.look()
    assert (seen["state"], seen["mode"], seen["pid"]) == ("running", "live", process.pid)
    running = {p["name"] for p in seen["processes"] if p["pid"]}
    assert running == {"engine", "feeder:binance_usdm", "killer"}
    assert {b["key"]: b["state"] for b in seen["books"]}["binance_usdm:BTC-USDT-PERP"] == "ok"
    assert seen["status"]["accounts"][0]["name"] == "binance_usdm"

    again = alephtx("run", folder=world.folder)
    assert again.returncode == cli.CONFIG
    assert again.stderr.splitlines()[-1].startswith(f"alephtx: run {world.run.name} is still going")
    other = world.folder / "other.toml"
    other.write_text(world.text.replace('"cli"', '"other"'))
    busy = alephtx("run", "other.toml", folder=world.folder)
    assert busy.returncode == cli.CONFIG
    assert f"{world.matrix} is in use by a living owner" in busy.stderr.splitlines()[-1]
    kept = [p for p in (world.folder / "runs").iterdir() if p.is_dir() and not p.is_symlink()]
    assert kept == [world.run]

    killed = alephtx("kill", "--reason", "a test", "--json", folder=world.folder)
    assert killed.returncode == cli.OK, killed.stdout + killed.stderr
    assert json.loads(killed.stdout)[0]["live_orders"] == 0
    assert world.open_orders() == []
    until(lambda: world.status()["denied"].get("halted"), "a denial")
    lines = alephtx("status", folder=world.folder).stdout
    assert "live): halted" in lines
    assert "halt       stands: a test" in lines

    moment = time.time_ns()
    assert alephtx("kill", "--resume", folder=world.folder).returncode == cli.OK
    world.quoting(after=moment)

    os.kill(engine_of(world), signal.SIGSTOP)
    hung = alephtx("kill", "--reason", "it hangs", "--wait", "100", folder=world.folder)
    assert hung.returncode == cli.OK, hung.stdout + hung.stderr
    assert world.open_orders() == []
    assert [p["restarts"] for p in world.look()["processes"] if p["name"] == "engine"] == [1]

    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) == cli.RISK, world.said()
    assert "reconciled with every venue: yes" in world.said()
    assert not world.matrix.exists()
    ended = world.look()
    assert (ended["state"], ended["pid"]) == ("ended", 0)
    assert ended["summary"]["reconciled"] is True
    assert [note["action"] for note in ended["halts"]] == ["halt", "resume", "halt"]
    assert alephtx("kill", "--run", world.run.name, folder=world.folder).returncode == cli.OK
    assert alephtx("kill", folder=world.folder).returncode == cli.CONFIG

    report = world.run / "report.html"
    report.unlink()
    written = alephtx("report", folder=world.folder)
    assert (written.returncode, written.stdout.strip()) == (cli.OK, str(report))
    assert report.stat().st_size > 1000
    told = alephtx("report", world.run.name, "--json", folder=world.folder)
    assert json.loads(told.stdout) == ended["summary"]


def stop_while_quoting(world, engine):
    """Stop the engine at a moment at which it has orders on the book, not between two quotes."""
    for _ in range(50):
        os.kill(engine, signal.SIGSTOP)
        time.sleep(0.1)  # what had left arrives
        if world.open_orders():
            return
        os.kill(engine, signal.SIGCONT)
        time.sleep(0.05)
    raise AssertionError("the market maker has no quotes")


def test_a_run_that_died_is_taken_up_and_ends_in_order(world):
    process = world.start("run")
    world.quoting()
    engine = engine_of(world)
    stop_while_quoting(world, engine)
    os.kill(process.pid, signal.SIGKILL)
    os.kill(engine, signal.SIGKILL)
    process.wait()
    first = world.run.name
    assert world.look()["state"] == "crashed"
    assert world.open_orders()
    left = alephtx("kill", "--run", first, "--wait", "60", folder=world.folder)
    assert left.returncode == cli.OK, left.stdout + left.stderr
    assert world.open_orders() == []
    assert "no order is open; its engine is not there" in left.stdout
    refused = alephtx("report", folder=world.folder)
    assert refused.returncode == cli.CONFIG
    assert "did not end" in refused.stderr

    process = world.start("run", "--json")
    said = "it was killed (no reason given) and begins halted"
    until(lambda: said in world.said(), "the new process has read that")
    until(lambda: world.look()["state"] == "halted", "the run begins halted")
    moment = time.time_ns()
    assert alephtx("kill", "--resume", folder=world.folder).returncode == cli.OK
    world.quoting(after=moment)
    assert f"taking up run {first}" in world.said()
    assert world.run.name == first
    assert (world.run / "instruments.json").exists()
    engine = engine_of(world)
    os.killpg(process.pid, signal.SIGINT)
    os.kill(engine, signal.SIGKILL)  # it cannot cancel; its next life does
    assert process.wait(PATIENCE) == cli.OK, world.said()
    summary = json.loads(world.said().splitlines()[-1])
    assert (summary["run"], summary["reconciled"], summary["left_open"]) == (first, True, [])
    assert world.open_orders() == []
    assert not world.matrix.exists()
    assert "engine_settles" in (world.run / "logs" / "supervisor.log").read_text()
    assert json.loads((world.run / "summary.json").read_text()) == summary
    assert (world.run / "report.html").exists()


def test_a_second_interrupt_ends_at_once_and_says_what_is_open(world):
    process = world.start("run")
    world.quoting()
    os.kill(engine_of(world), signal.SIGSTOP)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) == cli.INTERRUPTED, world.said()
    assert "orders of binance_usdm" in world.said()
    assert "the next `alephtx run` takes it up" in world.said()
    assert not (world.run / "summary.json").exists()
    assert not world.matrix.exists()


def test_feed_shows_and_records_without_trading(world):
    world.start("feed", "--seconds", "12", "--record", "--json")
    assert world.started[-1].wait(PATIENCE) == cli.OK, world.said()
    summary = json.loads(world.said().splitlines()[-1])
    assert summary["mode"] == "feed"
    assert set(summary["book_states"].values()) == {"ok"}
    assert summary["feeders"]["binance_usdm"]["events"] > 0
    recorded = list((Path(summary["path"]) / "recordings").iterdir())
    assert recorded
    assert all(path.stat().st_size > 100 for path in recorded)
    assert not world.matrix.exists()
    assert not (Path(summary["path"]) / "engine.json").exists()


def test_a_strategy_that_cannot_start_is_named_with_its_mistake(tmp_path, twin):
    world = World(tmp_path, twin, half_spread="-3")
    try:
        result = alephtx("run", folder=world.folder)
        assert result.returncode == cli.CONFIG, result.stderr
        assert "half_spread_bps" in result.stderr
        assert "Traceback" not in result.stderr
        assert not world.matrix.exists()
    finally:
        world.close()


def test_a_venue_that_is_not_there_leaves_nothing_behind(world):
    text = world.text.replace(world.address, "http://127.0.0.1:9")
    (world.folder / "config.toml").write_text(text)
    result = alephtx("run", folder=world.folder)
    assert result.returncode == cli.VENUE
    assert result.stderr.splitlines()[-1].startswith("alephtx: binance_usdm: ")
    assert not (world.folder / "runs").exists()
    assert not world.matrix.exists()
