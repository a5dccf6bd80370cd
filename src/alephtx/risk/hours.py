"""Rule: trading hours of the week, in UTC, to the minute."""

from typing import Any

import numpy as np

from alephtx.core.kernel import Int, inline_kernel
from alephtx.core.words import DENY_HOURS, PASS
from alephtx.risk.state import WEEK_MINUTES, Rows

MINUTE_NS = 60_000_000_000
EPOCH_MINUTE = 3 * 24 * 60
"""The epoch began on a Thursday; weeks here on Monday."""


@inline_kernel
def check_hours(intents: Rows, k: Int, wall: Int, hours: Rows) -> int:
    """Refuse outside the instrument's hours, by the wall clock."""
    minute: Any = (wall // MINUTE_NS + EPOCH_MINUTE) % WEEK_MINUTES
    word = hours[np.int64(intents[k]["instrument"]), minute >> 5]
    return PASS if word >> (minute & 31) & 1 else DENY_HOURS
