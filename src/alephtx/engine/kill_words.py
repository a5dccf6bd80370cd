"""What is said at the kill door: the request, and the report of what came of it."""

from typing import Literal

import msgspec

from alephtx.execution.killing import AccountReport

By = Literal["cli", "api", "file", "signal"]


class KillRequest(msgspec.Struct, frozen=True):
    """One use of the kill switch. ts: wall time; asked_ns: monotonic, the same for every process.

    flatten: close positions too. wait_s: how long to try.
    """

    id: str
    ts: int
    asked_ns: int
    reason: str
    by: By = "api"
    flatten: bool = False
    wait_s: float = 30.0


class KillReport(msgspec.Struct):
    """What came of it.

    halted: the halt word stands. confirmed: nothing of ours is open, by the venues' own word (in
    paper and shadow, by the engine's). live_orders: -1 where nobody can say. last_cancel_ns: from
    the request to when the last cancel of the first round left. engine: what became of it.
    """

    run: str
    request: KillRequest
    halted: bool = False
    confirmed: bool = False
    flat: bool | None = None
    live_orders: int = -1
    last_cancel_ns: int = 0
    took_ns: int = 0
    accounts: list[AccountReport] = []
    engine: str = ""
    said: str = ""
