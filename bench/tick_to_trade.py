"""Tick to trade over loopback: how long from a market message to the order that answers it.

An exchange in a process and on a core of its own sends depth messages of the venue's shape, each of
which is to become one order. It stamps before it sends and when the order's bytes are complete, and
holds every order's id, side, price and signature against the tick: one bad or missing order fails
the run. Rows take turns in rounds; each row is a process started anew, warmed up, measured, ended
in order. A row's ratio is the median over the rounds of its median against its yardstick's: a
compiled loop that answers bytes by bytes and does nothing else, over the same two sockets.

stamps: user = the exchange polls, so that exchange and client have a core each. kernel = the
exchange sleeps and the order's last packet is stamped by the kernel; for rows of three actors.
Between two ticks the exchange answers and the private stream reports, outside what is measured; a
pace so short that a client is still reading them measures that.
"""

import sys
import tempfile
from pathlib import Path

from lib.rounds import options
from lib.ttt_report import Found, failures, show
from lib.ttt_rows import ROWS, Row
from lib.ttt_stage import Stage

from alephtx.engine.warm import ensure_warm

QUICK = {"rounds": 1, "ticks": 200, "warm": 100}


def measure(stage: Stage, rows: list[Row], rounds: int) -> list[Found]:
    """Run every row once a round, in turn."""
    found = [Found(row) for row in rows]
    for number in range(rounds):
        for result in found:
            if result.reason:
                continue
            sys.stderr.write(f"\r\x1b[Kround {number + 1}/{rounds}: {result.row.name}")
            sys.stderr.flush()
            result.take(stage.play(result.row))
    sys.stderr.write("\r\x1b[K")
    return found


def chosen(wanted: list[str]) -> list[Row]:
    """Return the rows of these names, or else whose names hold these words, and their yardsticks.

    Nothing wanted: all.
    """
    names = {row.name for row in ROWS}
    rows = [
        row
        for row in ROWS
        if not wanted
        or any(row.name == word or (word not in names and word in row.name) for word in wanted)
    ]
    yardsticks = {row.against for row in rows}
    return [row for row in ROWS if row in rows or row.name in yardsticks]


def main() -> None:
    """Print a table of rows, each against its yardstick."""
    parser = options(__doc__)
    parser.set_defaults(rounds=5)
    parser.add_argument("--ticks", type=int, default=1_500, help="measured in a round of a row")
    parser.add_argument("--warm", type=int, default=300, help="ticks before them")
    parser.add_argument("--pace-us", type=int, default=4_000, help="from one tick to the next")
    parser.add_argument(
        "--rows", default="", help="words that the names of rows must hold, by comma"
    )
    parser.add_argument("--quick", action="store_true", help="one short round: does it run?")
    given = parser.parse_args()
    if given.quick:
        for name, value in QUICK.items():
            setattr(given, name, value)
    wanted = [word for word in given.rows.split(",") if word]
    rows = chosen(wanted)
    if any(row.client == "product" for row in rows):
        ensure_warm(lambda line: None)
    with tempfile.TemporaryDirectory() as name:
        stage = Stage(Path(name), ticks=given.ticks, warm=given.warm, pace_us=given.pace_us)
        try:
            found = measure(stage, rows, given.rounds)
        finally:
            stage.close()
    show(found, as_json=given.json)
    sys.exit(failures(found))


if __name__ == "__main__":
    main()
