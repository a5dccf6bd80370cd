"""Request limits of a venue: counts in fixed windows, per client address or account.

A window starts on a multiple of its length of the monotonic clock. A client that keeps asking after
`banned_after` refusals is banned for a while, as the venues do.
"""

from collections import Counter
from collections.abc import Callable

import msgspec


class Window(msgspec.Struct, frozen=True):
    """At most `most` units in every `seconds`; `label` names it in headers, e.g. `1M`."""

    label: str
    most: int
    seconds: int


class Limits:
    """Counters of several windows for many callers; `charge` says whether the caller may go on."""

    def __init__(
        self,
        windows: tuple[Window, ...],
        monotonic: Callable[[], int],
        *,
        banned_after: int = 10,
        ban_seconds: int = 120,
    ) -> None:
        self.windows = windows
        self._monotonic = monotonic
        self._banned_after, self._ban_ns = banned_after, ban_seconds * 1_000_000_000
        self._used: Counter[tuple[str, str, int]] = Counter()
        self._refused: Counter[tuple[str, int]] = Counter()
        self._banned: dict[str, int] = {}

    def charge(self, who: str, cost: int) -> bool:
        """Count `cost` units and return whether every window still has room."""
        now = self._monotonic()
        fine = True
        for window in self.windows:
            key = (who, window.label, now // 1_000_000_000 // window.seconds)
            self._used[key] += cost
            fine = fine and self._used[key] <= window.most
        if len(self._used) > 10_000:
            self._used.clear()  # old windows; a fresh count is generous, never unjust
        if not fine:
            minute = (who, now // 60_000_000_000)
            self._refused[minute] += 1
            if self._refused[minute] > self._banned_after:
                self._banned[who] = now + self._ban_ns
        return fine

    def banned_seconds(self, who: str) -> int:
        """Return for how long a caller is still banned; 0 when it is not."""
        left = self._banned.get(who, 0) - self._monotonic()
        if left <= 0:
            self._banned.pop(who, None)
            return 0
        return left // 1_000_000_000 + 1

    def used(self, who: str) -> dict[str, int]:
        """Return the count in each current window, by label."""
        second = self._monotonic() // 1_000_000_000
        return {w.label: self._used[who, w.label, second // w.seconds] for w in self.windows}

    def seconds_left(self) -> int:
        """Return when the longest window begins anew."""
        longest = max(window.seconds for window in self.windows)
        return longest - self._monotonic() // 1_000_000_000 % longest
