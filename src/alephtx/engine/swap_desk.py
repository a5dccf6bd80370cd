"""The desk where versions of strategies are swapped: asks in, stages out, one at a time.

checked beside -> loaded -> canary -> switched -> watched -> in force. Until the switch nothing
of the running version changes; from the switch to the end of the watch the old one stands by. What
speaks against a version before the switch refuses it, after the switch brings the old one back.
Whatever happens to a request is told, journaled where it matters, and never ends the engine.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from alephtx.core.clock import MachineClock
from alephtx.core.errors import AlephError, ConfigError, PluginError
from alephtx.core.log import logger
from alephtx.engine import context as c
from alephtx.engine import swap_door as door
from alephtx.engine.assemble import Loaded
from alephtx.engine.rundir import read_asked
from alephtx.engine.swap_beside import check_beside
from alephtx.engine.swap_canary import DENIED_MIN, too_denied, too_slow
from alephtx.engine.swap_door import Change, Entry, Held, Request, Stage, SwapPaths, Told, Version
from alephtx.engine.swap_load import Transfer, afresh, load_version, transfer_of
from alephtx.engine.swap_ways import Ways

log = logger("swap")

POLL_NS = 100_000_000
LOOK_NS = 5_000_000
"""How often a canary and a watch are looked at."""


class SwapDesk:
    """One engine's versions, and the way to change them.

    session: an engine.session.Session. spawn: runs a task of its until its end.
    """

    def __init__(self, session: Any, spawn: Callable[[Coroutine[Any, Any, None]], Any]) -> None:
        self.session, self.clock, self.spawn = session, session.clock, spawn
        self.run, self.paths = session.run_directory, SwapPaths(session.run_directory.path)
        self.engine, self.ctx = session.engine, session.engine.ctx
        self.ways = Ways(session.engine, session.python, session.clock)
        self.book = door.read_book(self.run)
        self.under_way: Told | None = None
        self._next_poll = 0
        if type(session.clock) is MachineClock:
            self.ctx.control[c.X_MEASURE] = 1

    # -- start -----------------------------------------------------------------------------

    def begin(self) -> list[bytes]:
        """Take up the record of an earlier life; returns what the journal should know of it."""
        entries: list[Entry] = []
        for loaded in self.engine.strategies:
            held = self.book.of(loaded.name) or self._listed(loaded)
            if held.proven.number == 0:  # the config's own, which may say something else today
                held.proven = self._own_version(loaded)
            was, held.running = held.running, held.proven
            held.layer = f"L{int(self._row(loaded)[c.S_LAYER])}"
            if was.number != held.proven.number:
                why = "the engine ended before its watch window had passed"
                self._note(held, held.proven, "back", why=why)
                self.session.alarms.append(f"strategy {held.name}: {_short(was)} went back: {why}")
                entries.append(self._entry(held, held.proven, "back", was=was, why=why))
            elif held.swaps:
                entries.append(self._entry(held, held.proven, "start"))
        self._save()
        self._refuse_leftovers()
        return [msgspec.json.encode(entry) for entry in entries]

    def _own_version(self, loaded: Loaded) -> Version:
        """Return the version that the config names."""
        file = Path(str(loaded.module.__file__))
        text = file.read_bytes() if file.is_file() else b""
        return Version(0, str(file), door.digest_of(text), self.clock.now())

    def _listed(self, loaded: Loaded) -> Held:
        """Begin a strategy's line in the book."""
        version, use = self._own_version(loaded), self.session.config.strategies[loaded.name].use
        self.book.strategies.append(Held(loaded.name, use, version, version))
        return self.book.strategies[-1]

    def _refuse_leftovers(self) -> None:
        """Answer what an earlier life was asked and never finished."""
        with contextlib.suppress(OSError):
            for file in sorted(self.paths.done.glob("*.json")):
                with contextlib.suppress(ConfigError):
                    told = self.run.read_as(file, Told)
                    if told is not None and not told.outcome:
                        last = told.stages[-1].stage if told.stages else "asked"
                        told.outcome = "rolled_back" if last in ("switched", "watch") else "refused"
                        told.why = f"the engine ended in the stage {last}"
                        self._tell(told)

    # -- rounds ----------------------------------------------------------------------------

    def poll(self) -> None:
        """Take the next request up; nothing that is wrong with one ends the engine."""
        now = self.clock.monotonic()
        if now < self._next_poll:
            return
        self._next_poll = now + POLL_NS
        try:
            names = sorted(os.listdir(self.paths.inbox))  # noqa: PTH208 - as in limit_commands
        except OSError:  # nobody asked yet
            return
        for name in names:
            if name.endswith(".json"):
                self._take(self.paths.inbox / name)

    def _take(self, file: Path) -> None:
        told = Told(file.stem)
        try:
            request = read_asked(file, Request, "request")
            file.unlink(missing_ok=True)
            told.name = request.name
            if self.under_way is not None:
                raise ConfigError(
                    f"a swap of {self.under_way.name} is under way", remedy="ask when it is over"
                )
            old = self._find(request)
        except (AlephError, OSError) as error:
            file.unlink(missing_ok=True)
            self._refuse(told, str(error))
            return
        self.under_way = told
        self.spawn(self._serve(request, told, old))

    def _find(self, request: Request) -> Loaded:
        """Return the version that runs; ConfigError where it cannot be swapped now."""
        if request.run != self.run.id:
            raise ConfigError(f"this is run {self.run.id}; the request is for {request.run!r}")
        names = [loaded.name for loaded in self.engine.strategies]
        if request.name not in names:
            raise ConfigError(
                f"run {self.run.id} has no strategy {request.name!r}",
                remedy=f"it has {', '.join(names) or 'none'}",
            )
        old: Loaded = self.engine.strategies[names.index(request.name)]
        self._check_goes(old)
        return old

    def _check_goes(self, old: Loaded) -> None:
        control = self.ctx.control
        if control[c.X_HALTED]:
            raise ConfigError(
                "the run is halted: a version cannot be tried", remedy="alephtx kill --resume"
            )
        if control[c.X_STOPPING] or not self._row(old)[c.S_ENABLED]:
            raise ConfigError(
                f"strategy {old.name} does not go", remedy="alephtx status and engine.log say why"
            )

    # -- a swap ----------------------------------------------------------------------------

    async def _serve(self, request: Request, told: Told, old: Loaded) -> None:
        """Do one swap to its end."""
        try:
            await self._swap(request, told, old)
        except asyncio.CancelledError:
            last = told.stages[-1].stage if told.stages else "asked"
            told.outcome = "rolled_back" if last in ("switched", "watch") else "refused"
            told.why = f"the engine was stopped in the stage {last}"
            self._tell(told)
            raise
        except AlephError as error:
            self._broken_off(told, old, str(error))
        except Exception as error:  # noqa: BLE001 - a user's code raises anything
            log.error("swap_failed", strategy=request.name, error=repr(error))
            self._broken_off(told, old, f"{type(error).__name__}: {error}")
        finally:
            self.under_way = None
            self.ways.settle_depth(old.instruments)

    async def _swap(self, request: Request, told: Told, old: Loaded) -> None:
        self._stage(told, "asked", f"by {request.by}: {request.file} ({request.digest})")
        version = self._keep(request)
        self._stage(told, "checking", f"{version.file}, in a process of its own")
        checked = await check_beside(
            self.run, str(self.session.matrix.path), old.name, Path(version.file)
        )
        self._stage(told, "compiled", f"in {checked.compile_ms / 1e3:.2f} s")
        begun = self.clock.monotonic()
        new, transfer = await asyncio.to_thread(self._load, old, version)
        self._stage(told, "loaded", f"in {(self.clock.monotonic() - begun) / 1e6:.1f} ms")
        if request.canary_s > 0:
            await self._canary(request, told, old, new, transfer)
        self._check_goes(old)
        await self._switch(request, told, old, afresh(self.ctx, new), transfer, version)

    def _keep(self, request: Request) -> Version:
        """Keep the text that was asked for; ConfigError where it is another by now."""
        text = door.read_source(Path(request.file))
        digest = door.digest_of(text)
        if digest != request.digest:
            raise ConfigError(f"{request.file} changed after it was asked for", remedy="ask again")
        held = self._held(request.name)
        held.last += 1
        while self.paths.version(request.name, held.last).exists():
            held.last += 1
        path = door.keep_version(self.paths, request.name, held.last, text)
        return Version(held.last, str(path), digest, self.clock.now())

    def _load(self, old: Loaded, version: Version) -> tuple[Loaded, Transfer]:
        """Load machine code that is in the cache; in a thread, because files import things."""
        session = self.session
        new = load_version(session.config, session.instruments, self.ctx, old, version.file)
        return new, transfer_of(old, new)

    async def _canary(
        self, request: Request, told: Told, old: Loaded, new: Loaded, transfer: Transfer
    ) -> None:
        """Let the new version hear what the running one hears; raise what speaks against it."""
        span = max(int(request.canary_s * 1e9), new.needs.warmup_ns)
        self._stage(told, "canary", f"{span / 1e9:g} s on live events, without orders")
        canary = await self.ways.try_out(old, new, transfer)
        try:
            counts = await self._listen(canary, request, old, span)
        except Exception:
            await self._take_off(old, new)
            raise
        await self._take_off(old, new)
        self._stage(told, "tried", _said(counts))

    async def _listen(
        self, canary: Any, request: Request, old: Loaded, span: int
    ) -> dict[str, int]:
        until = self.clock.monotonic() + span
        while self.clock.monotonic() < until:
            await self.clock.sleep(LOOK_NS)
            self._check_goes(old)
            self._judge(canary, old, request, canary.counts())
        counts: dict[str, int] = canary.counts()
        if why := too_slow(counts, int(self._row(old)[c.S_BUDGET_NS]), at_end=True):
            raise PluginError(why)
        if not counts["calls"]:
            raise PluginError(
                "it heard nothing in its canary", remedy="give it longer: --canary-seconds"
            )
        return counts

    async def _take_off(self, old: Loaded, new: Loaded) -> None:
        """End a canary."""
        self.session.python.beside.pop(old.index, None)
        if new.compiled:
            await self.ways.switch(self.ways.beside(old.index, None))

    def _judge(self, canary: Any, old: Loaded, request: Request, counts: dict[str, int]) -> None:
        if error := getattr(canary, "error", ""):
            raise PluginError(error)
        if counts["errors"]:
            raise PluginError(f"it returned an error code, {counts['errors']} of its calls")
        over = counts.get("over_ns", 0)
        why = f"one call took {over / 1e6:.1f} ms" if over else ""
        why = why or too_denied(counts["intents"], counts["denied"], request.denied_max)
        why = why or too_slow(counts, int(self._row(old)[c.S_BUDGET_NS]), at_end=False)
        if why:
            raise PluginError(why)

    async def _switch(
        self, request: Request, told: Told, old: Loaded, new: Loaded, transfer: Transfer,
        version: Version,
    ) -> None:  # fmt: skip
        held = self._held(old.name)
        was, held.running = held.running, version
        entry = self._entry(held, version, "switch", was=was, by=request.by)
        before = self._intents(old)
        try:
            self._save()  # before it takes effect: what a next life finds in the middle of it
            watch = await self.ways.exchange(
                old, new, transfer, msgspec.json.encode(entry), watched=True
            )
        except (AlephError, OSError):
            held.running = was
            self._save_if_possible()
            raise
        held.swaps += 1
        self._note(held, version, "switch", by=request.by)
        self._save_if_possible()
        self._stage(told, "switched", f"{_short(version)} goes, {_short(was)} stands by")
        why = await self._watch(request, told, old, new, watch, before)
        why = why or await self._settle(request, held, old, was)
        if why:
            await self._back(told, old, new, was, why)
            return
        told.outcome = "swapped"
        self._stage(told, "in force", f"{_short(version)}, for a next life of the engine too")

    async def _settle(self, request: Request, held: Held, old: Loaded, was: Version) -> str:
        """Keep for good what goes; returns why it cannot be kept, "" where it is.

        The journal first: who dies between the two begins with the old version, and says so.
        """
        entry = self._entry(held, held.running, "kept", was=was, by=request.by)
        try:
            await self.ways.settle(old.index, msgspec.json.encode(entry))
            held.proven = held.running
            self._note(held, held.running, "kept", by=request.by)
            self._save()
        except (AlephError, OSError) as error:
            held.proven = was
            return f"it could not be kept: {error}"
        return ""

    async def _watch(
        self, request: Request, told: Told, old: Loaded, new: Loaded, watch: Any,
        before: tuple[int, int],
    ) -> str:  # fmt: skip
        """Watch the new version for a while; returns what speaks against it, "" for nothing."""
        self._stage(told, "watch", f"{request.watch_s:g} s")
        row, until = self._row(old), self.clock.monotonic() + int(request.watch_s * 1e9)
        warm = int(self.ctx.gate.warm_until[old.index])
        while True:
            counts, budget = watch.counts(), int(row[c.S_BUDGET_NS])
            over = self.clock.monotonic() >= until
            if row[c.S_ERRORS]:
                return f"it returned an error code, {int(row[c.S_ERRORS])} of its calls"
            if error := getattr(watch, "error", ""):
                return str(error)
            if self.ctx.control[c.X_HALTED] or self.clock.monotonic() < warm:
                before = self._intents(old)  # nobody is to blame for these
            intents, denied = (now - then for now, then in zip(self._intents(old), before,
                                                               strict=True))  # fmt: skip
            why = too_denied(intents, denied, request.denied_max)
            if why := why or too_slow(counts, budget, at_end=over):
                return why
            if over:
                counts |= {"intents": intents, "denied": denied, "errors": 0}
                self._stage(told, "watched", _said(counts))
                return ""
            await self.clock.sleep(LOOK_NS)

    async def _back(self, told: Told, old: Loaded, new: Loaded, was: Version, why: str) -> None:
        """Bring the old version back, with the state of the new one where it fits."""
        held = self._held(old.name)
        transfer = Transfer(copies=True) if old.state.dtype == new.state.dtype else None
        entry = self._entry(held, was, "back", was=held.running, why=why)
        await self.ways.exchange(new, old, transfer, msgspec.json.encode(entry), watched=False)
        held.running = was
        self._note(held, was, "back", why=why)
        self._save_if_possible()
        self.session.alarms.append(f"swap of {old.name} rolled back: {why}")
        log.error("swap_rolled_back", strategy=old.name, why=why)
        told.outcome, told.why = "rolled_back", why
        self._stage(told, "rolled back", f"{_short(was)} goes again: {why}")

    # -- what is told and kept -------------------------------------------------------------

    def _row(self, loaded: Loaded) -> Any:
        return self.ctx.strategies[loaded.index]

    def _intents(self, loaded: Loaded) -> tuple[int, int]:
        row = self._row(loaded)
        return int(row[c.S_INTENTS]), int(row[c.S_DENIED])

    def _held(self, name: str) -> Held:
        held = self.book.of(name)
        assert held is not None
        return held

    def _entry(
        self, held: Held, version: Version, stage: str, *, was: Version | None = None,
        by: str = "", why: str = "",
    ) -> Entry:  # fmt: skip
        return Entry(
            stage=stage, name=held.name, number=version.number, file=version.file,
            digest=version.digest, was=was.digest if was else "", by=by, why=why,
        )  # fmt: skip

    def _note(
        self, held: Held, version: Version, stage: str, *, by: str = "", why: str = ""
    ) -> None:
        self.book.history.append(
            Change(self.clock.now(), held.name, stage, version.file, version.digest, by, why)
        )

    def _save(self) -> None:
        door.write_book(self.run, self.book)

    def _save_if_possible(self) -> None:
        """Save what a next life begins with anyway: without it, it says that it went back."""
        try:
            self._save()
        except OSError as error:
            log.error("swap_record_not_saved", error=repr(error))
            self.session.alarms.append(f"strategies.json was not saved: {error}")

    def _stage(self, told: Told, stage: str, said: str) -> None:
        told.stages.append(Stage(self.clock.now(), stage, said))
        log.info("swap_stage", strategy=told.name, stage=stage, said=said)
        self._tell(told)

    def _refuse(self, told: Told, why: str) -> None:
        told.outcome, told.why = "refused", why
        log.warning("swap_refused", strategy=told.name, why=why)
        self._stage(told, "refused", why)

    def _broken_off(self, told: Told, old: Loaded, why: str) -> None:
        """End a swap that failed where it stood: refused, or the new version goes unsettled."""
        if self.engine.strategies[old.index] is old:
            self._refuse(told, why)
            return
        held = self._held(old.name)
        told.outcome, told.why = "unsettled", why
        said = f"{_short(held.running)} goes; a next life begins with {_short(held.proven)}: {why}"
        self.session.alarms.append(f"swap of {old.name} is unsettled: {said}")
        log.error("swap_unsettled", strategy=old.name, why=why)
        self._stage(told, "unsettled", said)

    def _tell(self, told: Told) -> None:
        """Write what a request has come to; a disk that refuses it stops nothing."""
        with contextlib.suppress(OSError):
            self.paths.done.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.run.show_json(self.paths.done / f"{told.id}.json", told)

    def told(self) -> list[dict[str, Any]]:
        """Return what status.json says of versions."""
        now = self.under_way
        stage = now.stages[-1].stage if now is not None and now.stages else ""
        return [
            {
                "name": held.name, "file": held.running.file, "digest": held.running.digest,
                "number": held.running.number, "swaps": held.swaps,
                "stage": stage if now is not None and now.name == held.name else "",
            }
            for held in self.book.strategies
        ]  # fmt: skip


def _short(version: Version) -> str:
    return f"{Path(version.file).name} ({version.digest})"


def _said(counts: dict[str, int]) -> str:
    said = f"{counts['calls']} calls, {counts['intents']} intents, {counts['denied']} denied"
    if counts["timed"]:
        said += f", p50 {counts['p50_ns']} ns, p99 {counts['p99_ns']} ns"
    few = counts["intents"] < DENIED_MIN
    return said + ("; too few intents to judge denials by" if few else "")
