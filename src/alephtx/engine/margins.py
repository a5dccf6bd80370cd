"""What a backtest's venue asks of positions: margin, its tiers, isolated or not."""

from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING

import msgspec

from alephtx.core.errors import SimulationError
from alephtx.core.instruments import Instrument
from alephtx.core.tier_check import tier_faults
from alephtx.core.units import MONEY_SCALE, from_decimal
from alephtx.core.words import SPOT
from alephtx.sim.bottle import (
    M_INITIAL,
    M_LIQUIDATION,
    M_MAINTENANCE,
    M_POOL,
    M_TIERS,
    Bottle,
)

if TYPE_CHECKING:
    from alephtx.engine.tapes import Venue

E8 = 10**8


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a position whose value is above so much of the settle currency.

    maintenance: a fraction of the value, less what the tiers below ask less, see `sim.tiers`.
    leverage: the highest.
    """

    above: Decimal
    maintenance: float
    leverage: float


class Margin(msgspec.Struct, frozen=True, kw_only=True):
    """What a position takes of an account: 1 / leverage of its value; below maintenance it ends.

    maintenance, liquidation_fee: fractions of the value. tiers: where larger values are asked for
    more, the lowest first. isolated: the position has money of its own, see `sim.books`.
    """

    leverage: float = 10.0
    maintenance: float = 0.005
    liquidation_fee: float = 0.0
    tiers: tuple[Tier, ...] = ()
    isolated: bool = False


def any_isolated(venue: "Venue") -> bool:
    """Say whether positions need money of their own: without a balance nobody is margined."""
    margins = (venue.margin, *venue.margins.values())
    return venue.balance is not None and any(margin.isolated for margin in margins)


def set_margin(bottle: Bottle, i: int, instrument: Instrument, venue: "Venue") -> None:
    """Lay down what is asked of positions in an instrument; SimulationError if that cannot be."""
    margin = venue.margins.get(instrument.key, venue.margin)
    _check(instrument.key, margin)
    terms = bottle.terms[i]
    terms[M_INITIAL] = ceil(E8 / margin.leverage)
    terms[M_MAINTENANCE] = rate = round(margin.maintenance * E8)
    terms[M_LIQUIDATION] = round(margin.liquidation_fee * E8)
    terms[M_TIERS], deduction = len(margin.tiers), 0
    for k, tier in enumerate(margin.tiers):
        above, before = from_decimal(Decimal(str(tier.above)), MONEY_SCALE), rate
        rate = round(tier.maintenance * E8)
        deduction += above * (rate - before)
        bottle.tiers[i, k] = above, rate, deduction // E8, ceil(E8 / tier.leverage)
    if margin.isolated and any_isolated(venue) and instrument.contract != SPOT:
        terms[M_POOL] = bottle.cash.shape[2] - len(bottle.terms) + i


def _check(key: str, margin: Margin) -> None:
    """Refuse what no venue can ask."""
    fractions = margin.maintenance, margin.liquidation_fee
    if not 1 <= margin.leverage <= 1_000 or not all(0 <= part < 1 for part in fractions):
        raise SimulationError(
            f"{key}: leverage {margin.leverage}, maintenance {margin.maintenance}, "
            f"liquidation fee {margin.liquidation_fee}",
            remedy="leverage is 1 to 1,000, the others are fractions below 1",
        )
    if margin.maintenance > 1 / margin.leverage:
        raise SimulationError(
            f"{key}: maintenance {margin.maintenance} at leverage {margin.leverage}",
            remedy="a position that was just opened would be liquidated: lower one of them",
        )
    tiers = [
        (Decimal(str(tier.above)), Decimal(str(tier.maintenance)), Decimal(str(tier.leverage)))
        for tier in margin.tiers
    ]
    base = Decimal(str(margin.maintenance)), Decimal(str(margin.leverage))
    for k, name, said, remedy in tier_faults(tiers, *base):
        which = f"tier {k} of its margin" if name else "its margin"
        raise SimulationError(f"{key}: {which}: {said}", remedy=remedy)
