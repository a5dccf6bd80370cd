"""One error tree.

AlephError
├── ConfigError          a key, a value or a file that the user can mend
├── PluginError          a plugin that cannot be found or does not conform
├── UnitError            a number that does not fit its unit exactly
├── VenueError           (venue, code, retryable)
│   ├── TransportError   the wire failed; the outcome of a request may be unknown
│   ├── Throttled        the venue asks us to slow down
│   ├── ProtocolError    a frame that the venue's documents do not allow
│   ├── Unauthorized     key, signature, clock or permission
│   └── OrderRejected
│       ├── InsufficientMargin
│       └── WouldCross
├── MatrixError          shared memory
│   ├── LayoutMismatch
│   └── Gap
├── JournalError         a journal that cannot be written or believed
├── PoolError            a pool of shared limits that does not answer, or cannot be believed
├── LedgerMismatch       our books differ from the venue's
│   └── AccountingError  our books differ from themselves
└── SimulationError      the simulated world was asked for the impossible

Kernels return negative codes and never raise; a denial by the gate is a verdict, not an error.
"""

from typing import NamedTuple


class Finding(NamedTuple):
    """One mistake in a file: where it is, what it is, and what to do. line 0 = the whole file."""

    file: str
    line: int
    key: str
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        said = f"{where}: {self.key}: {self.problem}" if self.key else f"{where}: {self.problem}"
        return f"{said}; {self.remedy}" if self.remedy else said


class AlephError(Exception):
    """The root of the tree; `remedy` says what the user can do."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{message}. {remedy}" if remedy else message)
        self.remedy = remedy


class ConfigError(AlephError):
    """A configuration that cannot be used; `findings` holds one entry per mistake, where known."""

    def __init__(
        self, message: str, *, remedy: str = "", findings: tuple[Finding, ...] = ()
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.findings = findings


class PluginError(AlephError):
    """A plugin that cannot be found or does not conform."""


class UnitError(AlephError):
    """A number that does not fit its unit exactly."""


class VenueError(AlephError):
    """What a venue said, or failed to say.

    reason: one of words.REASON_..., where known. wait_ns: how long it asks us to send nothing.
    """

    reason: int = 0
    wait_ns: int = 0

    def __init__(
        self,
        message: str,
        *,
        venue: str = "",
        code: int | str = 0,
        retryable: bool = False,
        remedy: str = "",
    ) -> None:
        super().__init__(f"{venue}: {message}" if venue else message, remedy=remedy)
        self.venue = venue
        self.code = code
        self.retryable = retryable


class TransportError(VenueError):
    """The wire failed. `sent` is False only when surely no byte of the request has left."""

    def __init__(
        self,
        message: str,
        *,
        sent: bool = False,
        venue: str = "",
        code: int | str = 0,
        retryable: bool = True,
        remedy: str = "",
    ) -> None:
        super().__init__(message, venue=venue, code=code, retryable=retryable, remedy=remedy)
        self.sent = sent


class Throttled(VenueError):
    """The venue asks us to slow down."""


class ProtocolError(VenueError):
    """A frame that the venue's documents do not allow."""


class Unauthorized(VenueError):
    """Key, signature, clock or permission."""


class OrderRejected(VenueError):
    """The venue refused an order."""


class InsufficientMargin(OrderRejected):
    """Not enough money for the order."""


class WouldCross(OrderRejected):
    """A post-only order that would have taken."""


class MatrixError(AlephError):
    """Shared memory that cannot be used."""


class LayoutMismatch(MatrixError):
    """Shared memory of another layout."""


class Gap(MatrixError):
    """Rows were lost before they could be read."""


class JournalError(AlephError):
    """A journal that cannot be written or believed."""


class PoolError(AlephError):
    """A pool of shared limits that does not answer, or cannot be believed."""


class LedgerMismatch(AlephError):
    """Our books differ from the venue's."""


class AccountingError(LedgerMismatch):
    """An identity of the books does not hold: a fault of ours, and no ground to trade on."""

    def __init__(self, identity: str, event: str, left: object, right: object) -> None:
        super().__init__(
            f"{identity} does not hold after {event}: {left} is not {right}",
            remedy="take no new risk; fold the journal anew, and report it with the journal",
        )
        self.identity, self.event, self.left, self.right = identity, event, left, right


class SimulationError(AlephError):
    """The simulated world was asked for the impossible."""
