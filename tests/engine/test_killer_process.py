"""The killer standing by: what it hears, when it ends, what it says where nothing is at a venue."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alephtx.core.errors import MatrixError, Throttled
from alephtx.core.ports import What
from alephtx.engine import kill_door, kill_engine, killer_main
from alephtx.engine.killer import Killer
from alephtx.engine.outside import EngineStatus, halts_of, is_process_of
from alephtx.twins.faults import Fault
from tests.engine.killing import standing, until

VENUE = "binance_usdm"
MAIN = "alephtx.engine.killer_main"
IDLE = "import sys, time; time.sleep(60)"


def owned(desk, mode):
    owner = {"pid": os.getpid(), "matrix": str(desk.folder / "no-matrix"), "mode": mode}
    desk.run.write_json(desk.run.path / "supervisor.json", owner)


def says(desk, *, ago_s=0.0, halted=True, orders=0):
    """Let the run's engine have said something."""
    account = {"name": "a", "ready": True, "live_orders": orders}
    status = {"ts": desk.now() - int(ago_s * 1e9), "halted": halted, "accounts": [account]}
    desk.run.write_json(desk.run.status, status)


def started(words, log=Path(os.devnull)):
    """Start a Python process."""
    with log.open("ab") as output:
        return subprocess.Popen([sys.executable, *words], stdout=output, stderr=output)


def engine_process(desk, *, started_ago_s=10.0):
    """Start what looks like the run's engine and register it; it does nothing."""
    process = started(["-S", "-c", IDLE, kill_engine.ENGINE, str(desk.run.path)])
    state = {"name": "engine", "pid": process.pid, "restarts": 0, "exit_code": None,
             "started": desk.now() - int(started_ago_s * 1e9)}  # fmt: skip
    desk.run.write_json(desk.run.path / "processes.json", [state])
    return process


# -- simulated accounts --------------------------------------------------------------------


async def test_paper_run_is_over_when_its_engine_says_so(tmp_path):
    async with standing(tmp_path, VENUE) as desk:
        owned(desk, "paper")
        desk.run.claim()
        killing = asyncio.ensure_future(desk.kill())
        await asyncio.sleep(0.1)
        assert not killing.done()
        says(desk)
        report = await killing
        assert (report.confirmed, report.live_orders, report.accounts) == (True, 0, [])
        assert report.said == "halted, no order is open"
        desk.run.release()


async def test_paper_run_whose_engine_is_silent_is_not_claimed_to_be_over(tmp_path):
    async with standing(tmp_path, VENUE) as desk:
        owned(desk, "paper")
        desk.run.claim()
        says(desk, orders=3)
        report = await desk.kill(wait_s=0.3)
        assert (report.confirmed, report.live_orders) == (False, 3)
        assert "did not say that nothing is open" in report.said
        desk.run.release()


async def test_paper_run_that_nobody_runs_has_nothing_open(tmp_path):
    async with standing(tmp_path, VENUE) as desk:
        owned(desk, "paper")
        report = await desk.kill()
        assert (report.confirmed, report.live_orders) == (True, 0)


async def test_feed_has_nothing_to_stop(tmp_path):
    async with standing(tmp_path, VENUE) as desk:
        owned(desk, "feed")
        report = await desk.kill()
        assert (report.confirmed, report.said) == (True, "market data only, nothing to stop")
        assert report.live_orders == 0


# -- the engine ----------------------------------------------------------------------------


async def test_hung_engine_is_ended_and_its_successor_believed(tmp_path, monkeypatch):
    monkeypatch.setattr(kill_engine, "STIR_NS", 300_000_000)
    async with standing(tmp_path, VENUE) as desk:
        desk.run.claim()
        process = engine_process(desk)
        says(desk, halted=False, orders=1)
        killing = asyncio.ensure_future(desk.kill())
        await until(lambda: process.poll() is not None)
        assert process.wait() == -signal.SIGKILL
        says(desk)
        report = await killing
        assert report.engine == "was hung, and was started again"
        desk.run.release()


async def test_hung_engine_that_nobody_starts_again_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(kill_engine, "STIR_NS", 100_000_000)
    async with standing(tmp_path, VENUE) as desk:
        desk.run.claim()
        process = engine_process(desk)
        says(desk, halted=False, orders=1)
        report = await desk.kill(wait_s=1.0)
        assert process.wait() == -signal.SIGKILL
        assert report.engine == "hung and was ended"
        assert report.confirmed, "the venue says that nothing is open"
        desk.run.release()


async def test_engine_that_was_just_started_is_left_alone(tmp_path, monkeypatch):
    """Its last word is its predecessor's."""
    monkeypatch.setattr(kill_engine, "STIR_NS", 100_000_000)
    async with standing(tmp_path, VENUE) as desk:
        desk.run.claim()
        says(desk, ago_s=60, halted=False)
        process = engine_process(desk, started_ago_s=5)
        report = await desk.kill(wait_s=0.6)
        assert process.poll() is None
        assert report.engine == "did not say that nothing is open"
        process.kill()
        process.wait()
        desk.run.release()


async def test_process_with_the_number_of_a_dead_engine_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(kill_engine, "STIR_NS", 100_000_000)
    async with standing(tmp_path, VENUE) as desk:
        stranger = started(["-S", "-c", IDLE])
        state = {"name": "engine", "pid": stranger.pid, "restarts": 0, "exit_code": None}
        desk.run.write_json(desk.run.path / "processes.json", [state])
        says(desk, ago_s=60, halted=False)
        desk.run.claim()
        await desk.kill(wait_s=0.5)
        assert stranger.poll() is None
        stranger.kill()
        stranger.wait()
        assert not is_process_of(stranger.pid, kill_engine.ENGINE, desk.run)
        desk.run.release()


async def test_status_that_cannot_be_read_does_not_stop_a_kill(tmp_path):
    async with standing(tmp_path, VENUE) as desk:
        desk.rest(VENUE, desk.intend(VENUE))
        desk.run.status.write_bytes(b"{")
        report = await desk.kill(wait_s=0.5)
        assert desk.open_at(VENUE) == []
        assert report.confirmed


# -- standing by ---------------------------------------------------------------------------


async def test_standing_killer_serves_file_request_and_what_its_predecessor_left(tmp_path):
    async with standing(tmp_path, VENUE) as desk:
        left = kill_door.ask(desk.run, "left over")
        assert kill_door.take(desk.run) == left
        killer = Killer(desk.run)
        task = asyncio.ensure_future(killer.stand_by(os.getppid()))
        await until(lambda: kill_door.report_of(desk.run, left.id))
        desk.rest(VENUE, desk.intend(VENUE))
        (desk.run.path / "KILL").touch()
        await until(lambda: desk.open_at(VENUE) == [])
        request = kill_door.ask(desk.run, "asked")
        await until(lambda: kill_door.report_of(desk.run, request.id))
        killer.stop()
        await task


async def test_killer_ends_when_supervisor_and_engine_are_gone_and_not_before(tmp_path):
    async with standing(tmp_path, VENUE) as desk:
        process = engine_process(desk)
        killer = Killer(desk.run)
        nobody = 1 << 30
        task = asyncio.ensure_future(killer.stand_by(nobody))
        await asyncio.sleep(0.2)
        assert not task.done(), "the engine lives"
        process.kill()
        process.wait()
        async with asyncio.timeout(10):
            await task


async def test_dead_man_timers_run_while_the_engine_stirs_and_end_with_the_run(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("alephtx.engine.killer.TICK_NS", 20_000_000)
    async with standing(tmp_path, VENUE) as desk:
        order_id = desk.intend(VENUE)
        desk.rest(VENUE, order_id)
        desk.journal.sync()
        says(desk, ago_s=60, halted=False)
        killer = Killer(desk.run)
        task = asyncio.ensure_future(killer.stand_by(os.getppid()))
        countdowns = desk.served.twins[VENUE].countdowns
        await asyncio.sleep(0.2)
        assert countdowns == {}, "the engine is silent"
        desk.run.status.write_bytes(b"{")
        await asyncio.sleep(0.1)
        assert countdowns == {}
        says(desk, halted=False)
        await until(lambda: countdowns)
        desk.run.write_json(desk.run.path / "engine.json", {"left_open": []})
        killer.stop()
        await task
        assert countdowns == {}
        assert len(desk.open_at(VENUE)) == 1


async def test_timers_go_on_where_orders_were_left(tmp_path, monkeypatch):
    monkeypatch.setattr("alephtx.engine.killer.TICK_NS", 20_000_000)
    async with standing(tmp_path, VENUE) as desk:
        desk.intend(VENUE)
        desk.journal.sync()
        says(desk, halted=False)
        killer = Killer(desk.run)
        task = asyncio.ensure_future(killer.stand_by(os.getppid()))
        countdowns = desk.served.twins[VENUE].countdowns
        await until(lambda: countdowns)
        desk.run.write_json(desk.run.path / "engine.json", {"left_open": [7]})
        killer.stop()
        await task
        assert len(countdowns) == 1
        for timer in countdowns.values():
            timer.cancel()


async def test_fault_in_a_timer_is_logged_and_the_killer_goes_on(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("alephtx.engine.killer.TICK_NS", 20_000_000)
    async with standing(tmp_path, VENUE) as desk:
        says(desk, halted=False)
        killer = Killer(desk.run)

        async def broken():
            raise ZeroDivisionError

        killer.accounts[0].deadman.tick = broken
        task = asyncio.ensure_future(killer.stand_by(os.getppid()))
        await asyncio.sleep(0.2)
        assert not task.done()
        killer.stop()
        await task
        assert "deadman_failed" in capfd.readouterr().err


async def test_numbers_of_closing_orders_go_on_after_a_restart(tmp_path):
    async with standing(tmp_path, VENUE) as desk:
        desk.journal.sync()
        (desk.run.path / "kill").mkdir()
        first, second = Killer(desk.run), Killer(desk.run)
        first.follow()
        second.follow()
        ids = [first._next_id()]
        first._record({"order_id": ids[0]})
        ids += [second._next_id(), second._next_id()]
        assert len(set(ids)) == 3
        assert ids == sorted(ids)
        await first.close()
        await second.close()


def test_status_of_an_engine_is_read_as_its_word(tmp_path):
    status = EngineStatus(ts=5, halted=True)
    assert kill_engine.is_over(status, 4)
    assert not kill_engine.is_over(status, 5), "it must be newer than the kill"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
async def test_process_hears_signals_while_it_waits_for_the_engine_and_after(tmp_path, number):
    async with standing(tmp_path, VENUE, exclusive=False) as desk:
        desk.rest(VENUE, desk.intend(VENUE))
        desk.journal.sync()
        command = ["-m", "alephtx.engine.killer_main", str(desk.run.path), str(os.getpid())]
        process = started(command, log=desk.run.logs / "killer.log")
        await asyncio.sleep(0.5)
        process.send_signal(signal.SIGUSR1)
        await until(lambda: desk.open_at(VENUE) == [], 20)
        await until(lambda: kill_door.reports(desk.run), 20)
        if number == signal.SIGUSR1:
            desk.rest(VENUE, desk.intend(VENUE))
            process.send_signal(signal.SIGUSR1)
            await until(lambda: desk.open_at(VENUE) == [], 20)
        process.terminate()
        begun = time.monotonic()
        while process.poll() is None and time.monotonic() - begun < 10:
            await asyncio.sleep(0.02)
        assert process.returncode == 0


async def test_process_ends_with_a_word_where_it_cannot_work(tmp_path):
    async with standing(tmp_path, VENUE) as desk:
        desk.run.config.write_text("nonsense = ")
        log = desk.run.logs / "killer.log"
        assert started(["-m", MAIN, str(desk.run.path), "--once"], log=log).wait(30) == 2
        assert "killer_cannot_stand_by" in log.read_text()


def test_fault_of_a_known_kind_is_one_line_and_the_supervisors_to_mend(
    monkeypatch, tmp_path, capfd
):
    async def broken(run):
        raise MatrixError("the matrix is gone")

    monkeypatch.setattr("alephtx.engine.killer.once", broken)
    assert killer_main.main([str(tmp_path), "--once"]) == 1
    assert 'killer_stopped part=kill error="the matrix is gone"' in capfd.readouterr().err


def test_engine_that_does_not_speak_is_not_waited_for_without_end(monkeypatch, tmp_path):
    monkeypatch.setattr(killer_main, "WAIT_NS", 3 * killer_main.POLL_NS)
    killer_main.await_engine(tmp_path, [])


def catches(pid, number):
    """Tell whether a process has a handler for a signal."""
    said = Path(f"/proc/{pid}/status").read_text().split("SigCgt:")[1].split()[0]
    return bool(int(said, 16) >> (number - 1) & 1)


async def test_request_that_cannot_be_written_reaches_the_killer_by_signal(tmp_path):
    """A full disk, or a file where the folder should be: the kill must come all the same."""
    async with standing(tmp_path, VENUE, exclusive=False) as desk:
        desk.rest(VENUE, desk.intend(VENUE))
        desk.journal.sync()
        (desk.run.path / "kill").write_text("in the way")
        log = desk.run.logs / "killer.log"
        process = started(["-m", MAIN, str(desk.run.path), str(os.getpid())], log=log)
        state = {"name": "killer", "pid": process.pid, "restarts": 0, "exit_code": None}
        desk.run.write_json(desk.run.path / "processes.json", [state])
        await until(lambda: catches(process.pid, signal.SIGUSR1), 20)
        report = await asyncio.to_thread(kill_door.kill, desk.run, "a test")
        assert not report.confirmed
        assert "could not be written; its killer was told" in report.said
        await until(lambda: desk.open_at(VENUE) == [], 20)
        assert halts_of(desk.run)[0].action == "halt"
        await until(lambda: "kill_report_not_written" in log.read_text(), 20)
        process.terminate()
        assert await asyncio.to_thread(process.wait, 20) == 0


async def test_signals_that_come_in_a_row_kill_once_in_a_while(tmp_path):
    async with standing(tmp_path, VENUE) as desk:
        killer = Killer(desk.run)
        for _ in range(3):
            killer.signal()
            await killer.serve()
        assert len(kill_door.reports(desk.run)) == 1
        assert killer.signalled, "it is not forgotten either"
        await killer.close()


async def test_fault_at_one_venue_spares_no_other(tmp_path, monkeypatch, capfd):
    async with standing(tmp_path, VENUE, "hyperliquid") as desk:
        for venue in (VENUE, "hyperliquid"):
            desk.rest(venue, desk.intend(venue))
        desk.journal.sync()
        (desk.run.path / "kill").mkdir()
        killer = Killer(desk.run)

        async def broken(asked_ns, deadline_ns):
            raise ZeroDivisionError

        monkeypatch.setattr(killer.accounts[0].kill, "kill", broken)
        report = await killer.kill(desk.request(flatten=True))
        assert desk.open_at("hyperliquid") == []
        assert (report.confirmed, report.live_orders, report.flat) == (False, -1, False)
        assert report.accounts[0].error == "a fault of ours: ZeroDivisionError"
        assert "kill_failed" in capfd.readouterr().err
        await killer.close()


async def test_position_is_not_closed_by_an_order_that_cannot_be_recorded(tmp_path):
    async with standing(tmp_path, VENUE) as desk:
        desk.fill(VENUE, 10)
        held = desk.position(VENUE)
        (desk.run.path / "kill" / "orders.jsonl").mkdir(parents=True)
        report = await desk.kill(flatten=True)
        assert desk.position(VENUE) == held
        assert (report.confirmed, report.flat) == (True, False)
        assert "Is a directory" in report.accounts[0].error


async def test_engine_that_stirs_is_not_ended_for_what_it_has_open(tmp_path, monkeypatch):
    monkeypatch.setattr(kill_engine, "STIR_NS", 200_000_000)
    async with standing(tmp_path, VENUE) as desk:
        desk.run.claim()
        process = engine_process(desk)
        killing = asyncio.ensure_future(desk.kill(wait_s=1.0))
        while not killing.done():
            says(desk, halted=False, orders=1)
            await asyncio.sleep(0.02)
        assert process.poll() is None
        assert (await killing).engine == "did not say that nothing is open"
        process.kill()
        process.wait()
        desk.run.release()


async def test_killer_heeds_what_the_venue_says_about_its_rate(tmp_path):
    async with standing(tmp_path, VENUE) as desk:
        killer = Killer(desk.run)
        (bound,) = killer.accounts
        (twin,) = desk.served.twins.values()
        assert twin.weight_limits.charge("127.0.0.1", 1_000)
        before = bound.buckets.left("weight")
        await bound.kill.ask(What.ORDERS)
        assert before - bound.buckets.left("weight") > 1_000
        assert bound.buckets.try_take((), cancel=True) == 0
        twin.faults.order(Fault(kind="429", target="http"))
        with pytest.raises(Throttled):
            await bound.kill.ask(What.ORDERS)
        assert bound.buckets.try_take((), cancel=True) > 0
        await killer.close()


async def test_kill_during_a_ban_says_in_time_what_it_could_not_do(tmp_path):
    async with standing(tmp_path, VENUE) as desk:
        desk.rest(VENUE, desk.intend(VENUE))
        (twin,) = desk.served.twins.values()
        while not twin.weight_limits.banned_seconds("127.0.0.1"):
            twin.weight_limits.charge("127.0.0.1", 10_000)
        begun, before = time.monotonic(), twin.stats["http_requests"]
        report = await desk.kill(wait_s=2.0)
        assert time.monotonic() - begun < 6
        (account,) = report.accounts
        assert not report.confirmed
        assert "asked us to send nothing for" in account.error
        assert twin.stats["http_requests"] - before < 5, "it is asked, and then left alone"
