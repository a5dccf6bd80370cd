"""Hold coverage against its floors: what decides about money has no line and no branch unseen."""

import json
import subprocess
import sys
from pathlib import Path, PurePath

WHOLE = {
    "the gate": ("src/alephtx/risk/*",),
    "the order state machine": (
        "src/alephtx/execution/index.py",
        "src/alephtx/execution/orders.py",
        "src/alephtx/execution/table.py",
        "src/alephtx/execution/transitions.py",
    ),
    "the ledger": ("src/alephtx/ledger/*",),
    "the journal": ("src/alephtx/matrix/journal*",),
    "the kill": (
        "src/alephtx/cli/kill.py",
        "src/alephtx/engine/deadman.py",
        "src/alephtx/engine/halts.py",
        "src/alephtx/engine/kill_*.py",
        "src/alephtx/engine/killer*.py",
        "src/alephtx/execution/flatten.py",
        "src/alephtx/execution/killing.py",
        "src/alephtx/execution/open_orders.py",
    ),
    "the leg guard": ("src/alephtx/engine/leg_*.py",),
}
"""Parts in which every line must have run, and every branch must have been taken."""

REST_FLOOR = 85.0


def main() -> int:
    """Print each part with its coverage; 1 when one is below its floor."""
    report = Path(".coverage.json")
    command = [sys.executable, "-m", "coverage", "json", "-q", "-o", str(report)]
    subprocess.run(command, check=True)
    files = json.loads(report.read_text())["files"]
    report.unlink()
    failed = False
    rest = set(files)
    for part, patterns in WHOLE.items():
        chosen = {f for f in files if any(PurePath(f).match(p) for p in patterns)}
        rest -= chosen
        failed |= below(part, {f: files[f] for f in chosen}, 100.0)
    failed |= below("the rest", {f: files[f] for f in rest}, REST_FLOOR)
    return 1 if failed else 0


def below(part: str, files: dict, floor: float) -> bool:
    """Print one part; say what is missing where it is below its floor. Branches count as lines."""
    whole = floor == 100.0
    total = covered = 0
    for file in files.values():
        told = file["summary"]
        total += told["num_statements"] + (told["num_branches"] if whole else 0)
        covered += told["covered_lines"] + (told["covered_branches"] if whole else 0)
    share = 100.0 * covered / total if total else 0.0
    what = "lines and branches" if whole else "lines"
    print(f"{part}: {share:.2f} % of {total} {what}, floor {floor:.0f} %")
    if share >= floor and files:
        return False
    for name, file in sorted(files.items()):
        if file["missing_lines"]:
            print(f"  {name}: {len(file['missing_lines'])} never ran: {file['missing_lines'][:20]}")
        if whole and file["missing_branches"]:
            print(f"  {name}: never taken: {file['missing_branches'][:20]}")
    return True


if __name__ == "__main__":
    sys.exit(main())
