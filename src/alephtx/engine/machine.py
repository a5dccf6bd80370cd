"""What a host does to latency: one finding a thing, with what it costs and how to change it.

Findings are read, or measured here and now; nothing on the machine is changed. Whatever cannot be
seen - unprivileged, in a container, on another kernel - is a finding, too: "not visible here".
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

GOOD, COSTS, BROKEN, UNSEEN = "good", "costs", "broken", "unseen"
NOT_VISIBLE = "not visible here"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    verdict: good; costs = it works, and time is lost; broken = a run would fail or be wrong;
    unseen. cost: in ns or us, measured where it says so. remedy: a command, or a line of a config.
    """

    what: str
    value: str
    verdict: str = GOOD
    cost: str = ""
    remedy: str = ""


Look = Callable[[], Iterable[Finding]]


def unseen(what: str, why: str = "") -> Finding:
    """Return the finding of what cannot be seen."""
    return Finding(what, f"{NOT_VISIBLE}{f' ({why})' if why else ''}", UNSEEN)


class Files:
    """The kernel's files, below another root in tests; what cannot be read is ""."""

    def __init__(self, root: str | Path = "/") -> None:
        self.root = Path(root)

    def read(self, path: str) -> str:
        """Return a small file's text without space around it."""
        try:
            return (self.root / path.lstrip("/")).read_text(errors="replace").strip()
        except OSError:
            return ""

    def find(self, pattern: str) -> list[Path]:
        """Return what fits a pattern, sorted by length and name: cpu2 before cpu10."""
        try:
            found = list(self.root.glob(pattern.lstrip("/")))
        except OSError:
            return []
        return sorted(found, key=lambda path: (len(str(path)), str(path)))

    def exists(self, path: str) -> bool:
        """Tell whether something is there."""
        return os.path.lexists(self.root / path.lstrip("/"))

    def number(self, path: str) -> int | None:
        """Return a file that is one integer; None for anything else."""
        text = self.read(path)
        return int(text) if text.lstrip("-").isdigit() else None


def cores(text: str) -> list[int]:
    """Return the numbers of a list such as 0-3,8; those that are none are left out."""
    found: list[int] = []
    for part in text.replace("\n", ",").split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found += range(int(first), int(last or first) + 1)
    return found


def take(what: str, look: Look) -> list[Finding]:
    """Return what a look finds; one that fails has found something it does not know."""
    try:
        return list(look())
    except Exception as error:  # noqa: BLE001 - a doctor who faints helps nobody
        return [unseen(what, type(error).__name__)]
