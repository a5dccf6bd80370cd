"""The matching kernel's slow, obvious pair: dictionaries, lists and sorting, written apart from it.

Follows the words of `sim.matching`'s docstring. Fills are (order_id, price, qty, left, maker).
"""

from dataclasses import dataclass

NONE, TAKER, MAKER, BOTH, DECREMENT = 0, 1, 2, 3, 4


@dataclass
class Own:
    order_id: int
    account: int
    side: int
    price: int
    qty: int
    ahead: int
    arrival: int
    whole: int = 0


class Naive:
    def __init__(self) -> None:
        self.levels = {1: {}, -1: {}}
        self.own: list[Own] = []
        self.arrivals = 0
        self.seq = 0
        self.top_seq = -1
        self.top_price = {1: None, -1: None}

    def better(self, side, a, b):
        """Is price a better than b for a resting order of this side?"""
        return a > b if side > 0 else a < b

    def resting(self, side):
        mine = [order for order in self.own if order.side == side]
        return sorted(mine, key=lambda order: (-side * order.price, order.arrival))

    def best(self, side):
        prices = self.levels[side]
        if not prices:
            return None
        return max(prices) if side > 0 else min(prices)

    def put(self, side, price, qty):
        if qty > 0:
            self.levels[side][price] = qty
        else:
            self.levels[side].pop(price, None)
        for order in self.own:
            if order.side == side and order.price == price:
                order.ahead = min(order.ahead, max(qty, 0))

    def eat(self, side, price, qty):
        """Take from the front of a level: whoever of ours waits there moves up."""
        for order in self.own:
            if order.side == side and order.price == price:
                order.ahead = max(0, order.ahead - qty)
        self.put(side, price, self.levels[side][price] - qty)

    # -- the market ----------------------------------------------------------------------------

    def crossed(self):
        fills = []
        for side in (1, -1):
            for order in self.resting(side):
                while order.qty:
                    best = self.best(-side)
                    if best is None or self.better(side, best, order.price):
                        break
                    take = min(order.qty, self.levels[-side][best])
                    order.qty -= take
                    fills.append((order.order_id, order.price, take, order.qty, True))
                    self.eat(-side, best, take)
            self.own = [order for order in self.own if order.qty]
        return fills

    def on_levels(self, levels, seq, snapshot):
        if snapshot:
            self.levels = {1: {}, -1: {}}
            self.top_seq = -1
            for side, price, qty in levels:
                if qty > 0:
                    self.levels[side][price] = qty
                else:
                    self.levels[side].pop(price, None)
            for order in self.own:
                shown = self.levels[order.side]
                if shown:
                    worst = min(shown) if order.side > 0 else max(shown)
                    if not self.better(order.side, worst, order.price):
                        order.ahead = min(order.ahead, shown.get(order.price, 0))
        else:
            for side, price, qty in levels:
                top = self.top_price[side]
                known = seq < self.top_seq and (top is None or not self.better(side, top, price))
                if not known:
                    self.put(side, price, qty)
        self.seq = seq
        return self.crossed()

    def on_top(self, bid, bid_qty, ask, ask_qty, seq):
        if seq <= self.seq or seq <= self.top_seq:
            return []
        self.top_seq = seq
        for side, price, qty in ((1, bid, bid_qty), (-1, ask, ask_qty)):
            if qty <= 0:
                self.levels[side] = {}
                self.top_price[side] = None
                continue
            for level in list(self.levels[side]):
                if self.better(side, level, price):
                    del self.levels[side][level]
            self.put(side, price, qty)
            self.top_price[side] = price
        return self.crossed()

    def on_trade(self, price, qty, aggressor):
        side, fills, taken = -aggressor, [], 0
        for order in self.resting(side):
            if order.price == price:
                room = qty - taken
                take = max(0, min(order.qty, room - order.ahead))
                order.ahead = max(0, order.ahead - max(0, room))
                taken += take
            elif self.better(side, order.price, price):
                take = order.qty
            else:
                continue
            if take:
                order.qty -= take
                fills.append((order.order_id, order.price, take, order.qty, True))
        self.own = [order for order in self.own if order.qty]
        return fills

    # -- our orders ----------------------------------------------------------------------------

    def place(self, order_id, account, side, price, qty, *, market, tif, post_only, stp):
        """Return (verdict or None, fills, left, rests)."""

        def reach(level):
            if market:
                return True
            return level <= price if side > 0 else level >= price

        opposite = self.resting(-side)
        best = self.best(-side)
        if post_only:
            found = [level for level in [best] if level is not None]
            found += [order.price for order in opposite]
            if any(reach(level) for level in found):
                return "would_cross", [], qty, False
        if tif == "FOK":
            room = sum(size for level, size in self.levels[-side].items() if reach(level))
            room += sum(
                other.qty
                for other in opposite
                if reach(other.price) and (other.account != account or stp == NONE)
            )
            if room < qty:
                return "unfilled", [], qty, False
        fills, left, whole = [], qty, qty
        while left:
            best, own = self.best(-side), (self.resting(-side) or [None])[0]
            prices = [p for p in (best, own.price if own else None) if p is not None]
            if not prices:
                break
            level = min(prices) if side > 0 else max(prices)
            if not reach(level):
                break
            own_here = own is not None and own.price == level
            if level == best and (not own_here or own.ahead > 0):
                most = self.levels[-side][level]
                if own_here:
                    most = min(most, own.ahead)
                take = min(left, most)
                left -= take
                fills.append((order_id, level, take, left, False))
                self.eat(-side, level, take)
            elif own.account == account and stp == DECREMENT:
                left, whole = self.decrement(own, left, whole)
                fills.append((own.order_id, own.price, own.whole if own.qty else 0, own.qty, True))
                fills.append((order_id, price, whole if left else 0, left, False))
            elif own.account == account and stp != NONE:
                if stp != TAKER:
                    fills.append((own.order_id, own.price, 0, own.qty, True))
                    self.own.remove(own)
                if stp != MAKER:
                    fills.append((order_id, price, 0, left, False))
                    left = 0
            else:
                take = min(left, own.qty)
                left -= take
                own.qty -= take
                fills.append((own.order_id, own.price, take, own.qty, True))
                fills.append((order_id, own.price, take, left, False))
                if not own.qty:
                    self.own.remove(own)
        rests = left > 0 and not market and tif == "GTC"
        if rests:
            self.arrivals += 1
            ahead = self.levels[side].get(price, 0)
            self.own.append(Own(order_id, account, side, price, left, ahead, self.arrivals, whole))
        return None, fills, left, rests

    def decrement(self, own, left, whole):
        cut = min(left, own.qty)
        own.qty, own.whole = own.qty - cut, own.whole - cut
        if not own.qty:
            self.own.remove(own)
        return left - cut, whole - cut

    def cancel(self, order_id):
        for order in self.own:
            if order.order_id == order_id:
                self.own.remove(order)
                return order.qty
        return -1

    def reduce(self, order_id, qty):
        for order in self.own:
            if order.order_id == order_id and 0 < qty <= order.qty:
                order.qty = qty
                return qty
        return -1
