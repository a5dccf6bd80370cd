"""Every format: what is in its file comes out, and what is broken is told and costs only itself."""

import gzip
import re
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.config_schema import INSTRUMENT_KEY
from alephtx.engine.ingest import importers
from alephtx.store.damage import DataError
from alephtx.store.importing import choose
from alephtx.store.pack import make_survey, survey
from tests.store.formats import (
    BUILDERS,
    NEW_YORK,
    SECOND,
    bitstamp_log,
    itch_message,
    itch_messages,
)
from tests.store.formats import itch as itch_case
from tests.store.test_raw import imported

FORMATS = pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
FUZZ = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


def decimals(rows, instrument, start):
    """Return rows as formats.py writes them."""
    return [
        (
            int(row["kind"]), int(row["side"]),
            instrument.price_decimal(int(row["price"])), instrument.qty_decimal(int(row["qty"])),
            int(row["ts_event"]) - start,
        )
        for row in rows
    ]  # fmt: skip


def expected(case):
    return [(kind, side, Decimal(p), Decimal(q), at) for kind, side, p, q, at in case.rows]


def run(case, path=None):
    return imported(path or case.path, case.options, case.format)


@FORMATS
def test_what_is_in_the_file_comes_out(build, tmp_path):
    case = build(tmp_path)
    told, sinks = run(case)
    assert list(sinks) == [case.key]
    sink = sinks[case.key]
    assert decimals(sink.rows, sink.instrument, case.start) == expected(case)
    assert (told.damaged, told.damages) == (0, [])
    assert survey(sink.rows, len(sink.rows), make_survey()) == -1


@FORMATS
def test_a_config_can_name_what_was_imported(build, tmp_path):
    assert re.fullmatch(INSTRUMENT_KEY, build(tmp_path).key)


@FORMATS
def test_the_format_is_found_by_the_files_looks(build, tmp_path):
    case = build(tmp_path)
    if case.format == "columns" and case.options.columns:
        return  # only the user knows
    assert choose(case.path, importers()).name == case.format


@FORMATS
def test_packed_files_read_the_same(build, tmp_path):
    case = build(tmp_path)
    if not case.text and case.format != "itch":
        return
    packed = tmp_path / f"{case.path.name}.gz"
    packed.write_bytes(gzip.compress(case.path.read_bytes()))
    assert run(case, packed)[0].rows == len(case.rows)


def survives(case, damaged):
    """Import a damaged copy; it is refused by name, or read and told."""
    case.path.write_bytes(damaged)
    try:
        told, sinks = run(case)
    except DataError as error:
        assert str(error)
        return None
    for sink in sinks.values():
        assert survey(sink.rows, len(sink.rows), make_survey()) == -1
    return told


@FORMATS
@FUZZ
@given(data=st.data())
def test_cut_anywhere_it_is_refused_or_told(build, tmp_path, data):
    case = build(tmp_path)
    whole = case.path.read_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    told = survives(case, cut)
    if told is not None:
        full = cut.endswith(b"\n") or (case.format in ("itch", "databento"))
        assert told.damaged or told.notes or full
        assert told.rows <= len(case.rows) + 1


@FORMATS
@FUZZ
@given(data=st.data())
def test_flipped_bits_never_end_in_anything_but_words(build, tmp_path, data):
    case = build(tmp_path)
    damaged = bytearray(case.path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    survives(case, bytes(damaged))


def test_a_time_that_no_word_holds_is_a_damaged_row(tmp_path):
    """Found by the fuzz test: thirteen digits of ms are more than 63 bits of ns can say."""
    case = bitstamp_log(tmp_path)
    lines = case.path.read_bytes().splitlines(keepends=True)
    lines[2] = b"9" + lines[2][1:]
    told = survives(case, b"".join(lines))
    assert [damage.row for damage in told.damages] == [3]
    assert told.rows == len(case.rows) - 1


@FORMATS
def test_rubbish_is_refused_or_passed_over(build, tmp_path):
    case = build(tmp_path)
    for rubbish in (b"", b"\n", b"\0" * 999, b"a,b\n" * 9, b"\xff\xfe" * 99, b"1,2,3,4,5,6,7,8\n"):
        assert survives(case, rubbish) is None or rubbish.startswith(b"1,2")


@FORMATS
def test_wrong_columns_are_told_by_name_or_row(build, tmp_path):
    """A column less, a column more, and a word where a number was."""
    case = build(tmp_path)
    if not case.text or (case.format == "bitstamp" and b"{" in case.path.read_bytes()):
        return
    lines = case.path.read_text().splitlines()
    for change in (
        lambda fields: fields[1:],
        lambda fields: [*fields, "x"],
        lambda fields: ["oops"] * len(fields),
    ):
        broken = [*lines[:-1], ",".join(change(lines[-1].split(",")))]
        case.path.write_text("\n".join(broken) + "\n")
        if len(lines) == 2 and not lines[0][0].isdigit():
            with pytest.raises(DataError, match=f":{len(lines)}: "):
                run(case)
            continue
        told, _ = run(case)
        assert told.damaged == 1
        assert told.damages[0].row == len(lines)
        assert told.rows < len(case.rows)


@FORMATS
def test_a_column_that_is_not_there_is_named(build, tmp_path):
    case = build(tmp_path)
    head = case.path.read_bytes().partition(b"\n")[0] if case.text else b""
    if b"," not in head or head[:1].isdigit() or b"{" in head:
        return
    lines = [line.split(b",") for line in case.path.read_bytes().splitlines()]
    at = next(k for k, name in enumerate(lines[0]) if b"price" in name or name in (b"px", b"p"))
    case.path.write_bytes(b"".join(b",".join(line[:at] + line[at + 1 :]) + b"\n" for line in lines))
    with pytest.raises(DataError, match=case.path.name):
        run(case)


def test_a_bad_row_in_the_middle_costs_only_itself(tmp_path):
    rows = [f"{n},100.{n:02},1,1,{1706659200000 + n},True,True" for n in range(90)]
    path = tmp_path / "BTCUSDT-trades-2024-01-31.csv"
    path.write_text("\n".join([*rows[:40], "40,1OO,1,1,1,True,True", *rows[40:]]) + "\n")
    told, _ = imported(path)
    assert told.rows == 90
    assert [str(d) for d in told.damages] == [f"{path.name}:41: price: not a number"]


def test_itch_finds_its_place_again_after_rubbish(tmp_path):
    case = itch_case(tmp_path)
    messages = itch_messages()
    for rubbish in (b"\0", b"\x00\x24A" + b"x" * 7, bytes(300)):
        case.path.write_bytes(b"".join([*messages[:5], rubbish, *messages[5:]]))
        told, _ = run(case)
        assert told.damaged == 1
        assert f"{len(rubbish)} bytes" in str(told.damages[0])
        assert told.rows == len(case.rows)


def test_itch_goes_on_across_blocks(tmp_path):
    """More than a block of messages, so that one stands across the seam."""
    case = itch_case(tmp_path)
    messages = itch_messages()
    many = [
        itch_message("X", 8, n, bytes(12)) for n in range(120_000)
    ]  # fmt: skip
    case.path.write_bytes(b"".join([*messages[:5], *many, *messages[5:]]))
    told, _ = run(case)
    assert (told.rows, told.damaged) == (len(case.rows), 0)
    with pytest.raises(DataError, match="give --symbol"):
        imported(case.path, None, "itch")
    assert NEW_YORK % SECOND == 0


def test_several_symbols_of_a_table_become_streams(tmp_path):
    path = tmp_path / "trades.csv"
    path.write_text(
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        "x,AB,1706659200000000,1706659200000001,1,buy,1.5,1\n"
        "x,CD,1706659200000000,1706659200000001,1,buy,2.25,1\n"
        "x,AB,1706659200000003,1706659200000004,1,sell,1.5,1\n"
    )
    told, sinks = imported(path)
    assert sorted(sinks) == ["x:AB", "x:CD"]
    assert {key: len(sink.rows) for key, sink in sinks.items()} == {"x:AB": 2, "x:CD": 1}
    assert {sink.instrument.price_scale for sink in sinks.values()} == {2}
    assert told.damaged == 0


def test_levels_out_of_order_are_named_by_row(tmp_path):
    path = tmp_path / "snapshots.csv"
    path.write_text(
        "exchange,symbol,timestamp,local_timestamp,asks[0].price,asks[0].amount,asks[1].price,"
        "asks[1].amount\nx,AB,1706659200000000,1706659200000001,11,1,12,1\n"
        "x,AB,1706659200000001,1706659200000002,12,1,11,1\n"
    )
    told, _ = imported(path)
    assert [(d.row, d.problem) for d in told.damages] == [(3, "the levels are not in order")]


def test_scale_given_too_small_names_rows(tmp_path):
    from alephtx.store.reading import Options

    path = tmp_path / "BTCUSDT-trades-2024-01-31.csv"
    path.write_text("1,1.25,1,1,1706659200000,True,True\n2,1.5,1,1,1706659200001,True,True\n")
    told, sinks = imported(path, Options(price_scale=1))
    assert [d.row for d in told.damages] == [1]
    (sink,) = sinks.values()
    assert sink.rows["price"].tolist() == [15]
    assert np.count_nonzero(sink.rows["kind"] == words.TRADE) == 1
