"""A peer in an environment and a process of its own: a line asks, a line of JSON answers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PEERS = Path(os.environ.get("ALEPHTX_PEERS", HERE.parents[1] / ".peers"))


def peer_python(environment: str) -> Path:
    """Return the Python of a peer's environment; ends where it is not installed."""
    python = PEERS / environment / "bin" / "python"
    if not python.exists():
        sys.exit(f"no {environment} to compare with: run `make peers` first")
    return python


class Peer:
    """A script of lib that says {"ready": its name}, then answers {"seconds", "told"}.

    file: what it reads, its last argument; first: those before. told: what each mode came to last.
    """

    def __init__(self, environment: str, script: str, file: Path, *first: str) -> None:
        self.count = 0
        self.told: dict[str, list[Any]] = {}
        self._process = subprocess.Popen(
            [peer_python(environment), HERE / script, *first, file],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        ready = self._line()
        self.name, self.count = ready["ready"], ready["rows"]

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self._process.args[1]} ended")  # type: ignore[index]
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, mode: str, sets: int = 1) -> float:
        """Return ns a row (and set) of a mode."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{mode} {sets}\n")
        self._process.stdin.flush()
        found = self._line()
        self.told[mode] = found["told"]
        return float(found["seconds"] / self.count / sets * 1e9)
