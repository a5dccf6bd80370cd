"""What a run shows of itself: one JSON document, for `status`, the terminal view and the report."""

from decimal import Decimal
from typing import Any

import numpy as np

from alephtx.core import words
from alephtx.core.histogram import summary
from alephtx.core.units import MONEY_SCALE, format_scaled
from alephtx.engine import context as c
from alephtx.engine.assemble import Engine
from alephtx.engine.leg_guard import WHY_TEXT


def status_of(session: Any) -> dict[str, Any]:
    """Return what status.json says of an engine.session.Session at this moment."""
    engine = session.engine
    layers = session.layers.told(session.clock.monotonic(), anew=session.stop_asked.is_set())
    return {
        "ts": session.clock.now(),
        "node": session.config.node.name,
        "mode": session.config.node.mode,
        "epoch": session.epoch,
        "halted": bool(engine.ctx.control[c.X_HALTED]),
        "counters": counters_of(engine),
        "denied": denied_by(engine.ctx.counters),
        "strategies": strategies_of(engine, session.instruments),
        "latency_ns": latencies_of(engine, session.layers.intent_to_wire, session.ack_latency),
        "layers": layers,
        "accounts": [
            {
                "name": engine.account_names[gateway.account],
                "ready": gateway.ready.is_set(),
                "live_orders": len(gateway.live),
                "foreign": gateway.foreign,
                **gateway.counts,
            }
            for gateway in session.gateways
        ],
        "alarms": [
            *session.alarms[-20:],
            *session.python.alarms,
            *strategy_alarms(engine),
            *leg_alarms(engine, session.instruments),
            *session.layers.alarms,
        ],
        "shares": session.shares.told(),
        "direct": session.direct.told() if session.direct is not None else {},
        "machine": session.placed,
        "swaps": session.swaps.told(),
        **ledger_of(session.ledger, engine, session.instruments),
    }


def marks_of(engine: Engine) -> dict[int, int]:
    """Return each instrument's mid in half ticks rounded down to ticks, where it has two sides."""
    marks = {}
    for i, top in enumerate(engine.ctx.top):
        if top["bid"] > 0 and top["ask"] > 0:
            marks[i] = (int(top["bid"]) + int(top["ask"])) // 2
    return marks


def denied_by(counters: np.ndarray[Any, Any]) -> dict[str, int]:
    """Return how often each rule denied an intent."""
    return {
        words.VERDICT_NAMES.get(code, str(code)): int(counters[c.C_DENIED_BY + code])
        for code in range(32)
        if counters[c.C_DENIED_BY + code]
    }


def strategies_of(engine: Engine, instruments: Any) -> list[dict[str, Any]]:
    """Return each strategy's counters, live orders and positions."""
    ctx, shown = engine.ctx, []
    for strategy in engine.strategies:
        row = ctx.strategies[strategy.index]
        held = {
            instruments[i].key: str(instruments[i].qty_decimal(int(qty)))
            for i, qty in enumerate(ctx.positions[strategy.index]["qty"])
            if qty
        }
        shown.append(
            {
                "name": strategy.name,
                "enabled": bool(row[c.S_ENABLED]),
                "events": int(row[c.S_EVENTS]),
                "intents": int(row[c.S_INTENTS]),
                "denied": int(row[c.S_DENIED]),
                "open_orders": int(ctx.table.open_count[strategy.index, 0]),
                "positions": held,
                "state": state_of(strategy.state),
            }
        )
    return shown


def strategy_alarms(engine: Engine) -> list[str]:
    """Return what strategies themselves raise: a STATE field `alarm` that is not 0."""
    raised = []
    for strategy in engine.strategies:
        names = strategy.state.dtype.names or ()
        code = int(strategy.state[0]["alarm"]) if "alarm" in names else 0
        if code:
            stopped = (
                " and stopped itself" if "halted" in names and strategy.state[0]["halted"] else ""
            )
            raised.append(f"strategy {strategy.name} raised alarm {code}{stopped}")
    return raised


def leg_alarms(engine: Engine, instruments: Any) -> list[str]:
    """Return what the leg guard could not close: which strategy is halted, how far off, and why."""
    raised = []
    for strategy in engine.strategies:
        for u, lane in enumerate(engine.ctx.lanes[strategy.index]):
            if lane[c.L_STAGE] == c.LANE_BROKEN:
                net = format_scaled(int(lane[c.L_NET]), MONEY_SCALE, trim=True)
                raised.append(
                    f"strategy {strategy.name} halted by the leg guard: {net} "
                    f"{instruments.currencies[u]} open, {WHY_TEXT[int(lane[c.L_WHY])]}"
                )
    return raised


def state_of(state: np.ndarray[Any, Any]) -> dict[str, int | float]:
    """Return the scalar fields of a strategy's state."""
    return {
        name: state[0][name].item()
        for name in (state.dtype.names or ())
        if state.dtype.fields is not None and state.dtype.fields[name][0].shape == ()
    }


def counters_of(engine: Engine) -> dict[str, int]:
    """Return the engine's own counters by name."""
    counters = engine.ctx.counters
    names = {
        "events": c.C_EVENTS, "trades": c.C_TRADES, "updates": c.C_UPDATES,
        "intents": c.C_INTENTS, "denied": c.C_DENIED, "orders": c.C_ORDERS, "fills": c.C_FILLS,
        "lapped": c.C_LAPPED, "alarms": c.C_ALARMS, "bad_rows": c.C_BAD_ROWS,
        "overflows": c.C_OVERFLOWS, "strategy_errors": c.C_STRATEGY_ERRORS,
        "leg_closings": c.C_LEG_CLOSINGS, "leg_orders": c.C_LEG_ORDERS,
        "leg_halts": c.C_LEG_HALTS,
    }  # fmt: skip
    return {name: int(counters[at]) for name, at in names.items()}


def latencies_of(engine: Engine, intent_to_wire: Any, ack: Any) -> dict[str, dict[str, int]]:
    """Return the engine's latency summaries, in ns."""
    return {
        "matrix_to_intent": summary(engine.ctx.histograms[c.HIST_MATRIX_TO_INTENT]),
        "intent_to_wire": summary(intent_to_wire),
        "intent_to_ack": summary(ack),
    }


def money(amounts: dict[str, Decimal]) -> dict[str, str]:
    """Return amounts by currency as plain text, zeros left out."""
    return {name: format(value.normalize(), "f") for name, value in amounts.items() if value}


def ledger_of(ledger: Any, engine: Engine, instruments: Any) -> dict[str, Any]:
    """Return P&L, fees and positions as the ledger has them, marked at the current mids."""
    marks = {i: instruments[i].price_decimal(ticks) for i, ticks in marks_of(engine).items()}
    positions = {}
    for account in range(len(engine.account_names)):
        for i, instrument in enumerate(instruments):
            qty = ledger.position(account, i)
            if qty:
                key = f"{engine.account_names[account]}/{instrument.key}"
                positions[key] = str(instrument.qty_decimal(qty))
    return {
        "positions": positions,
        "realized": money(ledger.realized_by_currency()),
        "unrealized": money(ledger.unrealized_by_currency(marks)),
        "fees": money(ledger.fees()),
        "funding": money(ledger.funding()),
    }
