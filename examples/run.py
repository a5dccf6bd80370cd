"""Run an example: its config over its recording, and what that came to.

    python examples/run.py grid

Prints what the example's README states; `tests/examples` holds the two against each other.
"""

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from alephtx.core.config import load_config
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.records import EVENT
from alephtx.engine import context as c
from alephtx.engine.backtest import Backtest, Delay, Tape, Venue
from alephtx.engine.ingest import importers
from alephtx.store.importing import Nowhere, choose, import_file
from alephtx.store.reading import Options

HERE = Path(__file__).parent
RECORDINGS = {
    "combiner": ["usdm_btcusdt_20240808.gz"],
    "glft": ["usdm_btcusdt_20240808.gz"],
    "grid": ["usdm_btcusdt_20240808.gz"],
    "trend": ["usdm_btcusdt_20240808_tops.gz"],
}
"""What each example replays, of `data/`."""
MS = 1_000_000
VENUE = Venue(
    # The recorder's clock ran 1.27 s behind the venue's: 1,275 ms make the quickest message take
    # 4 ms; orders take 5 ms each way.
    feed=Delay(kind="recorded", ns=1_275 * MS), entry=Delay(ns=5 * MS), response=Delay(ns=5 * MS),
)  # fmt: skip


class Kept(Nowhere):
    """A sink that keeps an instrument's rows in memory."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.parts: list[Any] = []

    def append(self, rows: Any) -> None:
        """Keep a copy: the importer uses its memory again."""
        self.parts.append(rows.copy())


def read_market(path: Path) -> tuple[Instrument, Any]:
    """Return the instrument of a raw recording and its rows of EVENT."""
    kept: list[Kept] = []

    def sink(instrument: Instrument) -> Kept:
        kept.append(Kept(instrument))
        return kept[-1]

    import_file(path, choose(path, importers()), Options(), sink)
    (only,) = kept
    return only.instrument, np.concatenate([np.zeros(0, EVENT), *only.parts])


def run_example(name: str) -> Backtest:
    """Run examples/NAME/config.toml to the end of its recordings."""
    config = load_config(HERE / name / "config.toml")
    markets = [read_market(HERE / "data" / file) for file in RECORDINGS[name]]
    table = Instruments([instrument for instrument, _ in markets])
    return Backtest([config], table, [Tape(rows) for _, rows in markets], venue=VENUE).run()


def came_to(test: Backtest) -> dict[str, str]:
    """Return the result in words and exact numbers; money in the quote currency."""
    ctx = test.lanes[0].ctx
    said = {"rows": f"{test.rows}"}
    said["orders and cancels"] = f"{int(ctx.counters[c.C_ORDERS])}"
    said["fills"] = f"{int(ctx.counters[c.C_FILLS])}"
    said["denied"] = f"{int(ctx.counters[c.C_DENIED])}"
    gross = fees = Decimal(0)
    for i, instrument in enumerate(test.instruments):
        held, top = ctx.positions[0, i], ctx.top[i]
        unit = Decimal(10) ** -(instrument.price_scale + instrument.qty_scale)
        marked = Decimal(int(held["qty"])) * Decimal(int(top["bid"] + top["ask"])) / 2
        gross += Decimal(int(held["realized"])).scaleb(-8)
        gross += (marked - Decimal(int(held["cost"]))) * unit
        fees += Decimal(int(held["fees"])).scaleb(-8)
        lots = Decimal(int(held["qty"])).scaleb(-instrument.qty_scale)
        said[f"holds of {instrument.key}"] = f"{lots}"
    said["gain before fees"] = f"{gross:.4f}"
    said["fees"] = f"{fees:.4f}"
    said["gain after fees"] = f"{gross - fees:.4f}"
    return said


if __name__ == "__main__":
    print(json.dumps(came_to(run_example(sys.argv[1])), indent=2))
