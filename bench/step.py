"""The engine's step: nothing to do, an event, an event that becomes an order.

"event to order" is everything between the ring and the gateway's outbox: number the input, view,
strategy by address, gate (every rule), order id, order table, journal record with CRC, outbox. The
order then expires by an update, which is measured by itself. Compared with the strategy's own
function called from Python, un-jitted, on the same arrays: what a Python engine would pay at least.
"""

import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import numpy as np
from lib.rounds import interleave, options, report

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.engine import bench  # noqa: E402

from alephtx.core import words  # noqa: E402
from alephtx.core.atomics import monotonic_ns  # noqa: E402
from alephtx.core.clock import MachineClock  # noqa: E402
from alephtx.core.config_schema import Risk  # noqa: E402
from alephtx.core.kernel import Int, kernel  # noqa: E402
from alephtx.core.records import EVENT, INTENT, UPDATE  # noqa: E402
from alephtx.engine.context import view_of  # noqa: E402
from alephtx.engine.step import step  # noqa: E402
from alephtx.matrix.ring import ring_publish, slot_aux  # noqa: E402
from alephtx.matrix.spsc import spsc_pop, spsc_push  # noqa: E402

EVENTS = 8_000
PYTHON_CALLS = 2_000
GAP_NS = 1_000_000
IDLE, STEPS, UPDATES = 0, 1, 2


@kernel
def drive(x: np.ndarray, now: np.ndarray, matrix: np.ndarray, rings: np.ndarray,
          intent: np.ndarray, update: np.ndarray, n: Int, took: np.ndarray) -> int:  # fmt: skip
    """Publish n tops and step after each; took: ns by kind."""
    aux = slot_aux(0, words.TOP, 0, 0)
    orders = 0
    for k in range(n):
        now[0] += GAP_NS
        now[3] += GAP_NS
        ring_publish(matrix, 0, now[0], now[0], 5_000_000 + k % 2, 900_000, 5_000_100, 900_000, aux)
        begun = monotonic_ns()
        step(x, 64)
        took[STEPS] += monotonic_ns() - begun
        if spsc_pop(rings[0], rings[2]) == 1:
            orders += 1
            update[0]["order_id"] = intent[0]["order_id"]
            spsc_push(rings[1], rings[3])
            begun = monotonic_ns()
            step(x, 64)
            took[UPDATES] += monotonic_ns() - begun
    begun = monotonic_ns()
    for _ in range(n):
        step(x, 64)
    took[IDLE] += monotonic_ns() - begun
    return orders


def plain(made: bench.Bench) -> float:
    """Return ns of the strategy's function called by Python on the same arrays."""
    view, event = view_of(made.ctx, 0), np.zeros(1, EVENT)
    event["kind"] = words.TOP
    intents, loaded = np.zeros(64, INTENT), made.engine.strategies[0]
    clock = MachineClock()
    begun = clock.monotonic()
    for _ in range(PYTHON_CALLS):
        loaded.module.on_event(event, view, loaded.params, loaded.state, intents)
    return (clock.monotonic() - begun) / PYTHON_CALLS


def main() -> None:
    """Measure on an engine with a real matrix, journal and input log."""
    given = options(__doc__).parse_args()
    risk = Risk(notional_max=Decimal(10_000), position_notional_max=Decimal(100_000),
                orders_per_s=10_000)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        made = bench.Bench(Path(folder), risk=risk, use=str(ROOT / "bench" / "lib" / "placer.py"))
        ctx, state = made.ctx, made.engine.strategies[0].state
        ctx.now[0], ctx.now[3] = bench.NOW, 1_000_000_000
        intent, update = np.zeros(1, INTENT), np.zeros(1, UPDATE)
        update["kind"], update["cum_qty"] = words.EXPIRE, 0
        rings = np.array([made.engine.rings.outbox.address, made.engine.rings.updates[0].address,
                          intent.ctypes.data, update.ctypes.data], np.int64)  # fmt: skip

        def run(which: int, *, place: int) -> float:
            made.journal.roll()
            made.inputs.grow()
            state["place"] = place
            took = np.zeros(3, np.int64)
            orders = drive(
                made.packed, ctx.now, made.matrix.map, rings, intent, update, EVENTS, took
            )
            assert orders == (EVENTS if place else 0), (orders, ctx.counters[16:32])
            return took[which] / EVENTS

        ways = {
            "idle step": lambda: run(IDLE, place=0),
            "event, strategy, no order": lambda: run(STEPS, place=0),
            "event to order, journaled, in the outbox": lambda: run(STEPS, place=1),
            "update, journaled, applied": lambda: run(UPDATES, place=1),
            "the strategy alone, as plain Python": lambda: plain(made),
        }
        run(IDLE, place=1)
        figures = interleave(ways, given.rounds)
        made.close()
    names = list(figures)
    against = {names[1]: names[-1], names[2]: names[-1]}
    report("step", figures, "ns", against=against, as_json=given.json)


if __name__ == "__main__":
    main()
