"""A strategy in plain Python in a real run: other processes, sockets, a killed engine."""

from pathlib import Path

import pytest

from tests.flows.river import River, prove

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
        shown = {s["name"]: s["state"] for s in life.read("status.json")["strategies"]}
        code, summary = life.end()
        assert code == 0, river.log.read_text()
        prove(life.run, twins, summary, orders=10, fills=5)
        assert shown["plain"]["started"] == 1
        assert shown["plain"]["updates"] > 4
    finally:
        river.close()
