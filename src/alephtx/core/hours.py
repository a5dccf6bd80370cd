"""Trading hours of a week as text: "Mon-Fri 08:00-16:30", "Sun 22:00-24:00", "Sat", UTC."""

import re

from alephtx.core.errors import ConfigError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
_WINDOW = re.compile(r"([A-Za-z]{3})(?:-([A-Za-z]{3}))?(?: (\d\d):(\d\d)-(\d\d):(\d\d))?", re.ASCII)


def minutes_of(windows: tuple[str, ...]) -> set[int]:
    """Return the minutes of the week, from Monday 00:00, that some windows hold.

    The end of a window is not in it; 24:00 is the day's end. Days may wrap ("Sat-Mon"), times may
    not: a night is two windows. ConfigError names the window that is none.
    """
    minutes: set[int] = set()
    for window in windows:
        match = _WINDOW.fullmatch(window)
        first = match[1].lower() if match else ""
        last = (match[2] or match[1]).lower() if match else ""
        if not match or first not in DAYS or last not in DAYS:
            raise _wrong(window)
        clock = [int(part or 0) for part in match.groups()[2:]]
        start, end = clock[0] * 60 + clock[1], clock[2] * 60 + clock[3]
        if match[3] is None:
            start, end = 0, DAY_MINUTES
        if max(clock[1], clock[3]) > 59 or not start < end <= DAY_MINUTES:
            raise _wrong(window)
        begin = DAYS.index(first)
        for day in range(begin, begin + (DAYS.index(last) - begin) % 7 + 1):
            base = day % 7 * DAY_MINUTES
            minutes.update(range(base + start, base + end))
    return minutes


def _wrong(window: str) -> ConfigError:
    return ConfigError(
        f"{window!r} is not a trading window",
        remedy='write days and times in UTC, such as "Mon-Fri 08:00-16:30"; a night is two windows',
    )
