"""Do two prices move together? The Engle-Granger test, and the half-life of what parts them.

    found = engle_granger(np.log(y), np.log(x))
    found.statistic < found.critical[0.05]          # then the spread y - hedge x comes back

Two series that wander are cointegrated when some y - alpha - hedge x does not. The hedge is the
least-squares slope; the residual is tested for a unit root by an augmented Dickey-Fuller
regression without a constant. Its lags are chosen by AIC up to 12 (n / 100)^(1/4) on one common
sample; it is then fitted anew on all rows that they leave. Because the slope was fitted first,
critical values are those of MacKinnon for two variables, not of Dickey and Fuller.

Sources: R. Engle, C. Granger, "Co-integration and error correction" (Econometrica 55(2), 1987); G.
Schwert, "Tests for unit roots: a Monte Carlo investigation" (Journal of Business and Economic
Statistics 7(2), 1989) for the lags; J. MacKinnon, "Critical values for cointegration tests"
(Queen's Economics Department Working Paper 1227, 2010) for the critical values.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from alephtx.core.errors import AlephError

Column = np.ndarray[Any, Any]

LENGTH_MIN = 30

ONE = {
    0.01: (-3.43035, -6.5393, -16.786, -79.433),
    0.05: (-2.86154, -2.8903, -4.234, -40.040),
    0.10: (-2.56677, -1.5384, -2.809, 0.0),
}
TWO = {
    0.01: (-3.89644, -10.9519, -22.527, 0.0),
    0.05: (-3.33613, -6.1101, -6.823, 0.0),
    0.10: (-3.04445, -4.2412, -2.720, 0.0),
}
"""MacKinnon's response surfaces with a constant, of one and of two variables: b0 + b1/T + ..."""


class UnitRoot(NamedTuple):
    """An augmented Dickey-Fuller test: below the critical value there is no unit root."""

    statistic: float
    lags: int
    rows: int
    critical: dict[float, float]


class Cointegration(NamedTuple):
    """An Engle-Granger test. half_life: of the spread, in samples; inf when it does not come back.

    spread: y - alpha - hedge x.
    """

    statistic: float
    lags: int
    critical: dict[float, float]
    alpha: float
    hedge: float
    half_life: float
    spread: Column

    @property
    def together(self) -> bool:
        """Tell whether the series are cointegrated at 5 %."""
        return self.statistic < self.critical[0.05]


def critical_values(surface: Mapping[float, tuple[float, ...]], rows: int) -> dict[float, float]:
    """Return the critical values at 1, 5 and 10 % for so many rows."""
    return {
        level: sum(b / rows**power for power, b in enumerate(row)) for level, row in surface.items()
    }


def dickey_fuller(series: Column, *, constant: bool = True, lags: int | None = None) -> UnitRoot:
    """Test a series for a unit root. lags: None = chosen by AIC. AlephError: too short."""
    values = _checked(series, "the series")
    most = math.ceil(12.0 * (len(values) / 100.0) ** 0.25)
    most = min(most, len(values) // 2 - 3)
    if lags is None:
        fits = [(_regress(values, k, most, constant=constant)[1], k) for k in range(most + 1)]
        lags = min(fits)[1]
    statistic, _, rows = _regress(values, lags, lags, constant=constant)
    return UnitRoot(statistic, lags, rows, critical_values(ONE, rows))


def engle_granger(y: Column, x: Column) -> Cointegration:
    """Test whether y and x are cointegrated; both of n samples, oldest first, usually logarithms.

    AlephError when they are short, not finite, constant, or of different lengths.
    """
    y, x = _checked(y, "y"), _checked(x, "x")
    if len(y) != len(x):
        raise AlephError(f"y has {len(y)} samples, x {len(x)}", remedy="sample both at one grid")
    away = x - x.mean()
    hedge = float((away * (y - y.mean())).sum() / (away * away).sum())
    alpha = float(y.mean() - hedge * x.mean())
    spread = y - alpha - hedge * x
    if not np.ptp(spread) > 1e-12 * max(float(np.ptp(y)), float(np.ptp(x))):
        raise AlephError("y is a multiple of x: there is no spread to test", remedy="take another")
    found = dickey_fuller(spread, constant=False)
    return Cointegration(
        found.statistic, found.lags, critical_values(TWO, len(y) - 1), alpha, hedge,
        half_life(spread), spread,
    )  # fmt: skip


def half_life(spread: Column) -> float:
    """Return after how many samples half of a spread is gone, were it AR(1) around its mean."""
    around = spread - spread.mean()
    rho = float((around[1:] * around[:-1]).sum() / (around[:-1] * around[:-1]).sum())
    if rho >= 1.0:
        return math.inf
    return math.log(0.5) / math.log(rho) if rho > 0.0 else 0.0


def _checked(series: Column, name: str) -> Column:
    """Return a series as floats, or say why it cannot be tested."""
    values = np.asarray(series, float)
    if values.ndim != 1 or len(values) < LENGTH_MIN:
        raise AlephError(
            f"{name} has {values.size} samples", remedy=f"give {LENGTH_MIN} or more, in one row"
        )
    if not np.isfinite(values).all():
        raise AlephError(f"{name} has samples that are no numbers", remedy="drop them from both")
    if np.ptp(values) == 0.0:
        raise AlephError(f"{name} never moves", remedy="take a longer stretch")
    return values


def _regress(values: Column, lags: int, skip: int, *, constant: bool) -> tuple[float, float, int]:
    """Regress the change on the level and `lags` changes before; (t of the level, AIC, rows).

    skip: how many first changes are left out, at least `lags`.
    """
    changes = np.diff(values)
    target = changes[skip:]
    columns = [values[skip:-1]]
    columns += [changes[skip - k : len(changes) - k] for k in range(1, lags + 1)]
    if constant:
        columns.append(np.ones(len(target)))
    design = np.column_stack(columns)
    found = np.linalg.lstsq(design, target, rcond=None)[0]
    left = target - design @ found
    squares = float(left @ left)
    rows, count = design.shape
    variance = squares / (rows - count)
    spread = math.sqrt(variance * float(np.linalg.pinv(design.T @ design)[0, 0]))
    aic = rows * math.log(max(squares, 1e-300) / rows) + 2.0 * count
    return float(found[0]) / spread if spread > 0.0 else -math.inf, aic, rows
