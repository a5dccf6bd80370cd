"""Tables whose columns are named: bars, funding, times and separators; what is hostile is told."""

import gzip
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.instruments import Instrument
from alephtx.store.damage import DataError
from alephtx.store.importers.columns_rows import UNORDERED
from alephtx.store.reading import Options
from tests.store.test_raw import imported

MINUTE, SECOND = 60_000_000_000, 1_000_000_000
START = int(datetime(2024, 1, 31, tzinfo=UTC).timestamp()) * SECOND
END = Options(venue="x", symbol="AB", stamp="end")
HEAD = "time,open,high,low,close,volume\n"
TABLE = Options(venue="x", symbol="AB")


def read(folder, text, options=END, name="t.csv", format_name="columns"):
    """Import a table of one instrument; return what was told and its rows."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    told, sinks = imported(path, options, format_name)
    (sink,) = sinks.values()
    return told, sink


def stamp(minute, text="{:%Y-%m-%d %H:%M}"):
    return text.format(datetime.fromtimestamp(START // SECOND + 60 * minute, UTC))


def faults(told):
    return [(damage.row, damage.column, damage.problem) for damage in told.damages]


def bars_of(sink):
    """Return bars as their four rows say: end in minutes, open, high, low, close, volume."""
    rows = sink.rows
    assert set(rows["kind"].tolist()) == {words.BAR}
    assert ((rows["flags"] & words.LAST_IN_MESSAGE) != 0).tolist() == [
        k % 4 == 3 for k in range(len(rows))
    ]
    assert not rows["qty"].reshape(-1, 4)[:, :3].any()
    assert (np.diff(rows["ts_event"].reshape(-1, 4), axis=1) == 0).all()
    return [
        ((int(four[0]["ts_event"]) - START) // MINUTE, *four["price"].tolist(), int(four[3]["qty"]))
        for four in rows.reshape(-1, 4)
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("write", "shift"),
    [("{:%Y-%m-%d %H:%M}", 0), ("{:%Y-%m-%dT%H:%M:%S}Z", 0), ("{:%Y-%m-%d %H:%M:%S}+00:00", 0),
     ("{:%Y-%m-%dT%H:%M:%S.%f}+0100", 60), ("{:%Y-%m-%d %H:%M:%S}-02:30", -150),
     ("{:%Y-%m-%d %H:%M:%S} UTC", 0)],
)  # fmt: skip
def test_bars_are_found_whatever_parts_them_and_whoever_wrote_the_time(
    tmp_path, separator, write, shift
):
    text = HEAD + f"{stamp(1, write)},10,12.5,9,11,7\n{stamp(2, write)},11,11,11,11,\n"
    told, sink = read(tmp_path, text.replace(",", separator), format_name="")
    assert bars_of(sink) == [
        (1 - shift, 100, 125, 90, 110, 7), (2 - shift, 110, 110, 110, 110, 0),
    ]  # fmt: skip
    assert (told.format, told.damaged, told.notes) == ("columns", 0, [])


def test_a_bar_is_known_at_its_end(tmp_path):
    text = HEAD + f"{stamp(0)},10,12,9,11,7\n"
    options = Options(venue="x", symbol="AB", stamp="start", period_ns=MINUTE)
    assert bars_of(read(tmp_path, text, options)[1]) == [(1, 10, 12, 9, 11, 7)]
    assert bars_of(read(tmp_path, text)[1]) == [(0, 10, 12, 9, 11, 7)]
    with pytest.raises(DataError, match=r"its start or its end\. --stamp end, or --stamp start"):
        read(tmp_path, text, TABLE)
    with pytest.raises(DataError, match="need their length"):
        read(tmp_path, text, Options(venue="x", symbol="AB", stamp="start"))


def test_days_are_dates(tmp_path):
    options = Options(venue="x", symbol="AB", stamp="start", period_ns=1_440 * MINUTE)
    text = "Date,High,Low,Open,Close,Volume,Adj Close\n2024-01-31,12,9,10,11,7,11\n"
    assert bars_of(read(tmp_path, text, options)[1]) == [(1_440, 10, 12, 9, 11, 7)]


GOOD = "10,12,9,11,7"
HOSTILE = [
    ("nan,12,9,11,7", "open", "not a number"),
    ("10,inf,9,11,7", "high", "not a number"),
    ("10,-Infinity,9,11,7", "high", "not a number"),
    ("10,1e40,9,11,7", "high", "the number does not fit 62 bits"),
    ("10,12,,11,7", "low", "empty"),
    ("10,12,9,,7", "close", "empty"),
    ("10,12,0,11,7", "low", "a price that is not positive"),
    ("-10,12,-11,11,7", "open", "a price that is not positive"),
    ("10,9,12,11,7", "high", "below low"),
    ("8,12,9,11,7", "open", "not between low and high"),
    ("10,12,9,13,7", "close", "not between low and high"),
    ("10,12,9,11,-7", "volume", "a volume below 0"),
    ("10,12,9,11,x", "volume", "not a number"),
    ("10,12,9,11", "", "the row has too few columns"),
    ("10,12,9,11,7,8", "", "the row has too many columns"),
]


@pytest.mark.parametrize(("bar", "column", "problem"), HOSTILE, ids=lambda value: str(value)[:20])
def test_a_bar_that_cannot_be_is_told_and_costs_only_itself(tmp_path, bar, column, problem):
    text = HEAD + f"{stamp(1)},{GOOD}\n{stamp(2)},{bar}\n{stamp(3)},{GOOD}\n"
    told, sink = read(tmp_path, text)
    assert faults(told) == [(3, column, problem)]
    assert [bar[0] for bar in bars_of(sink)] == [1, 3]


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("bar", "column"),
    [((NAN, 12.0, 9.0, 11.0, 7.0), "open"), ((10.0, INF, 9.0, 11.0, 7.0), "high"),
     ((10.0, 12.0, -INF, 11.0, 7.0), "low"), ((10.0, 12.0, 9.0, None, 7.0), "close"),
     ((10.0, 12.0, 9.0, 11.0, -7.0), "volume"), ((10.0, 12.0, 9.0, 11.0, INF), "volume"),
     ((10.0, 9.0, 12.0, 11.0, 7.0), "high"), ((10.0, 12.0, 9.0, 1e300, 7.0), "close"),
     ((0.0, 12.0, 0.0, 11.0, 7.0), "open")],
)  # fmt: skip
def test_a_bar_of_parquet_that_cannot_be_is_told(tmp_path, bar, column):
    columns = list(zip((10.0, 12.0, 9.0, 11.0, 7.0), bar, (10.0, 12.0, 9.0, 11.0, NAN),
                       strict=True))  # fmt: skip
    times = pa.array([START + k * MINUTE for k in (1, 2, 3)], pa.timestamp("ns", "UTC"))
    names = ("open", "high", "low", "close", "volume")
    pq.write_table(pa.table({"time": times, **dict(zip(names, columns, strict=True))}),
                   tmp_path / "t.parquet")  # fmt: skip
    told, sinks = imported(tmp_path / "t.parquet", END)
    assert [(damage.row, damage.column) for damage in told.damages] == [(2, column)]
    assert bars_of(sinks["x:AB"]) == [(1, 10, 12, 9, 11, 7), (3, 10, 12, 9, 11, 0)]


@pytest.mark.parametrize(
    ("minutes", "kept"),
    [([1, 3, 2, 3, 3, 4], [1, 2, 3, 4]), ([1, 2, 2, 3], [1, 2, 3]), ([1, 5, 2, 3, 5], [1, 2, 3, 5]),
     ([1, 2, 9_999_999, 3, 4], [1, 2, 3, 4]), ([5, 4, 3, 2, 1], [4]),
     ([1, 8, 9, 4, 5], [1, 8, 9])],
)  # fmt: skip
def test_bars_out_of_order_are_told_by_row(tmp_path, minutes, kept):
    text = HEAD + "".join(f"{stamp(n)},{GOOD}\n" for n in minutes)
    told, sink = read(tmp_path, text)
    assert [bar[0] for bar in bars_of(sink)] == kept
    assert [(column, problem) for _, column, problem in faults(told)] == [
        ("time", UNORDERED)
    ] * (len(minutes) - len(kept))  # fmt: skip


def test_the_newest_first_is_told_row_by_row(tmp_path):
    text = HEAD + "".join(f"{stamp(n)},{GOOD}\n" for n in range(100_000, 0, -1))
    told, sink = read(tmp_path, text)
    assert told.damaged == 100_000 - len(sink.rows) // 4 > 99_990


@pytest.mark.parametrize(
    ("text", "columns", "said"),
    [
        ("time,open,high,low,close,close\n", {}, "2 columns 'close'.*rename one"),
        (HEAD, {"time": "time", "open": "open", "high": "high", "low": "low"}, "must be named"),
        (
            HEAD,
            {"time": "time", "open": "open", "high": "open", "low": "low", "close": "close"},
            "another of ours is 'open' already",
        ),
        (
            HEAD,
            {
                "time": "time",
                "open": "open",
                "high": "high",
                "low": "low",
                "close": "close",
                "rate": "volume",
            },
            "--column rate=volume does not go with open and high",
        ),
        (HEAD, {"time": "time", "price": "close", "next": "volume"}, "does not go with price"),
        (HEAD, {"time": "tme", "price": "close"}, "no column 'tme'.*it has: time, open"),
        (HEAD, {"time": "time", "prize": "close"}, "--column prize: no such column.*ours: time"),
    ],
)
def test_columns_that_do_not_go_together_are_named(tmp_path, text, columns, said):
    options = Options(venue="x", symbol="AB", stamp="end", columns=columns)
    with pytest.raises(DataError, match=said):
        read(tmp_path, text + f"{stamp(1)},{GOOD}\n", options)


CENTS = st.integers(1, 10**9)


def in_order(minutes):
    """Return which of rows are in order; slow and obvious."""
    odd = {
        k for k in range(len(minutes) - 1)
        if minutes[k] > minutes[k + 1] > (minutes[k - 1] if k else -1)
    }  # fmt: skip
    found, latest = set(), -1
    for k, minute in enumerate(minutes):
        if k not in odd and minute > latest:
            latest = minute
            found.add(k)
    return found


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(-3, 9), CENTS, CENTS, CENTS, CENTS, st.integers(-2, 99)),
                min_size=1, max_size=30), st.booleans())  # fmt: skip
def test_bars_are_those_of_the_obvious_pair(tmp_path, drawn, mend):
    minutes, text, bars = [1_000], HEAD, []
    for step, *prices, volume in drawn:
        minutes.append(max(0, minutes[-1] + step))
        open_, high, low, close = prices
        if mend:
            low, open_, close, high = sorted(prices)
        bars.append((minutes[-1], open_, high, low, close, volume))
        cents = (str(Decimal(p).scaleb(-2)) for p in (open_, high, low, close))
        text += ",".join([stamp(minutes[-1]), *cents, str(volume)]) + "\n"
    expected = [
        bars[k] for k in sorted(in_order(minutes[1:]))
        if bars[k][3] <= min(bars[k][1], bars[k][4]) and bars[k][5] >= 0
        and bars[k][2] >= max(bars[k][1], bars[k][4])
    ]  # fmt: skip
    options = Options(venue="x", symbol="AB", stamp="end", price_scale=2, qty_scale=0)
    if not expected:
        with pytest.raises(DataError, match="nothing could be imported"):
            read(tmp_path, text, options)
        return
    told, sink = read(tmp_path, text, options)
    assert told.damaged == len(drawn) - len(expected)
    assert bars_of(sink) == expected


# -- funding ---------------------------------------------------------------------------------


def fundings_of(sink):
    assert set(sink.rows["kind"].tolist()) == {words.FUNDING}
    assert all(int(flags) & words.LAST_IN_MESSAGE for flags in sink.rows["flags"])
    return [
        (int(row["ts_event"]) - START, int(row["price"]), int(row["qty"]) - START)
        for row in sink.rows
    ]


def test_rates_are_fractions_of_twelve_decimals_and_say_when_they_are_paid(tmp_path):
    text = (
        "time,funding_rate,next_funding_time\n"
        f"{START},0.0001,{START + 10}\n{START + 5},-1.609e-05,{START + 10}\n"
        f"{START + 12},0.000658153991747989,{START + 20}\n"
    )
    told, sink = read(tmp_path, text, TABLE, format_name="")
    assert fundings_of(sink) == [
        (0, 100_000_000, 10), (5, -16_090_000, 10), (12, 658_153_992, 20),
    ]  # fmt: skip
    assert (told.damaged, told.notes) == (0, [])
    assert sink.instrument.contract == words.LINEAR


def test_a_history_of_rates_is_told_an_instant_before_each_was_paid(tmp_path):
    text = (
        "Symbol;Date;Funding Rate\nAB;2024-01-31 00:00:00;0.0001\nAB;2024-01-31 08:00:00;-0.0002\n"
    )
    told, sink = read(tmp_path, text, Options(venue="x"), format_name="")
    eight = 480 * MINUTE
    assert fundings_of(sink) == [(-1, 10**8, 0), (eight - 1, -2 * 10**8, eight)]
    assert told.notes == ["t.csv: no column is `next`: each rate is taken as paid at its own time"]


@pytest.mark.parametrize(
    ("rate", "following", "column"),
    [("", 20, "rate"), ("nan", 20, "rate"), ("inf", 20, "rate"), ("1", 20, "rate"),
     ("-1.5", 20, "rate"), ("0.0001", 5, "next"), ("0.0001", 0, "next"), ("0.0001", "", "next"),
     ("1e300", 20, "rate")],
)  # fmt: skip
def test_a_rate_that_cannot_be_is_told(tmp_path, rate, following, column):
    at = following if following in ("", 0) else START + following
    text = f"time,rate,next\n{START},0.0001,{START + 9}\n{START + 5},{rate},{at}\n"
    columns = {"time": "time", "rate": "rate", "next": "next"}
    told, sink = read(tmp_path, text, Options(venue="x", symbol="AB", columns=columns))
    assert [(damage.row, damage.column) for damage in told.damages] == [(3, column)]
    assert len(sink.rows) == 1


# -- times, symbols, scales ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "unit"),
    [("1706659200.123456789", ""), ("1706659200123.456789", ""), ("1706659200123456.789", ""),
     ("1706659200123456789", ""), ("1706659200123456789", "ns"), ("1706659200.123456789", "s"),
     ("1706659200123456.789", "us")],
)  # fmt: skip
def test_times_are_exact_to_the_nanosecond(tmp_path, written, unit):
    options = Options(venue="x", symbol="AB", time_unit=unit)
    _, sink = read(tmp_path, f"ts,price\n{written},5\n", options)
    assert sink.rows["ts_event"].tolist() == [1706659200123456789]


def test_one_odd_cell_does_not_decide_how_times_are_written(tmp_path):
    text = f"time,price\nNaT,1\n{stamp(1)},2\n{stamp(2)},3\n"
    told, sink = read(tmp_path, text, TABLE)
    assert faults(told) == [(2, "time", "not a date and time")]
    text = f"time,price\n2024-01-31,1\n{START},2\n{START + 1},3\n"
    told, sink = read(tmp_path, text, TABLE)
    assert faults(told) == [(2, "time", "not a number")]
    assert sink.rows["price"].tolist() == [2, 3]


def test_a_time_of_the_wrong_unit_is_told_not_wrapped(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"time": [START, START + 1], "price": [1.0, 2.0]}), path)
    for unit in ("s", "ms", "us"):
        with pytest.raises(DataError, match="1: time: a time that cannot be"):
            imported(path, Options(venue="x", symbol="AB", time_unit=unit))
        with pytest.raises(DataError, match="time: the number does not fit 62 bits"):
            read(tmp_path, f"time,price\n{START},5\n",
                 Options(venue="x", symbol="AB", time_unit=unit))  # fmt: skip


@pytest.mark.parametrize(
    "times",
    [
        pa.array(["2024-01-31 00:01:00+00:00", "2024-01-31T01:02:00+01:00"]),
        pa.array(["2024-01-31 00:01", "2024-01-31 00:02"], pa.large_string()),
        pa.array([str(START // SECOND + 60), str(START // SECOND + 120)]),
        pa.array([START // SECOND + 60.0, START // SECOND + 120.0]),
        pa.array([START // 10**6 + 60_000, START // 10**6 + 120_000]),
        pa.array([START + MINUTE, START + 2 * MINUTE], pa.timestamp("ns", "Asia/Tokyo")),
        pa.array([START // 10**6 + 60_000, START // 10**6 + 120_000], pa.timestamp("ms")),
    ],
    ids=lambda times: str(times.type),
)
def test_times_of_parquet_are_read_whatever_their_type(tmp_path, times):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"time": times, "price": [1.0, 2.0]}), path)
    told, sinks = imported(path, TABLE)
    assert (sinks["x:AB"].rows["ts_event"] - START).tolist() == [MINUTE, 2 * MINUTE]
    assert told.damaged == 0


def test_dates_of_parquet_are_midnights_and_nulls_are_told(tmp_path):
    path = tmp_path / "t.parquet"
    times = pa.array([date(2024, 1, 31), None, date(2024, 2, 1)])
    pq.write_table(pa.table({"date": times, "price": [1.0, 2.0, 3.0]}), path)
    told, sinks = imported(path, TABLE)
    assert (sinks["x:AB"].rows["ts_event"] - START).tolist() == [0, 1_440 * MINUTE]
    assert faults(told) == [(2, "time", "a time that cannot be")]
    pq.write_table(pa.table({"date": [[1]], "price": [1.0]}), path)
    with pytest.raises(DataError, match="date holds what is no time"):
        imported(path, TABLE)
    pq.write_table(pa.table({"date": times, "price": ["a", "b", "c"]}), path)
    with pytest.raises(DataError, match="holds what is no number"):
        imported(path, TABLE)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_symbols_of_a_table_are_instruments_of_their_own(tmp_path, suffix):
    columns = {"time": [START + k for k in range(4)], "symbol": ["AB", "CD", "AB", "CD"],
               "price": [1.0, 7.0, 2.0, 8.0]}  # fmt: skip
    path = tmp_path / f"t.{suffix}"
    if suffix == "csv":
        rows = zip(*columns.values(), strict=True)
        path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]))
    else:
        pq.write_table(pa.table(columns), path)
    _, sinks = imported(path, Options(venue="x"))
    prices = {key: sink.rows["price"].tolist() for key, sink in sinks.items()}
    assert prices == {"x:AB": [1, 2], "x:CD": [7, 8]}
    with pytest.raises(DataError, match=r"several symbols \(AB, CD\).*--only CD"):
        imported(path, Options(venue="x", symbol="ZZ"))
    _, sinks = imported(path, Options(venue="x", only=("CD",)))
    assert list(sinks) == ["x:CD"]


def test_a_side_of_parquet_that_is_no_word_is_told(tmp_path):
    path = tmp_path / "t.parquet"
    columns = {"time": [START, START + 1, START + 2], "price": [1.0, 2.0, 3.0],
               "side": ["buy", "hold", None]}  # fmt: skip
    pq.write_table(pa.table(columns), path)
    told, sinks = imported(path, TABLE)
    assert faults(told) == [(2, "side", "not one of the words that are allowed here")]
    assert sinks["x:AB"].rows["side"].tolist() == [1, 0]


def test_a_size_that_is_not_finite_is_never_taken_for_one_lot(tmp_path):
    path = tmp_path / "t.parquet"
    columns = {"time": [START, START + 1], "price": [1.0, 2.0], "qty": [INF, 3.0]}
    pq.write_table(pa.table(columns), path)
    told, sinks = imported(path, TABLE)
    assert sinks["x:AB"].rows["qty"].tolist() == [3]
    assert [damage.row for damage in told.damages] == [1]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_is_finer_than_the_scale_is_rounded_only_when_asked(tmp_path, suffix):
    columns = {"time": [START, START + MINUTE], "open": [432.9209899902344, 10.0],
               "high": [436.2460021972656, 12.0], "low": [418.7349853515625, 9.0],
               "close": [430.5669860839844, 11.0]}  # fmt: skip
    path = tmp_path / f"t.{suffix}"
    if suffix == "csv":
        rows = zip(*columns.values(), strict=True)
        path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]))
    else:
        pq.write_table(pa.table(columns), path)
    told, sinks = imported(path, Options(venue="x", symbol="AB", stamp="end", price_scale=2))
    assert (told.damaged, len(sinks["x:AB"].rows)) == (1, 4)
    assert any("--round" in note for note in told.notes)
    told, sinks = imported(
        path, Options(venue="x", symbol="AB", stamp="end", price_scale=2, round_off=True)
    )
    assert bars_of(sinks["x:AB"])[0] == (0, 43292, 43625, 41873, 43057, 0)
    assert told.damaged == 0
    assert not any("--round" in note for note in told.notes)


def test_a_bad_row_does_not_cost_the_last_one_that_has_no_line_end(tmp_path):
    told, sink = read(tmp_path, f"time,price\n{START},x\n{START + 1},5", TABLE)
    assert faults(told) == [(2, "price", "not a number")]
    assert sink.rows["price"].tolist() == [5]


def test_packed_tables_read_the_same(tmp_path):
    text = HEAD + f"{stamp(1)},{GOOD}\n"
    _, sink = read(tmp_path, gzip.compress(text.encode()), name="t.csv.gz", format_name="")
    assert bars_of(sink) == [(1, 10, 12, 9, 11, 7)]
    assert isinstance(sink.instrument, Instrument)
