"""What an engine takes from its machine: time, chance, and who drives its step."""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from alephtx.core.clock import MachineClock
from alephtx.engine.loop import Loop


class Host(msgspec.Struct):
    """What a session takes from its machine, so that a simulated world can give its own.

    source: jitter only, nothing that decides a trade. drive: who runs the compiled step. journal:
    more arguments of `Journal.open`. round_ns: how often the main thread looks after things.
    settled: called when everything is open and before a strategy hears of it. placed: what was
    pinned, prioritised and locked so far, as status.json tells it.
    measure: whether kernels may read the clock to measure themselves.
    """

    clock: MachineClock
    source: random.Random
    drive: type[Loop] = Loop
    journal: dict[str, Any] = {}
    round_ns: int = 10_000_000
    status_ns: int = 250_000_000
    settled: Callable[[], Any] = int
    placed: dict[str, str] = {}
    measure: bool = True
