"""Break one place at a time in the parts that decide about money, and see whether a test notices.

Mutants come from cosmic-ray, which no lock holds (`pip install cosmic-ray`): a seeded sample of all
that it can make in a part, less what the rules in `choose` leave out. Each is run un-jitted in a
fork (`forks.py`) of a process that has imported the tools and nothing of ours. See
docs/mutation.md for what counts and for the figures.
"""

import argparse
import ast
import difflib
import json
import random
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from floors import WHOLE
from forks import Fork, Outcome, Stage

ROOT = Path(__file__).parents[1]
EQUIVALENT = Path(__file__).with_name("equivalent.toml")

QUICK_KILL_TESTS = (
    "tests/execution/test_open_orders.py",
    "tests/execution/test_killing.py",
    "tests/execution/test_closing.py",
    "tests/engine/test_halts.py",
    "tests/engine/test_kill_door.py",
    "tests/test_cli_kill.py",
)
SLOW_KILL_TESTS = (
    "tests/engine/test_flatten.py",
    "tests/engine/test_deadman.py",
    "tests/engine/test_killer.py",
    "tests/engine/test_killer_process.py",
)
LEG_TESTS = ("tests/engine/test_leg_lanes.py", "tests/engine/test_leg_choice.py")
ORDER_TESTS = ("tests/execution",)
PARTS: dict[str, tuple[str, tuple[Stage, ...]]] = {
    "gate": (
        "the gate",
        (
            Stage(("tests/risk",), ("-m", "kernel")),
            Stage(("tests/risk",), ("-m", "not kernel", "-k", "not only_way")),
            Stage(("tests/engine/test_gate_feeds.py", "tests/engine/test_limit_commands.py")),
        ),
    ),
    "orders": (
        "the order state machine",
        (
            Stage(ORDER_TESTS, ("-m", "kernel")),
            Stage(ORDER_TESTS, ("-m", "not kernel", "-k", "not doubtful")),
        ),
    ),
    "kill": (
        "the kill",
        (
            Stage(QUICK_KILL_TESTS),
            Stage(SLOW_KILL_TESTS, each_s=60),
            Stage(("tests/test_cli_runs.py",), each_s=60, only=("src/alephtx/cli/kill.py",)),
        ),
    ),
    "ledger": ("the ledger", (Stage(("tests/ledger",)),)),
    "journal": (
        "the journal",
        (
            Stage(("tests/matrix/test_journal_format.py", "tests/matrix/test_journal_disk.py")),
            Stage(("tests/matrix/test_journal.py", "tests/matrix/test_journal_damage.py")),
        ),
    ),
    "legs": (
        "the leg guard",
        (
            Stage(LEG_TESTS),
            Stage(("tests/engine/test_leg_guard.py", "tests/strategies/test_legs.py")),
        ),
    ),
}
"""By short name: the part in floors.py, and the tests that are asked, one stage after the other."""


@dataclass(frozen=True)
class Mutant:
    """One change of one place: the lines it replaces, and what stands there instead."""

    file: str
    inside: str
    line: int
    operator: str
    was: str
    now: str
    text: str = field(repr=False)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names it as long as the lines it touches do not change."""
        return self.file, self.inside, self.was, self.now


@dataclass(frozen=True)
class Place:
    """Where one of cosmic-ray's operators can change a file."""

    file: Path
    inside: str
    line: int
    kind: str
    operator: Any
    occurrence: int


def main() -> int:
    """Run the sample of one part; 1 when its score is below the floor."""
    told = arguments()
    part, stages = PARTS[told.part]
    files = sorted({f for pattern in WHOLE[part] for f in ROOT.glob(pattern) if f.suffix == ".py"})
    places = [place for file in files for place in places_of(file)]
    earlier = [json.loads(row) for name in told.but for row in name.read_text().splitlines()]
    again = [json.loads(row) for row in told.again.read_text().splitlines()] if told.again else []
    left_out = {tuple(row["key"]) for row in earlier}
    wanted = {tuple(row["key"]) for row in again if told.all or row["outcome"] == "survived"}
    lines = {(row["file"], row["operator"]) for row in again}
    random.Random(told.seed).shuffle(places)  # noqa: S311
    sample: dict[tuple[str, ...], Mutant] = {}
    for place in places:
        if again and (place.file.relative_to(ROOT).as_posix(), place.kind) not in lines:
            continue
        mutant = made(place)
        if mutant and mutant.key not in left_out and (not again or mutant.key in wanted):
            sample[mutant.key] = mutant
        if len(sample) == (len(wanted) if again else told.sample):
            break
    print(f"{part}: {len(sample)} of {len(places)} places in {len(files)} files, seed {told.seed}")
    if told.list:
        for mutant in sample.values():
            show(mutant, "")
        return 0
    results = run(list(sample.values()), stages, told.out)
    return 0 if summary(results) >= told.floor else 1


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, default="gate")
    parser.add_argument("--sample", type=int, default=200, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--floor", type=float, default=80.0, help="least score in percent")
    parser.add_argument("--out", type=Path, help="write the outcomes here, one JSON object a line")
    parser.add_argument("--but", type=Path, action="append", default=[], help="not those of this")
    parser.add_argument("--again", type=Path, help="run the survivors of an earlier --out instead")
    parser.add_argument("--all", action="store_true", help="with --again: run all of it")
    parser.add_argument("--list", action="store_true", help="print the sample and run nothing")
    return parser.parse_args()


def places_of(file: Path) -> Iterator[Place]:
    """Yield every change of a file that cosmic-ray can make and the rules let through."""
    try:
        from cosmic_ray.ast import ast_nodes, get_ast
        from cosmic_ray.plugins import get_operator, operator_names
    except ImportError:
        sys.exit(f"cosmic-ray is missing: {sys.executable} -m pip install cosmic-ray")
    source = file.read_text()
    left_out = Spans(ast.parse(source))
    lines, nodes = source.splitlines(), list(ast_nodes(get_ast(source)))
    for name in operator_names():
        operator = get_operator(name)
        kind = name.partition("/")[2]
        if operator.arguments() or not choose(kind):
            continue
        starts = [at[0] for node in nodes for at in operator().mutation_positions(node)]
        for occurrence, (line, column) in enumerate(starts):
            star = lines[line - 1][column:] == "*,"  # of a signature, which is no operator
            if not star and not left_out.hold(line, column):
                yield Place(file, left_out.function(line), line, kind, operator, occurrence)


def made(place: Place) -> Mutant | None:
    """Make the mutant of a place; None where cosmic-ray cannot, or it is the same program."""
    from cosmic_ray.mutating import mutate_code

    source = place.file.read_text()
    try:
        text = mutate_code(source, place.operator(), place.occurrence)
        if text is None or ast.dump(ast.parse(text)) == ast.dump(ast.parse(source)):
            return None
    except (SyntaxError, AttributeError):  # no Python; an exception with a dot in its name
        return None
    name = place.file.relative_to(ROOT).as_posix()
    return Mutant(name, place.inside, place.line, place.kind, *changed(source, text), text)


def choose(kind: str) -> bool:
    """Say whether an operator makes mutants that matter.

    Not decorators: un-jitted, `@kernel` does nothing, and a class without `@dataclass` cannot even
    be made. Not values compared by identity: nobody writes that by mistake, and linters see it.
    """
    if kind == "RemoveDecorator":
        return False
    by_identity = kind.endswith(("_Is", "_IsNot")) or "Operator_Is" in kind
    return not by_identity or kind.endswith(("_Is_IsNot", "_IsNot_Is"))


def changed(source: str, text: str) -> tuple[str, str]:
    """Return the lines of both texts that differ, stripped."""
    lines = list(difflib.unified_diff(source.splitlines(), text.splitlines(), n=0, lineterm=""))[3:]
    was = " ".join(line[1:].strip() for line in lines if line.startswith("-"))
    now = " ".join(line[1:].strip() for line in lines if line.startswith("+"))
    return was, now


class Spans:
    """Places of a file where a mutant shows nothing: types, messages, what un-jitted never runs."""

    def __init__(self, tree: ast.Module) -> None:
        self.spans: list[tuple[tuple[int, int], tuple[int, int]]] = []
        self.functions: list[tuple[int, int, str]] = []
        for node in ast.walk(tree):
            self._look(node)

    def hold(self, line: int, column: int) -> bool:
        """Say whether a place is in one of them."""
        return any(start <= (line, column) < end for start, end in self.spans)

    def function(self, line: int) -> str:
        """Return the name of the innermost function or class around a line; "" for the module."""
        around = [f for f in self.functions if f[0] <= line <= f[1]]
        return min(around, key=lambda f: f[1] - f[0])[2] if around else ""

    def _look(self, node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.functions.append((node.lineno, node.end_lineno or node.lineno, node.name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            self._add(node.returns)
        elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            self._add(node.annotation)
        elif isinstance(node, ast.keyword) and node.arg in ("frozen", "kw_only", "slots"):
            self._add(node.value)  # how a class may be used, not what it does
        elif isinstance(node, ast.Raise) and node.exc:
            self._add(node.exc)
        elif isinstance(node, ast.Assert) and node.msg:
            self._add(node.msg)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            if ast.unparse(node.value.func).startswith(("log.", "self.log.", "self._log.")):
                self._add(node)
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("JIT", "TYPE_CHECKING"):
            for inner in node.body:
                self._add(inner)

    def _add(self, node: ast.expr | ast.stmt) -> None:
        end = (node.end_lineno or node.lineno, node.end_col_offset or 0)
        self.spans.append(((node.lineno, node.col_offset), end))


def run(
    sample: list[Mutant], stages: tuple[Stage, ...], out: Path | None
) -> list[tuple[Mutant, Outcome]]:
    """Run the tests on each mutant; print each survivor as it is found."""
    argued = equivalent()
    results = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        fork = Fork(ROOT, Path(folder))
        fork.measure(stages)
        for mutant in sample:
            outcome = fork.run(mutant.file, mutant.text, stages)
            if outcome.kind == "survived" and mutant.key in argued:
                outcome = Outcome("equivalent", "", outcome.seconds)
            results.append((mutant, outcome))
            if out:
                row = {k: v for k, v in asdict(mutant).items() if k != "text"}
                row |= {"key": mutant.key, "outcome": outcome.kind, "test": outcome.test}
                with out.open("a") as sink:
                    sink.write(json.dumps(row | {"seconds": round(outcome.seconds, 2)}) + "\n")
            if outcome.kind == "survived":
                show(mutant, f"  ({len(results)} of {len(sample)})")
        fork.measure(stages)
    return results


def equivalent() -> set[tuple[str, str, str, str]]:
    """Return the keys of mutants that were argued to change nothing; refuse a line that is gone."""
    argued = set()
    for entry in tomllib.loads(EQUIVALENT.read_text())["mutant"]:
        lines = (ROOT / entry["file"]).read_text().splitlines()
        if entry["was"] not in " ".join(line.strip() for line in lines):
            sys.exit(f"{EQUIVALENT.name}: {entry['file']} says no more: {entry['was']}")
        argued |= {(entry["file"], entry["inside"], entry["was"], now) for now in entry["now"]}
    return argued


def show(mutant: Mutant, note: str) -> None:
    """Print one mutant as a difference."""
    print(f"{mutant.file}:{mutant.line} in {mutant.inside or 'the module'}{note}")
    print(f"  - {mutant.was}\n  + {mutant.now}", flush=True)


def summary(results: list[tuple[Mutant, Outcome]]) -> float:
    """Print the figures; return the score without the mutants that were argued equivalent."""
    count = {kind: sum(o.kind == kind for _, o in results) for kind in Outcome.KINDS}
    dead = count["killed"] + count["import"] + count["timeout"]
    alive = dead + count["survived"]
    print(", ".join(f"{n} {kind}" for kind, n in count.items()))
    low, high = wilson(dead, alive)
    score = 100 * dead / max(1, alive)
    print(f"raw score {100 * dead / max(1, len(results)):.1f} %")
    print(f"without equivalent ones {score:.1f} % (Wilson's 95 %: {low:.1f} to {high:.1f})")
    return score


def wilson(good: int, of: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, in percent."""
    if not of:
        return 0.0, 100.0
    z2 = 1.96**2
    share = good / of
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = 1.96 * (share * (1 - share) / of + z2 / (4 * of * of)) ** 0.5 / (1 + z2 / of)
    return 100 * (middle - half), 100 * (middle + half)


if __name__ == "__main__":
    sys.exit(main())
