"""`alephtx doctor`: what it says, to people and to programs, and its exit codes."""

import json

import pytest

from alephtx import cli
from alephtx.engine.machine import BROKEN, COSTS, Finding


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_doctor_needs_no_config_and_says_what_helps(capsys):
    assert cli.main(["doctor", "--quick"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert any(line.startswith("good ") for line in said)
    assert sum(line.startswith("        ") for line in said) >= 1
    assert "good" in said[-1]


def test_doctor_as_json_is_one_object(capsys):
    assert cli.main(["doctor", "--quick", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"] is None
    assert {"what", "value", "verdict", "cost", "remedy"} == set(told["findings"][0])


@pytest.mark.parametrize(("verdict", "code"), [(BROKEN, 3), (COSTS, 0)])
def test_only_what_is_broken_is_an_error_and_only_where_that_is_asked_for(
    verdict, code, monkeypatch, capsys
):
    seen = [Finding("it", "so", verdict, "time", "sleep more")]
    monkeypatch.setattr("alephtx.cli.doctor.examine", lambda *_, **__: seen)
    assert cli.main(["doctor"]) == 0
    assert cli.main(["doctor", "--strict"]) == code
    said = capsys.readouterr().out
    assert f"{verdict:<7} it: so\n        costs time\n        help  sleep more\n1 {verdict}" in said


def test_doctor_takes_the_config_that_lies_there(somewhere, capsys):
    (somewhere / "config.toml").write_text('[venues.binance_spot]\nsymbols = ["BTCUSDT"]\n')
    assert cli.main(["doctor", "--quick", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"] == "config.toml"


def test_bad_config_is_named_as_everywhere(somewhere, capsys):
    (somewhere / "bad.toml").write_text("[machine]\nloop_cpus = 1\n")
    assert cli.main(["doctor", "bad.toml"]) == 3
    assert "did you mean loop_cpu" in capsys.readouterr().err
