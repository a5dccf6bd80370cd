"""`alephtx ledger`: the books of a run by hand, what adds up, and hostile runs."""

import csv
import json
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx import cli
from alephtx.core import words
from alephtx.matrix import journal
from alephtx.serve.books import Books, Names, moment, names_of, plain
from tests.serve.runs import ARB, COIN, KEYS, PERP, SECOND, SPOT, START, Writer, busy_run

D = Decimal
DAY = 86_400 * SECOND
MORNING = START // DAY * DAY + 8 * 3600 * SECOND


def two_days(base):
    """Write a run of two days: spot, a perpetual, funding, gas, a transfer, an open position."""
    writer = Writer(base)
    for account, totals in enumerate(({"USDT": "1000", "BTC": "1"}, {"USDT": "500"}, {"BTC": "2"})):
        writer.balances(account, MORNING, **totals)
    first = writer.place(MORNING, SPOT, 1, 2_000_000, 10_000, strategy=ARB)
    writer.fill(MORNING, first, SPOT, 1, 2_000_000, 10_000, fee="2", currency="USDT")
    second = writer.place(MORNING, PERP, 1, 200_000, 100)
    writer.fill(MORNING, second, PERP, 1, 200_000, 100, fee="0.5")
    usdt = writer.table.currencies.index("USDT")
    writer.update(MORNING + 1, 0, words.FUNDING_PAID, PERP, trade_id=-1, realized=-25_000_000,
                  ts_event=MORNING + 1)  # fmt: skip
    for trade_id, amount, account, other in ((1, -100, SPOT, PERP), (2, 99, PERP, SPOT)):
        writer.update(
            MORNING + 2, 0, words.MONEY_MOVED, account, code=words.MONEY_TRANSFER, group_id=7,
            trade_id=trade_id, realized=amount * 10**8, fee=10**8 if amount < 0 else 0,
            target_order_id=other + 1, fee_currency=usdt, ts_event=MORNING + 2,
        )  # fmt: skip
    writer.update(
        MORNING + 3, 0, words.MONEY_MOVED, SPOT, code=words.MONEY_TRANSFER, group_id=8, trade_id=3,
        realized=-5 * 10**8, target_order_id=COIN + 1, fee_currency=usdt, ts_event=MORNING + 3,
    )  # fmt: skip
    third = writer.place(MORNING + DAY, PERP, -1, 210_000, 40)
    writer.fill(MORNING + DAY, third, PERP, -1, 210_000, 40, fee="0.3", realized=40 * 10**8)
    coin = writer.place(MORNING + DAY, COIN, -1, 200_000, 10)
    writer.fill(MORNING + DAY, coin, COIN, -1, 200_000, 10)
    return writer.close(summary={"reconciled": True})


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return two_days(tmp_path / "runs")


def told(capsys, *arguments):
    assert cli.main(["ledger", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_balances_are_the_wallets_and_what_is_on_its_way(run, capsys):
    rows = told(capsys, "balances")
    assert [(r["account"], r["venue"], r["currency"], r["total"]) for r in rows] == [
        ("spot", "binance_spot", "BTC", "1.1"),
        ("spot", "binance_spot", "USDT", "-1107"),
        ("usdm", "binance_usdm", "USDT", "637.95"),
        ("coinm", "binance_coinm", "BTC", "2"),
        ("in transit (8)", "-", "USDT", "5"),
    ]


def test_positions_of_accounts_and_strategies_at_marks(run, capsys):
    marks = [f"--mark={KEYS[PERP]}=21500", "--mark", f"{KEYS[COIN]}=25000"]
    rows = told(capsys, "positions", *marks)
    keyed = {(r["account"], r["strategy"]): r for r in rows}
    perp = keyed["usdm", "mm"]
    assert perp == keyed["usdm", "(all)"] | {"strategy": "mm"}
    assert (perp["qty"], perp["cost"], perp["realized"], perp["unrealized"]) == (
        "0.06", "1200", "40", "90",
    )  # fmt: skip
    assert keyed["coinm", "mm"]["unrealized"] == "-0.01"
    assert keyed["spot", "arb"]["unrealized"] == ""


def test_statement_of_accounts_adds_up(run, capsys):
    rows = told(capsys, "statement", "--mark", f"{KEYS[PERP]}=21500")
    first, second = (r for r in rows if r["account"] == "usdm")
    assert first | {"day": ""} == {
        "day": "", "account": "usdm", "currency": "USDT", "opening": "0", "deposited": "500",
        "transfers": "99", "traded": "0", "realized": "0", "fees": "-0.5", "funding": "-0.25",
        "interest": "0", "gas": "0", "other": "0", "closing": "598.25", "unrealized": "",
    }  # fmt: skip
    assert (second["opening"], second["closing"]) == ("598.25", "637.95")
    assert second["unrealized"] == "90"
    spot = next(r for r in rows if (r["account"], r["currency"]) == ("spot", "USDT"))
    assert (spot["transfers"], spot["gas"], spot["traded"]) == ("-104", "-1", "-2000")
    one = told(capsys, "statement", "--day", second["day"])
    assert {r["day"] for r in one} == {second["day"]}


def test_statement_of_strategies_adds_up(run, capsys):
    rows = told(capsys, "statement", "--by", "strategy", "--mark", f"{KEYS[COIN]}=25000")
    assert [
        (r["strategy"], r["currency"], r["fills"], r["realized"], r["fees"], r["funding"],
         r["closing"], r["unrealized"])
        for r in rows
    ] == [
        ("arb", "USDT", "1", "0", "-2", "0", "-2", ""),
        ("mm", "USDT", "1", "0", "-0.5", "-0.25", "-0.75", ""),
        ("mm", "BTC", "1", "0", "0", "0", "0", "-0.01"),
        ("mm", "USDT", "1", "40", "-0.3", "0", "38.95", ""),
    ]  # fmt: skip


def test_venues_sum_their_accounts(tmp_path):
    config = """
[accounts.a]
venue = "x"
[accounts.b]
venue = "x"
"""
    writer = Writer(tmp_path, config=config)
    writer.balances(0, MORNING, USDT="10")
    writer.balances(1, MORNING + DAY, USDT="5")
    writer.balances(1, MORNING + 3 * DAY, USDT="6")
    books = Books(writer.close())
    rows = books.statement("venue", None, {})
    assert [(r["venue"], r["opening"], r["deposited"], r["closing"]) for r in rows] == [
        ("x", "0", "10", "10"), ("x", "10", "5", "15"), ("x", "15", "1", "16"),
    ]  # fmt: skip


def test_open_contract_whose_money_never_moved_has_a_row(tmp_path):
    writer = Writer(tmp_path)
    writer.balances(SPOT, MORNING, USDT="10")
    order = writer.place(MORNING, PERP, 1, 200_000, 100)
    writer.fill(MORNING, order, PERP, 1, 200_000, 100)
    books = Books(writer.close())
    rows = books.statement("account", None, books.marks([f"{KEYS[PERP]}=20001"]))
    assert [(r["account"], r["closing"], r["unrealized"]) for r in rows] == [
        ("spot", "10", ""), ("usdm", "0", "0.1"),
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["account", "venue", "strategy"])
def test_statements_of_a_busy_run_add_up_to_the_unit(tmp_path, by):
    books = Books(busy_run(tmp_path))
    rows = books.statement(by, None, {})
    assert rows
    columns = [c for c in rows[0] if c not in
               ("day", by, "currency", "opening", "closing", "fills", "unrealized")]  # fmt: skip
    for row in rows:
        assert D(row["closing"]) == D(row["opening"]) + sum(D(row[c]) for c in columns)
    paid = sum(D(row["fees"]) for row in rows if row["currency"] == "USDT")
    assert paid == -books.ledger.fees()["USDT"]


def test_lots_go_to_a_file_with_its_columns(run, tmp_path, capsys):
    target = tmp_path / "lots.csv"
    assert cli.main(["ledger", "lots", "--csv", str(target)]) == 0
    assert capsys.readouterr().out == f"1 rows written to {target}\n"
    with target.open() as file:
        (row,) = csv.DictReader(file)
    day = row["acquired"][:10]
    assert row == {
        "account": "usdm", "instrument": KEYS[PERP], "side": "long",
        "acquired": f"{day}T08:00:00Z", "disposed": row["disposed"], "qty": "0.04",
        "proceeds": "840", "cost": "800", "gain": "40", "fees": "0.5", "net_gain": "39.5",
        "currency": "USDT", "other_fees": "", "method": "fifo", "acquired_trade": "2",
        "disposed_trade": "3",
    }  # fmt: skip
    assert told(capsys, "lots", "--method", "average", "--day", row["disposed"][:10]) == [
        row | {"method": "average"}
    ]
    assert told(capsys, "lots", "--day", day) == []
    assert cli.main(["ledger", "lots", "--day", day, "--csv", str(target)]) == 0
    assert target.read_text().splitlines() == [",".join(row)]
    assert cli.main(["ledger", "statement", "--day", "1999-01-01", "--csv", str(target)]) == 0
    assert target.read_text().strip() == ""


def test_a_person_reads_columns(run, capsys):
    assert cli.main(["ledger", "balances"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["account", "venue", "currency", "total"]
    assert lines[2].split() == ["spot", "binance_spot", "USDT", "-1107"]
    assert len({len(line) for line in lines[1:]}) == 1
    assert cli.main(["ledger", "lots", "--day", "1999-01-01"]) == 0
    assert capsys.readouterr().out == "nothing\n"


def test_fees_in_other_currencies_are_listed_beside_the_gain(tmp_path):
    writer = Writer(tmp_path)
    writer.table.currency("BNB")
    writer.run.instruments.write_bytes(writer.table.to_json())
    for side, price in ((1, 200_000), (-1, 210_000)):
        order = writer.place(MORNING, PERP, side, price, 100)
        writer.fill(MORNING, order, PERP, side, price, 100, fee="0.001", currency="BNB")
    (row,) = Books(writer.close()).disposals(None)
    assert (row["fees"], row["other_fees"], row["net_gain"]) == ("0", "0.002 BNB", "100")


def test_growing_journal_of_a_living_run_is_read_as_far_as_it_goes(tmp_path):
    writer = Writer(tmp_path)
    writer.run.path.joinpath("lock").touch()
    writer.run.claim()
    writer.balances(0, MORNING, USDT="10")
    assert [row["total"] for row in Books(writer.run).balances()] == ["10"]
    writer.run.release()
    writer.close()


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("nope=1", "unknown instrument 'nope'"), (f"{KEYS[PERP]}", "has no price"),
        (f"{KEYS[PERP]}=", "has no price"), (f"{KEYS[PERP]}=x", "has no price"),
        (f"{KEYS[PERP]}=-1", "has no price"), (f"{KEYS[PERP]}=nan", "has no price"),
        (f"{KEYS[PERP]}=1e99999", "has no price"), ("", "has no price"),
    ],
)  # fmt: skip
def test_mark_that_is_none_is_one_line(run, mark, said, capsys):
    assert cli.main(["ledger", "positions", "--mark", mark]) == cli.CONFIG
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    "arguments",
    [["lots", "--day", "x"], ["lots", "--day", "2026-02-30"], ["cash"], [], ["lots", "--by", "me"],
     ["lots", "--method", "lifo"], ["lots", "--json", "--csv", "x"]],
)  # fmt: skip
def test_wrong_usage_ends_with_two(run, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["ledger", *arguments])
    assert ended.value.code == cli.USAGE


def test_what_cannot_be_read_or_written_is_one_line(run, tmp_path, capsys):
    assert cli.main(["ledger", "lots", "--csv", "/nowhere/at/all.csv"]) == cli.CONFIG
    assert "cannot be written: No such file" in capsys.readouterr().err
    assert cli.main(["ledger", "lots", "--run", "nope"]) == cli.CONFIG
    assert "there is no run nope" in capsys.readouterr().err
    run.instruments.unlink()
    assert cli.main(["ledger", "lots"]) == cli.CONFIG
    assert "instruments.json cannot be read" in capsys.readouterr().err


def test_books_that_contradict_the_table_end_with_six(run, capsys):
    run.instruments.write_bytes(b'{"instruments": [], "currencies": [""]}')
    assert cli.main(["ledger", "balances"]) == cli.UNRECONCILED
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "instrument 0 is not in the table of 0" in line


def test_amount_beyond_reason_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    writer = Writer(tmp_path / "runs")
    writer.balances(0, MORNING, USDT="1e70")
    writer.balances(0, MORNING, USDT="1e-70")
    writer.close()
    assert cli.main(["ledger", "balances"]) == cli.UNRECONCILED
    assert "record 2 cannot be booked to the last digit" in capsys.readouterr().err


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400), st.sampled_from([journal.BALANCES, journal.UPDATE, journal.INTENT]))
def test_no_payload_makes_a_traceback(tmp_path_factory, data, kind):
    writer = Writer(tmp_path_factory.mktemp("hostile"))
    writer.journal.append(kind, data, ts=1)
    writer.close()
    code = cli.main(["ledger", "statement", "--run", str(writer.run.path)])
    assert code in (cli.OK, cli.UNRECONCILED)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=160, max_size=160), st.sampled_from([6, 12, 15]))
def test_no_row_makes_a_traceback(tmp_path_factory, data, kind):
    from alephtx.core.records import UPDATE

    row = bytearray(data)
    row[UPDATE.fields["kind"][1]] = kind
    row[UPDATE.fields["instrument"][1] : UPDATE.fields["instrument"][1] + 4] = bytes([1, 0, 0, 0])
    writer = Writer(tmp_path_factory.mktemp("hostile"))
    writer.journal.append(journal.UPDATE, bytes(row), ts=1)
    writer.close()
    for what in ("balances", "positions", "statement", "lots"):
        code = cli.main(["ledger", what, "--run", str(writer.run.path)])
        assert code in (cli.OK, cli.UNRECONCILED)


def test_names_fall_back_to_numbers(tmp_path):
    for text in ("[accounts]\na = 1\n", "accounts = 3\nstrategies = 4", "[", "\udcff"):
        path = tmp_path / "config.toml"
        path.write_bytes(text.encode(errors="surrogateescape"))
        names = names_of(path)
        assert names.account(5) == names.venue(5) == "account 5"
        assert names.strategy(3) == "strategy 3"
    assert names_of(tmp_path / "none") == Names()
    assert Names(["a"], [], []).venue(0) == "a"
    assert Names().strategy(-1) == "-"


def test_amounts_and_moments_are_plain():
    assert [plain(D(x)) for x in ("1.500", "-0", "1E+3", "0.00", "100", "-0.10", "1E-9")] == [
        "1.5", "0", "1000", "0", "100", "-0.1", "0.000000001",
    ]  # fmt: skip
    assert moment(0) == ""
    assert moment(MORNING + 61 * SECOND)[10:] == "T08:01:01Z"
