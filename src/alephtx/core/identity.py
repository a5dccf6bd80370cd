"""Order ids: engine 10 bits | start epoch 14 bits | counter 40 bits, and their text forms.

Engines are numbered 0..511, so an id is positive as int64. Every venue file maps ids reversibly to
what its venue takes; `ours` is the shared prefix that tells our orders from others on the account.
"""

from alephtx.core.errors import ConfigError

PREFIX = "ax"
CLOID_PREFIX = 0x616C657068747831  # "alephtx1": the high 8 bytes of a 16-byte client id
KILLER_NONCE_LEAD_MS = 2_000
"""How far a killer's nonces are ahead of its engine's, where both sign with one key (Hyperliquid
takes each nonce once, up to a day ahead)."""

COUNTER_BITS, EPOCH_BITS = 40, 14
ENGINES_MAX = 512

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def first_order_id(engine: int, epoch: int) -> int:
    """Return the id with counter 0 of one start of one engine; the first order is this plus one."""
    if not 0 <= engine < ENGINES_MAX:
        raise ConfigError(f"engine number {engine} is outside 0..{ENGINES_MAX - 1}")
    if not 0 < epoch < 1 << EPOCH_BITS:
        raise ConfigError(
            f"start epoch {epoch} is outside 1..{(1 << EPOCH_BITS) - 1}",
            remedy="give the node a new engine number",
        )
    return engine << (EPOCH_BITS + COUNTER_BITS) | epoch << COUNTER_BITS


def split_order_id(order_id: int) -> tuple[int, int, int]:
    """Return (engine, epoch, counter)."""
    counter = order_id & ((1 << COUNTER_BITS) - 1)
    epoch = order_id >> COUNTER_BITS & ((1 << EPOCH_BITS) - 1)
    return order_id >> (COUNTER_BITS + EPOCH_BITS), epoch, counter


def killers_order_id(engine: int, epoch: int, n: int) -> int:
    """Return the n-th order id of the killer beside one start of an engine: the counter's top half.

    No strategy's order: the engine books its fills to the account only.
    """
    if not 0 < n < 1 << (COUNTER_BITS - 1):
        raise ConfigError(f"the killer's order number {n} is outside 1..{(1 << 39) - 1}")
    return first_order_id(engine, epoch) | 1 << (COUNTER_BITS - 1) | n


def is_killers(order_id: int) -> bool:
    """Tell whether an order id is the killer's, not a strategy's."""
    return bool(order_id >> (COUNTER_BITS - 1) & 1)


def to_text(order_id: int) -> str:
    """Return the client order id text: `ax` and 13 base-36 digits; 15 characters."""
    digits = []
    rest = order_id
    for _ in range(13):
        rest, digit = divmod(rest, 36)
        digits.append(_ALPHABET[digit])
    return PREFIX + "".join(reversed(digits))


def from_text(text: str) -> int:
    """Return the order id behind a client order id text, or 0 when it is not one of ours."""
    if len(text) != 15 or not text.startswith(PREFIX) or not text.isascii():
        return 0
    body = text[2:]
    if not set(body) <= set(_ALPHABET):
        return 0
    value = int(body, 36)
    return value if value < 1 << 63 else 0


def to_cloid(order_id: int) -> str:
    """Return the 16-byte client id as 0x and 32 hex digits."""
    return f"0x{CLOID_PREFIX:016x}{order_id:016x}"


def from_cloid(text: str | None) -> int:
    """Return the order id behind a 16-byte client id, or 0 when it is not one of ours."""
    if not text or len(text) != 34 or not text.startswith("0x"):
        return 0
    try:
        value = int(text, 16)
    except ValueError:
        return 0
    return value & ((1 << 64) - 1) if value >> 64 == CLOID_PREFIX else 0
