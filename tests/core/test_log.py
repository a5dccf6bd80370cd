"""A log line is one line, whole, without secrets, and never stops the program."""

import errno
import io
import json
import logging
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import log
from alephtx.core.clock import ManualClock
from alephtx.core.errors import ConfigError
from alephtx.core.secrets import Secret


@pytest.fixture
def lines():
    """Everything that is logged, as lines; the log is put back afterwards."""
    stream = io.StringIO()
    log.configure(stream=stream, clock=ManualClock(1_700_000_000_123_456_789), level="debug")
    yield lambda: stream.getvalue().splitlines()
    log.configure()


@pytest.mark.smoke
def test_line_holds_stamp_level_event_and_fields_in_order(lines):
    log.logger("feeder", venue="okx").bind(instrument=12).info("book_resynced", gap=3)
    assert lines() == [
        "2023-11-14T22:13:20.123456Z info book_resynced part=feeder venue=okx instrument=12 gap=3"
    ]


def test_line_as_json_parses_back():
    stream = io.StringIO()
    log.configure(stream=stream, as_json=True, clock=ManualClock(), run="r1")
    log.logger().warning("order_denied", level="x", rule=3, ok=None, parts=(1, "a"))
    log.configure()
    assert json.loads(stream.getvalue()) == {
        "ts": "2023-11-14T22:13:20.000000Z", "level": "warning", "event": "order_denied",
        "run": "r1",
        "level_": "x", "rule": 3, "ok": None, "parts": [1, "a"],
    }  # fmt: skip


def test_levels_below_the_configured_one_are_not_written(lines):
    stream = io.StringIO()
    log.configure(stream=stream, level="warning")
    talker = log.logger()
    for write in (talker.debug, talker.info, talker.warning, talker.error):
        write("spoken")
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["warning", "error"]


def test_secrets_are_masked_by_type_name_depth_and_text(lines):
    secret = Secret("a-secret-of-length")
    log.logger().info(
        "signed_in",
        who=secret,
        api_key="k1",
        nested={"token": "t1", "list": [secret, {"signature": "s1"}]},
        error=ValueError("bad a-secret-of-length"),
        url="https://x/y?a=1&signature=abcdef",
    )
    (line,) = lines()
    for text in ("a-secret-of-length", "k1", "t1", "s1", "abcdef"):
        assert text not in line
    assert "a=1" in line


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=50), max_size=4))
def test_any_text_stays_on_one_line(fields):
    stream = io.StringIO()
    log.configure(stream=stream, clock=ManualClock())
    log.logger().info("said", f=fields)
    log.configure()
    assert stream.getvalue().endswith("\n")
    assert len(stream.getvalue()[:-1].splitlines()) == 1


def test_value_with_blanks_or_quotes_is_quoted(lines):
    log.logger().info("said", a="x y", b='"', c="", d="two\nlines", e="a=b")
    assert lines()[0].endswith(r'a="x y" b="\"" c="" d="two\nlines" e="a=b"')


def test_long_value_is_cut(lines):
    log.logger().info("said", a="x" * 5_000)
    assert len(lines()[0]) < 2_200
    assert "3000 more" in lines()[0]


def test_exception_says_type_and_place(lines):
    try:
        raise ValueError("odd")
    except ValueError as error:
        log.logger().error("decode_failed", error=error)
    assert "ValueError: odd (test_log.py:" in lines()[0]


def test_values_of_any_type_are_written(lines):
    import decimal

    import numpy as np

    log.logger().info("said", d=decimal.Decimal("1.50"), n=np.int64(3), b=b"\xffx", s={1}, o=object)
    assert "d=1.50 n=3" in lines()[0]


def test_every_holds_repeats_back_and_counts_them():
    clock, stream = ManualClock(), io.StringIO()
    log.configure(stream=stream, clock=clock)
    talker = log.logger().every(5)
    for _ in range(10):
        talker.warning("dropped")
    talker.bind(venue="other").warning("dropped")
    clock.advance(5_000_000_000)
    log.logger().every(5).warning("dropped")
    log.configure()
    tails = [line.partition("dropped")[2] for line in stream.getvalue().splitlines()]
    assert tails == ["", " venue=other", " suppressed=9"]


def test_every_with_endless_variety_stays_bounded(lines):
    sink = log._sink
    for k in range(log._LIMITS_KEPT_MAX + 10):
        log.logger().every(60).bind(k=k).debug("seen")
    assert len(sink.limits) <= log._LIMITS_KEPT_MAX


def test_file_takes_whole_lines_from_many_threads(tmp_path):
    path = tmp_path / "logs" / "a.log"
    log.configure(stderr=False, path=path)
    threads = [
        threading.Thread(
            target=lambda n=n: [log.logger().info("said", n=n, k=k) for k in range(200)]
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.configure()
    written = path.read_text().splitlines()
    assert len(written) == 800
    assert all(" info said n=" in line for line in written)
    assert path.stat().st_mode & 0o777 == 0o600


def test_file_that_cannot_be_opened_is_a_config_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be opened"):
        log.configure(path=tmp_path / "file" / "a.log")
    with pytest.raises(ConfigError, match="unknown log level"):
        log.configure(level="loud")


def test_full_disk_and_closed_stream_are_counted_not_raised(monkeypatch):
    before = log.dropped()
    full = os.open("/dev/full", os.O_WRONLY)
    closed = io.StringIO()
    closed.close()
    log.configure(stream=closed)
    monkeypatch.setattr(log._sink, "descriptor", full)
    log.logger().error("said")
    monkeypatch.undo()
    log.configure()
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        os.write(full, b"x")
    os.close(full)
    assert log.dropped() == before + 2


def test_stdlib_warnings_of_libraries_arrive_once(lines):
    logging.getLogger("some.library").info("not this")
    logging.getLogger("some.library").warning("gone %d", 7)
    record = logging.LogRecord("some.library", logging.ERROR, "x", 1, "bad %d", ("a",), None)
    (handler,) = [h for h in logging.getLogger().handlers if isinstance(h, log._Library)]
    handler.emit(record)
    assert [line.partition("library_spoke")[2] for line in lines()] == [
        ' library=some.library said="gone 7"',
        ' library=some.library said="bad %d"',
    ]


def test_child_after_fork_can_log_while_the_parent_holds_the_guard(tmp_path):
    path = tmp_path / "a.log"
    log.configure(stderr=False, path=path)
    with log._sink.guard:
        child = os.fork()
        if child == 0:
            log.logger().every(1).info("said")
            os._exit(0)
        os.waitpid(child, 0)
    log.configure()
    assert "said" in path.read_text()
