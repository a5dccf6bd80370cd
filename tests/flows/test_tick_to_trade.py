"""The harness of the tick-to-trade bench, end to end: a live engine answers an exchange's ticks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARGUMENTS = ("--quick", "--rows", "gateway", "--json")


@pytest.mark.flow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cores are chosen as on Linux")
def test_tick_to_trade_gateway_row_has_every_order_checked():
    """A harness that rots measures nothing; its checks are those of orders on the wire, too."""
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "tick_to_trade.py", *ARGUMENTS],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    echo, gateway = json.loads(done.stdout)["rows"]
    assert (gateway["n"], gateway["bad"], gateway["missed"]) == (200, 0, 0), gateway
    assert echo["n"] == 200, "the yardstick echoed"
    assert gateway["against"] == echo["row"]
    assert gateway["ratio"] > 0
