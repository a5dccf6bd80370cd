"""How much of the best of many trials is luck: corrections for having looked often.

A sweep that keeps its best run reports the largest of many noisy numbers. These functions say what
is left of it: p-values corrected for their number, ratios deflated by it, and the share of splits
of the data in which the winner of one half loses in the other.
"""

import itertools
import math
from typing import Any

import msgspec
import numpy as np

from alephtx.analysis.sharpe import (
    deflated_sharpe,
    expected_maximum_sharpe,
    moments,
    probabilistic_sharpe,
    sharpe,
)

Column = np.ndarray[Any, Any]

SPLITS_MAX = 16
"""Blocks of `overfitting`: 16 give 12,870 ways to choose half of them."""


def holm(p: Column) -> Column:
    """Return Holm's adjusted p-values: below alpha, with at most alpha risk of any false one.

    In rising order p_(k): max over j <= k of min(1, (m - j + 1) p_(j)). Source: S. Holm, "A simple
    sequentially rejective multiple test procedure" (Scandinavian Journal of Statistics 6(2), 1979).
    NaN counts as 1.
    """
    p = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    stepped = np.maximum.accumulate(np.minimum(1.0, p[order] * factors))
    found = np.empty(len(p))
    found[order] = stepped
    return found


def benjamini_hochberg(p: Column) -> Column:
    """Return Benjamini-Hochberg's adjusted p-values: below q, a share q of finds is false.

    Source: Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate" (Journal of the Royal
    Statistical Society B 57(1), 1995), computed by scipy.stats. NaN counts as 1.
    """
    from scipy import stats

    if len(p) == 0:
        return np.zeros(0)
    found: Column = stats.false_discovery_control(np.where(np.isnan(p), 1.0, p), method="bh")
    return found


class Overfitting(msgspec.Struct, frozen=True, kw_only=True):
    """What combinatorially symmetric cross-validation found.

    probability: share of splits whose in-sample winner came out below the median out of sample.
    loss: share whose winner lost money out of sample. slope: of the winner's Sharpe ratio out of
    sample on the one in sample; below 0, the better it looked the worse it did. NaN: undefined.
    """

    probability: float
    loss: float
    slope: float
    splits: int


def overfitting(values: Column, *, blocks: int = 10) -> Overfitting:
    """Return the probability of backtest overfitting (PBO) of a set of trials.

    values: float64 (periods, trials), one column a trial, the same periods, none NaN. The periods
    are cut into an even number of blocks; for every choice of half of them the trial with the best
    Sharpe ratio there is ranked among all on the other half: w = rank / (trials + 1), logit w <= 0
    counts. Periods that do not fill a block are dropped from the start. Source: D. Bailey, J.
    Borwein, M. Lopez de Prado, Q. Zhu, "The probability of backtest overfitting" (Journal of
    Computational Finance 20(4), 2017).
    """
    periods, trials = values.shape
    if blocks % 2 or not 2 <= blocks <= SPLITS_MAX:
        raise ValueError(f"blocks = {blocks}: give an even number from 2 to {SPLITS_MAX}")
    if trials < 2 or periods < 2 * blocks or np.isnan(values).any():
        raise ValueError(
            f"{periods} periods of {trials} trials: give at least 2 trials, "
            f"{2 * blocks} periods for {blocks} blocks, and no NaN"
        )
    size = periods // blocks
    cut = values[periods - size * blocks :].reshape(blocks, size, trials)
    sums, squares = cut.sum(axis=1), (cut * cut).sum(axis=1)
    below, lost, inside, outside = 0, 0, [], []
    splits = 0
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        mask = np.zeros(blocks, bool)
        mask[list(chosen)] = True
        n = size * blocks // 2
        seen = _ratios(sums[mask].sum(axis=0), squares[mask].sum(axis=0), n)
        unseen = _ratios(sums[~mask].sum(axis=0), squares[~mask].sum(axis=0), n)
        winner = int(np.argmax(seen))
        rank = float((unseen < unseen[winner]).sum()) + ((unseen == unseen[winner]).sum() + 1) / 2
        below += bool(rank / (trials + 1) <= 0.5)
        lost += bool(sums[~mask, winner].sum() < 0)
        inside.append(seen[winner])
        outside.append(unseen[winner])
        splits += 1
    return Overfitting(
        probability=below / splits,
        loss=lost / splits,
        slope=_slope(np.array(inside), np.array(outside)),
        splits=splits,
    )


def _ratios(total: Column, squares: Column, n: int) -> Column:
    """Return Sharpe ratios from sums; one that never varies counts as 0."""
    mean = total / n
    variance = np.maximum(squares / n - mean * mean, 0.0) * n / (n - 1)
    usable = variance > 1e-18 * np.maximum(mean * mean, 1e-300)
    return np.divide(mean, np.sqrt(variance), out=np.zeros(len(mean)), where=usable)


def _slope(x: Column, y: Column) -> float:
    away = x - x.mean()
    spread = float((away * away).sum())
    return float((away * (y - y.mean())).sum()) / spread if spread > 0 else math.nan


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """One trial of a sweep, judged as one of many. Ratios per period; p of a true ratio <= 0."""

    trial: int
    sharpe: float
    probabilistic: float
    deflated: float
    p: float
    p_holm: float
    p_false_discovery: float


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep's trials, best first. expected_maximum: the Sharpe ratio that luck would have found.

    trials: how many independent trials the deflation reckons with.
    """

    rows: list[Ranked]
    expected_maximum: float
    trials: float


def rank_trials(values: Column, *, trials: float | None = None) -> Ranking:
    """Rank trials by Sharpe ratio, with what is left of each when all are reckoned with.

    values: float64 (periods, trials). trials: the number of independent ones; by default all that
    vary, which is too strict for neighbours on a grid that trade alike. p is 1 - PSR(0).
    """
    count = values.shape[1]
    ratios = np.array([sharpe(values[:, k]) for k in range(count)])
    shapes = [moments(values[:, k]) for k in range(count)]
    sizes = [int((~np.isnan(values[:, k])).sum()) for k in range(count)]
    known = ratios[~np.isnan(ratios)]
    independent = float(len(known)) if trials is None else trials
    variance = float(known.var(ddof=1)) if len(known) > 1 else 0.0
    believed = np.array([
        probabilistic_sharpe(ratio, n, *shape)
        for ratio, n, shape in zip(ratios, sizes, shapes, strict=True)
    ])  # fmt: skip
    p = 1 - believed
    by_holm, by_discovery = holm(p), benjamini_hochberg(p)
    rows = [
        Ranked(
            trial=int(k),
            sharpe=float(ratios[k]),
            probabilistic=float(believed[k]),
            deflated=deflated_sharpe(
                float(ratios[k]), sizes[k], *shapes[k], trials=independent, variance=variance
            ),
            p=float(p[k]),
            p_holm=float(by_holm[k]),
            p_false_discovery=float(by_discovery[k]),
        )
        for k in np.argsort(-np.where(np.isnan(ratios), -np.inf, ratios), kind="stable")
    ]
    lucky = expected_maximum_sharpe(independent, variance)
    return Ranking(rows=rows, expected_maximum=lucky, trials=independent)
