"""How long to wait before the next try: decorrelated jitter.

Each wait is drawn between the base and three times the last one, capped, so that many clients
that lost the same server do not come back together. Source: "Exponential backoff and jitter",
AWS Architecture Blog, 2015.
"""

import random

BASE_NS = 200_000_000
CAP_NS = 30_000_000_000


class Backoff:
    """Draw waits in ns from an injected source of randomness."""

    def __init__(self, source: random.Random, base_ns: int = BASE_NS, cap_ns: int = CAP_NS) -> None:
        if not 0 < base_ns <= cap_ns:
            raise ValueError(f"a backoff needs 0 < base <= cap, not {base_ns} and {cap_ns}")
        self._random = source
        self.base_ns = base_ns
        self.cap_ns = cap_ns
        self._last_ns = base_ns
        self.tries = 0

    def next(self) -> int:
        """Return the next wait in ns: base <= wait <= cap."""
        self.tries += 1
        ceiling = min(self.cap_ns, self._last_ns * 3)
        self._last_ns = self._random.randint(self.base_ns, max(self.base_ns, ceiling))
        return self._last_ns

    def reset(self) -> None:
        """Forget past failures."""
        self._last_ns = self.base_ns
        self.tries = 0
