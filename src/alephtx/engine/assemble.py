"""Join the stations into one engine: arrays, strategies by address, gate, routes."""

from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np

from alephtx.core.config_schema import Config, Strategy
from alephtx.core.errors import ConfigError, PluginError
from alephtx.core.instruments import Instruments
from alephtx.core.layers import layer_of
from alephtx.core.log import logger
from alephtx.core.plugins import find, load_module
from alephtx.core.records import INTENT, UPDATE
from alephtx.core.stages import stage_address
from alephtx.core.view import Needs
from alephtx.engine import context as c
from alephtx.engine._call import NO_ENTRIES, compile_strategy
from alephtx.engine.context import Context, Rows, make_context, view_of
from alephtx.engine.emit import emit, enter, judge
from alephtx.engine.leg_guard import guard_legs
from alephtx.engine.swap_apply import canary
from alephtx.engine.updates import apply_update
from alephtx.execution.orders import OUTCOME, make_order_table
from alephtx.matrix.shm import Matrix
from alephtx.matrix.spsc import Spsc
from alephtx.risk.limits import make_gate

log = logger("engine")

UPDATE_SLOTS = 8192
ASK_SLOTS = 1024


class Loaded(msgspec.Struct):
    """One strategy of this engine, ready to run; params and state must outlive the loop."""

    name: str
    index: int
    module: Any
    needs: Needs
    params: Any
    state: Any
    entries: Any
    instruments: list[int]
    compiled: bool = True


class Rings(msgspec.Struct):
    """The rings between the loop and the main thread."""

    updates: list[Spsc]
    outbox: Spsc
    commands: Spsc
    python_intents: Spsc
    asks: Spsc
    echo: Spsc


class Engine(msgspec.Struct):
    """What the session drives."""

    ctx: Context
    rings: Rings
    strategies: list[Loaded]
    account_names: list[str]
    stages: list[Any]


def load_strategy_module(section: Strategy, plugins_folder: str) -> ModuleType:
    """Return the module a strategy section names: a plugin or a file."""
    if section.is_file:
        return load_module(Path(section.use))
    module: ModuleType = find("strategies", section.use, plugins_folder)
    return module


def make_rings(config: Config, outbox: int = 0) -> Rings:
    """Allocate the rings; the outbox holds more than every order that can be live at once.

    outbox: its slots, where it is emptied after each entry.
    """
    live = len(config.strategies) * config.risk.open_orders_max * 2 + c.INTENTS_MAX
    outbox = outbox or 1 << max(10, (2 * live - 1).bit_length())
    return Rings(
        updates=[Spsc(UPDATE.itemsize, UPDATE_SLOTS) for _ in config.accounts],
        outbox=Spsc(INTENT.itemsize, outbox),
        commands=Spsc(c.COMMAND_BYTES, 256),
        python_intents=Spsc(c.INTENTS_MAX * INTENT.itemsize, 128),  # a whole batch at a time
        asks=Spsc(OUTCOME.itemsize, ASK_SLOTS),
        echo=Spsc(UPDATE.itemsize, ASK_SLOTS),
    )


def assemble(
    config: Config, instruments: Instruments, matrix: Matrix, journal_map: Rows, inputs_map: Rows
) -> Engine:
    """Build the context, compile and place the strategies; nothing runs yet."""
    ctx, rings = lay_out(config, instruments, matrix, journal_map, inputs_map)
    return Engine(
        ctx=ctx,
        rings=rings,
        stages=place_stages(ctx),
        strategies=place_strategies(config, instruments, ctx),
        account_names=list(config.accounts),
    )


def lay_out(
    config: Config,
    instruments: Instruments,
    matrix: Matrix,
    journal_map: Rows,
    inputs_map: Rows,
    *,
    history: int = 4096,
    trades: int = 65_536,
    outbox: int = 0,
) -> tuple[Context, Rings]:
    """Make the engine's arrays and rings, over the matrix's; nothing is compiled.

    history, trades: orders and fills that late reports may still be about, see `execution.table`.
    outbox: see `make_rings`.
    """
    rings = make_rings(config, outbox)
    names = list(config.strategies)
    accounts = list(config.accounts)
    table = make_order_table(
        max(1, len(names)),
        config.risk.open_orders_max,
        history,
        trades=trades,
        instruments=max(1, len(instruments)),
        accounts=max(1, len(accounts)),
    )
    gate = make_gate(
        config.risk, instruments, len(accounts), len(names),
        account_names=accounts, strategy_names=names,
    )  # fmt: skip
    ctx = make_context(
        matrix_map=matrix.map,
        journal_map=journal_map,
        inputs_map=inputs_map,
        instruments=instruments,
        table=table,
        gate=gate,
        strategies=max(1, len(names)),
        accounts=len(accounts),
        depth=config.matrix.depth,
        signals=matrix.geometry.signals_max,
        update_rings=[ring.address for ring in rings.updates],
        outbox=rings.outbox.address,
        commands=rings.commands.address,
        python_intents=rings.python_intents.address,
        asks=rings.asks.address,
        echo=rings.echo.address,
    )
    return ctx, rings


def place_stages(ctx: Context) -> list[Any]:
    """Compile the step's stages, give it their addresses; returns what keeps them alive."""
    owners = []
    stages = (
        (c.A_JUDGE, judge), (c.A_EMIT, emit), (c.A_ENTER, enter), (c.A_APPLY, apply_update),
        (c.A_LEGS, guard_legs), (c.A_CANARY, canary),
    )  # fmt: skip
    for word, stage in stages:
        ctx.addresses[word], owner = stage_address(stage)
        owners.append(owner)
    return owners


def place_strategies(config: Config, instruments: Instruments, ctx: Context) -> list[Loaded]:
    """Compile every strategy and fill its row of the context."""
    names = enumerate(config.strategies)
    return [place_strategy(config, instruments, ctx, name, k) for k, name in names]


def check_strategies(config: Config, instruments: Instruments) -> None:
    """Raise what a strategy's section or file has wrong, before anything is started for it."""
    for name, section in config.strategies.items():
        module = load_strategy_module(section, config.node.plugins)
        layer_of(name, section, module.NEEDS, compiled=bool(getattr(module, "COMPILED", True)))
        module.config_to_params(section.section, instruments)


def place_strategy(
    config: Config, instruments: Instruments, ctx: Context, name: str, index: int
) -> Loaded:
    """Load, configure and compile one strategy and fill its row of the context."""
    loaded = load_strategy(config, instruments, ctx, name, index)
    row = ctx.strategies[index]
    for column, value in entry_columns(loaded).items():
        row[column] = value
    row[c.S_LAYER], row[c.S_BUDGET_NS] = layer_of(
        name, config.strategies[name], loaded.needs, compiled=loaded.compiled
    )
    row[c.S_LEG_NS] = config.risk.leg_deadline_ms * 1_000_000
    ctx.data[index] = data_of(loaded)
    for i in loaded.instruments:
        ctx.routes[i, index] = int(loaded.compiled)
        ctx.depth_wanted[i] |= int(loaded.needs.depth > 0)
        ctx.legs[index, i] = 1
        ctx.lanes[index, int(ctx.instruments[i]["underlying"]), c.L_RISK] = 1
    _give_accounts(config, instruments, ctx, name, index)
    return loaded


def load_strategy(
    config: Config, instruments: Instruments, ctx: Context, name: str, index: int
) -> Loaded:
    """Load, configure and compile one strategy; the context is only looked at."""
    section = config.strategies[name]
    module = load_strategy_module(section, config.node.plugins)
    params = module.config_to_params(section.section, instruments)
    state = np.zeros(1, module.STATE)
    compiled = bool(getattr(module, "COMPILED", True))
    indices = [instruments.index(key) for key in section.instruments]
    entries = NO_ENTRIES
    if compiled:
        entries = compile_strategy(module, view_of(ctx, index), params, state)
    needs: Needs = module.NEEDS
    if needs.depth > config.matrix.depth:
        raise ConfigError(
            f"strategy {name} reads {needs.depth} levels, the matrix holds {config.matrix.depth}",
            remedy=f"set matrix.depth = {needs.depth}",
        )
    return Loaded(
        name=name, index=index, module=module, needs=needs, params=params, state=state,
        entries=entries, instruments=indices, compiled=compiled,
    )  # fmt: skip


def entry_columns(loaded: Loaded) -> dict[int, int]:
    """Return what the code of a strategy puts into its row, by column."""
    entries, needs = loaded.entries, loaded.needs
    return {
        c.S_ON_EVENT: entries.on_event, c.S_ON_UPDATE: entries.on_update,
        c.S_ON_TIMER: entries.on_timer, c.S_ON_START: entries.on_start,
        c.S_ON_STOP: entries.on_stop, c.S_TIMER_NS: needs.timer_ns,
        c.S_TRADES: int(needs.trades), c.S_DEPTH: needs.depth,
    }  # fmt: skip


def data_of(loaded: Loaded) -> tuple[int, int, int, int]:
    """Return where params and state of a strategy are, and their sizes."""
    params, state = loaded.params, loaded.state
    return params.ctypes.data, params.nbytes, state.ctypes.data, state.nbytes


def _give_accounts(
    config: Config, instruments: Instruments, ctx: Context, name: str, index: int
) -> None:
    order = list(config.accounts)
    for account in config.strategies[name].accounts:
        venue = config.accounts[account].venue
        if venue not in instruments.venues:
            raise PluginError(f"strategy {name}: account {account} is at {venue}, not configured")
        ctx.account_of[index, instruments.venues.index(venue)] = order.index(account)
