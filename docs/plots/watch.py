"""Keep what a recorded market does: a strategy that only looks, and `kept`, which runs it.

The shipped recording goes through the venue's codec, the feeder's kernels and a matrix, as in
`alephtx try`; after every event of one instrument, the event, the top and the levels are kept.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alephtx.core.records import EVENT, TOP_ROW
from alephtx.core.view import Needs
from alephtx.engine.tryout import instruments_of, recorded, try_strategy

COMPILED = False
DEPTH = 5
NEEDS = Needs(depth=DEPTH, trades=True)
PARAMS = np.dtype([("instrument", "i8")])
STATE = np.dtype([("spare", "i8")])

_events, _tops, _levels, _target = [], [], [], []


def config_to_params(section, instruments):
    """Remember where the rows are to go."""
    _target.append(Path(section["target"]))
    return np.zeros(1, PARAMS)


def on_event(event, view, params, state, intents):
    """Keep the event and the book after it."""
    _events.append(event[0].copy())
    _tops.append(view.top[0].copy())
    _levels.append(view.levels[0, :, :DEPTH].copy())
    return 0


def on_stop(view, params, state, intents):
    """Write everything down."""
    np.savez(_target[-1], events=np.array(_events, EVENT), tops=np.array(_tops, TOP_ROW),
             levels=np.array(_levels))  # fmt: skip
    return 0


class Kept(NamedTuple):
    """instruments: the table. events: EVENT (n,); tops: TOP_ROW (n,); levels: (n, 2, depth, 2)."""

    instruments: object
    events: np.ndarray
    tops: np.ndarray
    levels: np.ndarray


def kept(key, seconds):
    """Return what happened in so many seconds of the recording of one instrument."""
    table = instruments_of({(venue := key.partition(":")[0]): recorded(venue)}, (key,))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "kept.npz"
        try_strategy(__file__, (key,), {"target": str(target)}, seconds)
        with np.load(target) as file:
            return Kept(table, file["events"], file["tops"], file["levels"])
