import json
import math
from decimal import Decimal as Dec

import msgspec
import numpy as np
import pytest

from alephtx.analysis.mids import mid_at
from alephtx.analysis.tearsheet import Options, Run, tear_sheet
from alephtx.analysis.transaction_cost import MarketTrades
from alephtx.core import words as w
from tests.analysis.market import SECOND, fills, instrument, orders, quotes

OPTIONS = Options(draws=100)


@pytest.fixture(scope="module")
def run():
    """A maker who buys a tick below a mid that falls then, and sells above one that rises."""
    n = 40
    at = np.arange(1, n + 1) * 10 * SECOND
    side = np.where(np.arange(n) % 2, -1, 1)
    path, ts = [], []
    mid = 10_000
    for k in range(n):
        ts += [int(at[k]) - SECOND, int(at[k]) + SECOND]
        path += [mid, mid - int(side[k]) * (3 if k % 4 else 1)]
        mid = path[-1]
    ts.append(int(at[-1]) + 70 * SECOND)
    path.append(mid)
    market = quotes(*((t, m - 1, m + 1) for t, m in zip(ts, path, strict=True)))
    price = np.array(path[0 : 2 * n : 2]) - side
    deals = fills(*(
        (int(t), int(s), int(p), 100, 200, w.MAKER, k + 1)
        for k, (t, s, p) in enumerate(zip(at, side, price, strict=True))
    ))  # fmt: skip
    table = orders(*(
        {"order_id": k + 1, "side": int(s), "price": int(p), "qty": 100, "filled": 100,
         "ts_intent": int(t) - SECOND, "ts_ack": int(t) - SECOND // 2, "ts_fill": int(t),
         "ts_end": int(t), "status": w.FILLED}
        for k, (t, s, p) in enumerate(zip(at, side, price, strict=True))
    ))  # fmt: skip
    vamp = market.mid - np.where(np.arange(len(ts)) // 2 % 2, -1, 1)  # it knew
    return Run(
        instrument(), deals, table, market, funding=(at[:2], np.array([5_000, -2_000])),
        vamp=mid_at(at, market.ts, vamp, before=True).mid, vamp_levels=5,
        trades=[MarketTrades(at, price, deals.qty)], amends=4,
    )  # fmt: skip


def test_sheet_of_a_maker_who_is_picked_off(run):
    sheet = tear_sheet(run, OPTIONS)
    assert sheet.instrument == "b:BTC-USDT-PERP"
    assert sheet.edge.all == pytest.approx(1.0, rel=1e-3)  # a tick of 10,000
    assert sheet.edge.bought == pytest.approx(sheet.edge.sold, rel=1e-2)
    assert sheet.edge.maker == sheet.edge.all
    assert math.isnan(sheet.edge.taker)
    assert [row.horizon_ns // SECOND for row in sheet.horizons] == [5, 30, 60]
    five = sheet.horizons[0]
    # the mid moved 3 ticks against three fills of four, 1 against the fourth
    assert five.markout == pytest.approx(1 - 2.5, rel=1e-2)
    assert five.low <= five.markout <= five.high < 0
    assert five.adverse == pytest.approx(2.5, rel=1e-2)
    assert five.effective == pytest.approx(sheet.edge.all)
    assert five.realised == pytest.approx(five.markout)
    assert five.impact == pytest.approx(five.adverse)
    assert (five.known, five.beyond, five.unknown) == (40, 0, 0)
    curve = {row.horizon_ns: row for row in sheet.curve}
    assert curve[5 * SECOND].markout == five.markout
    assert curve[120 * SECOND].beyond == 5  # the data ends 70 s after the last fill
    assert curve[120 * SECOND].known + 5 == 40


def test_sheet_counts_orders_queue_inventory_and_costs(run):
    sheet = tear_sheet(run, OPTIONS)
    assert sheet.activity.fill_ratio == 1
    assert sheet.activity.order_to_trade == 44 / 40
    assert sheet.queue.median == SECOND // 2
    assert (sheet.inventory.longest, sheet.inventory.shortest) == (100, 0)
    assert sheet.inventory.holding_ns == pytest.approx(10 * SECOND)
    assert sheet.costs.shortfall < 0  # a maker is paid
    assert sheet.costs.count == 39  # the first order came before the first mid was there
    assert sheet.costs.vwap_bps == pytest.approx(0, abs=1e-9)  # each was the only trade
    assert sheet.turnover == sum(
        Dec(int(p)) * 100 for p in run.fills.price
    ).scaleb(-4)  # fmt: skip


def test_sheet_agrees_with_itself(run):
    sheet = tear_sheet(run, OPTIONS)
    split = sheet.attribution
    assert split.total == (
        split.spread + split.adverse + split.inventory + split.unattributed - split.fees
        + split.funding
    )  # fmt: skip
    assert split.spread == Dec(40 * 100).scaleb(-4)
    assert split.fees == Dec("0.00008")
    assert split.funding == Dec("0.00003")
    assert sheet.returns.gain == pytest.approx(float(split.total))
    assert sheet.returns.gain < 0
    assert sheet.returns.sharpe < 0
    assert sheet.returns.drawdown <= sheet.returns.gain
    assert sheet.returns.track_record == math.inf
    assert sheet.returns.deflated == pytest.approx(sheet.returns.probabilistic)
    harder = tear_sheet(run, Options(draws=100, trials=50, trials_variance=0.01))
    assert harder.returns.deflated < sheet.returns.deflated


def test_signal_that_knew_is_aligned(run):
    sheet = tear_sheet(run, OPTIONS)
    assert len(sheet.alignment) == 3
    assert sheet.alignment[0].yes == 0  # always moved against us: nothing to correlate with
    assert math.isnan(sheet.alignment[0].r)
    later = [row for row in sheet.alignment if row.yes]
    assert all(-1 <= row.low <= row.r <= row.high <= 1 for row in later)


def test_sheet_is_the_same_twice_and_is_json(run):
    first, second = tear_sheet(run, OPTIONS), tear_sheet(run, OPTIONS)
    said = msgspec.json.encode(first)
    assert said == msgspec.json.encode(second)
    read = json.loads(said)
    assert read["edge"]["taker"] is None
    assert Dec(read["attribution"]["total"]) == first.attribution.total


def test_future_changes_no_past_figure(run):
    """Shift all mids after the last horizon of the first fills: their rows stay."""
    cut = 200 * SECOND
    first = run.fills.ts + 60 * SECOND <= cut
    kept = run._replace(
        fills=type(run.fills)(*(column[first] for column in run.fills)), vamp=run.vamp[first]
    )
    shift = np.where(run.quotes.ts > cut, 777, 0)
    moved = run.quotes._replace(bid=run.quotes.bid + shift, ask=run.quotes.ask + shift)
    before, after = tear_sheet(kept, OPTIONS), tear_sheet(kept._replace(quotes=moved), OPTIONS)
    for name in ("horizons", "edge", "alignment", "activity", "queue"):
        said = [msgspec.json.encode(getattr(sheet, name)) for sheet in (before, after)]
        assert said[0] == said[1], name
    assert before.attribution.adverse == after.attribution.adverse
    assert before.attribution.inventory == after.attribution.inventory  # flat by then
    assert first.sum() % 2 == 0


@pytest.mark.parametrize("kind", [w.LINEAR, w.INVERSE])
def test_sheet_of_a_run_that_did_nothing(kind):
    for market in (quotes(), quotes((0, 1, 2)), quotes((0, 99, 101), (5 * SECOND, 99, 101))):
        sheet = tear_sheet(Run(instrument(kind), fills(), orders(), market), OPTIONS)
        assert sheet.attribution.total == 0
        assert math.isnan(sheet.edge.all)
        assert math.isnan(sheet.returns.sharpe)
        assert sheet.alignment == []
        assert msgspec.json.encode(sheet)


def test_inverse_sheet_weighs_by_value(run):
    coin = instrument(w.INVERSE, qty_scale=0, contract_value="100")
    sheet = tear_sheet(run._replace(instrument=coin), OPTIONS)
    assert sheet.currency == "BTC"
    assert sheet.turnover == 40 * 100 * 100
    assert math.isnan(sheet.costs.fees)
    assert sheet.returns.gain == pytest.approx(float(sheet.attribution.total))
