"""The command line, run as a user runs it: codes, one-line errors, JSON, no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alephtx import cli
from alephtx.core import errors
from alephtx.core.secrets import Secret

ROOT = Path(__file__).parents[1]


def alephtx(*arguments, folder=ROOT, **environment):
    return subprocess.run(
        [sys.executable, "-m", "alephtx.cli", *arguments],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the example config, as the working directory."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init"]) == cli.OK
    return tmp_path


@pytest.mark.smoke
def test_init_then_check_is_good(folder, capsys):
    assert (folder / "config.toml").read_text() == (ROOT / "config.example.toml").read_text()
    assert cli.main(["check"]) == cli.OK
    lines = capsys.readouterr().out.splitlines()
    assert any(
        line.startswith("ok       strategy arb: arbitrage on binance_spot") for line in lines
    )


def test_init_never_replaces_a_config_unasked(folder, capsys):
    (folder / "config.toml").write_text("mine")
    assert cli.main(["init"]) == cli.CONFIG
    assert "--force" in capsys.readouterr().err
    assert (folder / "config.toml").read_text() == "mine"
    assert cli.main(["init", "--force"]) == cli.OK
    assert cli.main(["init", "no/such/folder.toml"]) == cli.CONFIG
    assert cli.main(["init", "other.toml"]) == cli.OK
    assert "alephtx check other.toml" in capsys.readouterr().out


def test_check_of_a_bad_config_names_every_line(folder, capsys):
    text = (folder / "config.toml").read_text().replace("depth = 32", "dpeth = 32")
    (folder / "config.toml").write_text(text.replace("engine = 1", "engine = -1"))
    assert cli.main(["check"]) == cli.CONFIG
    output = capsys.readouterr().out.splitlines()
    assert len(output) == 2
    assert all(line.startswith("error    config: config.toml:") for line in output)
    assert "did you mean depth" in output[1]


def test_check_as_json_is_one_object(folder, capsys):
    capsys.readouterr()
    assert cli.main(["check", "--json"]) == cli.OK
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert {"state", "what", "said"} == set(report["lines"][0])


def edited(folder, *changes):
    path = folder / "config.toml"
    text = path.read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)


def test_check_names_unknown_plugins_and_unwritable_folders(folder, capsys):
    edited(folder, ('use = "arbitrage"', 'use = "arbitrgae"'), ('"/dev/shm/aleph', '"/proc/aleph'),
           ("binance_spot", "binance_spto"))  # fmt: skip
    assert cli.main(["check"]) == cli.CONFIG
    output = capsys.readouterr().out
    assert "error    strategy arb: there is no strategies plugin named 'arbitrgae'" in output
    assert "did you mean 'arbitrage'?" in output
    assert "error    venue binance_spto: there is no venues plugin" in output
    assert "error    matrix: /proc cannot be written" in output or os.access("/proc", os.W_OK)


def test_check_warns_of_more_threads_that_never_sleep_than_cores(folder, capsys, monkeypatch):
    edited(
        folder,
        ('wait = "adaptive"', 'wait = "spin"'),
        ('main_wait = "sleep"', 'main_wait = "spin"'),
    )
    for cores, state in ((4, "ok"), (2, "warning")):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: set(range(cores)))
        assert cli.main(["check"]) == cli.OK
        (line,) = (
            x for x in capsys.readouterr().out.splitlines() if " cores: " in x and "never" in x
        )
        assert line.startswith(
            f"{state:<8} cores: never sleep: the engine's loop, the engine's main"
        )
        assert f"cores: {cores}" in line


def test_check_of_a_strategy_file_names_its_mistake(folder, capsys):
    (folder / "mine.py").write_text("def on_event(:\n")
    edited(folder, ('use = "arbitrage"', 'use = "mine.py"'))
    assert cli.main(["check"]) == cli.CONFIG
    assert "mine.py:1: SyntaxError" in capsys.readouterr().out


def test_check_of_a_missing_secret_warns_in_paper_and_fails_in_live(folder, capsys, monkeypatch):
    monkeypatch.delenv("ALEPHTX_NONE", raising=False)
    edited(folder, ('secret = "twin"               # at', 'secret = "env:ALEPHTX_NONE"  # at'))
    assert cli.main(["check"]) == cli.OK
    assert "warning  account main_spot: secret: environment variable" in capsys.readouterr().out
    edited(folder, ('mode = "paper"', 'mode = "live"'))
    assert cli.main(["check"]) == cli.CONFIG


COINM = """
[venues.binance_coinm]
symbols = ["BTCUSD_PERP"]
environment = "twin"
[accounts.coinm]
venue = "binance_coinm"
key = "twin:key"
secret = "twin"
"""


def test_check_knows_which_accounts_the_loop_can_send_for(folder, capsys):
    """COIN-M takes orders over HTTP only; asked for by name that is an error before any start."""
    path = folder / "config.toml"
    path.write_text(path.read_text() + COINM + 'entry = "loop"\n')
    edited(folder, ('secret = "twin"               # at', 'entry = "loop"\nsecret = "twin" #'))
    capsys.readouterr()
    assert cli.main(["check"]) == cli.OK
    said = "account coinm: binance_coinm has no compiled order entry. "
    said += 'set entry = "gateway"'
    output = capsys.readouterr().out
    assert f"warning  {said}" in output, "in paper nobody sends from the loop"
    assert "binance_spot, secrets found; the loop sends its orders" in output
    edited(folder, ('mode = "paper"', 'mode = "live"'))
    assert cli.main(["check"]) == cli.CONFIG
    assert f"error    {said}" in capsys.readouterr().out


def test_check_says_that_a_direct_strategys_account_stays_with_the_gateway(folder, capsys):
    path = folder / "config.toml"
    strategy = """
[strategies.mm]
use = "market_maker"
instruments = ["binance_coinm:BTC-USD-PERP"]
accounts = ["coinm"]
path = "direct"
"""
    path.write_text(path.read_text() + COINM + strategy)
    assert cli.main(["check"]) == cli.OK
    said = "the gateway sends its orders: binance_coinm has no compiled order entry"
    assert said in capsys.readouterr().out


SLOW = """
from tests.feed.toy_venue import ToyCodec, spec

class Slow:
    spec = spec(None)
    request = parse_instruments = None

    def bind(self, instruments, signer, account):
        return ToyCodec(None, instruments)

PLUGIN = Slow
"""
SLOW_TABLES = """
[venues.slow]
symbols = ["X"]
environment = "twin"
[accounts.slow]
venue = "slow"
key = "twin"
secret = "twin"
[strategies.mm]
use = "market_maker"
instruments = ["slow:X-USD"]
accounts = ["slow"]
path = "direct"
"""


def test_check_says_that_a_direct_strategys_venue_cannot_be_received_by_the_loop(folder, capsys):
    """Its engine would say it, at its start and not before."""
    (folder / "plugins" / "venues").mkdir(parents=True)
    (folder / "plugins" / "venues" / "slow.py").write_text(SLOW)
    path = folder / "config.toml"
    path.write_text(path.read_text() + SLOW_TABLES)
    edited(folder, ("[node]\n", '[node]\nplugins = "plugins"\n'))
    capsys.readouterr()
    assert cli.main(["check"]) == cli.CONFIG
    said = "venue slow: toy has no compiled market stage, which the direct path needs. "
    assert f'error    {said}set path = "split" for mm\n' in capsys.readouterr().out
    edited(folder, ('path = "direct"', 'path = "split"'))
    assert cli.main(["check"]) == cli.OK
    assert "ok       venue slow: twin, 1 symbol\n" in capsys.readouterr().out


def test_check_warns_of_a_feeder_that_the_loop_stands_in_for(folder, capsys):
    edited(folder, ('feeder = "process" ', 'feeder = "engine" '))
    capsys.readouterr()
    assert cli.main(["check"]) == cli.OK
    assert "no effect" not in capsys.readouterr().out
    edited(folder, ('use = "arbitrage"', 'use = "arbitrage"\npath = "direct"'))
    assert cli.main(["check"]) == cli.OK
    said = 'venue binance_spot: feeder = "engine" has no effect: the loop receives it, for arb;'
    assert f"warning  {said}" in capsys.readouterr().out


def test_check_of_a_loop_account_that_cannot_be_bound_says_why(folder, capsys):
    edited(folder, ('secret = "twin"               # at', 'entry = "loop"\nsecret = "twin" #'),
           ("binance_spot", "binance_spto"))  # fmt: skip
    assert cli.main(["check"]) == cli.CONFIG
    output = capsys.readouterr().out
    assert "warning  account main_spot: there is no venues plugin named 'binance_spto'" in output


def test_check_catches_mainnet_under_another_name(folder, capsys):
    edited(
        folder,
        ('[venues.binance_usdm]\nsymbols = ["BTCUSDT"]\nenvironment = "twin"',
         '[venues.binance_usdm]\nsymbols = ["BTCUSDT"]\nenvironment = "testnet"\n'
         'http = "https://fapi.binance.com"'),
        ('venue = "binance_usdm"\nkey = "twin"\nsecret = "twin"',
         'venue = "binance_usdm"\nkey = "env:A"\nsecret = "env:B"'),
    )  # fmt: skip
    assert cli.main(["check"]) == cli.CONFIG
    output = capsys.readouterr().out
    assert 'http is mainnet, but environment = "testnet"' in output


def test_check_of_an_environment_that_the_venue_lacks_says_so(folder, monkeypatch, capsys):
    import alephtx.cli.check as verb

    class Lame:
        class spec:  # noqa: N801 - stands for an attribute
            endpoints = {}  # noqa: RUF012

    monkeypatch.setattr(verb.plugins, "find", lambda *given: Lame)
    edited(folder, ('symbols = ["BTCUSDT"]\nenvironment = "twin"',
                    'symbols = ["BTCUSDT"]\nenvironment = "testnet"'),
           ('"twin"   ', '"env:A"'), ('"twin"\nsec', '"env:A"\nsec'),
           ('secret = "twin"', 'secret = "env:B"'))  # fmt: skip
    assert cli.main(["check"]) == cli.CONFIG
    assert "it has no testnet" in capsys.readouterr().out


@pytest.mark.smoke
def test_version_names_what_it_stands_on(capsys):
    assert cli.main(["version", "--json"]) == cli.OK
    found = json.loads(capsys.readouterr().out)
    assert found["alephtx"] != "not installed"
    assert cli.main(["version"]) == cli.OK
    assert f"numba     {found['numba']}" in capsys.readouterr().out


def test_version_of_a_missing_package_says_so(monkeypatch, capsys):
    import alephtx.cli.version as verb

    monkeypatch.setattr(verb, "PACKAGES", ("no-such-package-xyz",))
    assert cli.main(["version"]) == cli.OK
    assert "not installed" in capsys.readouterr().out


def test_warm_compiles_once_and_says_how_much(capsys):
    """With a warm cache the verb is a look-up; it never compiles twice."""
    from alephtx.core import kernel

    assert cli.main(["warm", "--quiet"]) == cli.OK
    assert cli.main(["warm"]) == cli.OK
    last = capsys.readouterr().out.splitlines()[-1]
    assert ("0 kernels compiled" if kernel.JIT else "nothing to compile") in last


def test_help_and_usage_have_their_codes():
    result = alephtx("--help")
    assert result.returncode == 0
    assert all(verb in result.stdout for verb in cli.VERBS)
    for wrong in (["chek"], [], ["init", "--wat"]):
        result = alephtx(*wrong)
        assert (result.returncode, "usage:" in result.stderr) == (cli.USAGE, True)
        assert "Traceback" not in result.stderr


def test_module_and_command_are_one(tmp_path):
    assert alephtx("init", folder=tmp_path).returncode == 0
    assert alephtx("check", folder=tmp_path).returncode == 0


def test_reader_that_goes_away_is_no_bug(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "alephtx.cli", "version"],
        stdout=writing, stderr=subprocess.PIPE, text=True, timeout=300, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (result.returncode, result.stderr) == (cli.OUTPUT_CLOSED, "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), cli.CONFIG), (errors.PluginError("x"), cli.CONFIG),
        (errors.UnitError("x"), cli.CONFIG), (errors.Throttled("x"), cli.VENUE),
        (errors.LedgerMismatch("x"), cli.UNRECONCILED), (errors.JournalError("x"), cli.CONFIG),
        (errors.MatrixError("x"), cli.CONFIG), (errors.AlephError("x"), cli.INTERNAL),
        (KeyboardInterrupt(), cli.INTERRUPTED), (ZeroDivisionError("x"), cli.INTERNAL),
    ],
)  # fmt: skip
def test_each_error_has_its_code(error, code, monkeypatch, capsys):
    import alephtx.cli.version as verb

    def fail(options):
        raise error

    monkeypatch.setattr(verb, "run", fail)
    assert cli.main(["version"]) == code
    assert ("Traceback" in capsys.readouterr().err) == isinstance(error, ZeroDivisionError)


def test_errors_show_no_secret(capsys):
    secret = Secret("a-secret-of-length")
    cli.complain(errors.ConfigError("bad a-secret-of-length\nsecond line"))
    assert capsys.readouterr().err == "alephtx: bad ***\nalephtx: second line\n"
    assert secret
