"""Searches: which sets to try, all known at once or, for TPE, round by round.

A search is a generator: it yields rounds of sets and is sent their scores. Seeded: with the same
scores it asks the same again, so that a sweep that goes on finds its results where they were.
"""

import math
from collections.abc import Generator
from decimal import Decimal
from typing import Any

from alephtx.core.errors import ConfigError
from alephtx.lab.plan import SETS_MAX, Plan
from alephtx.lab.space import Parameter, Set, Space, Value, listed

Search = Generator[list[Set], list[float], None]


def search(plan: Plan, space: Space) -> Search:
    """Return the search that a plan names."""
    if plan.search == "tpe":
        return _tpe(plan, space)
    return _at_once(listed(space, SETS_MAX) if plan.search == "grid" else
                    space.draw(plan.trials, plan.seed))  # fmt: skip


def _at_once(sets: list[Set]) -> Search:
    yield sets


def _tpe(plan: Plan, space: Space) -> Search:
    """Ask Optuna's tree-structured Parzen estimator, a round of `lanes` sets at a time."""
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            'search = "tpe" needs Optuna', remedy="pip install 'alephtx[lab]', or random"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=plan.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    left = plan.trials
    while left > 0:
        trials = [study.ask() for _ in range(min(left, plan.lanes))]
        scores = yield [_ask(trial, space) for trial in trials]
        for trial, score in zip(trials, scores, strict=True):
            if math.isfinite(score):
                study.tell(trial, score)
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
        left -= len(trials)


def _ask(trial: Any, space: Space) -> Set:
    chosen: Set = {}
    for parameter in space.parameters:
        if parameter.applies(chosen):
            chosen[parameter.path] = _suggested(trial, parameter)
    return chosen


def _suggested(trial: Any, parameter: Parameter) -> Value:
    path, low, high = parameter.path, parameter.low, parameter.high
    if parameter.values and low == high:  # a list: no order in it is assumed
        return parameter.values[trial.suggest_categorical(path, list(range(len(parameter.values))))]
    if parameter.values:  # points of a range have an order
        return parameter.values[trial.suggest_int(path, 0, len(parameter.values) - 1)]
    if isinstance(low, int) and isinstance(high, int):
        found: int = trial.suggest_int(path, low, high, log=parameter.log)
        return found
    return parameter.near(
        Decimal(trial.suggest_float(path, float(low), float(high), log=parameter.log))
    )
