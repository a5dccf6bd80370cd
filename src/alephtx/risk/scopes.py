"""Narrow the gate's limits by base, strategy, instrument, venue, account; the tightest wins."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from alephtx.core.errors import ConfigError
from alephtx.core.hours import minutes_of
from alephtx.core.instruments import Instruments
from alephtx.core.risk_schema import AccountRisk, InstrumentRisk, Risk, StrategyRisk
from alephtx.risk.amounts import lots, money, rate_of, usual_lots
from alephtx.risk.state import (
    BURST,
    DRAWDOWN_MAX,
    GROSS,
    INTERVAL,
    LEVERAGE_MAX,
    NET,
    RATIO_MAX,
    TOKENS,
    TYPICAL_STATED,
    WEEK_WORDS,
    GateState,
    Rows,
)

SECOND_NS = 1_000_000_000
_OFF = Risk()


def set_bucket(buckets: Rows, per_second: int) -> None:
    """Make full buckets (..., 4) of so many tokens a second; 0 takes the limit away."""
    interval = -(-SECOND_NS // per_second) if per_second else 0
    buckets[..., INTERVAL] = interval
    buckets[..., TOKENS] = buckets[..., BURST] = interval * per_second


def hundredths(leverage: Decimal | None) -> int:
    """Return a leverage as hundredths, 0 where there is no limit."""
    return 0 if leverage is None else int(leverage.scaleb(2))


def narrow(
    risk: Any,
    gate: GateState,
    instruments: Instruments,
    account_names: Sequence[str],
    strategy_names: Sequence[str],
) -> None:
    """Tighten the gate's arrays by every table of a scope.

    ConfigError for a scope that is nothing of this engine's.
    """

    def said(name: str) -> Any:
        return getattr(risk, name, getattr(_OFF, name))

    keys = [instrument.key for instrument in instruments]
    for name, base in said("bases").items():
        row = gate.base_max[_index("bases", name, instruments.currencies)]
        row[GROSS] = _least(row[GROSS], f"bases.{name}.gross_max", base.gross_max)
        row[NET] = _least(row[NET], f"bases.{name}.net_max", base.net_max)
    for name, mine in said("strategies").items():
        _strategy(name, mine, gate, instruments, _index("strategies", name, strategy_names))
    _hours(gate, range(len(keys)), said("hours"))
    for name, scoped in said("venues").items():
        _index("venues", name, instruments.venues)
        _instruments(f"venues.{name}", scoped, gate, instruments, instruments.of_venue(name), risk)
    for name, scoped in said("instruments").items():
        places = [_index("instruments", name, keys)]
        _instruments(f"instruments.{name}", scoped, gate, instruments, places, risk)
    for name, ours in said("accounts").items():
        _account(name, ours, gate, instruments, _index("accounts", name, account_names), risk)
    for s, name in enumerate(strategy_names):
        scoped = said("strategies").get(name)
        if scoped is not None:
            _strategy_money(name, scoped, gate, instruments, s, risk)


def _index(group: str, name: str, known: Sequence[str]) -> int:
    if name not in known:
        raise ConfigError(
            f"risk.{group}.{name}: this engine knows none of that name",
            remedy=f"it knows {', '.join(known) or 'none at all'}",
        )
    return list(known).index(name)


def _least(now: Any, name: str, amount: Decimal | None, rate: Decimal = Decimal(1)) -> int:
    return int(now) if amount is None else min(int(now), money(name, amount, rate))


def _strategy(
    name: str, scoped: StrategyRisk, gate: GateState, instruments: Instruments, s: int
) -> None:
    """Tighten what is counted by strategy."""
    drawdown = f"strategies.{name}.drawdown_max"
    gate.drawdown_max[s] = _least(gate.drawdown_max[s], drawdown, scoped.drawdown_max)
    if scoped.open_orders_max is not None:
        gate.open_orders_max[s] = min(gate.open_orders_max[s], scoped.open_orders_max)
    if scoped.duplicate_ms is not None:
        gate.duplicate_ns[s] = max(gate.duplicate_ns[s], scoped.duplicate_ms * 1_000_000)
    if scoped.fat_finger_multiple:
        gate.fat_multiple[s] = _stricter(gate.fat_multiple[s], scoped.fat_finger_multiple)
    if scoped.instruments:
        gate.allowed[s] = [instrument.key in scoped.instruments for instrument in instruments]


def _stricter(now: Any, value: int) -> int:
    """Return the smaller of two limits of which 0 is none."""
    return min(int(now), value) if now and value else int(now) or value


def _strategy_money(
    name: str,
    scoped: StrategyRisk,
    gate: GateState,
    instruments: Instruments,
    s: int,
    risk: Any,
) -> None:
    """Tighten a strategy's amounts, each in its instrument's own units."""
    at = f"strategies.{name}"
    for i, instrument in enumerate(instruments):
        rate = rate_of(instrument, risk.rates)
        if scoped.qty_max is not None:
            most = lots(instrument, scoped.qty_max, f"{at}.qty_max")
            gate.qty_max[s, i] = min(gate.qty_max[s, i], most)
        if scoped.typical_qty is not None:
            gate.typical[s, i, TYPICAL_STATED] = usual_lots(instrument, scoped.typical_qty)
        notional, position = scoped.notional_max, scoped.position_notional_max
        row = gate.notional_max[s]
        row[i] = _least(row[i], f"{at}.notional_max", notional, rate)
        row = gate.position_max[s]
        row[i] = _least(row[i], f"{at}.position_notional_max", position, rate)


def _instruments(
    at: str,
    scoped: InstrumentRisk,
    gate: GateState,
    instruments: Instruments,
    places: Sequence[int],
    risk: Any,
) -> None:
    """Tighten the limits of some instruments, for every strategy and account."""
    _hours(gate, places, scoped.hours)
    for i in places:
        rate = rate_of(instruments[i], risk.rates)
        if scoped.qty_max is not None:
            most = lots(instruments[i], scoped.qty_max, f"{at}.qty_max")
            gate.qty_max[:, i] = np.minimum(gate.qty_max[:, i], most)
        if scoped.notional_max is not None:
            most = money(f"{at}.notional_max", scoped.notional_max, rate)
            gate.notional_max[:, i] = np.minimum(gate.notional_max[:, i], most)
        if scoped.position_notional_max is not None:
            most = money(f"{at}.position_notional_max", scoped.position_notional_max, rate)
            for rows in (gate.position_max, gate.account_position_max):
                rows[:, i] = np.minimum(rows[:, i], most)
        if scoped.band_bps is not None:
            gate.band_bps[i] = min(gate.band_bps[i], scoped.band_bps)
        if scoped.collar_bps is not None:
            gate.collar_bps[i] = _stricter(gate.collar_bps[i], scoped.collar_bps)
        if scoped.stale_ms is not None:
            gate.stale_ns[i] = min(gate.stale_ns[i], scoped.stale_ms * 1_000_000)


def _account(
    name: str,
    scoped: AccountRisk,
    gate: GateState,
    instruments: Instruments,
    a: int,
    risk: Any,
) -> None:
    """Tighten the limits of one account."""
    at, row = f"accounts.{name}", gate.accounts[a]
    row[DRAWDOWN_MAX] = _least(row[DRAWDOWN_MAX], f"{at}.drawdown_max", scoped.drawdown_max)
    row[LEVERAGE_MAX] = _stricter(row[LEVERAGE_MAX], hundredths(scoped.leverage_max))
    row[RATIO_MAX] = _stricter(row[RATIO_MAX], scoped.order_trade_ratio_max or 0)
    if scoped.orders_per_s is not None:
        _tighten(gate.buckets[a], scoped.orders_per_s)
    if scoped.messages_per_s:
        _tighten(gate.messages[a], scoped.messages_per_s)
    if scoped.instruments:
        gate.account_allowed[a] = [i.key in scoped.instruments for i in instruments]
    for i, instrument in enumerate(instruments):
        rate = rate_of(instrument, risk.rates)
        most, label = scoped.position_notional_max, f"{at}.position_notional_max"
        here = gate.account_position_max[a]
        here[i] = _least(here[i], label, most, rate)


def _tighten(bucket: Rows, per_second: int) -> None:
    """Make a bucket slower, if that is what the scope says."""
    if bucket[INTERVAL] == 0 or per_second < bucket[BURST] // bucket[INTERVAL]:
        set_bucket(bucket, per_second)


def _hours(gate: GateState, places: Sequence[int], windows: tuple[str, ...]) -> None:
    """Cut the hours of some instruments to those of the windows; none cut nothing."""
    if not windows:
        return
    words = np.zeros(WEEK_WORDS, np.int64)
    for minute in minutes_of(windows):
        words[minute >> 5] |= 1 << (minute & 31)
    for i in places:
        gate.hours[i] &= words
