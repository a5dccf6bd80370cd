"""`alephtx data ls`: patterns, and questions that may read the catalogue and nothing else."""

import json
from pathlib import Path

import pytest

from alephtx import cli
from alephtx.cli.data import FORMATS
from alephtx.engine.ingest import importers
from tests.test_cli import alephtx

TABLE = "time,symbol,price\n1706659200000,{},1\n1706659200001,{},2\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a catalogue of three instruments in it."""
    monkeypatch.chdir(tmp_path)
    for venue, symbols in (("toy", ("AB", "CD")), ("zoo", ("AB",))):
        for symbol in symbols:
            Path("a.csv").write_text(TABLE.format(symbol, symbol))
            assert cli.main(["data", "import", "a.csv", "--venue", venue]) == cli.OK
    Path("a.csv").unlink()
    return tmp_path


def listed(capsys, *words):
    capsys.readouterr()
    assert cli.main(["data", "ls", *words, "--json"]) == cli.OK
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("patterns", "keys"),
    [([], ["toy:AB", "toy:CD", "zoo:AB"]), (["toy:*"], ["toy:AB", "toy:CD"]),
     (["*:AB"], ["toy:AB", "zoo:AB"]), (["zoo:AB", "toy:C?"], ["toy:CD", "zoo:AB"])],
)  # fmt: skip
def test_patterns_choose_instruments(folder, capsys, patterns, keys):
    assert [f"{e['venue']}:{e['instrument']}" for e in listed(capsys, *patterns)] == keys


def test_a_pattern_without_a_match_is_told(folder, capsys):
    assert cli.main(["data", "ls", "toy:*", "TOY:*"]) == cli.CONFIG
    assert capsys.readouterr().err.splitlines()[-1] == (
        "alephtx: no instrument matches 'TOY:*'. there is: toy:AB, toy:CD, zoo:AB"
    )


def test_questions_are_answered(folder, capsys):
    query = "SELECT venue, count(*) AS n, sum(ts_event) AS s FROM events GROUP BY venue ORDER BY n"
    stamps = 2 * 1_706_659_200_000_000_000 + 1_000_000
    assert listed(capsys, "--sql", query) == [
        {"venue": "zoo", "n": 2, "s": stamps}, {"venue": "toy", "n": 4, "s": 2 * stamps},
    ]  # fmt: skip
    assert listed(capsys, "--sql", "SELECT 1::HUGEINT << 70 AS big") == [{"big": str(1 << 70)}]
    assert listed(capsys, "--sql", "WITH x AS (FROM events) SELECT count(*) AS n FROM x;") == [
        {"n": 6}
    ]
    assert cli.main(["data", "ls", "--sql", "SELECT 1 AS a, 2 AS a", "--json"]) == cli.CONFIG
    assert "two columns are named 'a'" in capsys.readouterr().err


WRITES = [
    "copy (select 1) to 'pwn.csv'",
    "COPY events TO 'data/pwn.parquet'",
    "select 1; copy (select 1) to 'pwn.csv'",
    "explain analyze copy (select 1) to 'pwn.csv'",
    "prepare x as copy (select 1) to 'pwn.csv'; execute x",
    "/* select */ copy (select 1) to 'pwn.csv'",
    "select * from query('copy (select 1) to ''pwn.csv''')",
    "export database 'pwn'",
    "attach 'pwn.db'",
    "create table t as select 1",
    "insert into events select * from events",
    "drop view events",
    "set enable_external_access = true",
    "set lock_configuration = false; copy (select 1) to 'pwn.csv'",
    "pragma enable_profiling='json'; pragma profiling_output='pwn.json'; select 1",
    "install httpfs",
    "load httpfs",
    "call enable_logging(storage = 'file', storage_path = 'pwn')",
    "checkpoint",
]
READS = [
    "select * from 'secret.csv'",
    "select * from read_csv('secret.csv')",
    "select * from read_text('secret.csv')",
    "select * from read_blob('data/../secret.csv')",
    "select * from read_text('/etc/passwd')",
    "select * from glob('*')",
    "select * from sniff_csv('secret.csv')",
    "select * from read_parquet('secret.csv')",
]


@pytest.mark.parametrize("query", WRITES + READS)
def test_a_question_reads_the_catalogue_and_nothing_else(folder, capsys, query):
    (folder / "secret.csv").write_text("a,b\n1,2\n")
    before = sorted(folder.rglob("*"))
    assert cli.main(["data", "ls", "--sql", query]) == cli.CONFIG
    said = capsys.readouterr()
    assert sorted(folder.rglob("*")) == before
    assert said.out == ""
    assert said.err.startswith("alephtx: DuckDB: " if query in READS else "alephtx: ")


def test_a_damaged_file_under_a_question_is_one_line(folder, capsys):
    path = next(folder.rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:100])
    assert cli.main(["data", "ls", "--sql", "SELECT sum(price) FROM events"]) == cli.CONFIG
    assert capsys.readouterr().err.startswith("alephtx: DuckDB: ")


def test_as_a_user_runs_it_a_question_writes_nothing(folder):
    said = alephtx("data", "ls", "--sql", "copy (select 1) to 'pwn.csv'", folder=folder)
    assert said.returncode == cli.CONFIG
    assert said.stderr == (
        "alephtx: --sql takes one SELECT; this is COPY. SELECT ... FROM events\n"
    )
    assert not (folder / "pwn.csv").exists()
    said = alephtx("data", "ls", "--data", "nowhere", folder=folder)
    assert (said.returncode, said.stdout) == (cli.CONFIG, "")
    assert said.stderr.startswith("alephtx: nowhere is not there. --data names")


@pytest.mark.parametrize("action", ["import", "check"])
def test_help_names_every_format(action):
    assert [importer.name for importer in importers()] == list(FORMATS)
    said = " ".join(alephtx("data", action, "--help").stdout.split())
    assert f"instead of finding out: {', '.join(FORMATS)}" in said
