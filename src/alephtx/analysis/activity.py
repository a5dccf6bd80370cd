"""What became of orders and of the position: fills, waiting in the queue, inventory over time."""

import math

import msgspec
import numpy as np

from alephtx.analysis.tables import Column, Fills, Orders
from alephtx.core.words import MAKER, REJECTED


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """Orders and how much of them was filled; NaN where there is nothing to divide by.

    fill_ratio: lots filled / lots ordered; hit_ratio: orders with any fill / orders, both as
    `trades.Traded` has them. order_to_trade: (orders + amends) / fills, as the gate's rule counts
    (`risk.order_ratio`); less 1 it is the ratio by number of EU Regulation 2017/566. cancelled:
    ended unfilled or partly filled, not rejected.
    """

    orders: int
    fills: int
    filled_orders: int
    cancelled: int
    rejected: int
    fill_ratio: float
    hit_ratio: float
    order_to_trade: float
    maker_share: float


class QueueTime(msgspec.Struct, frozen=True, kw_only=True):
    """How long a resting order waited for its first fill, in ns; NaN where too few were filled.

    quarter, median, three_quarters: by when so many of orders left alone would have been filled
    (Kaplan-Meier). filled: orders that were; censored: orders that were taken off or still rested,
    of which it is only known that they waited as long as that.
    """

    quarter: float
    median: float
    three_quarters: float
    filled: int
    censored: int
    mean_filled: float


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """The position over time, in lots, weighted by time. holding_ns: how long a lot was held.

    holding_ns = integral of |position| / lots that closed (Little's law: J. Little, "A proof for
    the queuing formula L = lambda W", Operations Research 9(3), 1961); NaN where none did.
    """

    mean: float
    mean_absolute: float
    deviation: float
    longest: int
    shortest: int
    flat_share: float
    closed: int
    holding_ns: float
    last: int


def _share(over: float, under: float) -> float:
    return over / under if under else math.nan


def activity(orders: Orders, fills: Fills, *, amends: int = 0) -> Activity:
    """Sum up orders and fills of one instrument."""
    count = len(orders.order_id)
    hit = int((orders.filled > 0).sum())
    rejected = int((orders.status == REJECTED).sum())
    over = (orders.ts_end > 0) & (orders.filled < orders.qty) & (orders.status != REJECTED)
    maker = fills.liquidity == MAKER
    said = int(fills.qty[fills.liquidity > 0].sum())
    return Activity(
        orders=count, fills=len(fills.ts), filled_orders=hit,
        cancelled=int(over.sum()), rejected=rejected,
        fill_ratio=_share(float(orders.filled.sum()), float(orders.qty.sum())),
        hit_ratio=_share(hit, count), order_to_trade=_share(count + amends, len(fills.ts)),
        maker_share=_share(float(fills.qty[maker].sum()), said),
    )  # fmt: skip


def queue_time(orders: Orders, fills: Fills, end_ns: int) -> QueueTime:
    """Return how long orders waited from their acknowledgement to their first fill.

    Counted are orders that were acknowledged and not filled as a taker first. What was cancelled
    counts as still waiting when it was (right-censored), so that patience is not mistaken for
    speed; the estimate supposes that cancelling does not depend on the queue, which strategies that
    flee make too rosy. end_ns: the data's end. Source: E. Kaplan, P. Meier, "Nonparametric
    estimation from incomplete observations" (JASA 53, 1958), computed by scipy.stats.
    """
    taken = set(fills.order_id[fills.liquidity != MAKER].tolist())
    ours = np.array([order_id not in taken for order_id in orders.order_id.tolist()], bool)
    rested = ours & (orders.ts_ack > 0)
    hit = rested & (orders.ts_fill >= orders.ts_ack)
    rest = rested & (orders.ts_fill == 0)
    waited = (orders.ts_fill - orders.ts_ack)[hit]
    stop = np.where(orders.ts_end > 0, orders.ts_end, end_ns)
    still = np.maximum((stop - orders.ts_ack)[rest], 0)
    quarter, median, most = _kaplan_meier(waited, still, (0.25, 0.5, 0.75))
    return QueueTime(
        quarter=quarter, median=median, three_quarters=most, filled=len(waited),
        censored=len(still), mean_filled=float(waited.mean()) if len(waited) else math.nan,
    )  # fmt: skip


def _kaplan_meier(events: Column, censored: Column, shares: tuple[float, ...]) -> list[float]:
    """Return by when each share would have happened: the first time the survivors fall so low."""
    if len(events) == 0:
        return [math.nan for _ in shares]
    from scipy import stats

    seen = stats.CensoredData(uncensored=events.astype(float), right=censored.astype(float))
    survivors = stats.ecdf(seen).sf
    found = []
    for share in shares:
        low = np.flatnonzero(survivors.probabilities <= 1 - share + 1e-12)
        found.append(float(survivors.quantiles[low[0]]) if len(low) else math.nan)
    return found


def inventory(fills: Fills, begin_ns: int, end_ns: int) -> Inventory:
    """Return the position's statistics between two times, from flat. Fills in time order."""
    signed = fills.side * fills.qty
    held = np.concatenate([[0], np.cumsum(signed)])
    ts = np.clip(np.concatenate([[begin_ns], fills.ts, [end_ns]]), begin_ns, end_ns)
    lasted = np.diff(ts).astype(float)
    span = float(lasted.sum())
    closing = np.minimum(np.abs(signed), np.where(held[:-1] * signed < 0, np.abs(held[:-1]), 0))
    closed = int(closing.sum())
    area = float((np.abs(held) * lasted).sum())
    mean = _share(float((held * lasted).sum()), span)
    square = _share(float((held.astype(float) ** 2 * lasted).sum()), span)
    lived = held[lasted > 0] if (lasted > 0).any() else held[-1:]
    return Inventory(
        mean=mean, mean_absolute=_share(area, span),
        deviation=math.sqrt(max(square - mean * mean, 0.0)) if span else math.nan,
        longest=int(lived.max()), shortest=int(lived.min()),
        flat_share=_share(float(lasted[held == 0].sum()), span), closed=closed,
        holding_ns=_share(area, closed), last=int(held[-1]),
    )  # fmt: skip
