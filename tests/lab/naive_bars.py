"""The slow and obvious pair of `lab.bars`: cash, lots and fractions, one set, one bar at a time."""

from fractions import Fraction
from math import ceil, floor


def unit_of(instrument):
    """Return the money of one lot for one tick, in units of 10^-8."""
    scale = instrument.price_scale + instrument.qty_scale
    return Fraction(instrument.contract_value) / 10**scale * 10**8


class Naive:
    """An account that buys and sells what it is told to."""

    def __init__(self, instrument, fee_e8, slip):
        self.unit, self.fee_e8, self.slip = unit_of(instrument), fee_e8, slip
        self.cash, self.held, self.fees = Fraction(0), 0, 0
        self.trades = self.fills = 0
        self.worths = []

    def reach(self, target, price):
        if target == self.held:
            return
        side = 1 if target > self.held else -1
        lots, paid = abs(target - self.held), price + side * self.slip
        self.cash -= side * lots * paid * self.unit
        self.fees += ceil(Fraction(ceil(lots * paid * self.unit) * self.fee_e8, 10**8))
        self.trades += self.held * target < 0 or (self.held != 0 and target == 0)
        self.fills += 1
        self.held = target

    def close_at(self, price):
        self.worths.append(self.cash + self.held * price * self.unit - self.fees)

    def drawdown(self):
        peak = deepest = Fraction(0)
        for worth in self.worths:
            peak = max(peak, worth)
            deepest = max(deepest, peak - worth)
        return ceil(deepest)

    def net(self):
        return floor(self.worths[-1]) if self.worths else 0


def run(bars, decide, instrument, *, fill, slip, fee_e8):
    """Return the account after bars of (open, close). decide(k, position) -> lots."""
    account, target = Naive(instrument, fee_e8, slip), 0
    for k, (first, last) in enumerate(bars):
        if fill == "open":
            account.reach(target, first)
        target = decide(k, account.held)
        if fill == "close":
            account.reach(target, last)
        account.close_at(last)
    return account, target - account.held


def crossings(closes, fast, slow, qty):
    """Return a decision function: long from an upward cross of the averages, flat from a lower."""

    def mean(k, n):
        return Fraction(sum(closes[k - n + 1 : k + 1]), n)

    def decide(k, position):
        if k < slow - 1 or mean(k, fast) == mean(k, slow):
            return position
        above = mean(k, fast) > mean(k, slow)
        before = next((mean(b, fast) > mean(b, slow) for b in range(k - 1, slow - 2, -1)
                       if mean(b, fast) != mean(b, slow)), None)  # fmt: skip
        if before is None or before == above:
            return position
        return qty if above else 0

    return decide
