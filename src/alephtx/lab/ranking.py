"""What a sweep found, best first, with what is left of it once all trials are reckoned with."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from alephtx.analysis.selection import SPLITS_MAX, overfitting, rank_trials
from alephtx.analysis.sharpe import sharpe
from alephtx.lab.trial import Outcome

ALPHA = 0.05
BLOCKS = 10


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One set among all. Ratios per period, None where undefined (nothing varied).

    deflated: probability that its true Sharpe ratio is above what luck finds among all trials.
    holm, discovery: whether p < ALPHA still holds by Holm's and by Benjamini-Hochberg's rule.
    """

    params: dict[str, bool | int | str]
    net: float
    orders: int
    fills: int
    sharpe: float | None
    deflated: float | None
    p: float | None
    holm: bool
    discovery: bool
    id: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """All sets of one window. luck: the Sharpe ratio that the best of so many finds by chance.

    overfitting: PBO, None where there are too few periods or sets. failed: params and error.
    """

    rows: list[Judged]
    trials: int
    periods: int
    luck: float | None
    overfitting: float | None
    loss: float | None
    failed: list[tuple[dict[str, bool | int | str], str]]


def judge(outcomes: Sequence[Outcome], objective: str) -> Verdict:
    """Rank outcomes of one window by an objective; ties stay in the order given."""
    good = [one for one in outcomes if not one.error]
    failed = [(one.params, one.error) for one in outcomes if one.error]
    values = np.array([one.values for one in good]).T if good else np.zeros((0, 0))
    periods = len(values)
    rows, luck = [], None
    if good and periods:
        ranking = rank_trials(values)
        luck = _known(ranking.expected_maximum)
        by_trial = {ranked.trial: ranked for ranked in ranking.rows}
        for k, one in enumerate(good):
            ranked = by_trial[k]
            rows.append(
                Judged(
                    params=one.params, net=one.net, orders=one.orders, fills=one.fills, id=one.id,
                    sharpe=_known(ranked.sharpe), deflated=_known(ranked.deflated),
                    p=_known(ranked.p), holm=ranked.p_holm < ALPHA,
                    discovery=ranked.p_false_discovery < ALPHA,
                )
            )  # fmt: skip
    else:
        rows = [
            Judged(params=o.params, net=o.net, orders=o.orders, fills=o.fills, id=o.id,
                   sharpe=None, deflated=None, p=None, holm=False, discovery=False)
            for o in good
        ]  # fmt: skip
    field = {"deflated_sharpe": "deflated"}.get(objective, objective)
    rows.sort(key=lambda row: _order(getattr(row, field)))
    pbo = _overfitting(values)
    return Verdict(
        rows=rows, trials=len(good), periods=periods, luck=luck, failed=failed,
        overfitting=pbo[0] if pbo else None, loss=pbo[1] if pbo else None,
    )  # fmt: skip


def _overfitting(values: np.ndarray) -> tuple[float, float] | None:
    blocks = min(BLOCKS, SPLITS_MAX, len(values) // 4 * 2)
    if blocks < 4 or values.shape[1] < 2:
        return None
    found = overfitting(values, blocks=blocks)
    return found.probability, found.loss


def score(outcome: Outcome, objective: str) -> float:
    """Return what a search climbs: net, or the Sharpe ratio; -inf for what failed."""
    if outcome.error:
        return -math.inf
    if objective == "net":
        return outcome.net
    ratio = sharpe(np.array(outcome.values))
    return -math.inf if math.isnan(ratio) else ratio


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _order(value: float | None) -> float:
    return math.inf if value is None else -value


def sharpe_of(outcome: Outcome) -> float | None:
    """Return an outcome's Sharpe ratio per period; None where undefined."""
    return _known(sharpe(np.array(outcome.values)))
