"""Load a version into the engine's process, and say how state goes from one version to another."""

from typing import Any

import msgspec
import numpy as np

from alephtx.core import kernel
from alephtx.core.config_schema import Config
from alephtx.core.errors import ConfigError, PluginError
from alephtx.core.instruments import Instruments
from alephtx.core.log import logger
from alephtx.engine._call import compile_migrate, compile_strategy
from alephtx.engine.assemble import Loaded, load_strategy
from alephtx.engine.context import Context, view_of
from alephtx.engine.swap_apply import (
    B_BYTES,
    B_COPIED,
    B_COUNT,
    B_MIGRATE,
    B_OLD,
    B_RECORD,
    B_STORES,
    ask,
)
from alephtx.engine.swap_canary import Beside

log = logger("swap")


class Transfer(msgspec.Struct):
    """How a state becomes another's: copied, or by `migrate`; address: of that, compiled."""

    copies: bool
    migrate: Any = None
    address: int = 0
    owner: Any = None


def transfer_of(old: Loaded, new: Loaded) -> Transfer:
    """Return how old's state becomes new's; PluginError where nobody says how."""
    if old.compiled != new.compiled:
        was, now = ("compiled" if one.compiled else "plain Python" for one in (old, new))
        raise PluginError(
            f"strategy {new.name} is {was}, its new version {now}",
            remedy="change that with a new run",
        )
    if old.state.dtype == new.state.dtype:
        return Transfer(copies=True)
    migrate = getattr(new.module, "migrate", None)
    if migrate is None:
        raise PluginError(
            f"strategy {new.name}: STATE differs in {', '.join(differing(old.state, new.state))}, "
            "and the new version has no migrate",
            remedy="keep STATE as it is, or define migrate(old_state, new_state) -> int",
        )
    if not new.compiled:
        return Transfer(copies=False, migrate=migrate)
    address, owner = compile_migrate(new.module, old.state, new.state)
    plain = getattr(migrate, "py_func", migrate)
    return Transfer(copies=False, migrate=plain, address=address, owner=owner)


def differing(old: Any, new: Any) -> list[str]:
    """Return the fields in which two states differ."""
    was, now = old.dtype.fields or {}, new.dtype.fields or {}
    names = dict.fromkeys([*was, *now])
    return [name for name in names if was.get(name) != now.get(name)] or ["its layout"]


def load_version(
    config: Config, instruments: Instruments, ctx: Context, old: Loaded, file: str
) -> Loaded:
    """Load a version whose machine code is in the cache; ConfigError, PluginError as at a start."""
    section = msgspec.structs.replace(config.strategies[old.name], use=file)
    config = msgspec.structs.replace(config, strategies={**config.strategies, old.name: section})
    before = len(kernel.compiled)
    new = load_strategy(config, instruments, ctx, old.name, old.index)
    if new.instruments != old.instruments:  # the section's own; nobody changes it
        raise ConfigError(f"strategy {old.name} names other instruments now")
    if here := kernel.compiled[before:]:
        log.warning("swap_compiled_in_engine", strategy=old.name, kernels=here)
    return new


def make_switch(
    stores: dict[int, int], *, record: Any = None, transfer: Transfer | None = None,
    old: Loaded | None = None, new: Loaded | None = None,
) -> Any:  # fmt: skip
    """Return the words of a switch, see `swap_apply`; they and what they name must outlive it.

    stores: address -> value. record: uint8 (bytes,). transfer: from old's state to new's.
    """
    words = np.zeros(B_STORES + 2 * len(stores), np.int64)
    words[B_COUNT] = len(stores)
    words[B_STORES::2], words[B_STORES + 1 :: 2] = list(stores), list(stores.values())
    if record is not None:
        words[B_RECORD], words[B_BYTES] = record.ctypes.data, len(record)
    if transfer is not None and old is not None and new is not None:
        words[B_OLD : B_OLD + 2] = old.state.ctypes.data, old.state.nbytes
        words[B_OLD + 2 : B_STORES] = new.state.ctypes.data, new.state.nbytes
        words[B_COPIED] = new.state.nbytes if transfer.copies else 0
        words[B_MIGRATE] = transfer.address
    return words


def afresh(ctx: Context, loaded: Loaded) -> Loaded:
    """Return a version with params and state of its own, from which it begins."""
    params, state = loaded.params.copy(), np.zeros_like(loaded.state)
    entries = loaded.entries
    if loaded.compiled and not kernel.JIT:  # there an address stands for its params and state
        entries = compile_strategy(loaded.module, view_of(ctx, loaded.index), params, state)
    return msgspec.structs.replace(loaded, params=params, state=state, entries=entries)


def prepare_ask(beside: Beside, packed: Any) -> None:
    """Compile or load what a plain Python canary asks its gate with."""
    ask(packed, beside.words, beside.index, 0, 0)
