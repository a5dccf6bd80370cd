"""Drive a supervised run to its end: start, show, sample, stop, sum up."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from alephtx.core.config_schema import Config
from alephtx.core.instruments import Instruments
from alephtx.core.log import logger
from alephtx.engine.metrics_file import MetricsFile
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.supervisor import Supervisor
from alephtx.engine.watch import books_of, feeders_of, processes_of
from alephtx.matrix.shm import Matrix

log = logger("run")

SAMPLE_SECONDS = 0.5
SHOW_SECONDS = 0.25

Show = Callable[[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]], None]


class Outcome(msgspec.Struct):
    """How a run ended.

    interrupted counts Ctrl-C's. unfit: it failed for what it was given (a config, a plugin).
    killed: the kill switch stood when it ended. finished: nothing is left for a next start.
    """

    reconciled: bool
    interrupted: int
    failure: str
    summary: dict[str, Any]
    unfit: bool = False
    killed: bool = False
    finished: bool = True


class Run:
    """One supervised run with its viewer and its samples for the report."""

    def __init__(
        self,
        config: Config,
        directory: RunDirectory,
        instruments: Instruments,
        show: Show,
        *,
        trading: bool = True,
    ) -> None:
        """Prepare a run; trading = False is market data only, without an engine."""
        self.directory = directory
        self.metrics = MetricsFile(directory, config.node.name, config.venues)
        self.supervisor = Supervisor(config, directory, instruments, trading=trading)
        self.instruments = instruments
        self.show = show
        self.ended = asyncio.Event()
        self.ending = False
        self.interrupted = 0
        self.samples: list[dict[str, Any]] = []
        self.feeders: dict[str, dict[str, int]] = {}
        self.books: dict[str, str] = {}

    def interrupt(self) -> None:
        """First Ctrl-C: stop in order. Second: kill what is left and say what that leaves open."""
        self.interrupted += 1
        if self.interrupted == 1:
            self.supervisor.halt()
            self.ended.set()
        else:
            self.supervisor.force()

    async def drive(self, seconds: float | None, until: Awaitable[None] | None = None) -> Outcome:
        """Run until the time is over, `until` is done, a user's stop or a child past help."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self.interrupt)
        loop.add_signal_handler(signal.SIGUSR1, self.supervisor.kill)
        try:
            await self.supervisor.start()
            tasks = [
                asyncio.ensure_future(self.supervisor.watch()),
                asyncio.ensure_future(self.ended.wait()),
                *([asyncio.ensure_future(until)] if until is not None else []),
            ]
            showing = asyncio.ensure_future(self._show())
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.ending = True
            await self.supervisor.stop_children()
            await self.supervisor.settle()
            showing.cancel()
            (seen,) = await asyncio.gather(showing, return_exceptions=True)
            if isinstance(seen, Exception):
                log.error("view_failed", error=repr(seen))
        finally:
            self.supervisor.force()
            await self.supervisor.stop()
            for name in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
                loop.remove_signal_handler(name)
        return self._outcome()

    def _outcome(self) -> Outcome:
        """Sum up; a run that may have left orders open gets no summary file, so it is taken up."""
        supervisor = self.supervisor
        ended = self.directory.read_json(self.directory.path / "engine.json") or {}
        if not supervisor.trading:
            ended = {"reconciled": True}
        elif not ended and not supervisor.failure:
            supervisor.failure = (
                "the engine ended before it could cancel and reconcile: see "
                + str(self.directory.logs / "engine.log")
            )
        status = self.directory.read_json(self.directory.status) or {}
        self.metrics.show(status, self.feeders, 0, last=True)
        summary = summarise(status, ended, self, self.directory)
        summary["mode"] = supervisor.mode
        finished = bool(ended) and not ended.get("left_open")
        self.directory.show_json(self.directory.path / "samples.json", self.samples)
        if finished:
            self.directory.show_json(self.directory.summary, summary)
        self.directory.release()
        return Outcome(
            reconciled=bool(ended.get("reconciled")),
            interrupted=self.interrupted,
            failure=supervisor.failure,
            summary=summary,
            unfit=supervisor.unfit,
            killed=supervisor.killed,
            finished=finished,
        )

    async def _show(self) -> None:
        """Redraw the view and keep samples; a reader of the matrix like any other."""
        assert self.supervisor.matrix is not None
        matrix: Matrix = self.supervisor.matrix
        clock, next_sample = self.supervisor.clock, 0
        while True:
            await asyncio.sleep(SHOW_SECONDS)
            books = books_of(matrix, self.instruments, clock)
            status = self.directory.read_json(self.directory.status) or {}
            self.feeders = feeders_of(matrix, self.instruments)
            if not self.ending:  # feeders that end leave their books resyncing
                self.books = {book["key"]: book["state"] for book in books}
            status["latency_ns"] = {
                "wire_to_matrix": worst_latency(self.feeders),
                **status.get("latency_ns", {}),
            }
            self.metrics.show(status, self.feeders, clock.monotonic())
            self.show(status, books, processes_of(self.directory))
            if clock.monotonic() >= next_sample:
                next_sample = clock.monotonic() + int(SAMPLE_SECONDS * 1e9)
                self.samples.append(sample(clock.now(), status, books))


def sample(now_ns: int, status: dict[str, Any], books: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the report plots of one moment."""
    return {
        "ts": now_ns,
        "mids": {book["key"]: book["mid"] for book in books if book["mid"] is not None},
        "tops": {
            book["key"]: [book["bid"], book["ask"]] for book in books if book["state"] == "ok"
        },
        "realized": status.get("realized", {}),
        "unrealized": status.get("unrealized", {}),
        "fees": status.get("fees", {}),
        "positions": status.get("positions", {}),
        "counters": status.get("counters", {}),
    }


def worst_latency(feeders: dict[str, dict[str, int]]) -> dict[str, int]:
    """Return the worst feeder's quantiles; quantiles of several venues cannot be averaged."""
    prefix = "wire_to_matrix_"
    names = ("p50", "p99", "most")
    worst = {n: max((f[prefix + n] for f in feeders.values()), default=0) for n in names}
    return {**worst, "count": sum(f[prefix + "count"] for f in feeders.values())}


def summarise(
    status: dict[str, Any], ended: dict[str, Any], run: Run, directory: RunDirectory
) -> dict[str, Any]:
    """Return the run's summary: the object that `--json` prints as its last line."""
    counters = status.get("counters", {})
    latency = {**status.get("latency_ns", {}), "wire_to_matrix": worst_latency(run.feeders)}
    pairs = ("wire_to_matrix", "matrix_to_intent", "intent_to_wire")
    blank = {"p50": 0, "p99": 0, "most": 0, "count": 0}
    return {
        "run": directory.id,
        "mode": status.get("mode", ""),
        "events": sum(feeder["events"] for feeder in run.feeders.values()),
        "books": len(run.books),
        "book_states": run.books,
        "intents": counters.get("intents", 0),
        "denied": counters.get("denied", 0),
        "denied_by": status.get("denied", {}),
        "orders": counters.get("orders", 0),
        "fills": counters.get("fills", 0),
        "pnl": {"realized": status.get("realized", {}), "unrealized": status.get("unrealized", {})},
        "fees": status.get("fees", {}),
        "funding": status.get("funding", {}),
        "positions": status.get("positions", {}),
        "resyncs": sum(feeder["resyncs"] for feeder in run.feeders.values()),
        "feeders": run.feeders,
        "reconciled": bool(ended.get("reconciled")),
        "differences": ended.get("differences", {}),
        "left_open": ended.get("left_open", []),
        "latency_ns": {
            name: {
                "p50": row["p50"], "p99": row["p99"], "max": row["most"], "count": row["count"],
            }
            for name in pairs
            for row in [latency.get(name, blank)]
        },
        "layers": {
            name: (status.get("layers") or {}).get(name, []) for name in ("layers", "strategies")
        },
        "strategies": status.get("strategies", []),
        "alarms": status.get("alarms", []),
        "report": str(directory.report),
    }  # fmt: skip
