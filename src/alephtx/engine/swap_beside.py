"""Run `swap_compile` beside an engine and say what it said."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec

from alephtx.core.errors import PluginError
from alephtx.engine.rundir import RunDirectory

MODULE = "alephtx.engine.swap_compile"
COMPILE_SECONDS = 120.0
SAID_BYTES_MAX = 1 << 20


class Checked(msgspec.Struct):
    """What came of it. why: "" when it may run. compile_ms: of the process's whole work."""

    why: str = ""
    compiled: int = 0
    compile_ms: int = 0


async def check_beside(
    run: RunDirectory, matrix: str, name: str, file: Path, seconds: float = COMPILE_SECONDS
) -> Checked:
    """Check, compile and rehearse a version in a process of its own; PluginError where it may not.

    A process that hangs is killed, one that crashes is a refusal. It is nice: the engine is not to
    feel it.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", MODULE, str(run.path), matrix, name, str(file),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, 10)
    try:
        out, err = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        raise PluginError(
            f"it was not compiled and tried within {seconds:g} s", remedy="does a hook hang?"
        ) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    lines = out[-SAID_BYTES_MAX:].decode(errors="replace").strip().splitlines()
    last = err[-SAID_BYTES_MAX:].decode(errors="replace").strip().splitlines()[-1:]
    code = process.returncode or 0
    try:
        if code:
            raise ValueError
        checked = msgspec.json.decode(lines[-1] if lines else "", type=Checked)
    except (ValueError, msgspec.MsgspecError):
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise PluginError(f"the process that tried it ended with {how}: {''.join(last)}") from None
    if checked.why:
        raise PluginError(checked.why)
    return checked
