"""The verbs that read and refuse: missing, foreign, cut-off and hostile run directories."""

import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx import cli
from alephtx.core.config import load_config
from alephtx.core.errors import ConfigError
from alephtx.engine import kill_door
from alephtx.engine.kill_words import KillRequest
from alephtx.engine.outside import attach_to, find_run
from alephtx.engine.resume import grown, unfinished_run
from alephtx.engine.rundir import RunDirectory
from alephtx.matrix.shm import Matrix
from alephtx.serve.overview import look

STATUS = {
    "ts": 5, "halted": False, "mode": "live", "counters": {"events": 1}, "denied": {},
    "strategies": [{"name": "mm", "enabled": True, "events": 1, "intents": 1, "denied": 0,
                    "open_orders": 1, "positions": {"x:Y": "1"}}],
    "accounts": [{"name": "a", "ready": True, "live_orders": 2}],
    "alarms": ["order 7: code 3"],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder):
    return RunDirectory.create(folder / "runs", "node-1", "# a config\n")


def last_line(capsys):
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("verb", ["status", "report", "kill"])
def test_no_run_is_one_line(folder, verb, capsys):
    assert cli.main([verb]) == cli.CONFIG
    assert "run below runs" in last_line(capsys)
    assert cli.main([verb, *(["nope"] if verb == "report" else ["--run", "nope"])]) == cli.CONFIG
    assert last_line(capsys) == "alephtx: there is no run nope. ls runs shows the runs"


@pytest.mark.parametrize("verb", ["status", "report", "kill"])
def test_a_foreign_directory_is_refused(folder, verb, capsys):
    (folder / "mine").mkdir()
    assert cli.main([verb, *(["mine"] if verb == "report" else ["--run", "mine"])]) == cli.CONFIG
    assert "mine is not a run directory" in last_line(capsys)
    (folder / "runs").write_text("a file")
    assert cli.main([verb]) == cli.CONFIG
    assert last_line(capsys) == "alephtx: runs cannot be read: Not a directory"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("status.json", "{"), ("status.json", "[]"), ("status.json", '{"ts": "5"}'),
        ("status.json", '{"ts": 1e99, "halted": false}'), ("status.json", "\x00\xff"),
        ("supervisor.json", '{"pid": "x"}'), ("processes.json", "{}"), ("halts.json", "[3]"),
        ("summary.json", "nan"), ("status.json", "[" * 100_000),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(run, name, text, capsys):
    (run.path / name).write_text(text)
    assert cli.main(["status"]) == cli.CONFIG
    said = last_line(capsys)
    assert said.startswith(f"alephtx: {run.path / name} is damaged: ")


def test_a_file_that_cannot_be_read_is_named(run, capsys):
    run.status.mkdir()
    assert cli.main(["status"]) == cli.CONFIG
    assert last_line(capsys) == f"alephtx: {run.status} cannot be read: Is a directory"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.one_of(st.binary(max_size=200), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(sorted(STATUS)), inner, max_size=5),
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
def test_no_status_file_makes_a_traceback(run, data):
    run.status.write_bytes(data)
    assert cli.main(["status"]) in (cli.OK, cli.CONFIG)
    request = KillRequest("1", 0, 0, "a test")
    assert "orders may be open" in kill_door._unreported(run, request, "nobody").said


def test_an_ended_run_is_told_from_its_files(run, capsys):
    run.write_json(run.status, STATUS)
    run.write_json(run.summary, {"reconciled": True, "left_open": []})
    assert cli.main(["status", "--json"]) == cli.OK
    seen = json.loads(capsys.readouterr().out)
    assert (seen["state"], seen["node"], seen["pid"]) == ("ended", "node-1", 0)
    assert cli.main(["status", "--watch"]) == cli.OK
    told = capsys.readouterr().out
    assert "mm: on, 1 events, 1 intents, 0 denied, 1 open orders, x:Y 1" in told
    assert "alarm      order 7: code 3" in told
    assert "end        reconciled" in told


def test_a_run_that_crashed_says_what_may_be_open(run, capsys):
    run.write_json(run.status, STATUS)
    assert cli.main(["status"]) == cli.OK
    assert "crashed" in capsys.readouterr().out
    assert cli.main(["kill", "--run", run.id]) == cli.RISK
    assert "2 orders may be open" in capsys.readouterr().out


def test_what_an_ended_run_left_open_is_said(run, capsys):
    run.write_json(run.summary, {"reconciled": False, "left_open": [7]})
    assert cli.main(["kill", "--run", run.id]) == cli.RISK
    assert "left open: [7]" in capsys.readouterr().out
    assert cli.main(["status"]) == cli.OK
    assert "left open  [7]" in capsys.readouterr().out


def test_the_lock_tells_who_lives_and_keeps_the_second_out(run):
    other = RunDirectory(run.path)
    assert not run.alive
    run.claim()
    assert run.alive
    assert other.alive
    with pytest.raises(ConfigError, match="is still going"):
        other.claim()
    run.release()
    other.claim()
    other.release()
    assert not run.alive


def test_a_living_run_whose_matrix_is_gone_or_not_its_own_says_so(run, capsys):
    run.claim()
    path = f"/dev/shm/aleph-test-{run.id}"
    run.write_json(run.path / "supervisor.json", {"pid": 1, "matrix": path, "epoch": 5})
    assert f"there is no matrix at {path}" in look(run).trouble
    assert cli.main(["kill"]) == cli.RISK
    assert "there is no matrix" in capsys.readouterr().out
    matrix = Matrix.create(path, run_instruments())
    try:
        with pytest.raises(ConfigError, match="is not the matrix of run"):
            attach_to(run)
    finally:
        matrix.unlink()
        matrix.close()
    (run.path / "supervisor.json").unlink()
    assert "has no matrix yet" in look(run).trouble
    run.release()


def run_instruments():
    from alephtx.core.instruments import Instruments

    return Instruments()


def test_the_newest_living_run_is_found_first(folder):
    old = RunDirectory.create(folder / "runs", "a", "")
    new = RunDirectory(folder / "runs" / "99991231-235959-b-0000")
    new.path.mkdir()
    new.config.write_text("")
    assert find_run(None).id == new.id
    old.claim()
    assert find_run(None).id == old.id
    old.release()


def test_discard_leaves_the_run_before_as_the_latest(folder):
    base = folder / "runs"
    old = RunDirectory.create(base, "a", "")
    new = RunDirectory.create(base, "a", "")
    assert (base / "latest").resolve() == new.path
    new.discard()
    assert (base / "latest").resolve() == old.path
    old.discard()
    assert list(base.iterdir()) == []


CONFIG = """\
[node]
name = "n-1"
runs = "{runs}"
[venues.binance_usdm]
symbols = ["BTCUSDT"]
"""


def test_only_the_same_node_and_config_is_taken_up(folder):
    path = folder / "config.toml"
    path.write_text(CONFIG.format(runs=folder / "runs"))
    config = load_config(path)
    assert unfinished_run(config) is None
    RunDirectory.create(folder / "runs", "x-n-1", config.dump())
    assert unfinished_run(config) is None
    RunDirectory.create(folder / "runs", "n-1", "# another\n")
    assert unfinished_run(config) is None
    run = RunDirectory.create(folder / "runs", "n-1", config.dump())
    taken = unfinished_run(config)
    assert taken is not None
    assert taken.id == run.id
    with pytest.raises(ConfigError, match="still going"):
        unfinished_run(config)
    taken.release()
    run.write_json(run.summary, {})
    run.path.rename(run.path.with_name(f"99991231-235959-n-1-{run.id[-4:]}"))
    assert unfinished_run(config) is None


def instrument(symbol, **changes):
    from decimal import Decimal

    from alephtx.core.instruments import Instrument
    from alephtx.core.words import LINEAR

    made = {
        "key": f"v:{symbol}", "venue": "v", "symbol": symbol, "base": symbol, "quote": "USDT",
        "settle": "USDT", "contract": LINEAR, "price_scale": 2, "qty_scale": 3,
        "tick_size": Decimal("0.01"), "lot_size": Decimal("0.001"), **changes,
    }  # fmt: skip
    return Instrument(**made)


def test_a_table_taken_up_keeps_its_indices_and_grows_at_the_end(run):
    from decimal import Decimal

    from alephtx.core.instruments import Instruments

    fetched = Instruments([instrument("C"), instrument("B", tick_size=Decimal("0.05"))])
    assert grown(run, fetched) is fetched
    run.instruments.write_bytes(Instruments([instrument("A"), instrument("B")]).to_json())
    table = grown(run, fetched)
    assert [i.symbol for i in table] == ["A", "B", "C"]
    assert table["v:B"].tick_size == Decimal("0.05")
    assert table.currencies == ["", "A", "USDT", "B", "C"]
    changed = Instruments([instrument("A", price_scale=3)])
    with pytest.raises(ConfigError, match="v:A changed its price_scale"):
        grown(run, changed)
    run.instruments.write_bytes(b'{"instruments": [{}]}')
    with pytest.raises(ConfigError, match="is damaged"):
        grown(run, fetched)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "there is no config file config.toml"),
        (["feed"], "there is no config file config.toml"),
        (["twin", "binance_spot", "--port", "binance_spot=x"], "port 'x' of binance_spot"),
        (["twin", "binance_spot", "--port", "okx=1"], "'okx=1' is not VENUE=VALUE"),
        (["twin", "binance_spot", "--fees", "binance_spot=1"], "not MAKER/TAKER"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_code_3(folder, arguments, said, capsys):
    assert cli.main(arguments) == cli.CONFIG
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_run_and_feed_refuse_odd_durations(folder):
    for text in ("0", "-1", "nan", "x", "1e99"):
        for verb in ("run", "feed"):
            with pytest.raises(SystemExit) as ended:
                cli.main([verb, "--seconds", text])
            assert ended.value.code == cli.USAGE


def test_run_without_a_strategy_points_to_feed(folder, capsys):
    (folder / "config.toml").write_text(CONFIG.format(runs="runs"))
    assert cli.main(["run"]) == cli.CONFIG
    assert "alephtx feed" in last_line(capsys)


def test_the_mode_given_is_held_to_its_own_rules(folder, capsys):
    (folder / "config.toml").write_text(CONFIG.format(runs="runs"))
    assert load_config("config.toml", mode="shadow").node.mode == "shadow"
    assert cli.main(["run", "--mode", "live"]) == cli.CONFIG
    assert "risk.notional_max: must be written out in live mode" in capsys.readouterr().err


def test_a_twin_on_a_busy_port_says_so(folder, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["twin", "binance_usdm", "--port", f"binance_usdm={port}"]) == cli.CONFIG
    assert "cannot open a loopback port" in last_line(capsys)


def test_a_kill_is_told_by_account():
    from alephtx.cli.kill import Killed, _lines
    from alephtx.engine.kill_words import KillReport
    from alephtx.execution.killing import AccountReport

    plain = AccountReport("a", "x", cancels=3, requests=1, sent_ns=5_000_000, confirmed=True,
                          confirmed_ns=9_000_000)  # fmt: skip
    worse = AccountReport("b", "y", open=["7 on y:Z"], positions={"y:Z": "-3"}, error="HTTP 503")
    report = KillReport("r", KillRequest("1", 0, 0, "a test"), accounts=[plain, worse])
    lines = _lines(Killed("r", halted=True, live_orders=-1, said="not confirmed", report=report))
    assert lines == [
        "r: not confirmed",
        "  a (x): 3 cancelled in 1 requests, the last sent after 5 ms; nothing open after 9 ms",
        "  b (y): 0 cancelled in 0 requests; not confirmed: 7 on y:Z; left: -3 y:Z; HTTP 503",
    ]
