"""What every test shares: how hard hypothesis looks, and when the long runs take part.

ALEPHTX_TEST_SECONDS, which `make soak` sets, lets the soak tests in (they run about that long each)
and has hypothesis try ten times as many examples.
"""

import os

from hypothesis import HealthCheck, settings

SOAKING = "ALEPHTX_TEST_SECONDS" in os.environ

# No wall-clock deadlines: a first call may compile.
settings.register_profile("quick", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", settings.get_profile("quick"), max_examples=1_000)
settings.load_profile("soak" if SOAKING else "quick")


def pytest_collection_modifyitems(config, items):
    """Leave out the soak tests where nobody gave them time."""
    if SOAKING:
        return
    left_out = [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]
