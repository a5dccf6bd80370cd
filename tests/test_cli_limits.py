"""`alephtx limits`: a person shows limits, makes a key, changes a limit of a run that goes."""

import json
import stat
import threading
from decimal import Decimal

import pytest

from alephtx import cli
from alephtx.core.clock import MachineClock
from alephtx.core.config_schema import Risk
from alephtx.engine.limit_commands import LimitDesk
from alephtx.engine.rundir import RunDirectory
from alephtx.risk import state as g
from tests.engine.bench import Bench


@pytest.fixture
def key(tmp_path, capsys):
    """An officer's key, and its public half."""
    file = tmp_path / "ann.key"
    assert cli.main(["limits", "--json", "key", str(file)]) == cli.OK
    return file, json.loads(capsys.readouterr().out)["public"]


@pytest.fixture
def going(tmp_path, key):
    """A run that lives, and a thread that serves its commands as an engine does."""
    risk = Risk(notional_max=Decimal(1000), officers={"ann": key[1]})
    bench = Bench(tmp_path, risk=risk)
    run = RunDirectory.create(tmp_path / "runs", "test", "")
    run.claim()
    desk = LimitDesk(bench.config, run.path, MachineClock(), bench.ctx, bench.instruments)
    desk.poll(bench.engine.rings.commands.push)
    stop = threading.Event()

    def serve():
        while not stop.wait(0.005):
            desk.poll(bench.engine.rings.commands.push)
            bench.step()

    thread = threading.Thread(target=serve)
    thread.start()
    yield run, bench
    stop.set()
    thread.join()
    run.release()
    bench.close()


def call(run, *words, as_json=True):
    shared = ["limits", "--run", str(run.path), *(["--json"] if as_json else [])]
    return cli.main([*shared, *words])


def signed(key, *words):
    return [*words, "--who", "ann", "--key", f"file:{key[0]}", "--reason", "a test"]


def test_key_is_private_and_never_overwritten(key, capsys):
    file, public = key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert public.startswith("ed25519:")
    assert file.read_text().strip() not in public
    assert cli.main(["limits", "key", str(file)]) == cli.CONFIG
    assert "not there yet" in capsys.readouterr().err
    assert cli.main(["limits", "key", str(file.with_name("bob.key"))]) == cli.OK
    said = capsys.readouterr().out
    assert "NAME = 'ed25519:" in said
    assert file.with_name("bob.key").read_text().strip() not in said


def test_limits_are_shown_and_changed(going, key, capsys):
    run, bench = going
    assert call(run, *signed(key, "set", "notional_max", "500")) == cli.OK
    told = json.loads(capsys.readouterr().out)
    assert (told["old"], told["new"], told["accepted"]) == ("1000", "500", True)
    assert (bench.ctx.gate.notional_max[0] == 500 * 10**8).all()
    words = signed(key, "set", "leverage_max", "2", "--scope", "accounts.a")
    assert call(run, *words, as_json=False) == cli.OK
    assert "accounts.a.leverage_max: none -> 2, in force" in capsys.readouterr().out
    assert call(run, "show", as_json=False) == cli.OK
    lines = capsys.readouterr().out
    assert "notional_max" in lines
    assert "accounts.a.leverage_max" in lines
    assert "strategies.quoter.drawdown" in lines


def test_what_is_refused_says_why(going, key, capsys):
    run, _ = going
    assert call(run, *signed(key, "set", "notional_max", "0")) == cli.RISK
    assert "not above zero" in json.loads(capsys.readouterr().out)["said"]
    assert call(run, *signed(key, "rearm"), as_json=False) == cli.RISK
    assert "refused" in capsys.readouterr().out


def test_latches_are_lifted(going, key):
    run, bench = going
    bench.ctx.gate.accounts[1, g.RATIO_LATCHED] = 1
    for _ in range(400):
        shown = json.loads((run.path / "limits" / "current.json").read_text())
        if any(latch["state"] == "latched" for latch in shown["latches"]):
            break
        threading.Event().wait(0.01)
    assert call(run, *signed(key, "enable", "--scope", "accounts.b")) == cli.OK
    assert bench.ctx.gate.accounts[1, g.RATIO_LATCHED] == 0


def test_without_an_engine_the_command_is_taken_back(tmp_path, key, going, capsys):
    run = RunDirectory.create(tmp_path / "other", "test", "")
    assert call(run, "show") == cli.CONFIG
    assert "has told no limits yet" in capsys.readouterr().err
    current = going[0].path / "limits" / "current.json"
    (run.path / "limits" / "inbox").mkdir(parents=True)
    (run.path / "limits" / "current.json").write_bytes(current.read_bytes())
    assert call(run, *signed(key, "set", "notional_max", "500")) == cli.CONFIG
    assert "does not go" in capsys.readouterr().err
    run.claim()
    try:
        words = signed(key, "set", "notional_max", "500", "--wait", "0.05")
        assert call(run, *words) == cli.CONFIG
        assert "taken back" in capsys.readouterr().err
        assert not list((run.path / "limits" / "inbox").iterdir())
        assert call(run, *signed(key, "set", "x" * 200, "5")) == cli.CONFIG
        assert "cannot be made" in capsys.readouterr().err
    finally:
        run.release()
