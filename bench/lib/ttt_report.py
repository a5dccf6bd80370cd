"""What was measured, as a table or as JSON, beside what was promised."""

import json
import os
import statistics
import sys
from typing import Any

from lib.rounds import machine
from lib.ttt_rows import Row

QUANTILES = {"median": 0.5, "p99": 0.99, "p99.9": 0.999}


class Found:
    """The rounds of one row. reason: why there is nothing, "" otherwise."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.rounds: list[list[float]] = []
        self.bad = self.missed = self.strays = 0
        self.faults: list[str] = []
        self.parts: dict[str, float] = {}
        self.reason = row.missing()

    def take(self, told: dict[str, Any]) -> None:
        """Add a round, in us."""
        if "error" in told:
            self.reason = told["error"]
            return
        self.rounds.append(sorted(ns / 1e3 for ns in told["took"]))
        self.bad += told["bad"]
        self.missed += told["missed"]
        self.strays += told["strays"]
        self.faults += told["faults"]
        self.parts = told.get("parts", {})

    def medians(self) -> list[float]:
        """Return the median of every round."""
        return [statistics.median(times) for times in self.rounds if times]

    def figures(self) -> dict[str, float]:
        """Return the quantiles of all rounds together."""
        times = sorted(time for times in self.rounds for time in times)
        if not times:
            return {}
        found = {name: times[int(q * (len(times) - 1))] for name, q in QUANTILES.items()}
        return {**found, "p90": times[int(0.9 * (len(times) - 1))], "max": times[-1],
                "n": len(times)}  # fmt: skip


def ratio(one: Found, other: Found | None) -> float:
    """Return the median over the rounds of one's median against the other's of that round."""
    if other is None:
        return 0.0
    pairs = [a / b for a, b in zip(one.medians(), other.medians(), strict=False)]
    return statistics.median(pairs) if pairs else 0.0


def verdict(found: Found, against: float) -> str:
    """Say what was promised of a row and whether it was met."""
    row, said = found.row, []
    if row.ratio_max:
        met = 0 < against <= row.ratio_max
        said.append(f"<= {row.ratio_max:.2f}x {'met' if met else 'NOT met'}")
    if row.p99_us and (figures := found.figures()):
        met = figures["p99"] < row.p99_us
        said.append(f"p99 < {row.p99_us:.0f} us {'met' if met else 'NOT met'}")
    if row.median_us and (figures := found.figures()):
        met = figures["median"] <= row.median_us
        said.append(f"<= {row.median_us:g} us {'met' if met else 'NOT met'}")
    return ", ".join(said)


def show(found: list[Found], *, as_json: bool) -> None:
    """Print the table."""
    by_name = {one.row.name: one for one in found}
    rows = []
    for one in found:
        against = ratio(one, by_name.get(one.row.against))
        rows.append({
            "row": one.row.name, "against": one.row.against, "ratio": round(against, 3),
            **{name: round(value, 2) for name, value in one.figures().items()},
            "bad": one.bad, "missed": one.missed, "strays": one.strays, "faults": one.faults[:5],
            "promise": verdict(one, against), "skipped": one.reason, "parts_ns": one.parts,
        })  # fmt: skip
    load = round(os.getloadavg()[0], 1)
    if as_json:
        told = {"bench": "tick_to_trade", "unit": "us", "rows": rows, "machine": machine(),
                "load": load}  # fmt: skip
        sys.stdout.write(json.dumps(told) + "\n")
        return
    sys.stdout.write(f"tick to trade, us  ({machine()}; load {load})\n")
    columns = ("median", "p90", "p99", "p99.9", "max")
    sys.stdout.write(f"  {'':<34}{''.join(f'{c:>9}' for c in columns)}      n   ratio\n")
    for row in rows:
        if row["skipped"]:
            sys.stdout.write(f"  {row['row']:<34} {row['skipped']}\n")
            continue
        values = "".join(f"{row.get(c, 0):9.1f}" for c in columns)
        times = f"{row['ratio']:6.2f}x" if row["against"] else " " * 7
        sys.stdout.write(f"  {row['row']:<34}{values} {row.get('n', 0):6} {times}  "
                         f"{row['promise']}\n")  # fmt: skip
        if parts := row["parts_ns"]:
            told = ", ".join(f"{name} {ns:.0f}" for name, ns in parts.items())
            sys.stdout.write(f"    ns of the last round: {told}\n")
        if row["bad"] or row["missed"] or row["strays"]:
            sys.stdout.write(f"    bad {row['bad']}, missed {row['missed']}, strays "
                             f"{row['strays']}: {row['faults']}\n")  # fmt: skip


def failures(found: list[Found]) -> int:
    """Return the exit code: 1 when an order was bad, missing, or one too many."""
    return int(any(one.bad or one.missed or one.strays for one in found))
