"""A strategy in plain Python in a real run: other processes, sockets, a killed engine."""

from pathlib import Path

import pytest

from tests.flows.river import River, prove, until

pytestmark = pytest.mark.flow

QUOTER = Path(__file__).parent.parent / "engine" / "quoter.py"
SECTION = """
[strategies.plain]
use = "{file}"
instruments = ["binance_usdm:BTC-USDT-PERP"]
accounts = ["usdm"]
qty = 10
live_max = 3
"""


def states(life):
    """Return what each strategy remembers, by name."""
    return {s["name"]: s["state"] for s in life.read("status.json").get("strategies", [])}


def test_it_trades_survives_a_killed_engine_and_leaves_nothing_open(twins, tmp_path):
    text = QUOTER.read_text()
    assert "COMPILED = True" in text
    file = tmp_path / "plain.py"
    file.write_text(text.replace("COMPILED = True", "COMPILED = False"))
    river = River(tmp_path, twins, coins=())
    river.config.write_text(river.config.read_text() + SECTION.format(file=file))
    try:
        life = river.start()
        life.trading(6, 3)
        life.kill("engine")
        life.trading(4, 2, epoch=2)
        heard = lambda: states(life).get("plain", {}).get("updates", 0) > 4  # noqa: E731
        until(heard, 40, "the strategy hears of its orders")
        shown = states(life)
        code, summary = life.end()
        assert code == 0, river.log.read_text()
        prove(life.run, twins, summary, orders=10, fills=5)
        assert shown["plain"]["started"] == 1
    finally:
        river.close()
