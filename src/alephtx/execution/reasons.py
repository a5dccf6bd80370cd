"""Why a venue refused: the class of its error, as a word of ours."""

from alephtx.core import words
from alephtx.core.errors import Throttled, Unauthorized, VenueError, WouldCross


def reason_of(error: VenueError) -> int:
    """Map an error class to a reason where the venue file gave none."""
    if error.reason:
        return int(error.reason)
    if isinstance(error, WouldCross):
        return words.REASON_WOULD_CROSS
    if isinstance(error, Unauthorized):
        return words.REASON_AUTH
    if isinstance(error, Throttled):
        return words.REASON_THROTTLED
    return words.REASON_OTHER
