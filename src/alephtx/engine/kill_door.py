"""The one door to the kill switch: CLI, API, kill file and signal all come through here.

    report = kill(run, reason="fat finger", by="api")

Three steps, each of which works without the next: the halt word in shared memory, which stops every
new order at once; a request on disk; and a killer process that takes it, cancels at the venues and
reports (`engine.killer`). A run whose killer is gone gets one for the occasion.
"""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from alephtx.core.clock import MachineClock, pause_thread
from alephtx.core.errors import AlephError, ConfigError
from alephtx.core.log import logger
from alephtx.engine.kill_words import By, KillReport, KillRequest
from alephtx.engine.outside import HaltNote, attach_to, child_pid, halts_of, status_of
from alephtx.engine.rundir import RunDirectory
from alephtx.matrix.writers import halt_read, halt_set

log = logger("kill")

HALT_STOPPING, HALT_KILLED = 1, 2
"""What stands in the halt word: the run is being stopped, or the kill switch was used."""

KILL_FILE = "KILL"
KILLER = "alephtx.engine.killer_main"
TAKE_NS, REPORT_NS = 200_000_000, 1_000_000_000
"""How long a standing killer may take to notice (one that lives takes a fiftieth of a second; two
do no harm), and how much longer than it was given to report."""

POLL_NS = 10_000_000
ASKED, TAKEN, REPORT = ".asked.json", ".taken.json", ".report.json"


def folder(run: RunDirectory) -> Path:
    """Return where a run's requests and reports lie."""
    return run.path / "kill"


def ask(
    run: RunDirectory,
    reason: str,
    by: By = "api",
    *,
    flatten: bool = False,
    wait_s: float = 30.0,
    name: str = "",
) -> KillRequest:
    """Halt a run at once and leave a request for its killer; returns without waiting.

    name: of a request that may be made once only.
    """
    clock, place = MachineClock(), folder(run)
    now = clock.now()
    request = KillRequest(
        name or f"{now}-{secrets.token_hex(3)}", now, clock.monotonic(), reason, by, flatten, wait_s
    )
    if name and is_kept(run, name):
        return request
    block(run)
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        run.write_bytes(place / f"{request.id}{ASKED}", msgspec.json.encode(request))
    except OSError as error:  # a full disk: the killer hears of it all the same
        log.error("kill_request_not_written", run=run.id, error=error.strerror)
        wake(run)
    note_quietly(run, reason)
    return request


def note_quietly(run: RunDirectory, reason: str) -> None:
    """Keep that a run was halted; what stands in the way of that must not stand in a kill's."""
    try:
        note(run, "halt", reason)
    except (OSError, AlephError) as error:
        log.error("halt_not_noted", run=run.id, error=str(error))


def is_kept(run: RunDirectory, request_id: str) -> bool:
    """Tell whether a request is on disk, in whatever state."""
    place = folder(run)
    return any((place / f"{request_id}{word}").exists() for word in (ASKED, TAKEN, REPORT))


def wake(run: RunDirectory) -> bool:
    """Send SIGUSR1 to a run's standing killer, which kills without a request on disk."""
    pid = child_pid(run, "killer", KILLER)
    if pid:
        os.kill(pid, signal.SIGUSR1)
    return bool(pid)


def block(run: RunDirectory) -> bool:
    """Set the halt word; False where there is no matrix of the run's to set it in.

    Not only while its supervisor lives: an engine may have outlived that.
    """
    try:
        with attach_to(run) as matrix:
            halt_set(matrix.map, HALT_KILLED)
            return True
    except AlephError as error:
        log.info("halt_word_not_set", run=run.id, why=str(error))
        return False


def is_halted(run: RunDirectory) -> bool:
    """Tell whether a run's halt word stands."""
    try:
        with attach_to(run) as matrix:
            return int(halt_read(matrix.map)) != 0
    except AlephError:
        return False


def _why_not(run: RunDirectory) -> str:
    """Say why a run's halt word cannot be reached."""
    try:
        attach_to(run).close()
    except AlephError as error:
        return str(error)
    return "somebody lifted it"


def note(run: RunDirectory, action: str, reason: str) -> None:
    """Keep a use of the switch with the run; a restart of it looks there."""
    notes = [*halts_of(run), HaltNote(MachineClock().now(), action, reason)]
    run.write_json(run.path / "halts.json", notes)


def take(run: RunDirectory) -> KillRequest | None:
    """Take the oldest request that nobody has taken; whoever renames it first has it."""
    for path in sorted(folder(run).glob(f"*{ASKED}")):
        taken = path.with_name(path.name.removesuffix(ASKED) + TAKEN)
        try:
            path.rename(taken)
        except FileNotFoundError:
            continue  # another killer was quicker
        return _read(run, taken)
    return None


def _read(run: RunDirectory, path: Path) -> KillRequest:
    """Read a request; one that cannot be read is a request all the same."""
    clock = MachineClock()
    try:
        request: KillRequest | None = run.read_as(path, KillRequest)
        if request is not None:
            return request
        why = "it is gone"
    except ConfigError as error:
        why = str(error)
    log.error("kill_request_unreadable", run=run.id, path=path.name, error=why)
    name = path.name.removesuffix(TAKEN)
    return KillRequest(name, clock.now(), clock.monotonic(), f"an unreadable request: {why}")


def unfinished(run: RunDirectory) -> list[KillRequest]:
    """Return requests whose taker died over them."""
    return [
        _read(run, path)
        for path in sorted(folder(run).glob(f"*{TAKEN}"))
        if not path.with_name(path.name.removesuffix(TAKEN) + REPORT).exists()
    ]


def waits(run: RunDirectory) -> bool:
    """Tell whether a request lies at the door."""
    return any(folder(run).glob(f"*{ASKED}"))


def finish(run: RunDirectory, report: KillReport) -> None:
    """Leave the report where whoever asked looks for it."""
    try:
        folder(run).mkdir(mode=0o700, exist_ok=True)  # a signal leaves no request there
        run.write_json(folder(run) / f"{report.request.id}{REPORT}", report)
    except OSError as error:  # what was done is done; the log has it
        log.error("kill_report_not_written", run=run.id, error=error.strerror)


def report_of(run: RunDirectory, request_id: str) -> KillReport | None:
    """Return the report of a request; None while there is none."""
    found: KillReport | None = run.read_as(folder(run) / f"{request_id}{REPORT}", KillReport)
    return found


def reports(run: RunDirectory) -> list[KillReport]:
    """Return what came of every kill of a run, in the order in which they ended."""
    paths = sorted(folder(run).glob(f"*{REPORT}"), key=lambda path: path.stat().st_mtime_ns)
    return [report for path in paths if (report := run.read_as(path, KillReport)) is not None]


# -- files and lifting ---------------------------------------------------------------------


def kill_files(run: RunDirectory) -> tuple[Path, Path]:
    """Return the files whose being there kills: the run's own, and that of all runs beside it."""
    return run.path / KILL_FILE, run.path.parent / KILL_FILE


def heed_files(run: RunDirectory) -> bool:
    """Ask for a kill where a kill file lies; once for each time it is laid. True while one lies."""
    for path in kill_files(run):
        try:
            laid = path.stat().st_mtime_ns
        except OSError:
            continue
        ask(run, f"the file {path} is there", "file", name=f"file-{laid}")
        return True
    return False


def resume(run: RunDirectory, reason: str) -> None:
    """Lift the halt of a run; ConfigError where it must not be lifted."""
    for path in kill_files(run):
        if path.exists():
            raise ConfigError(f"the kill file {path} is there", remedy="remove it first")
    if not run.alive:
        raise ConfigError(f"run {run.id} does not go")
    if any(report.request.flatten and report.accounts for report in reports(run)):
        raise ConfigError(
            f"run {run.id} was flattened: its strategies hold what is gone",
            remedy="end it, and begin a new one: alephtx run --fresh",
        )
    with attach_to(run) as matrix:
        halt_set(matrix.map, 0)
    note(run, "resume", reason)


# -- waiting -------------------------------------------------------------------------------


def kill(
    run: RunDirectory, reason: str, by: By = "api", *, flatten: bool = False, wait_s: float = 30.0
) -> KillReport:
    """Kill one run and wait for the report."""
    return kill_all([run], reason, by, flatten=flatten, wait_s=wait_s)[0]


def kill_all(
    runs: Iterable[RunDirectory],
    reason: str,
    by: By = "api",
    *,
    flatten: bool = False,
    wait_s: float = 30.0,
) -> list[KillReport]:
    """Kill several runs: every halt word first, then wait for all the reports."""
    asked = [(run, ask(run, reason, by, flatten=flatten, wait_s=wait_s)) for run in runs]
    return [wait(run, request) for run, request in asked]


def ended(run: RunDirectory) -> bool:
    """Tell whether a run is over with nothing open, so that there is nothing to kill."""
    if run.alive or not run.ended:
        return False
    return not (run.read_as(run.summary, dict[str, Any]) or {}).get("left_open")


def wait(run: RunDirectory, request: KillRequest) -> KillReport:
    """Wait for a report; starts a killer where none has taken the request."""
    clock = MachineClock()
    deadline = request.asked_ns + int(request.wait_s * 1e9) + REPORT_NS
    waiting = folder(run) / f"{request.id}{ASKED}"
    helper: subprocess.Popen[bytes] | None = None
    if not is_kept(run, request.id):
        why = "the request could not be written; its killer was told, if it has one"
        return _unreported(run, request, why)
    while clock.monotonic() < deadline:
        report = report_of(run, request.id)
        if report is not None:
            break
        if helper is not None and helper.poll() is not None and waiting.exists():
            report = _unreported(run, request, _last_words(run))
            break
        late = clock.monotonic() - request.asked_ns > TAKE_NS
        if late and helper is None and waiting.exists():
            helper = _start_killer(run)
        pause_thread(POLL_NS)
    else:
        report = _unreported(run, request, "no killer reported")
    if helper is not None:
        try:
            helper.wait(REPORT_NS / 1e9)
        except subprocess.TimeoutExpired:
            _helpers.append(helper)  # it goes on without us
    return report


def _unreported(run: RunDirectory, request: KillRequest, why: str) -> KillReport:
    """Return what can be said when no killer did anything: what the engine last knew."""
    report = KillReport(run.id, request, halted=is_halted(run))
    if run.alive and not report.halted:
        why += f"; not halted: {_why_not(run)}"
    known = "orders may be open"
    try:
        summary = run.read_as(run.summary, dict[str, Any]) or {}
        status = status_of(run)
        if left := summary.get("left_open"):
            report.live_orders, known = len(left), f"left open: {left}"
        elif status is not None:
            report.live_orders = status.live_orders or -1
            known = f"{status.live_orders} orders may be open by its engine's last word"
    except ConfigError as error:
        known += f"; {error}"
    report.said = f"{why}; {known}"
    return report


def _last_words(run: RunDirectory) -> str:
    lines = (run.logs / "killer.log").read_text(errors="replace").strip().splitlines() or [""]
    return f"no killer could be started: {lines[-1].partition(' ')[2][:300]}"


_helpers: list["subprocess.Popen[bytes]"] = []


def _start_killer(run: RunDirectory) -> "subprocess.Popen[bytes]":
    """Start a killer for what is asked now; it ends by itself, whoever started it."""
    command = [sys.executable, "-m", KILLER, str(run.path), "--once"]
    with (run.logs / "killer.log").open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
