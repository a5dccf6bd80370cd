import base64
import hashlib
import json
import re

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.instruments import Instruments
from alephtx.engine.rundir import RunDirectory
from alephtx.serve.report import write_report
from tests.serve.pages import Page
from tests.serve.runs import (
    ARB,
    COIN,
    CONFIG,
    INSTRUMENTS,
    KEYS,
    PERP,
    SECOND,
    SPOT,
    START,
    Writer,
    busy_run,
    make_summary,
    sample,
)

EVIL = '"></script><img src=x onerror=alert(1)><!--<script>&amp;\u2028'


def page_of(run):
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert not page.problems
    assert len(page.all("script")) == 3
    assert not page.all("img")
    return page


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    return busy_run(tmp_path_factory.mktemp("busy"))


@pytest.fixture(scope="module")
def busy_page(busy):
    return page_of(busy)


def test_report_of_a_busy_run_has_every_part_and_no_complaint(busy_page):
    assert busy_page.notes() == ""
    names = [e[1]["id"] for e in busy_page.all("section") if "id" in e[1]]
    assert names == [e[1]["href"].removeprefix("#") for e in busy_page.all("a")]
    tiles = {e[2] for e in busy_page.all("div", class_="tile")}
    assert {"290,417market events", "141orders", "100fills", "16denied by the gate"} <= tiles
    assert "reconciled to the last unit" in busy_page.text("header")


def test_report_reaches_for_nothing_outside_the_file(busy_page):
    for tag, attributes, _ in busy_page.elements:
        assert "src" not in attributes, tag
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert attributes.get("href", "#").startswith("#"), tag
    style = busy_page.text("style")
    assert "url(" not in style
    assert "@import" not in style


def test_report_allows_its_own_scripts_and_no_others(busy_page):
    policy = busy_page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0][1]["content"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    scripts = [e[2] for e in busy_page.all("script") if "type" not in e[1]]
    for rule, inline in (("script-src", scripts), ("style-src", [busy_page.text("style")])):
        hashes = [hashlib.sha256(text.encode()).digest() for text in inline]
        wanted = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes]
        assert rules[rule].split(" ") == wanted
    assert rules["default-src"] == "'none'"


def test_report_charts_share_their_times(busy_page):
    data = busy_page.data
    moments = len(data["ts"])
    assert moments == 240
    assert data["ts"][0] == START / 1e9
    assert {chart["key"] for chart in data["prices"]} == set(KEYS)
    assert [len(chart["fills"]) for chart in data["prices"]] == [78, 11, 11]
    for chart in data["prices"]:
        assert len(chart["mid"]) == moments
    for chart in data["equity"]:
        assert len(chart["net"]) == len(chart["drawdown"]) == moments
        assert max(chart["drawdown"]) <= 0
    assert data["equity"][0]["currency"] == "≈ USD"
    assert [chart["name"] for chart in data["edges"]] == ["arb"]
    gross, net = (data["edges"][0][name] for name in ("gross", "net"))
    assert gross == pytest.approx([value + 4 for value in net])  # 2 bps a leg
    assert {chart["key"] for chart in data["inventory"]} == set(KEYS)


def test_report_of_a_busy_run_shows_its_tables(busy_page):
    assert ["notional", "mm 16", "16"] in busy_page.rows("gate")
    assert ["would_cross", "-5022", "1"] in busy_page.rows("gate")
    assert ["usdm", "equal to the last unit", "78", "1"] in busy_page.rows("accounts")
    assert ["arb", "4,120", "+5.23", "37", "+0.93", "12", "1"] in busy_page.rows("edges")
    orders = busy_page.rows("orders")
    assert len(orders) == 141
    assert orders[0][5] == "rejected would_cross"
    latency = {row[0]: row for row in busy_page.rows("latency")}
    assert latency["mm"][1:] == [
        "L1", "440", "700 µs", "900 µs", "1.5 ms", "2.5 ms", "9 ms", "2 ms", "3", "1",
    ]  # fmt: skip
    assert latency["all of L1"][2:5] == ["44,000", "18 µs", "90 µs"]
    assert latency["wire to matrix"][1:6] == ["44,000", "18 µs", "120 µs", "9 ms", "engine"]
    assert latency["cancel to end"][1:6] == ["39", "3 ms", "3 ms", "3 ms", "journal"]
    assert 'instruments = ["binance_spot' in busy_page.text("pre")


def traded_run(base, **files):
    """One round trip on the perpetual, one buy on spot with its fee in coin."""
    writer = Writer(base)
    writer.balances(PERP, USDT="1000")
    for n, (side, price) in enumerate([(words.BUY, 618_000), (words.SELL, 618_123)]):
        ts = START + n * SECOND
        order = writer.live(ts, PERP, side, price, 10)
        fee = "0.12345678"
        writer.fill(ts + 5_000_000, order, PERP, side, price, 10, fee=fee, status=words.FILLED)
    order = writer.live(START + 2 * SECOND, SPOT, words.BUY, 6_180_001, 1_000, strategy=ARB)
    writer.fill(
        START + 2 * SECOND + 5, order, SPOT, words.BUY, 6_180_001, 1_000, fee="0.00000123",
        currency="BTC",
    )  # fmt: skip
    return writer.close(**files)


def test_report_states_money_to_the_last_digit(tmp_path):
    samples = [sample(START + k * SECOND, (61_900.01, 61_810.0, 61_805.0)) for k in range(5)]
    page = page_of(traded_run(tmp_path, samples=samples, summary=make_summary(), status={}))
    rows = {row[0]: row[1:] for row in page.rows("pnl") if len(row) == 8}
    # (61812.3 - 61800.0) x 0.010; (61900.01 - 61800.01) x 0.01; fees 2 x 0.12345678
    assert rows["USDT"] == ["0.123", "1", "-0.24691356", "0", "0", "0.87608644", "-0.123914"]
    assert rows["BTC"] == ["0", "0", "-0.00000123", "0", "0", "-0.00000123", "-1.23e-06"]
    assert ["mm", "2", "2", "0.123 USDT", "0.24691356 USDT"] in page.rows("pnl")
    assert ["usdm", KEYS[PERP], "0", "0.01", "0.01", "2"] in page.rows("inventory")
    assert [KEYS[PERP], "2", "100.0 %", "100.0 %", "2", "1236.123 USDT", "100.0 %"] in page.rows(
        "execution"
    )
    estimate = 0.87608644 - 0.00000123 * 61_805.0
    assert page.data["equity"][0]["net"][-1] == pytest.approx(estimate)


def test_report_without_samples_still_tells_the_trades(tmp_path):
    page = page_of(traded_run(tmp_path, summary=make_summary(), status={}))
    assert "samples.json is missing" in page.notes()
    data = page.data
    assert [chart["total"] for chart in data["prices"]] == [2, 1]
    assert len(data["ts"]) == 3
    assert data["inventory"][0]["qty"] == [0, 0, 0.01]
    assert data["edges"] == []
    usdt = next(row for row in page.rows("pnl") if row[0] == "USDT")
    assert usdt[1:4] == ["0.123", "0", "-0.24691356"]


@pytest.mark.parametrize("cut", [0, 1, 40, 300])
def test_report_with_cut_samples_says_so(tmp_path, cut):
    run = traded_run(tmp_path, samples=[sample(START, (1, 2, 3))] * 9, summary={}, status={})
    path = run.path / "samples.json"
    path.write_bytes(path.read_bytes()[:cut])
    page = page_of(run)
    assert "samples.json cannot be read" in page.notes()
    assert page.data["prices"][0]["total"] == 2


def test_report_with_a_torn_journal_ends_where_it_does(tmp_path):
    run = traded_run(tmp_path, summary=make_summary(), status={})
    segment = next(run.journal.glob("*.seg"))
    segment.write_bytes(segment.read_bytes()[:-100])
    page = page_of(run)
    assert sum(chart["total"] for chart in page.data["prices"]) == 2
    assert "journal" not in page.notes() or "end" in page.notes()


def test_report_with_a_damaged_journal_names_it_and_shows_what_was_before(tmp_path):
    run = traded_run(tmp_path, summary=make_summary(), status={})
    segment = next(run.journal.glob("*.seg"))
    data = bytearray(segment.read_bytes())
    data[-600] ^= 0xFF
    segment.write_bytes(data)
    page = page_of(run)
    assert "the journal ends early" in page.notes()
    assert page.data["prices"][0]["total"] >= 1


def test_report_of_a_run_that_never_traded_says_so(tmp_path):
    writer = Writer(tmp_path)
    writer.balances(PERP, USDT="1000")
    samples = [sample(START, (61_800.0, 61_800.0, 61_800.0))]
    page = page_of(writer.close(samples=samples, summary=make_summary(), status={}))
    assert page.notes() == ""
    assert "nothing was traded" in page.section("pnl")
    assert page.data["equity"] == []
    assert len(page.data["prices"]) == 3


def test_report_of_an_unfinished_run_says_so(tmp_path):
    page = page_of(traded_run(tmp_path))
    assert "did not end cleanly" in page.text("header")
    assert "not reconciled" in page.text("header")
    assert "summary.json is missing" in page.notes()


def test_report_of_an_empty_directory_still_comes(tmp_path):
    run = RunDirectory(tmp_path / "20231114-221320-demo-00aa")
    run.path.mkdir()
    page = page_of(run)
    for name in ("config.toml", "instruments.json", "samples.json", "journal"):
        assert name in page.notes()


def test_report_without_a_table_takes_the_journals(tmp_path):
    run = traded_run(tmp_path, summary={}, status={})
    run.instruments.write_text("[")
    page = page_of(run)
    assert "instruments.json cannot be used" in page.notes()
    assert page.data["prices"][0]["key"] == KEYS[PERP]


def test_report_of_differences_and_open_orders_shows_them(tmp_path):
    found = {"usdm": ["USDT: ours 1, venue 2, difference 1"], "spot": []}
    summary = make_summary(
        reconciled=False, differences=found, left_open=[18014398509481985], alarms=["order 7"]
    )
    page = page_of(traded_run(tmp_path, summary=summary, status={}))
    assert "not reconciled" in page.text("header")
    assert "orders left open: 18014398509481985" in page.notes()
    assert "order 7" in page.notes()
    rows = {row[0]: row[1] for row in page.rows("accounts") if len(row) == 4}
    assert rows == {
        "spot": "equal to the last unit", "usdm": found["usdm"][0], "coinm": "not compared",
    }  # fmt: skip


def test_report_escapes_every_name(tmp_path):
    """Instruments, strategies, accounts, rules and notes come from files: none may become code."""
    keys = [f"v:{EVIL}{n}" for n in range(3)]
    table = Instruments(
        msgspec.structs.replace(one, key=key, symbol=key)
        for one, key in zip(INSTRUMENTS, keys, strict=True)
    )
    config = CONFIG
    for old, new in zip(KEYS, keys, strict=True):
        config = config.replace(json.dumps(old), json.dumps(new))
    config = config.replace("[strategies.mm]", f"[strategies.{json.dumps(EVIL)}]")
    config = config.replace("[accounts.usdm]", f"[accounts.{json.dumps(EVIL)}]")
    run = busy_run(tmp_path, seconds=20, table=table, config=config, name=f"x{EVIL[:3]}y")
    state = {"seen_blind": EVIL, "trades": 1}
    summary = make_summary(
        mode=EVIL, alarms=[EVIL], left_open=[EVIL], differences={EVIL: [EVIL]},
        strategies=[{"name": EVIL, "state": state}], feeders={EVIL: {"events": EVIL}},
        latency_ns={EVIL: {"p50": EVIL, "p99": 1, "max": 1, "count": 1}},
        layers={"layers": [{"layer": EVIL, "order": EVIL}, EVIL],
                "strategies": [{"name": EVIL, "layer": EVIL, "order": {"p50": EVIL}}]},
    )  # fmt: skip
    run.summary.write_text(json.dumps(summary))
    page = page_of(run)
    assert page.data["prices"][0]["key"] == keys[PERP]
    assert EVIL in page.notes()
    assert EVIL in page.text("pre") or json.dumps(EVIL) in page.text("pre")
    assert any(row[0] == EVIL for row in page.rows("pnl"))
    raw = run.report.read_text(encoding="utf-8")
    block = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', raw, re.DOTALL)[1]
    assert not set("<>&\u2028") & set(block)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["name", "state", "seen_blind", "p50", "count", "events", "layers",
                         "strategies", "order"]), inner,
        max_size=3,
    ),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*make_summary(), "halted", "accounts"]), JSON), JSON)
def test_report_of_any_summary_and_samples_still_comes(tmp_path_factory, summary, samples):
    run = traded_run(tmp_path_factory.mktemp("any"), summary={}, status={})
    run.summary.write_bytes(msgspec.json.encode(summary))
    (run.path / "samples.json").write_bytes(msgspec.json.encode(samples))
    page = page_of(run)
    assert page.data["prices"][0]["total"] == 2


def test_report_with_nan_and_absurd_prices_leaves_them_out(tmp_path):
    run = traded_run(tmp_path, summary={}, status={})
    rows = [sample(START + k * SECOND, (1e300, -1, 61_805.0)) for k in range(4)]
    rows[2]["mids"][KEYS[SPOT]] = "9" * 40
    (run.path / "samples.json").write_text(json.dumps(rows))
    data = page_of(run).data
    mids = {chart["key"]: chart["mid"] for chart in data["prices"]}
    assert mids[KEYS[SPOT]] == [None] * 4
    assert mids[KEYS[COIN]] == [61_805.0] * 4


def test_report_is_replaced_whole(tmp_path):
    run = traded_run(tmp_path, summary={}, status={})
    run.report.write_text("old")
    assert write_report(run) == run.report
    assert run.report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not list(run.path.glob("*.tmp"))


def test_report_with_a_fill_that_cannot_be_booked_says_where_the_books_end(tmp_path):
    writer = Writer(tmp_path)
    for n in range(3):
        order = writer.live(START + n * SECOND, PERP, words.BUY, 618_000, 10)
        odd = {"fee_currency": 77} if n == 1 else {}
        writer.update(
            START + n * SECOND, order, words.FILL, trade_id=n + 1, side=words.BUY, price=618_000,
            qty=10, fee=1, **{"fee_currency": INSTRUMENTS.currencies.index("USDT"), **odd},
        )  # fmt: skip
    page = page_of(writer.close(summary={}, status={}))
    assert "the books end early: record" in page.notes()
    assert "currency 77" in page.notes()
    assert page.data["prices"][0]["total"] == 3  # the story goes on
    assert ["usdm", KEYS[PERP], "0.01", "0.01", "0", "1"] in page.rows("inventory")


def test_report_with_a_config_that_does_not_parse_shows_it_and_numbers(tmp_path):
    run = traded_run(tmp_path, summary={}, status={})
    run.config.write_text("[strategies.arb\n")
    page = page_of(run)
    assert "config.toml does not parse" in page.notes()
    assert page.text("pre") == "[strategies.arb\n"
    assert {"#0", "#1"} <= {row[0] for row in page.rows("pnl")}


def test_report_of_a_long_run_plots_evenly_chosen_samples(tmp_path):
    samples = [sample(START + k * SECOND, (1.0, 2.0, 3.0)) for k in range(9_001)]
    page = page_of(traded_run(tmp_path, samples=samples, summary={}, status={}))
    data = page.data
    assert len(data["ts"]) == 4_000
    assert (data["ts"][0], data["ts"][-1]) == (START / 1e9, START / 1e9 + 9_000)
    assert "2 h 30 min" in page.text("section", class_="tiles")
