"""Our simulator with hftbacktest's rules where they differ: to show that these are all there is.

A copy of the package with a few lines exchanged, for `bench/fidelity.py --their-rules`. Each rule
was found by following the first order that differed, in its published source (queue.rs, local.rs,
partialfillexchange.rs) and by what version 2.4.4 did; why ours is another: docs/fidelity.md.
"""

import shutil
from pathlib import Path

import alephtx

RULES: tuple[tuple[str, str, str], ...] = (
    # A print fills what our estimate lies beyond the front, be the print smaller; several orders
    # of ours at one price all stand alone.
    (
        "sim/market.py",
        """            x.orders[i, s, k]["ahead"] -= float(max(0, qty - own_before))
""",
        """            x.orders[i, s, k]["ahead"] -= float(qty)
""",
    ),
    (
        "sim/market.py",
        """                take = min(take, max(0, np.int64(reach)))
                own_before += take
            x.orders[i, s, k]["ahead"] = max(0.0, x.orders[i, s, k]["ahead"])
""",
        """                front = x.orders[i, s, k]["ahead"]
                reached = max(np.int64(np.floor(0.5 - front)), 0)
                take = min(take, reached)
                if reached > 0:
                    x.orders[i, s, k]["ahead"] = 0.0
""",
    ),
    # A book that crosses our price fills all of the order, whatever it shows.
    (
        "sim/state.py",
        """            if x.model[i, Q_FILL] == PARTIAL:
                take = min(take, shown(x, i, other, best))
                deplete(x, i, other, best, take)
""",
        "",
    ),
    # The logarithm of what is below zero is no number, and that sends the order to the end.
    (
        "sim/queue.py",
        """    if ahead + behind <= 0.0:
        return 1.0
""",
        "",
    ),
    (
        "sim/queue.py",
        """        f_ahead, f_behind = math.log(1.0 + ahead), math.log(1.0 + behind)
        f_both = math.log(1.0 + ahead + behind)
""",
        """        f_ahead = math.log(1.0 + ahead) if ahead > -1.0 else math.nan
        f_behind = math.log(1.0 + behind) if behind > -1.0 else math.nan
        f_both = math.log(1.0 + ahead + behind) if ahead + behind > -1.0 else math.nan
""",
    ),
    (
        "sim/queue.py",
        """    return f_behind / f_both if f_both > 0.0 else 1.0
""",
        """    if f_both == 0.0:
        return math.nan if f_behind == 0.0 else 1.0
    return f_behind / f_both
""",
    ),
    (
        "sim/queue.py",
        """    behind = max(before - ahead, 0.0)
    odds = _odds(kind, power, ahead, behind)
""",
        """    behind = before - ahead
    odds = _odds(kind, power, ahead, behind)
    if math.isnan(odds):
        return qty
""",
    ),
)  # fmt: skip

HELD = (
    ('held, qty, most = view.positions[i]["qty"],', "held, qty, most = HELD[0],"),
    ('        number = int(row["tag"])\n', """        number = int(row["tag"])
        if row["leaves_qty"] == 0:  # of an order filled in parts the strategy hears the last
            HELD[0] += int(row["side"]) * int(row["qty"])
"""),
    ("FILLS, AGAIN = {}, set()\n", "FILLS, AGAIN, HELD = {}, set(), [0]\n"),
)  # fmt: skip
"""What the strategy knows of its position there."""


def exchange(text: str, ours: str, theirs: str) -> str:
    """Return a text with one passage exchanged; ValueError when it is not there once."""
    if text.count(ours) != 1:
        raise ValueError(f"the passage is there {text.count(ours)} times: {ours[:60]!r}")
    return text.replace(ours, theirs)


def package(folder: Path) -> Path:
    """Copy the package below a folder, with their rules; returns what is to be on the path."""
    to = folder / "their-rules"
    shutil.copytree(
        Path(alephtx.__file__).parent, to / "alephtx", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name, ours, theirs in RULES:
        path = to / "alephtx" / name
        path.write_text(exchange(path.read_text(), ours, theirs))
    return to
