"""The gate with every rule on: one order, from a filled-in intent to its verdict.

Each figure is of single calls, timed inside a kernel by two readings of the monotonic clock, so it
holds the cost of one reading (shown by itself). Between calls the book moves, time passes, and the
order is another one; nothing is denied. p99 is of all calls of all rounds, the machine's own
interruptions included. "in a row" is the mean of calls without readings between them, with the
changes to book and order.

World: 4 instruments on 4 accounts (16 cells, all with positions and open orders), two strategies
with 16 resting orders each, half of them on the other side of the order's book. "wide": 256
instruments on 4 accounts, 64 cells in use.
"""

import statistics
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
from lib.plain_gate import E8, Instrument, Limits, State, check
from lib.rounds import options, report

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.risk import rows  # noqa: E402

from alephtx.core import words as w  # noqa: E402
from alephtx.core.atomics import monotonic_ns  # noqa: E402
from alephtx.core.clock import MachineClock  # noqa: E402
from alephtx.core.instruments import Instruments  # noqa: E402
from alephtx.core.kernel import Int, kernel  # noqa: E402
from alephtx.core.records import POSITION, TOP_ROW  # noqa: E402
from alephtx.core.risk_schema import BaseRisk, Risk  # noqa: E402
from alephtx.execution.orders import make_order_table, orders_place  # noqa: E402
from alephtx.risk import state as g  # noqa: E402
from alephtx.risk.gate import gate_check  # noqa: E402
from alephtx.risk.limits import make_gate  # noqa: E402
from alephtx.risk.status import note_market  # noqa: E402

CALLS, PLAIN_CALLS = 20_000, 1_000
ACCOUNTS, STRATEGIES, RESTING = 4, 2, 16
GAP_NS = 20_000
EVERY = {
    "notional_max": Decimal(10**6), "position_notional_max": Decimal(10**7),
    "qty_max": Decimal(10**5), "drawdown_max": Decimal(10**7), "orders_per_s": 10_000,
    "open_orders_max": 64, "band_bps": 500, "stale_ms": 60_000,
}  # fmt: skip
MORE = {
    "firm_gross_max": Decimal(10**9), "firm_drawdown_max": Decimal(10**7), "collar_bps": 900,
    "account_drawdown_max": Decimal(10**7), "base_gross_max": Decimal(10**9),
    "base_net_max": Decimal(10**9), "leverage_max": Decimal(500), "fat_finger_multiple": 50,
    "duplicate_ms": 1, "messages_per_s": 10_000, "order_trade_ratio_max": 1_000_000,
    "typical_qty": Decimal(1), "hours": ("Mon-Sun",),
    "bases": {"BTC": BaseRisk(gross_max=Decimal(10**9))},
}  # fmt: skip


class World(rows.World):
    """The tests' small world with many accounts, positions and resting orders."""

    def __init__(self, limits: dict, copies: int = 1) -> None:
        table = [
            msgspec.structs.replace(one, key=f"{one.key}{k}" if k else one.key)
            for k in range(copies) for one in rows.instruments()
        ]  # fmt: skip
        super().__init__()
        self.instruments = Instruments(table)
        n = len(table)
        self.gate = make_gate(Risk(**limits), self.instruments, ACCOUNTS, STRATEGIES)
        self.gate.accounts[:, g.OPENING] = 10**6 * E8
        self.table = make_order_table(STRATEGIES, 64, 8, instruments=n, accounts=ACCOUNTS, trades=8)
        self.account_positions = np.zeros((ACCOUNTS, n), POSITION)
        orders = self.table.orders[0]
        top = np.zeros(n, TOP_ROW)
        for i in range(n):
            top[i] = self.view.top[i % 4]
        self.view = self.view._replace(
            top=top, positions=np.zeros(n, POSITION), orders=orders,
            open_count=self.table.open_count[0], instruments=self.instruments.rows(),
        )  # fmt: skip
        for i in range(n):
            note_market(self.gate.market, i, w.TRADE, int(top[i]["bid"]), 10**12)
        self.hold(min(n, 16) if copies > 1 else n)

    def hold(self, used: int) -> None:
        """Give every account positions and resting orders."""
        for a in range(ACCOUNTS):
            for i in range(used):
                row = self.account_positions[a, i]
                row["qty"] = (-1) ** (a + i) * 20
                mid = sum(rows.TOUCH[i % 4]) // 2
                row["cost"] = row["qty"] * mid if i % 4 != rows.COIN else row["qty"] * 200_000
        for s in range(STRATEGIES):
            for k in range(RESTING):
                side = w.SELL if k % 2 else w.BUY
                touch = rows.TOUCH[rows.PERP][1 if side < 0 else 0]
                row = rows.place(
                    side=side, price=touch - side * 2_000, qty=10, strategy=s, account=k % ACCOUNTS,
                    order_id=1 + s * RESTING + k,
                )  # fmt: skip
                assert orders_place(self.table, row, 1) == 0


@kernel
def drive(intents: np.ndarray, view: tuple, gate: tuple, table: tuple, positions: np.ndarray,
          n: Int, took: np.ndarray) -> int:  # fmt: skip
    """Judge n orders, each another one; took (n,): ns of each. Returns how many passed."""
    passed = 0
    for k in range(n):
        _turn(intents, view, k)
        begun = monotonic_ns()
        passed += gate_check(intents, 1, view, gate, table, positions, 0)
        took[k] = monotonic_ns() - begun
    return passed


@kernel
def drive_on(intents: np.ndarray, view: tuple, gate: tuple, table: tuple, positions: np.ndarray,
             n: Int, took: np.ndarray) -> int:  # fmt: skip
    """Judge n orders without looking at the clock between them; took[0]: ns of all."""
    passed = 0
    begun = monotonic_ns()
    for k in range(n):
        _turn(intents, view, k)
        passed += gate_check(intents, 1, view, gate, table, positions, 0)
    took[0] = monotonic_ns() - begun
    return passed


@kernel
def _turn(intents: np.ndarray, view: tuple, k: Int) -> None:
    """Move the book, let time pass, write the next order."""
    view.now[0] += GAP_NS * 5
    view.now[3] += GAP_NS * 5
    view.top[1]["bid"], view.top[1]["ask"] = 500_000 + k % 7, 500_001 + k % 7
    view.top[1]["ts_recv"] = view.now[0]
    intents[0]["verdict"], intents[0]["rule"] = 0, 0
    intents[0]["side"] = 1 - 2 * (k & 1)
    intents[0]["price"], intents[0]["qty"] = 500_000 + k % 7, 10 + k % 5


@kernel
def read_clock(n: Int, took: np.ndarray) -> int:
    """Time nothing, the same way; took (n,)."""
    for k in range(n):
        begun = monotonic_ns()
        took[k] = monotonic_ns() - begun
    return n


def freshen(world: World) -> None:
    """Keep trades and other books from growing old; positions from being looked at as new."""
    world.view.top["ts_recv"] = world.view.now[0]
    world.gate.market[:, g.LAST_AT] = world.gate.market[:, g.MARK_AT] = world.view.now[3]
    world.gate.market[:, g.MARK_PRICE] = world.gate.market[:, g.LAST]


def measure(world: World, took: np.ndarray, way: object) -> None:
    """Run one way; every order must have passed, or it measured something else."""
    freshen(world)
    intent = rows.place(strategy=0, account=1)
    passed = way(intent, world.view, world.gate, world.table, world.account_positions, CALLS, took)
    assert passed == CALLS, (passed, g.RULE_NAMES[int(intent[0]["rule"])], world.gate.firm)


def plain(world: World) -> float:
    """Return ns a call of the same rules in plain Python, on the small world."""
    scale = (1, 1, 1, 1)
    market = []
    for i, row in enumerate(world.view.instruments):
        top = world.view.top[i]
        tick = int(row["tick_step"])
        market.append(Instrument(
            base=int(row["underlying"]), tick=tick, lot=int(row["lot_step"]), qty_max=10**9,
            price_max=10**9, mul=scale[i], div=10 ** (i + 1), bid=int(top["bid"]),
            ask=int(top["ask"]), last=int(top["bid"]), mark=int(top["bid"]), seen=10**18,
        ))  # fmt: skip
    held = {(a, i): int(world.account_positions[a, i]["qty"]) for a in range(4) for i in range(4)}
    cost = {
        key: lots * (market[key[1]].bid + market[key[1]].ask) // 2 for key, lots in held.items()
    }
    going = {
        (a, i): tuple(map(int, world.table.open_account[a, i])) for a in range(4) for i in range(4)
    }
    resting = [
        (int(row["instrument"]), int(row["side"]), int(row["price"]))
        for s in range(STRATEGIES) for row in world.table.orders[s, :RESTING]
    ]  # fmt: skip
    state = State(
        held=held, cost=cost, open=going, resting=resting, opening=10**18, allowed={0, 1, 2, 3},
        hours=set(range(10080)),
    )  # fmt: skip
    most = Limits(
        notional=10**18, position=10**18, gross=10**18, net=10**18, firm=10**18, leverage=500,
        drawdown=10**18, qty=10**9, band_bps=500, collar_bps=900, stale_ns=10**18, fat_qty=10**9,
        open_orders=64, duplicate_ns=10**6, interval_ns=10**5, ratio=10**6,
    )  # fmt: skip
    clock, now = MachineClock(), 10**18
    begun = clock.monotonic()
    for k in range(PLAIN_CALLS):
        now += GAP_NS * 5
        market[1].bid, market[1].ask = 500_000 + k % 7, 500_001 + k % 7
        said = check(now, 1, 1, 1 - 2 * (k & 1), 500_000 + k % 7, 10 + k % 5, market, state, most)
        assert said == "", said
    return (clock.monotonic() - begun) / PLAIN_CALLS


def main() -> None:
    """Measure in turns and print."""
    given = options(__doc__).parse_args()
    full, bare, wide = World(EVERY | MORE), World(EVERY), World(EVERY | MORE, copies=64)
    took = np.zeros(CALLS, np.int64)
    singles: dict[str, list] = {
        "all rules on": [],
        "plain limits": [],
        "all on, wide": [],
        "clock": [],
    }
    row, python = [], []
    for turn in range(given.rounds + 1):
        for name, world in (("all rules on", full), ("plain limits", bare), ("all on, wide", wide)):
            measure(world, took, drive)
            if turn:  # the first turn compiles and warms
                singles[name].append(took.copy())
        read_clock(CALLS, took)
        singles["clock"].append(took.copy())
        measure(full, took, drive_on)
        row.append(took[0] / CALLS)
        python.append(plain(full))
    figures = {}
    for name, seen in singles.items():
        every = np.concatenate(seen)
        for label, q in (("median", 0.5), ("p99", 0.99)):
            figures[f"{name}, {label}"] = float(np.quantile(every, q))
    figures["all rules on, in a row"] = statistics.median(row[1:])
    figures["the same rules in plain Python"] = statistics.median(python[1:])
    against = dict.fromkeys(
        ("all rules on, median", "all rules on, in a row"), "the same rules in plain Python"
    )
    report("gate", figures, "ns", against=against, as_json=given.json)


if __name__ == "__main__":
    main()
