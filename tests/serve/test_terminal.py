import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from alephtx.serve.terminal import clean, console, micros, plain_line, render, short

EVIL = "\x1b[2J\x1b]0;owned\x07[red]x\r\n"
LATENCY = {"p50": 26_600, "p99": 1_110_000, "most": 12_600_000, "count": 184_560}
STATE = {"seen_blind": 41, "seen_aware": 29, "best_aware_e8": 149_800}


def book(key, **fields):
    return {
        "key": key, "bid": "61705.0", "ask": "61708.9", "bid_qty": "1.234", "ask_qty": "0.55",
        "spread_bps": "0.63", "age_ms": "14", "state": "ok", "mid": 61_706.95, **fields,
    }  # fmt: skip


def strategy(name, **fields):
    return {
        "name": name, "enabled": True, "events": 72_140, "intents": 8, "denied": 0,
        "open_orders": 1, "positions": {"binance_usdm:BTC-USDT-PERP": "0.010"}, "state": {},
        **fields,
    }  # fmt: skip


STATUS = {
    "mode": "live", "halted": False, "counters": {"events": 5, "orders": 420, "fills": 82},
    "strategies": [strategy("arb", state=STATE), strategy("mm", positions={})],
    "realized": {"USDT": "-3.7238", "USDC": "0.056"}, "unrealized": {"USDT": "0.5"},
    "fees": {"USDT": "0.19627877"}, "denied": {"band": 2, "rate": 31},
    "latency_ns": {"intent_to_wire": LATENCY, "wire_to_matrix": LATENCY},
    "accounts": [{"name": "spot", "ready": True, "live_orders": 3},
                 {"name": "usdm", "ready": False, "live_orders": 0, "ambiguous": 2}],
}  # fmt: skip
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
ORDER = {"count": 412, "p50": 31_000, "p90": 60_000, "p99": 92_400, "p999": 1_010_000,
         "most": 2_000_000}  # fmt: skip
LAYERS = {
    "layers": [{"layer": "L0", "strategies": 1, "order": ORDER},
               {"layer": "L2", "strategies": 1, "order": {"count": 0}}],
    "strategies": [
        {"name": "arb", "layer": "L0", "budget_ns": 50_000, "broken": True, "order": ORDER},
        {"name": "mm", "layer": "L1", "budget_ns": 2_000_000, "order": ORDER},
        {"name": "idle", "layer": "L2", "budget_ns": 5, "order": {"count": 0}},
    ],
}  # fmt: skip
BOOKS = [book("binance_usdm:BTC-USDT-PERP"), book("binance_spot:BTC-USDT", state="stale")]
PROCESSES = [{"name": "engine", "pid": 7}, {"name": "feeder:x", "pid": 8, "restarts": 2}]


def draw(width, height, status=STATUS, books=BOOKS, processes=PROCESSES, title="AlephTX demo"):
    out = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    out.print(render(status, books, processes, title))
    return out.file.getvalue().splitlines()


@pytest.mark.smoke
def test_render_in_a_small_terminal_shows_the_essentials():
    lines = draw(80, 24)
    text = "\n".join(lines)
    said = "AlephTX demo  ● trading live  2/2 processes  feeder:x restarted 2x"
    assert lines[0].rstrip() == said
    for part in (
        "61705.0", "stale", "0.01 BTC-USDT-PERP", "flat", "realized -3.7238 USDT",
        "unrealized 0.5 USDT", "fees 0.196279 USDT", "feed 26.6us/1.11ms", "fills 82",
        "denied rate 31  band 2", "● spot 3", "○ usdm 0 ?2",
    ):  # fmt: skip
        assert part in text, part
    assert "bid qty" not in text


def test_render_in_a_wide_terminal_shows_everything_in_frames():
    text = "\n".join(draw(130, 50))
    for part in (
        "╭─ books",
        "bid qty",
        "best bps",
        "+14.98",
        "wire → matrix",
        "184,560",
        "funding",
        "0.01 binance_usdm:BTC-USDT-PERP",
    ):
        assert part in text, part


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("height", [12, 16, 24, 33, 50])
@pytest.mark.parametrize("instruments", [0, 3, 12, 200])
def test_render_never_outgrows_the_terminal(width, height, instruments):
    books = [book(f"venue:COIN{k}-USDT") for k in range(instruments)]
    status = STATUS | {"strategies": [strategy(f"s{k}") for k in range(6)], "alarms": ["x" * 300],
                       "layers": LAYERS}  # fmt: skip
    lines = draw(width, height, status, books)
    assert len(lines) < height
    assert max(len(line) for line in lines) <= width


def test_layers_table_shows_every_quantile_and_what_is_over_in_red():
    out = Console(
        file=io.StringIO(), width=130, height=60, force_terminal=True, color_system="standard"
    )
    out.print(render(STATUS | {"layers": LAYERS}, BOOKS, PROCESSES, "x"))
    lines = [line for line in out.file.getvalue().splitlines() if "50.0 us" in line]
    (arb,) = lines
    plain = re.sub(r"\x1b\[[0-9;]*m", "", arb)
    assert plain.split()[1:13] == [
        "arb", "L0", "31.0", "us", "60.0", "us", "92.4", "us", "1.01", "ms", "2.00", "ms",
    ]  # fmt: skip
    assert plain.split()[-4:-1] == ["50.0", "us", "412"]
    red = re.findall(r"\x1b\[31m([^\x1b]+)", arb)
    assert [word.strip() for word in red] == ["arb", "60.0 us", "92.4 us", "1.01 ms", "2.00 ms"]
    assert "idle" not in "".join(line for line in lines)


@pytest.mark.parametrize(
    ("height", "said"),
    [(40, "all of L0"), (20, "event → wire  all of L0 31.0us/92.4us  arb 31.0us")],
)
def test_layers_take_a_table_or_a_line_as_there_is_room(height, said):
    books = [book(f"venue:COIN{k}-USDT") for k in range(9)]
    assert any(said in line for line in draw(80, height, STATUS | {"layers": LAYERS}, books))


@given(st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from(["layers", "strategies", "order", "count", "p50", "budget_ns", "name"]), inner),
    max_leaves=12))  # fmt: skip
def test_layers_of_any_shape_still_draw(layers):
    assert draw(130, 60, {"layers": layers})


def test_render_that_cuts_says_how_much():
    books = [book(f"venue:COIN{k}-USDT") for k in range(200)]
    lines = draw(80, 24, STATUS, books)
    shown = sum("COIN" in line for line in lines)
    assert any(f"… {200 - shown} more instruments" in line for line in lines)


def test_render_before_the_first_status_says_starting():
    lines = draw(80, 24, {"latency_ns": {"wire_to_matrix": LATENCY}}, [], [])
    assert "starting" in lines[0]
    assert "denied nothing" in lines[-1]


def test_render_when_halted_with_alarms_says_so():
    lines = draw(80, 24, STATUS | {"halted": True, "alarms": ["old", "orders left open: [7]"]})
    assert "HALTED" in lines[0]
    assert lines[1].startswith("! orders left open: [7]")


def test_render_of_a_dead_process_names_it():
    assert "engine down" in draw(80, 24, processes=[{"name": "engine", "pid": 0}])[0]


@pytest.mark.parametrize("size", [(80, 24), (140, 60)])
def test_render_of_hostile_names_steers_no_terminal(size):
    status = STATUS | {
        "mode": EVIL, "strategies": [strategy(EVIL, positions={EVIL: EVIL})],
        "realized": {EVIL: "1"}, "denied": {EVIL: 1}, "alarms": [EVIL],
        "accounts": [{"name": EVIL, "ready": True}], "latency_ns": {EVIL: LATENCY},
    }  # fmt: skip
    hostile = book(EVIL, bid=EVIL, state=EVIL)
    lines = draw(*size, status, [hostile], [{"name": EVIL, "pid": 0}], EVIL)
    assert all(line.isprintable() for line in lines)
    assert any("[red]x" in line for line in lines)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "halted": VALUES,
            "mode": VALUES,
            "counters": st.none() | st.dictionaries(st.sampled_from(["fills", "events"]), VALUES),
            "realized": st.none() | st.dictionaries(st.text(max_size=4), VALUES),
            "denied": st.none() | st.dictionaries(st.text(max_size=4), st.integers(0, 99)),
            "strategies": st.none() | st.lists(st.dictionaries(
                st.sampled_from(["name", "events", "intents", "enabled"]), VALUES), max_size=3),
        },
    )
)  # fmt: skip
def test_render_of_half_a_status_still_draws(status):
    assert draw(80, 24, status)
    assert "\n" not in plain_line(status)


def test_plain_line_is_one_line_with_counts():
    said = plain_line(STATUS | {"halted": True, "counters": {"events": 1_234_567}})
    assert said == (
        "events 1,234,567  intents 0  denied 0  orders 0  fills 0  "
        "realized -3.7238 USDT 0.056 USDC  HALTED"
    )


@pytest.mark.parametrize(
    ("ns", "said"),
    [(0, "0 ns"), (999, "999 ns"), (1_000, "1.00 us"), (26_640, "26.6 us"), (426_000, "426 us"),
     (1_310_000, "1.31 ms"), (208_580_000, "209 ms"), (12_300_000_000, "12.3 s")],
)  # fmt: skip
def test_micros_picks_the_unit(ns, said):
    assert micros(ns) == said


def test_short_keeps_six_decimals_and_survives_what_is_no_number():
    assert short("0.19627877") == "0.196279"
    assert short("-0.0000001") == "0"
    assert short("1e400") == "1e400"
    assert short("x\n") == "x?"


def test_clean_takes_out_what_steers():
    assert clean("a\x1bb\u202e\n") == "a?b??"


def test_console_writes_to_stderr():
    assert console().stderr
