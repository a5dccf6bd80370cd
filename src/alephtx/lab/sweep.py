"""A sweep from its file to its verdict: search, run, keep, judge; and go on where it was."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from alephtx.core.errors import ConfigError
from alephtx.lab.cluster import run_on_ray
from alephtx.lab.plan import Sweep
from alephtx.lab.pool import run_locally
from alephtx.lab.precision import kept_decimals
from alephtx.lab.ranking import Judged, Verdict, judge, score, sharpe_of
from alephtx.lab.search import search
from alephtx.lab.space import Set, Space, fit
from alephtx.lab.store import Store
from alephtx.lab.trial import Outcome, Task, base_digest, id_of, joined, open_window, span_of
from alephtx.lab.walk import SECOND_NS, Window, folds

Advance = Callable[[int, int], None]
"""Told how many sets are done, and of how many that are known of."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One fold: what was chosen in sample, beside what it came to out of sample.

    train: the stretches learnt from; test: the window tried in; (start, end) in ns.
    """

    train: list[tuple[int, int]]
    test: tuple[int, int]
    in_sample: Verdict
    chosen: Judged | None
    out_of_sample: Outcome | None
    out_sharpe: float | None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep came to. whole: all sets over all data; folds: with [walk], instead.

    ran, kept: sets run now, and found in the store. damaged: lines of the store not believed.
    sets, failed: how many there were, each window's counted, and how many could not run;
    first_error: what the first of those said.
    """

    name: str
    objective: str
    folder: str
    whole: Verdict | None
    folds: list[Tried]
    in_net: float
    out_net: float
    ran: int
    kept: int
    damaged: int
    sets: int
    failed: int
    first_error: str


class Runner:
    """Runs sets through a pool and a store. cluster: "local", "auto", "ray", or an address."""

    def __init__(
        self, sweep: Sweep, store: Store, *, workers: int, cluster: str, advance: Advance
    ) -> None:
        self.sweep, self.store, self.workers, self.cluster = sweep, store, workers, cluster
        self.advance = advance
        market = open_window(sweep.config, None)
        self.span = span_of(market)
        self.period_ns = sweep.plan.period_s * SECOND_NS
        self.base = base_digest(sweep.config, market, self.period_ns)
        self.space = fit(sweep.space, kept_decimals(sweep.config, sweep.space, market.instruments))
        self.ran = self.kept = self.known = 0
        self.errors: dict[str, str] = {}
        """Every set there was, with what it said; empty where it ran."""

    def outcomes(self, window: Window, sets: Sequence[Set]) -> list[Outcome]:
        """Return the outcomes of sets in a window, from the store or by running them."""
        ids = [id_of(self.base, window, chosen) for chosen in sets]
        wanted = dict(zip(ids, sets, strict=True))
        missing = {name: one for name, one in wanted.items() if name not in self.store.found}
        self.kept += len(wanted) - len(missing)
        self.known += len(wanted)
        self.advance(self.ran + self.kept, self.known)
        for found in self._run(self._tasks(window, missing)):
            self.store.add(found)
            self.ran += len(found)
            self.advance(self.ran + self.kept, self.known)
        self.errors.update((name, self.store.found[name].error) for name in ids)
        return [self.store.found[name] for name in ids]

    def _tasks(self, window: Window, missing: dict[str, Set]) -> list[Task]:
        """Deal sets to tasks: as many lanes as the plan says, fewer where workers would idle."""
        names = list(missing)
        lanes = max(1, min(self.sweep.plan.lanes, -(-len(names) // self.workers)))
        return [
            Task(self.sweep.config, window, self.period_ns, [missing[n] for n in part], part)
            for part in (names[at : at + lanes] for at in range(0, len(names), lanes))
        ]

    def _run(self, tasks: list[Task]) -> Iterator[list[Outcome]]:
        if not tasks:
            return iter(())
        if self.cluster == "local":
            return run_locally(tasks, self.workers)
        return run_on_ray(tasks, self.workers, self.cluster)

    def searched(self, windows: Sequence[Window]) -> list[Outcome]:
        """Search stretches as if they were one and return what was tried there, each set once."""
        found: dict[str, Outcome] = {}
        plan = self.sweep.plan
        rounds = search(plan, self.space)
        sets = next(rounds, None)
        while sets is not None:
            parts = [self.outcomes(window, sets) for window in windows]
            outcomes = [joined(part) for part in zip(*parts, strict=True)]
            found.update((outcome.id, outcome) for outcome in outcomes)
            try:
                sets = rounds.send([score(outcome, plan.objective) for outcome in outcomes])
            except StopIteration:
                sets = None
        return list(found.values())


def run_sweep(
    sweep: Sweep, folder: Path, *, resume: bool, workers: int, cluster: str, advance: Advance
) -> Found:
    """Run a sweep into a folder. resume: go on with what is there; else there must be nothing."""
    with Store(folder) as store:
        if store.found and not resume:
            raise ConfigError(
                f"{folder} has {len(store.found)} results already",
                remedy="--resume goes on with them; or remove the folder",
            )
        runner = Runner(sweep, store, workers=workers, cluster=cluster, advance=advance)
        plan, whole, tried = sweep.plan, None, []
        if plan.walk is None:
            whole = judge(runner.searched([runner.span]), plan.objective)
        else:
            tried = [_try(runner, fold.train, fold.test) for fold in folds(plan.walk, *runner.span)]
        errors = [error for error in runner.errors.values() if error]
        return Found(
            name=sweep.name, objective=plan.objective, folder=str(folder), whole=whole, folds=tried,
            in_net=sum(one.chosen.net for one in tried if one.chosen),
            out_net=sum(one.out_of_sample.net for one in tried if one.out_of_sample),
            ran=runner.ran, kept=runner.kept, damaged=store.damaged, sets=len(runner.errors),
            failed=len(errors),
            first_error=errors[0] if errors else "",
        )  # fmt: skip


def _try(runner: Runner, train: Sequence[Window], test: Window) -> Tried:
    """Choose in some stretches and try in a later window."""
    seen = runner.searched(train)
    verdict = judge(seen, runner.sweep.plan.objective)
    chosen = verdict.rows[0] if verdict.rows else None
    outcome = None
    if chosen is not None:
        typed = _typed(runner.space, chosen)
        outcome = runner.outcomes(test, [typed])[0]
    return Tried(
        train=[(part.start_ns, part.end_ns) for part in train], test=(test.start_ns, test.end_ns),
        in_sample=verdict, chosen=chosen,
        out_of_sample=outcome,
        out_sharpe=sharpe_of(outcome) if outcome is not None and not outcome.error else None,
    )  # fmt: skip


def _typed(space: Space, chosen: Judged) -> Set:
    """Return a judged set's params with the types that its space gives them."""
    found: Set = {}
    for parameter in space.parameters:
        if parameter.path in chosen.params:
            found[parameter.path] = parameter.typed(chosen.params[parameter.path])
    return found
