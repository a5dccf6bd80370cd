"""`alephtx data`: in, listed, checked, out, and what it says of what cannot be read."""

import gzip
import json
from pathlib import Path

import pytest

from alephtx import cli
from alephtx.store.ticks import open_ticks
from tests.test_cli import alephtx

GOLDEN = Path(__file__).parent / "golden"
RECORDING = GOLDEN / "binance" / "usdm_btcusdt_20240808.gz"
KEY = "binance_usdm:BTC-USDT-PERP"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys, *words):
    code = cli.main(["data", *map(str, words), "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else None


def complaint(capsys, *words):
    code = cli.main(["data", *map(str, words)])
    return code, capsys.readouterr().err.splitlines()[-1]


def test_a_recording_goes_in_and_comes_out(folder, capsys):
    code, (one,) = told(capsys, "import", RECORDING)
    assert code == 0
    assert (one["format"], one["damaged"], one["streams"][0]["instrument"]) == ("raw", 0, KEY)
    code, entries = told(capsys, "ls")
    assert [(e["venue"], e["instrument"], e["date"]) for e in entries] == [
        ("binance_usdm", "BTC-USDT-PERP", "2024-08-08")
    ]
    assert entries[0]["rows"] == one["rows"]
    code, found = told(capsys, "check", "data")
    assert code == 0
    assert {"rows", "gaps", "crossed", "span_ns"} <= set(found)
    assert (found["rows"], found["gaps"], found["crossed"]) == (one["rows"], 0, 0)
    code, wrote = told(capsys, "export", KEY, "--to", "out.ticks")
    assert (code, wrote["rows"]) == (0, one["rows"])
    assert told(capsys, "check", "out.ticks")[1]["span_ns"] == found["span_ns"]
    for name in ("out.parquet", "out.csv"):
        assert told(capsys, "export", "out.ticks", "--to", name)[1]["rows"] == one["rows"]
        again = told(capsys, "check", name)[1]
        assert (again["rows"], again["damaged"]) == (one["rows"], 0)
        assert again["streams"][0]["report"] == found["streams"][0]["report"]
    assert len((folder / "out.csv").read_text().splitlines()) == one["rows"] + 1
    code, rows = told(capsys, "ls", "--sql", "SELECT count(*) AS n FROM events")
    assert rows == [{"n": one["rows"]}]


def test_replay_files_are_written_at_once(folder, capsys):
    code, (one,) = told(capsys, "import", RECORDING, "--ticks", "ticks")
    assert code == 0
    (file,) = one["streams"][0]["files"]
    found = open_ticks(Path(file))
    found.verify()
    assert (found.instrument.key, len(found)) == (KEY, one["rows"])


def test_a_raw_file_is_checked_as_it_is(folder, capsys):
    code, found = told(capsys, "check", RECORDING)
    assert (code, found["gaps"], found["crossed"], found["damaged"]) == (0, 0, 0, 0)
    assert not (folder / "data").exists()


def test_a_folder_is_imported_with_one_bad_file_in_it(folder, capsys):
    (folder / "in").mkdir()
    (folder / "in" / "good.gz").write_bytes(RECORDING.read_bytes())
    (folder / "in" / "bad.gz").write_bytes(b"nothing")
    code = cli.main(["data", "import", "in", "--json"])
    said = capsys.readouterr()
    assert code == cli.CONFIG
    assert len(json.loads(said.out)) == 1
    assert "bad.gz is of no format" in said.err
    (folder / "in" / "cut.ticks").write_bytes(b"ALEPHTIX")
    code, found = told(capsys, "check", "in")
    assert (code, found["damaged"], found["damages"][0]["file"]) == (0, 1, "cut.ticks")
    assert found["notes"] == ["bad.gz is of no format that is known here"]
    assert found["rows"] > 9_000


def test_a_table_of_nobody_can_be_checked_but_not_imported(folder, capsys):
    (folder / "a.csv").write_text("date,last\n2018-08-12 00:00:19,681008.0\n")
    code, found = told(capsys, "check", "a.csv")
    assert (code, found["rows"], found["streams"][0]["instrument"]) == (0, 1, "unknown:unknown")
    assert "give --venue and --symbol" in complaint(capsys, "import", "a.csv")[1]


def test_tables_of_named_columns_go_in_as_a_user_names_them(folder):
    (folder / "bars.csv").write_text(
        "Day;O;H;L;C\n2024-01-31;10;12.5;9;11\n2024-02-01;11;9;11;11\n"
    )
    (folder / "ns.csv").write_text("ts,px\n1723161255088169167,5.25\n")
    names = [f"--column={name}" for name in ("time=Day", "open=O", "high=H", "low=L", "close=C")]
    place = ["--venue", "toy", "--symbol", "AB", "--json"]

    def ran(*words):
        said = alephtx("data", "import", *words, *place, folder=folder)
        assert "Traceback" not in said.stderr
        return said.returncode, json.loads(said.stdout)[0] if said.stdout else said.stderr

    code, one = ran("bars.csv", *names, "--stamp", "start", "--period", "1d")
    assert (code, one["format"], one["rows"], one["damaged"]) == (0, "columns", 4, 1)
    assert one["damages"][0]["problem"] == "below low"
    day = 1_706_745_600_000_000_000  # 2024-02-01: when the bar of the day before had ended
    assert one["streams"][0]["report"]["first_ns"] == day
    code, line = ran("bars.csv", *names)
    assert (code, line.strip().endswith("--stamp end, or --stamp start --period 1m")) == (3, True)
    code, one = ran("ns.csv", "--column=time=ts", "--column=price=px")
    assert (code, one["damaged"]) == (0, 0)
    assert one["streams"][0]["report"]["first_ns"] == 1_723_161_255_088_169_167


def test_bars_and_rates_of_one_table_stand_beside_each_other(folder, capsys):
    (folder / "a.csv").write_text(
        "time,open,high,low,close,rate\n2024-01-31,10,12,9,11,0.0001\n2024-02-01,11,12,9,11,0.0002\n"
    )
    words = ["import", "a.csv", "--venue", "toy", "--symbol", "AB"]
    rates = [*words, "--column", "time=time", "--column", "rate=rate"]
    bars = [*words, "--stamp", "start", "--period", "1d"]
    named = [f"--column={name}={name}" for name in ("time", "open", "high", "low", "close")]
    for again in (bars, rates, rates, [*bars, *named]):
        assert told(capsys, *again)[0] == 0
    query = "SELECT kind, count(*) AS n FROM events GROUP BY kind ORDER BY kind"
    assert told(capsys, "ls", "--sql", query)[1] == [{"kind": 7, "n": 2}, {"kind": 11, "n": 8}]


def test_trades_without_a_side_are_told(folder, capsys):
    (folder / "a.csv").write_text("date,last\n2018-08-12 00:00:19,681008.0\n")
    (folder / "b.csv").write_text("date,last,side\n2018-08-12 00:00:19,681008.0,buy\n")
    for name, count in (("a.csv", 1), ("b.csv", 0)):
        code, found = told(capsys, "check", name)
        assert (code, found["sideless"]) == (0, count)
        assert found["streams"][0]["report"]["sideless"] == count
        assert cli.main(["data", "check", name]) == cli.OK
        said = "sideless   1 trades do not say who took" in capsys.readouterr().out
        assert said == bool(count)


def test_damage_is_told_and_strict_ends_with_3(folder, capsys):
    lines = gzip.decompress(RECORDING.read_bytes()).splitlines(keepends=True)
    lines.insert(9, b"17 rubbish\n")
    (folder / "a.gz").write_bytes(gzip.compress(b"".join(lines)))
    code, (one,) = told(capsys, "import", "a.gz")
    assert (code, one["damaged"], one["damages"][0]["row"]) == (0, 1, 10)
    assert cli.main(["data", "import", "a.gz"]) == cli.OK
    assert "damage     a.gz:10: frame" in capsys.readouterr().out
    assert told(capsys, "import", "a.gz", "--strict")[0] == cli.CONFIG
    assert told(capsys, "check", "a.gz", "--strict")[0] == cli.CONFIG
    assert told(capsys, "check", RECORDING, "--strict")[0] == cli.OK


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "none"], "none is not there"),
        (["check", "."], "is empty"),
        (["import", "none"], "none is no file"),
        (["import", "."], "no file in ."),
        (["import", RECORDING, "--format", "foo"], "no format 'foo'. known: "),
        (["import", RECORDING, "--venue", "foo"], "foo"),
        (["import", RECORDING, "--instrument", "none"], "none: no instrument"),
        (["import", RECORDING, "--column", "price"], "--column price is not OURS=THEIRS"),
        (["export", "toy:X", "--to", "a.ticks"], "no data of toy:X in data. there is: none"),
        (["export", "toy:X", "--to", "a.ticks", "--first", "foo"], "--first foo is not a date"),
        (
            ["export", "toy:X", "--to", "a.ticks", "--last", "20240808"],
            "--last 20240808 is not a date. such as 2024-08-08",
        ),
        (
            ["export", "toy:X", "--to", "a.ticks", "--first", "2024-08-09", "--last", "2024-08-08"],
            "--last 2024-08-08 is before --first 2024-08-09",
        ),
        (["ls", "--data", "none"], "none is not there. --data names the catalogue's folder"),
        (["ls", "--data", RECORDING], "is a file, not a folder"),
        (["ls", "--data", ".", "--sql", "SELECT"], "DuckDB: "),
        (["ls", "--data", ".", "--sql", ""], "--sql takes one SELECT; this is nothing"),
        (["ls", "--data", ".", "a:*", "--sql", "SELECT 1"], "a question takes no patterns"),
        (["ls", "--data", ".", "a:*"], "no instrument matches 'a:*'. there is: none"),
        (["import", "none", "--period", "1y"], "--period 1y is no length of a bar. such as 1m"),
    ],
)
def test_what_cannot_be_done_is_one_line(folder, capsys, words, said):
    code, line = complaint(capsys, *words)
    assert code == cli.CONFIG
    assert said in line


def test_an_export_of_no_known_kind_is_refused(folder, capsys):
    cli.main(["data", "import", str(RECORDING)])
    assert "use .ticks, .parquet or .csv" in complaint(capsys, "export", KEY, "--to", "a.xls")[1]
    assert "no row to export" in complaint(
        capsys, "export", KEY, "--to", "a.csv", "--first", "2030-01-01"
    )[1]  # fmt: skip
    assert "cannot write" in complaint(capsys, "export", KEY, "--to", "none/a.csv")[1]


def test_lines_for_a_person(folder, capsys):
    (folder / "data").mkdir()
    assert cli.main(["data", "ls"]) == 0
    assert capsys.readouterr().out == "nothing\n"
    cli.main(["data", "import", str(RECORDING)])
    assert f"stream     {KEY}: " in capsys.readouterr().out
    cli.main(["data", "ls"])
    assert KEY in capsys.readouterr().out
    cli.main(["data", "check", "data"])
    assert "gaps       0" in capsys.readouterr().out
    cli.main(["data", "ls", "--sql", "SELECT kind, count(*) AS n FROM events GROUP BY ALL"])
    assert "kind" in capsys.readouterr().out


def test_a_given_instrument_rules(folder, capsys):
    cli.main(["data", "import", str(RECORDING)])
    capsys.readouterr()
    _, wrote = told(capsys, "export", KEY, "--to", "a.ticks")
    wrote["instrument"]["taker_fee"] = "0.0001"
    for rules in (wrote["instrument"], wrote):  # alone, or all that export prints
        (folder / "rules.json").write_text(json.dumps(rules))
        code, (one,) = told(
            capsys, "import", RECORDING, "--instrument", "rules.json", "--ticks", "ticks"
        )
        assert code == 0
        assert str(open_ticks(Path(one["streams"][0]["files"][0])).instrument.taker_fee) == "0.0001"
