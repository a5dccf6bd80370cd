"""Real matrices in a private directory, of real instruments."""

from decimal import Decimal

import pytest

from alephtx.core import words
from alephtx.core.instruments import Instrument, Instruments
from alephtx.matrix.layout import Geometry
from alephtx.matrix.shm import Matrix

SMALL = Geometry(
    instruments_max=8,
    venues_max=4,
    depth=8,
    ring_slots=16,
    signals_max=4,
    writers_max=4,
    table_bytes=1 << 16,
)


def make_instrument(venue: str, base: str) -> Instrument:
    return Instrument(
        key=f"{venue}:{base}-USDT",
        venue=venue,
        symbol=f"{base}USDT",
        base=base,
        quote="USDT",
        settle="USDT",
        contract=words.SPOT,
        price_scale=2,
        qty_scale=5,
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.00001"),
        price_max=Decimal(1_000_000),
        qty_max=Decimal(9000),
    )


def make_instruments() -> Instruments:
    return Instruments(
        make_instrument(venue, base) for venue in ("alpha", "beta") for base in ("BTC", "ETH")
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "matrix"


@pytest.fixture
def matrix(path):
    with Matrix.create(path, make_instruments(), SMALL, clock_offset_ns=1) as made:
        yield made


@pytest.fixture(scope="module")
def shared_matrix(tmp_path_factory):
    """One matrix for the examples of a property; each example goes on where the last one ended."""
    path = tmp_path_factory.mktemp("shared") / "matrix"
    with Matrix.create(path, make_instruments(), SMALL, clock_offset_ns=1) as made:
        yield made
