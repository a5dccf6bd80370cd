"""Our fills against hftbacktest's, order by order: the same rows, strategy and models.

    python bench/fidelity.py [--rows N] [--their-rules]

Prints the table of docs/fidelity.md. An order is the same where both sides filled the order of the
same number at the same side and price, with the same lots, the last of them at the same nanosecond
of the exchange's clock. Ends with an error where a case that must come out the same does not. With
--their-rules our side plays by hftbacktest's, where they differ (`lib/their_rules.py`). Needs
`make peers`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from alephtx.core.config_schema import Account, Config, MatrixConfig, Strategy, VenueConfig
from alephtx.core.risk_schema import Risk
from alephtx.engine import context as c
from alephtx.engine.backtest import Backtest, Delay, Tape, Venue
from alephtx.testing.synthetic import synthetic

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "lib"))

import their_rules  # noqa: E402 - of no package

ASKED = "ALEPHTX_BENCH_THEIR_RULES"
PEERS = Path(os.environ.get("ALEPHTX_PEERS", HERE.parent / ".peers"))
ROWS = 100_000
LEFT_OUT_NS = 1_000_000_000
"""The tape's last second: reports still under way at its end reach our strategy no more."""
QUEUES = 9
MS = 1_000_000
EVERY_NS, TIMES = 1_000_000_000, 4
"""Feed-tied: each second, four times what the newest message took."""

FREE = Risk(
    notional_max=Decimal(10**9), position_notional_max=Decimal(10**9), band_bps=5_000,
    orders_per_s=10_000, stale_ms=600_000, drawdown_max=Decimal(10**9), self_trade="allow",
    open_orders_max=16,
)  # fmt: skip
TELLING = """

FILLS, AGAIN = {}, set()


def on_update(update, view, params, state, intents):
    row = update[0]
    if row["kind"] == FILL:
        number = int(row["tag"])
        lots = FILLS[number][3] if number in FILLS else 0
        if lots:
            AGAIN.add(number)
        FILLS[number] = [
            number, int(row["side"]), int(row["price"]),
            lots + int(row["qty"]), int(row["ts_event"]),
        ]
    return 0
"""

Case = tuple[str, float, bool, bool]
CASES: dict[str, Case] = {
    f"{queue}{f' {power:g}' if power != 1 else ''}, {'whole' if whole else 'partial'}, "
    f"{'feed-tied' if tied else '5 ms'}": (queue, power, whole, tied)
    for tied in (False, True)
    for whole in (True, False)
    for queue, power in (
        ("risk_averse", 1), ("power", 2), ("power", 3), ("power_2", 2), ("power_2", 3),
        ("power_3", 2), ("power_3", 3), ("log", 1), ("log_2", 1),
    )
}  # fmt: skip
"""Name -> (queue model, its power, whole fills, feed-tied latency)."""


def feed_tied(rows: np.ndarray) -> list[tuple[int, int]]:
    """Return (time, delay) of each second of a tape."""
    heard = rows["ts_recv"]
    seconds = np.arange(heard[0], heard[-1], EVERY_NS)
    at = np.searchsorted(heard, seconds, side="right") - 1
    delays = TIMES * (heard[at] - rows["ts_event"][at])
    return [(int(time), int(delay)) for time, delay in zip(seconds, delays, strict=True)]


def venue_of(case: Case, points: list[tuple[int, int]]) -> Venue:
    """Return our models of a case."""
    queue, power, whole, tied = case
    entry = response = Delay(ns=5 * MS)
    if tied:
        entry = Delay(kind="table", points=tuple(points))
        response = Delay(kind="table", points=tuple((at + ns, ns) for at, ns in points))
    return Venue(entry=entry, response=response, queue=queue, power=float(power), whole_fills=whole)


def ours(rows: np.ndarray, table: Any, cases: list[Case], folder: Path) -> list[dict[str, Any]]:
    """Return orders sent, and the filled ones, of each case. folder: a scratch one."""
    telling = TELLING
    text = (HERE / "lib" / "common_maker.py").read_text()
    text = text.replace("COMPILED = True", "COMPILED = False").replace("@inline_kernel\n", "")
    text = text.replace("import BUY, CANCEL, GTC", "import BUY, CANCEL, FILL, GTC")
    if ASKED in os.environ:
        for mine, other in their_rules.HELD:
            text, telling = (
                their_rules.exchange(part, mine, other) if mine in part else part
                for part in (text, telling)
            )
    points, told = feed_tied(rows), []
    for k, case in enumerate(cases):
        file = folder / f"told_{k}.py"
        file.write_text(text + telling)
        own = {"half": 1.5, "skew": 0.5, "qty": 50, "most": 500}
        use = Strategy(use=str(file), instruments=(table[0].key,), accounts=("main",), own=own)
        config = Config(
            matrix=MatrixConfig(path="/nowhere"),
            venues={"synthetic": VenueConfig(symbols=("BTCUSDT",))},
            accounts={"main": Account(venue="synthetic")},
            risk=FREE,
            strategies={"maker": use},
        )
        test = Backtest([config], table, [Tape(rows)], venue=venue_of(case, points)).run()
        (loaded,) = test.lanes[0].strategies
        orders = [loaded.module.FILLS[number] for number in sorted(loaded.module.FILLS)]
        assert not test.alarms
        assert test.lanes[0].ctx.counters[c.C_DENIED] == 0
        told.append({
            "sent": int(loaded.state[0]["orders"]), "ended": 1,
            "again": len(loaded.module.AGAIN), "orders": orders,
        })  # fmt: skip
    return told


def theirs(
    rows: np.ndarray, cases: list[Case], folder: Path, lot: float = 0.001
) -> list[dict[str, Any]]:
    """Return the same of hftbacktest. lot: what it is told a lot is worth."""
    points = feed_tied(rows)
    np.save(folder / "rows.npy", rows)
    asked = [
        {
            "queue": queue,
            "power": float(power),
            "whole": whole,
            "points": points if tied else [],
            "lot": lot,
        }
        for queue, power, whole, tied in cases
    ]
    (folder / "cases.json").write_text(json.dumps(asked))
    program = [PEERS / "hft" / "bin" / "python", HERE / "lib" / "peer_fidelity.py"]
    told = subprocess.run(
        [*program, folder / "rows.npy", folder / "cases.json"], check=True, stdout=subprocess.PIPE
    )
    found: list[dict[str, Any]] = json.loads(told.stdout)
    return found


def upto(told: dict[str, Any], end_ns: int) -> dict[int, list[int]]:
    """Return the filled orders by number, without those whose last fill is later than end_ns."""
    return {order[0]: order[1:] for order in told["orders"] if order[4] <= end_ns}


def same(a: dict[int, list[int]], b: dict[int, list[int]]) -> int:
    """Return how many orders are the same. A time of 0 on b's side is one that is not known."""
    return sum(a[k][:3] == b[k][:3] and b[k][3] in (0, a[k][3]) for k in a.keys() & b.keys())


def digest(orders: dict[int, list[int]]) -> str:
    """Return a CRC-32 of filled orders, for a test to hold them to."""
    return f"{zlib.crc32(json.dumps(sorted(orders.items())).encode()):08x}"


def figures(
    mine: dict[str, Any], plain: dict[int, list[int]], found: list[dict[str, Any]], end_ns: int
) -> list[Any]:
    """Return a line of the table. plain: our orders of the risk-averse queue; found: theirs."""
    a, (other, in_lots) = upto(mine, end_ns), found
    b = upto(other, end_ns)
    return [
        mine["sent"], other["sent"], len(a), len(b), same(a, b), same(a, upto(in_lots, end_ns)),
        mine["again"], other["again"], other["ended"], len(a) - same(a, plain), digest(a),
    ]  # fmt: skip


HEADS = (
    "orders, ours", "theirs", "with fills, ours", "theirs", "the same", "the same, told in lots",
    "filled again, ours", "theirs", "ended with", "our queue matters to", "digest of ours",
)  # fmt: skip


def exact(name: str) -> bool:
    """Say whether a case must come out the same to the order."""
    return ", whole," in name and not name.startswith("log")


def play_theirs(rows: int) -> int:
    """Print the table with a copy of our package that has their rules; returns the exit code."""
    with tempfile.TemporaryDirectory() as name:
        path = str(their_rules.package(Path(name)))
        command = [sys.executable, __file__, "--rows", str(rows)]
        told = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path, ASKED: "1"}, check=False
        )
    return told.returncode


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--their-rules", action="store_true")
    given = parser.parse_args()
    if given.their_rules:
        sys.exit(play_theirs(given.rows))
    rows, table = synthetic(given.rows)
    end_ns = int(rows[-1]["ts_event"]) - LEFT_OUT_NS
    with tempfile.TemporaryDirectory() as name:
        cases, folder = list(CASES.values()), Path(name)
        mine = ours(rows, table, cases, folder)
        found = [theirs(rows, cases, folder, lot) for lot in (0.001, 1.0)]
    lines = {}
    for k, case in enumerate(CASES):
        plain = upto(mine[k - k % QUEUES], end_ns)
        lines[case] = figures(mine[k], plain, [each[k] for each in found], end_ns)
    sys.stdout.write(f"| case | {' | '.join(HEADS)} |\n|---|{'---|' * len(HEADS)}\n")
    for case, line in lines.items():
        sys.stdout.write(f"| {case} | {' | '.join(map(str, line))} |\n")
    if bad := [c for c, line in lines.items() if exact(c) and not line[2] == line[3] == line[4]]:
        sys.exit(f"not the same, order by order: {'; '.join(bad)}")


if __name__ == "__main__":
    main()
