"""Order states in plain words: the slow pair of the compiled table, written without it."""

from alephtx.core import words as w

OVER = {w.FILLED, w.CANCELED, w.REJECTED, w.EXPIRED}


class NaiveOrder:
    """One order; no amends. trades is shared by all orders of the book."""

    def __init__(self, qty, trades):
        self.qty, self.trades = qty, trades
        self.status, self.filled = w.PENDING_NEW, 0
        self.acked = self.inferred = False
        self.final, self.missing = None, 0

    @property
    def leaves(self):
        if self.status in OVER:
            return 0
        return self.missing if self.final else max(self.qty - self.filled, 0)

    @property
    def proven(self):
        return self.acked or self.filled > 0

    def on_book(self):
        return w.PARTIALLY_FILLED if self.filled else w.NEW

    def cancel(self):
        if self.status not in OVER and self.status != w.UNKNOWN:
            self.status = w.PENDING_CANCEL

    def apply(self, kind, status=0, cum=-1, trade=0, qty=0):
        if kind == w.FILL:
            self.fill(trade, qty)
        elif kind == w.ORDER_STATE and status in OVER:
            cum = max(cum, self.qty) if status == w.FILLED else cum
            self.over(status, cum, inferred=False)
        elif kind == w.ORDER_STATE and status:
            self.alive(query=True)
        elif kind in (w.CANCEL_ACK, w.EXPIRE, w.REJECT, w.NOT_FOUND):
            target = {w.CANCEL_ACK: w.CANCELED, w.EXPIRE: w.EXPIRED}.get(kind, w.REJECTED)
            self.over(target, cum, inferred=kind == w.NOT_FOUND)
        elif kind == w.ACK:
            self.alive(query=False)
        elif kind == w.CANCEL_REJECT and self.status == w.PENDING_CANCEL:
            self.status = self.on_book() if self.proven else w.PENDING_NEW
        elif kind == w.AMBIGUOUS and self.status in (w.PENDING_NEW, w.PENDING_CANCEL):
            self.status = w.UNKNOWN

    def fill(self, trade, qty):
        if trade in self.trades:
            return
        self.trades.add(trade)
        self.filled += qty
        was_over = self.status in OVER
        if self.final and not was_over:
            self.missing = max(self.missing - qty, 0)
        if self.filled >= self.qty:
            self.status = w.FILLED
        elif self.final and not was_over:
            if self.missing == 0:
                self.status = self.final
        elif self.status == w.REJECTED:
            self.status, self.final = w.UNKNOWN, None
        elif self.status in (w.PENDING_NEW, w.NEW, w.UNKNOWN):
            self.status = w.PARTIALLY_FILLED
        if self.status in OVER:
            self.final = None

    def alive(self, *, query):
        if self.status in OVER:
            if self.status == w.REJECTED and self.inferred:
                self.status, self.inferred, self.acked = self.on_book(), False, True
            return
        self.acked = True
        if self.final or self.status == w.PENDING_CANCEL:
            return
        if query or self.status in (w.PENDING_NEW, w.UNKNOWN):
            self.status = self.on_book()

    def over(self, target, cum, *, inferred):
        if self.status in OVER:
            lost = self.status == w.REJECTED and self.inferred
            if lost and cum > self.filled and target != w.REJECTED:
                self.final = target
                self.status, self.missing = w.UNKNOWN, cum - self.filled
                self.inferred = False
            return
        if target == w.REJECTED and self.proven:
            return
        missing = min(cum, self.qty) - self.filled
        if cum > self.filled:
            if not self.final or missing > self.missing:
                self.status, self.final, self.missing = w.UNKNOWN, target, missing
        elif not self.final:
            self.status, self.inferred = target, inferred
