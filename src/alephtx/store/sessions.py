"""Days of exchanges: files that count from midnight, in the exchange's own time zone."""

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from alephtx.store.damage import DataError
from alephtx.store.reading import Options

_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_]?([01]\d)[-_]?([0-3]\d)(?!\d)")
_US_DATE = re.compile(r"(?<!\d)([01]\d)([0-3]\d)((?:19|20)\d\d)(?!\d)")
_SHORT_DATE = re.compile(r"(?<![A-Za-z0-9])S([01]\d)([0-3]\d)(\d\d)(?!\d)")


def midnight_ns(path: Path, options: Options, zone: str) -> int:
    """Return the ns since the epoch at which a file's day began in a time zone.

    The day is the options' date, else that in the file's name: 20240131, 2024-01-31, 01312024 or
    S013124. A day on which clocks change has no fixed length from midnight: trading hours are
    after the change, so the offset of noon is used.
    """
    year, month, day = _day_of(path, options)
    try:
        home = UTC if zone == "UTC" else ZoneInfo(zone)
        noon = datetime(year, month, day, 12, tzinfo=home)
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise DataError(f"{path}: no day {year}-{month:02}-{day:02} in {zone}: {error}",
                        remedy="give --date YYYY-MM-DD; pip install tzdata where zones are missing",
                        ) from None  # fmt: skip
    return (int(noon.timestamp()) - 12 * 3600) * 1_000_000_000


def _day_of(path: Path, options: Options) -> tuple[int, int, int]:
    text = options.date or path.name
    if found := _DATE.search(text):
        return int(found[1]), int(found[2]), int(found[3])
    if found := _US_DATE.search(text):
        return int(found[3]), int(found[1]), int(found[2])
    if found := _SHORT_DATE.search(text):
        return 2000 + int(found[3]), int(found[1]), int(found[2])
    raise DataError(f"{path}: its name tells no date", remedy="give --date YYYY-MM-DD")
