"""Flows run on warm kernels: what a market waits for is not what a compiler takes."""

import pytest

from alephtx.engine.warm import ORDERS, ensure_warm
from tests.flows.river import River, Twins


@pytest.fixture(scope="session")
def warm():
    """Compile whatever is not in the cache yet, once."""
    ensure_warm(lambda line: None)
    ensure_warm(lambda line: None, ORDERS)


@pytest.fixture
def twins(warm, tmp_path):
    """The three Binance twins, replaying in a loop at three times the speed."""
    made = Twins(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def river(twins, tmp_path):
    """A config over the twins; what it started ends with the test."""
    made = River(tmp_path, twins)
    yield made
    made.close()
