"""Check, compile and rehearse a version of a strategy beside the engine that is to run it.

    python -m alephtx.engine.swap_compile RUN MATRIX NAME FILE

A process of its own: what a file does when it is imported, a compiler at work and a hook that hangs
or crashes are no business of an engine with orders in the market. It leaves machine code in the
cache of kernels, from where the engine links it, and prints one JSON object. Whoever starts it
bounds its time.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alephtx.core import kernel, log
from alephtx.core.clock import MachineClock
from alephtx.core.config import load_config
from alephtx.core.config_schema import Config
from alephtx.core.errors import AlephError, PluginError
from alephtx.core.instruments import Instruments
from alephtx.core.records import EVENT, INTENT
from alephtx.core.words import TOP
from alephtx.engine import context as c
from alephtx.engine.assemble import Loaded, assemble, load_strategy_module
from alephtx.engine.context import pack, view_of
from alephtx.engine.loop import spin
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.step import enter_stage
from alephtx.engine.swap_beside import Checked
from alephtx.engine.swap_canary import Beside
from alephtx.engine.swap_door import in_force
from alephtx.engine.swap_load import Transfer, make_switch, prepare_ask, transfer_of
from alephtx.matrix.inputlog import null_inputs
from alephtx.matrix.journal import null_journal
from alephtx.matrix.levels import levels_read
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_read

ROUNDS = 3


def check(run: RunDirectory, matrix: Matrix, name: str, file: Path) -> None:
    """Raise what stands in the way of a version."""
    config = in_force(load_config(run.config), run)
    instruments = run.load_instruments()
    old = load_strategy_module(config.strategies[name], config.node.plugins)
    section = msgspec.structs.replace(config.strategies[name], use=str(file))
    config = msgspec.structs.replace(config, strategies={name: section})
    _place(config, instruments, matrix, name, old)


def _place(config: Config, instruments: Instruments, matrix: Matrix, name: str, old: Any) -> None:
    engine = assemble(config, instruments, matrix, null_journal(), null_inputs())
    (new,) = engine.strategies
    was = Loaded(
        name=name, index=0, module=old, needs=old.NEEDS, params=None,
        state=np.zeros(1, old.STATE), entries=None, instruments=[],
        compiled=bool(getattr(old, "COMPILED", True)),
    )  # fmt: skip
    transfer = transfer_of(was, new)
    for i in new.instruments:
        top_read(matrix.map, i, engine.ctx.top[i : i + 1])
        if new.needs.depth:
            levels_read(matrix.map, i, engine.ctx.levels[i])
    engine.ctx.now[0], engine.ctx.now[3] = MachineClock().now(), MachineClock().monotonic()
    if new.compiled:
        _migrate(engine, transfer, was, new)
        _rehearse(engine, new)
    else:
        prepare_ask(Beside(engine.ctx, 0, new), pack(engine.ctx))
        _rehearse_python(engine, new)


def _migrate(engine: Any, transfer: Transfer, was: Loaded, new: Loaded) -> None:
    """Run `migrate` once, on a state of zeros; one that crashes does so here."""
    if transfer.address:
        words = make_switch({}, transfer=transfer, old=was, new=new)
        row = np.zeros(8, np.int64)
        row[:3] = c.COMMAND_SWAP, words.ctypes.data, len(words)
        engine.rings.commands.push(row)
        spin(pack(engine.ctx), 1, 0)
        new.state[:] = np.zeros((), new.state.dtype)


def _rehearse(engine: Any, new: Loaded) -> None:
    """Enter its hooks with the market as it is, without a canary's and an order's way out."""
    ctx = engine.ctx
    ctx.control[c.X_HALTED] = 1
    ctx.strategies[0, c.S_ENABLED] = 1
    packed = pack(ctx)
    for _ in range(ROUNDS):
        for i in _quoted(ctx, new):
            ctx.event[:] = _event(ctx, i)
            enter_stage(packed, 0, c.S_ON_EVENT)
        enter_stage(packed, 0, c.S_ON_TIMER)
    if errors := int(ctx.strategies[0, c.S_ERRORS]):
        raise PluginError(f"strategy {new.name} returned an error code {errors} times when tried")


def _rehearse_python(engine: Any, new: Loaded) -> None:
    ctx, view = engine.ctx, view_of(engine.ctx, 0)
    given = (view, new.params, new.state, np.zeros(c.INTENTS_MAX, INTENT))
    for i in _quoted(ctx, new):
        for hook, first in (("on_event", _event(ctx, i)), ("on_timer", int(ctx.now[0]))):
            if (function := getattr(new.module, hook, None)) is not None:
                try:
                    n = function(first, *given)
                except Exception as error:  # noqa: BLE001 - a user's code raises anything
                    raise PluginError(f"{hook} raised {error!r} when tried") from None
                if not 0 <= n <= c.INTENTS_MAX:
                    raise PluginError(f"{hook} returned {n!r}, not a number of rows written")


def _quoted(ctx: Any, new: Loaded) -> list[int]:
    return [i for i in new.instruments if ctx.top[i]["bid"] or ctx.top[i]["ask"]]


def _event(ctx: Any, i: int) -> Any:
    """Return the news of a touch as it stands."""
    event, top = np.zeros(1, EVENT), ctx.top[i]
    event["instrument"], event["kind"] = i, TOP
    event["ts_event"], event["ts_recv"] = top["ts_event"], ctx.now[0]
    event["price"], event["qty"] = top["bid"], top["bid_qty"]
    return event


def main(arguments: list[str]) -> int:
    """Do it and say what came of it, on standard output; 0 whatever that is."""
    log.configure()
    clock = MachineClock()
    begun, checked = clock.monotonic(), Checked()
    run, name, file = RunDirectory(Path(arguments[0])), arguments[2], Path(arguments[3])
    try:
        with Matrix.attach(Path(arguments[1])) as matrix:
            check(run, matrix, name, file)
    except AlephError as error:
        checked.why = str(error)
    checked.compiled = len(kernel.compiled)
    checked.compile_ms = (clock.monotonic() - begun) // 1_000_000
    sys.stdout.write("\n" + msgspec.json.encode(checked).decode() + "\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
