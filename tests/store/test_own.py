"""Our own files come back as they went out, whatever they hold; broken ones are told."""

import shutil
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx.core import words
from alephtx.core.records import EVENT
from alephtx.engine.ingest import importers
from alephtx.store.catalogue import Catalogue
from alephtx.store.checking import Check
from alephtx.store.damage import DataError
from alephtx.store.exporting import export
from alephtx.store.importers.own import rules_of
from alephtx.store.importing import choose, import_file, into_catalogue
from alephtx.store.pack import make_survey, survey
from alephtx.store.reading import Options
from alephtx.store.ticks import write_ticks
from tests.store.market import GOLDEN, INSTRUMENT, T0, numbered, rows_of
from tests.store.test_catalogue import MIDNIGHT

KEY = INSTRUMENT.key
FORMATS = pytest.mark.parametrize("suffix", [".ticks", ".parquet", ".csv"])
FEW = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = [k for k in range(1, words.ORDER_FILL + 1) if k != words.SEQ]
BIG = (1 << 62) - 1


@st.composite
def any_stream(draw):
    """Draw a stream of all kinds of rows, on two days, some messages of which overtook others."""
    made, clock = [], 0
    for _ in range(draw(st.integers(1, 6))):
        clock += draw(st.sampled_from([0, 1, 7, MIDNIGHT]))
        length = draw(st.integers(1, 3))
        body = [
            {"kind": draw(st.sampled_from(KINDS)), "price": draw(st.integers(-BIG, BIG)),
             "qty": draw(st.integers(-BIG, BIG)), "side": draw(st.sampled_from((1, 0, -1))),
             "seq": draw(st.integers(0, (1 << 63) - 1)), "ts_event": T0 + clock,
             "ts_recv": T0 + clock + 2, "open": k < length - 1,
             "flags": draw(st.sampled_from((0, words.SNAPSHOT, words.EXCHANGE_CLOCK)))}
            for k in range(length)
        ]  # fmt: skip
        if draw(st.booleans()):
            local = [{**row, "ts_event": T0 + clock + 9, "flags": words.TICK_LOCAL} for row in body]
            late = [{**row, "ts_event": T0 + clock + 9, "flags": words.TICK_EXCHANGE}
                    for row in body]  # fmt: skip
            body = [*local, *body, *late]
            clock += 9
        made += body
    return numbered(rows_of(*made))


def taken_in(path, root, options=None):
    """Import a file into a catalogue of its own; returns what was told."""
    found = choose(path, importers())
    assert found.name == "alephtx"
    given = options or Options()
    return import_file(path, found, given, into_catalogue(Catalogue(root), path))


def rows_in(root):
    return np.concatenate([np.zeros(0, EVENT), *Catalogue(root).scan(KEY)])


@FORMATS
@FEW
@given(rows=any_stream())
def test_what_goes_out_comes_in_and_goes_out_again_the_same(suffix, rows):
    assert survey(rows, len(rows), make_survey()) == -1
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_ticks(folder / "first.ticks", INSTRUMENT, rows)
        out, again = folder / f"out{suffix}", folder / f"again{suffix}"
        export(str(folder / "first.ticks"), folder, out)
        told = taken_in(out, folder / "data")
        assert (told.damaged, told.rows, told.notes) == (0, len(rows), [])
        assert Catalogue(folder / "data").instrument(KEY) == INSTRUMENT
        assert rows_in(folder / "data").tobytes() == rows.tobytes()
        export(KEY, folder / "data", again)
        assert again.read_bytes() == out.read_bytes() or suffix == ".parquet"
        taken_in(again, folder / "more")
        assert rows_in(folder / "more").tobytes() == rows.tobytes()


@pytest.fixture
def exported(tmp_path):
    """Return a real recording's stream as a file of each kind."""
    source = GOLDEN / "store" / "version1.ticks"
    for suffix in (".ticks", ".parquet", ".csv"):
        export(str(source), tmp_path, tmp_path / f"out{suffix}")
    return tmp_path


def checked(path, options=None):
    return Check(importers(), options or Options(anonymous=True)).run(path)


def test_check_says_the_same_of_each(exported):
    told = [checked(exported / f"out{suffix}") for suffix in (".ticks", ".parquet", ".csv")]
    assert len({(one.rows, one.messages, one.crossed, one.span_ns, one.damaged) for one in told}
               ) == 1  # fmt: skip
    assert all(one.streams[0].report.kinds == told[0].streams[0].report.kinds for one in told)
    assert {one.streams[0].instrument for one in told} == {"binance_usdm:BTC-USDT-PERP"}
    assert checked(exported).rows == 3 * told[0].rows  # the rules beside the CSV are no data
    assert checked(exported).notes == []


def test_a_packed_csv_needs_its_rules(exported):
    import gzip

    packed = exported / "out.csv.gz"
    packed.write_bytes(gzip.compress((exported / "out.csv").read_bytes()))
    with pytest.raises(DataError, match=r"out.csv.gz.instrument.json .* is not beside it"):
        taken_in(packed, exported / "data")
    assert checked(packed).streams[0].instrument == "unknown:unknown"
    rules = msgspec.json.decode(rules_of(exported / "out.csv").read_bytes())
    assert rules["key"] == "binance_usdm:BTC-USDT-PERP"
    shutil.copy(rules_of(exported / "out.csv"), rules_of(packed))
    assert taken_in(packed, exported / "data").damaged == 0


def test_other_rules_are_taken_only_on_the_scales_of_the_file(exported):
    path = exported / "out.parquet"
    own = msgspec.json.decode(rules_of(exported / "out.csv").read_bytes(), type=type(INSTRUMENT))
    dear = msgspec.structs.replace(own, taker_fee=own.taker_fee + 1)
    taken_in(path, exported / "data", Options(instrument=dear))
    assert Catalogue(exported / "data").instrument(own.key) == dear
    with pytest.raises(DataError, match="decimals of prices"):
        taken_in(path, exported / "more", Options(instrument=INSTRUMENT))
    with pytest.raises(DataError, match="leave --venue and --symbol out"):
        taken_in(path, exported / "more", Options(venue="x"))


def test_a_file_of_a_catalogue_can_be_taken_into_another(tmp_path):
    rows = numbered(rows_of(*(
        {"kind": words.TRADE, "ts_event": T0 + at, "ts_recv": T0 + at, "price": 1, "qty": 1}
        for at in (1, 2, MIDNIGHT, MIDNIGHT + 1)
    )))  # fmt: skip
    writer = Catalogue(tmp_path / "data").writer(INSTRUMENT, "a" * 16, "a.gz")
    writer.append(rows)
    second = writer.finish()[1]
    assert taken_in(second, tmp_path / "more").rows == 2
    assert rows_in(tmp_path / "more")["ts_event"].tolist() == rows["ts_event"][2:].tolist()


@pytest.mark.parametrize(
    ("change", "row"),
    [
        (lambda lines: [*lines[:50], "oops", *lines[50:]], 51),
        (lambda lines: [*lines[:50], lines[50].replace(",", ";", 1), *lines[51:]], 51),
        (lambda lines: [*lines[:50], f"1{lines[50]}", *lines[51:]], 50),  # a time that goes back
        (lambda lines: lines[:50] + lines[400:], 51),
        (lambda lines: [*lines[:50], ",".join([*lines[50].split(",")[:5], "257,1,7"])], 51),
    ],
)
def test_a_csv_that_was_changed_is_read_up_to_there(exported, change, row):
    path = exported / "out.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")
    found = checked(path)
    assert found.damaged >= 1
    assert found.rows <= 50
    assert any(row - 1 <= damage.row <= row + 2 for damage in found.damages)


@FORMATS
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_anywhere_it_is_refused_or_a_stream_before_the_damage(exported, suffix, data):
    path = exported / f"out{suffix}"
    whole = path.read_bytes()
    broken = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if broken and len(broken) == len(whole):
        broken[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(broken)
    try:
        found = choose(path, importers())
        sink = _Kept()
        import_file(path, found, Options(venue="" if found.name == "alephtx" else "x",
                                         symbol="" if found.name == "alephtx" else "x"),
                    lambda _: sink)  # fmt: skip
    except DataError as error:
        assert path.name in str(error)
    else:
        rows = np.concatenate([np.zeros(0, EVENT), *sink.rows])
        assert survey(rows, len(rows), make_survey()) == -1
    finally:
        path.write_bytes(whole)


class _Kept:
    def __init__(self):
        self.rows = []

    def append(self, rows):
        self.rows.append(rows.copy())

    def finish(self):
        return []

    def drop(self):
        pass
