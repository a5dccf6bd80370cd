"""Hold line coverage against its floors: what decides about money has no line that never ran."""

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
}
"""Parts in which every line must have run."""

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
    """Print one part; say which lines are missing where it is below its floor."""
    lines = sum(file["summary"]["num_statements"] for file in files.values())
    covered = sum(file["summary"]["covered_lines"] for file in files.values())
    share = 100.0 * covered / lines if lines else 0.0
    print(f"{part}: {share:.1f} % of {lines} lines, floor {floor:.0f} %")
    if share >= floor and files:
        return False
    for name, file in sorted(files.items()):
        if file["missing_lines"]:
            print(f"  {name}: {len(file['missing_lines'])} never ran: {file['missing_lines'][:20]}")
    return True


if __name__ == "__main__":
    sys.exit(main())
