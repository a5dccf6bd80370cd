"""What the exchange must know of a venue: its ticks, its twin, its orders, and what is right."""

from decimal import InvalidOperation
from typing import Any, Protocol

from ttt_plan import Plan

UNREADABLE = (ValueError, KeyError, IndexError, InvalidOperation, AttributeError, TypeError)


class Ticks(Protocol):
    """The frames of one session; k: the last one made."""

    k: int

    def next(self, now_ms: int) -> bytes:
        """Return the next tick's payload."""
        ...

    def snapshot(self, now_ms: int, limit: int) -> dict[str, object]:
        """Return the book as of the last tick, as REST does."""
        ...


class Checker(Protocol):
    """Holds orders against their ticks."""

    bad: int
    faults: list[str]

    def check(self, k: int, message: bytes) -> None:
        """Count a message that is not tick k's order."""
        ...


class OrderChecker:
    """A checker's frame: `fault` says what is wrong with a message, "" for nothing."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self.bad = 0
        self.faults: list[str] = []

    def fault(self, k: int, message: bytes) -> str:
        """Hold an order against tick k; what cannot be read raises."""
        raise NotImplementedError

    def check(self, k: int, message: bytes) -> None:
        """Count a message that is not tick k's order."""
        try:
            fault = self.fault(k, message)
        except UNREADABLE as error:
            fault = f"cannot be read: {error!r}"
        if fault:
            self.bad += 1
            self.faults.append(f"tick {k}: {fault}")

    def first(self, identity: str) -> str:
        """Say what is wrong with a client id: it came before, or is none."""
        if not identity or identity in self._seen:
            return f"client id {identity!r} came before"
        self._seen.add(identity)
        return ""


class Side(Protocol):
    """A venue. order_word: in every order's text; order_start: how an order by HTTP begins."""

    plan: Plan
    trade_path: str
    order_word: bytes
    order_start: bytes

    def ticks(self, shape: str) -> Ticks:
        """Return a session's ticks, before anybody asked for them."""
        ...

    def asked_for_ticks(self, ticks: Ticks, path: str, text: bytes) -> bool:
        """Say whether a link's path or a text of its client asks for the book."""
        ...

    def replies(self, text: bytes) -> list[bytes]:
        """Return what a market link answers to a client's text."""
        ...

    def make_twin(self, snapshot: Any) -> Any:
        """Return the twin, without a recording and without rate limits."""
        ...

    def prime(self, twin: Any) -> None:
        """Give the twin's own book levels out of every order's reach."""
        ...

    def ask(self, twin: Any, caller: Any, text: str) -> None:
        """Hand a trade link's text to the twin."""
        ...

    def good(self, answer: bytes) -> bool:
        """Say whether an answer to an order takes it."""
        ...

    def checker(self) -> Checker:
        """Return a session's checker."""
        ...


def side_of(venue: str) -> Side:
    """Return a venue's side by its name in a config."""
    if venue == "hyperliquid":
        from ttt_hyper import Hyperliquid

        return Hyperliquid()
    from ttt_binance import Binance

    return Binance()


def http_header(head: bytes, name: bytes) -> str:
    """Return a header of an HTTP request, "" where it has none."""
    for line in head.split(b"\r\n"):
        found, _, value = line.partition(b":")
        if found.strip().lower() == name:
            return value.strip().decode()
    return ""
