"""Run tests on a changed source in a fork, on a copy of the tree: imports are paid once.

The parent imports the tools and nothing of ours; a fork finds our modules in the copy. Their byte
code is made once; that of the changed module is taken away, so that no run sees an old one. A fork
leads its own session and is killed with all it started, also what left the session.
"""

import ctypes
import importlib
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

TOOLS = (
    "numpy", "numba", "msgspec", "picows", "uvloop", "aiohttp", "aiohttp.web", "coincurve",
    "msgpack", "rich.live", "zstandard", "redis.asyncio", "Crypto.Hash.keccak", "pytest",
    "pytest_asyncio.plugin", "pytest_timeout", "xdist.plugin", "hypothesis.strategies",
    "hypothesis.stateful", "hypothesis.extra.numpy", "unittest.mock",
)  # fmt: skip
MEMORY = 6 << 30
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: orphans of a fork become ours, so that we can end them


@dataclass(frozen=True)
class Stage:
    """Tests that are run together; each may take each_s, all of them twice as long as ever."""

    tests: tuple[str, ...]
    more: tuple[str, ...] = ()
    each_s: int = 20
    only: tuple[str, ...] = ()
    """The files whose mutants it is asked about; none: all."""

    def files(self, root: Path, changed: str) -> list[str]:
        """Return the test files, first those whose names begin like the changed module's."""
        found: list[str] = []
        for test in self.tests:
            place = root / test
            found += sorted(map(str, place.glob("test_*.py"))) if place.is_dir() else [str(place)]
        name = f"test_{Path(changed).stem}"
        return sorted(found, key=lambda file: -len(os.path.commonprefix([Path(file).stem, name])))


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant, and the first test that failed."""

    KINDS: ClassVar = ("killed", "import", "timeout", "survived", "equivalent")
    kind: str
    test: str
    seconds: float


class Fork:
    """A copy of the tree, and forks that run its tests un-jitted."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.tree = folder / "tree"
        self.told = folder / "told"
        self.limits: dict[Stage, float] = {}
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=root, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        for name in listed.splitlines():
            if (root / name).is_file():
                target = self.tree / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / name, target)
        os.environ |= {
            "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(self.tree / "src"), "TMPDIR": str(folder),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "examples"), "PYTHONWARNINGS": "",
        }  # fmt: skip
        subprocess.run([sys.executable, "-m", "compileall", "-q", self.tree / "src"], check=True)
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        ctypes.CDLL(None).prctl(SUBREAPER, 1)
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        for name in TOOLS:
            importlib.import_module(name)
        assert "alephtx" not in sys.modules, "the parent must not hold what is changed"
        from hypothesis import HealthCheck, Phase, settings

        # No shrinking: that a test fails is enough. The same examples for every mutant.
        settings.register_profile(
            "mutants", deadline=None, derandomize=True, database=None,
            phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.too_slow],
        )  # fmt: skip

    def measure(self, stages: tuple[Stage, ...]) -> None:
        """Run the tests on the source as it is: they must pass, and show how long they take."""
        for stage in stages:
            first = stage not in self.limits
            kind, test, seconds = self._run("", stage, 600.0, keep_bytecode=first)
            if kind != "survived":
                sys.exit(f"{test} fails without a mutant: {kind}\n{self.told.read_text()}")
            self.limits[stage] = 20.0 + 2 * seconds
            asked = " ".join((*stage.tests, *stage.more))
            print(f"unchanged: {asked} pass in {seconds:.1f} s", flush=True)

    def run(self, file: str, text: str, stages: tuple[Stage, ...]) -> Outcome:
        """Put a text in a file's place, and run one stage after the other until a test fails."""
        place = self.tree / file
        before = place.read_bytes()
        for stale in (place.parent / "__pycache__").glob(f"{place.stem}.*.pyc"):
            stale.unlink()
        place.write_text(text)
        total = 0.0
        try:
            for stage in stages:
                if stage.only and file not in stage.only:
                    continue
                kind, test, seconds = self._run(file, stage, self.limits[stage])
                total += seconds
                if kind != "survived":
                    return Outcome(kind, test, total)
            return Outcome("survived", "", total)
        finally:
            place.write_bytes(before)

    def _run(
        self, changed: str, stage: Stage, limit: float, *, keep_bytecode: bool = False
    ) -> tuple[str, str, float]:
        files = stage.files(self.tree, changed)
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                sys.dont_write_bytecode = not keep_bytecode
                code = self._child([*files, *stage.more, f"--timeout={stage.each_s}"])
            except BaseException:  # noqa: BLE001 - a fork must never go on as its parent
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        try:
            status = _wait(pid, started + limit)
        finally:
            _end(pid)
        seconds = time.monotonic() - started
        if status is None:
            return "timeout", "", seconds
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return "survived", "", seconds
        lines = self.told.read_text(errors="replace").splitlines()
        failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
        test = failed[0] if failed else f"exit status {code}"
        if any(line.startswith("E ") and "Timeout (>" in line for line in lines):
            return "timeout", test, seconds
        return ("killed" if "::" in test else "import"), test, seconds

    def _child(self, more: list[str]) -> int:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sink = os.open(self.told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for descriptor in (1, 2):
            os.dup2(sink, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(self.tree)
        sys.path[:0] = [str(self.tree / "src"), str(self.tree)]
        import pytest

        return int(
            pytest.main(
                ["-x", "-q", "-rfE", "--tb=short", "-p", "no:cacheprovider",
                 "-W", "ignore::pytest.PytestAssertRewriteWarning",
                 "--hypothesis-profile=mutants", *more]
            )
        )  # fmt: skip


def _wait(pid: int, until: float) -> int | None:
    """Return the status of a child that ended in time."""
    descriptor = os.pidfd_open(pid)
    try:
        select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
        found, status = os.waitpid(pid, os.WNOHANG)
        return status if found else None
    finally:
        os.close(descriptor)


def _end(pid: int) -> None:
    """Kill a child, its session, what it left to us, and its files in shared memory."""
    for _ in range(100):
        for target in (pid, *_children()):
            try:
                os.killpg(target, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for target in _children():
            os.kill(target, signal.SIGKILL)
            os.waitpid(target, 0)
        if not _children():
            break
    for left in Path("/dev/shm").glob(f"aleph-*-{pid}-*"):  # noqa: S108 - named for the fork
        left.unlink(missing_ok=True)


def _children() -> list[int]:
    me = os.getpid()
    return [int(p) for p in Path(f"/proc/{me}/task/{me}/children").read_text().split()]
