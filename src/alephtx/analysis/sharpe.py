"""Return for risk, and how far it can be believed: Sharpe and its kin.

All take one value a period (a return, or P&L of a fixed stake), float64 (n,), NaN passed over.
Ratios are per period unless `periods_per_year` scales them by its root, which is right only for
values without memory (A. Lo, "The statistics of Sharpe ratios", Financial Analysts Journal 58(4),
2002).
"""

import math
from typing import Any

import numpy as np

Column = np.ndarray[Any, Any]

EULER_GAMMA = 0.5772156649015329


def _known(values: Column) -> Column:
    values = np.asarray(values, float)
    return values[~np.isnan(values)]


def sharpe(values: Column, *, free: float = 0.0, periods_per_year: float = 1.0) -> float:
    """Return (mean - free) / s x sqrt(periods_per_year), s with divisor n - 1; NaN where s is 0.

    Source: W. Sharpe, "The Sharpe ratio" (Journal of Portfolio Management 21(1), 1994).
    """
    values = _known(values)
    if len(values) < 2 or np.ptp(values) == 0:
        return math.nan
    excess = float(values.mean()) - free
    return excess / float(values.std(ddof=1)) * math.sqrt(periods_per_year)


def sortino(values: Column, *, target: float = 0.0, periods_per_year: float = 1.0) -> float:
    """Return (mean - target) / sqrt(mean of min(value - target, 0)^2) x sqrt(periods_per_year).

    The mean under the root is over all values, not only the bad ones. NaN without a bad one.
    Source: F. Sortino, L. Price, "Performance measurement in a downside risk framework" (Journal of
    Investing 3(3), 1994).
    """
    values = _known(values)
    if len(values) == 0:
        return math.nan
    downside = math.sqrt(float((np.minimum(values - target, 0.0) ** 2).mean()))
    if downside == 0:
        return math.nan
    return (float(values.mean()) - target) / downside * math.sqrt(periods_per_year)


def calmar(total: float, years: float, most: float) -> float:
    """Return yearly gain / deepest drawdown; NaN without one.

    total: gain over the years, most: as `drawdown.drawdown` gives it (below 0), in the same unit.
    Source: T. Young, "Calmar ratio: a smoother tool" (Futures 20(1), 1991).
    """
    return total / years / -most if most < 0 and years > 0 else math.nan


def moments(values: Column) -> tuple[float, float]:
    """Return (skewness, kurtosis), the normal's being (0, 3); NaN for what does not vary."""
    from scipy import stats

    values = _known(values)
    if len(values) < 2 or np.ptp(values) == 0:
        return math.nan, math.nan
    return float(stats.skew(values)), float(stats.kurtosis(values, fisher=False))


def sharpe_variance(ratio: float, skew: float, kurtosis: float, n: int) -> float:
    """Return the variance of an estimated Sharpe ratio of one period.

    (1 - skew SR + (kurtosis - 1) / 4 SR^2) / (n - 1). Source: E. Mertens, "Comments on variance of
    the IID estimator in Lo" (2002); Bailey and Lopez de Prado 2012, below.
    """
    if n < 2:
        return math.nan
    return (1 - skew * ratio + (kurtosis - 1) / 4 * ratio * ratio) / (n - 1)


def probabilistic_sharpe(
    ratio: float, n: int, skew: float, kurtosis: float, *, benchmark: float = 0.0
) -> float:
    """Return the probability that the true Sharpe ratio is above a benchmark.

    PSR = Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2))

    SR and SR* per period, not per year. Source: D. Bailey, M. Lopez de Prado, "The Sharpe ratio
    efficient frontier" (Journal of Risk 15(2), 2012).
    """
    from scipy import stats

    variance = sharpe_variance(ratio, skew, kurtosis, n)
    if not variance > 0:
        return math.nan
    return float(stats.norm.cdf((ratio - benchmark) / math.sqrt(variance)))


def expected_maximum_sharpe(trials: float, variance: float) -> float:
    """Return the best Sharpe ratio that luck alone is expected to find among independent trials.

    E[max] = sqrt(variance) ((1 - g) Phi^-1(1 - 1 / N) + g Phi^-1(1 - 1 / (N e))), g = 0.5772...

    variance: of the trials' Sharpe ratios, per period; 0 for a single trial. Source: D. Bailey, M.
    Lopez de Prado, "The deflated Sharpe ratio" (Journal of Portfolio Management 40(5), 2014).
    """
    from scipy import stats

    if trials <= 1 or not variance >= 0:
        return 0.0 if trials == 1 else math.nan
    first = float(stats.norm.ppf(1 - 1 / trials))
    second = float(stats.norm.ppf(1 - 1 / (trials * math.e)))
    return math.sqrt(variance) * ((1 - EULER_GAMMA) * first + EULER_GAMMA * second)


def deflated_sharpe(
    ratio: float, n: int, skew: float, kurtosis: float, *, trials: float, variance: float
) -> float:
    """Return the Probabilistic Sharpe Ratio against what the best of so many trials gets by luck.

    trials: how many independent ones were made to find this one; variance: of their Sharpe ratios,
    per period. Source: as `expected_maximum_sharpe`.
    """
    lucky = expected_maximum_sharpe(trials, variance)
    return probabilistic_sharpe(ratio, n, skew, kurtosis, benchmark=lucky)


def minimum_track_record(
    ratio: float, skew: float, kurtosis: float, *, benchmark: float = 0.0, confidence: float = 0.95
) -> float:
    """Return how many periods are needed before this Sharpe ratio is above a benchmark's.

    1 + (1 - skew SR + (kurtosis - 1) / 4 SR^2) (z / (SR - SR*))^2; inf where SR is not above it.
    Source: as `probabilistic_sharpe`.
    """
    from scipy import stats

    if math.isnan(ratio) or math.isnan(skew):
        return math.nan
    if ratio <= benchmark:
        return math.inf
    z = float(stats.norm.ppf(confidence))
    shape = 1 - skew * ratio + (kurtosis - 1) / 4 * ratio * ratio
    return 1 + shape * (z / (ratio - benchmark)) ** 2
