"""Backtests, against hftbacktest and NautilusTrader in the same run, on the same rows.

A speed counts only with the exact fills: the run ends with an error where orders, fills, position
or balance differ from hftbacktest's (NautilusTrader's models are others: it must come to its own
known counts). Peers live in environments of their own (`make peers`). ns are of one input row.

    maker    the common market maker: queue, latency, gate, order table, positions
    deep     the same, deciding by a book of ten levels: a second book, as late as we hear it
    replay   the exchange's book alone
    sweep    sets of the maker's parameters, 25 in a pass, ns of a row and set
    floor    read the same rows once
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from lib.maker_run import EXACT, Ours, deep_maker
from lib.peer import Peer
from lib.rounds import interleave, options, report

from alephtx.core.kernel import kernel
from alephtx.engine.backtest import Tape
from alephtx.testing.synthetic import synthetic

THEIRS = {1_000_000: [16_223, 9_568]}
"""Rows -> orders and fills of NautilusTrader 1.231.0: fills by trades alone, in part, one book."""


@kernel
def read(rows: np.ndarray) -> int:
    """Add up what a replay has to look at."""
    total = 0
    for k in range(rows.shape[0]):
        row = rows[k]
        total += row["ts_event"] ^ np.int64(row["price"]) ^ np.int64(row["qty"])
    return total


def floor(rows: np.ndarray) -> float:
    """Return ns a row of reading it once."""
    begun = time.perf_counter()
    read(rows)
    return (time.perf_counter() - begun) / len(rows) * 1e9


def check(ours: Ours, hft: Peer, naut: Peer | None) -> None:
    """End with an error unless all sides did the same work."""
    wanted = EXACT.get(ours.count)
    for name in ("common_maker", "common_maker_deep"):
        mine, theirs = ours.told[name], hft.told["mm"]
        if list(mine) != theirs or (wanted and mine != wanted):
            sys.exit(f"not the same work: {name} {mine}, hftbacktest's {theirs}, known {wanted}")
    if list(ours.told["sweep"]) != hft.told["sweep"]:
        sys.exit(f"not the same sweep: {ours.told['sweep']}, {hft.told['sweep']}")
    if naut is not None and naut.told["mm"] != THEIRS.get(ours.count, naut.told["mm"]):
        sys.exit(f"NautilusTrader came to {naut.told['mm']}, known {THEIRS[ours.count]}")


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--without-nautilus", action="store_true", help="it takes 12 s a round")
    given = parser.parse_args()
    rows, table = synthetic(given.rows)
    ours = Ours(Tape(rows), table)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.npy"
        np.save(file, rows)
        hft = Peer("hft", "peer_hft.py", file)
        naut = None if given.without_nautilus else Peer("nautilus", "peer_nautilus.py", file)
        deep = deep_maker(Path(folder))
        ways = {
            "floor: read the rows": lambda: floor(rows),
            "replay": ours.replay,
            f"replay, {hft.name}": lambda: hft.ask("replay"),
            "maker": ours.maker,
            f"maker, {hft.name}": lambda: hft.ask("mm"),
            "deep maker": lambda: ours.maker(deep),
            f"sweep of {given.sets}, a set": lambda: ours.sweep(given.sets),
            f"sweep of {given.sets}, a set, {hft.name}": lambda: hft.ask("sweep", given.sets),
        }
        for way in ways.values():
            way()
        figures = interleave(ways, given.rounds)
        if naut is not None:  # once: its time would let the others' caches and clocks rest
            figures[f"maker, {naut.name}"] = naut.ask("mm")
    check(ours, hft, naut)
    against = {name: f"{name}, {hft.name}" for name in ways if f"{name}, {hft.name}" in ways}
    against["deep maker"] = f"maker, {hft.name}"
    if naut is not None:
        figures["maker again"], against["maker again"] = figures["maker"], f"maker, {naut.name}"
    report("backtest", figures, "ns a row", against=against, as_json=given.json)


if __name__ == "__main__":
    main()
