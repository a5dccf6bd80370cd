"""The kill switch: 500 open orders over four twins, from the request to the last cancel sent.

Twins, killer and this script are three processes on the same cores. Orders are placed by our own
codecs within the venues' order limits (that is what takes long here), journaled as an engine's, and
killed through the door. Exclusive accounts are cancelled in bulk where the venue can, shared ones
by our own ids; `cold` is a run whose killer is gone, so that one is started for the occasion.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
from lib.rounds import options, report

from alephtx.core import identity, words
from alephtx.core.clock import MachineClock
from alephtx.core.config import load_config
from alephtx.core.ports import Request, What
from alephtx.core.records import INTENT, UPDATE
from alephtx.engine import kill_door
from alephtx.engine.rundir import RunDirectory
from alephtx.engine.venues import bind_account, fetch_instruments
from alephtx.execution.killing import touch_of
from alephtx.matrix.journal import EPOCH, Journal, JournalHeader
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import UPDATE as UPDATE_RECORD
from alephtx.net.http import HttpClient
from alephtx.serve.demo import SYMBOLS, endpoints

VENUES = ("binance_spot", "binance_usdm", "binance_coinm", "hyperliquid")
EACH = 125
LIMIT_S = 1.0
LAST = "to the last cancel"
PER_SECOND = 9  # spot takes 100 orders in ten seconds


def config_of(folder: Path, ports: dict[str, int], *, exclusive: bool) -> Path:
    """Write a config over the twins."""
    parts = [
        f'[node]\nname = "bench"\nmode = "live"\nruns = "{folder / "runs"}"\n[risk]\n'
        "notional_max = 1000\nposition_notional_max = 1000\ndrawdown_max = 100\n"
    ]
    for venue, port in ports.items():
        where = "\n".join(f'{k} = "{v}"' for k, v in endpoints(venue, port).items())
        symbols = ", ".join(f'"{symbol}"' for symbol in SYMBOLS[venue])
        key = "" if venue == "hyperliquid" else 'key = "twin:key"\n'
        parts.append(
            f'[venues.{venue}]\nsymbols = [{symbols}]\nenvironment = "twin"\n{where}\n'
            f'[accounts.{venue}]\nvenue = "{venue}"\n{key}secret = "twin"\n'
            f"exclusive = {str(exclusive).lower()}\n"
        )
    file = folder / "config.toml"
    file.write_text("\n".join(parts))
    return file


class Desk:
    """One run's directory and journal, and what places its orders."""

    def __init__(self, folder: Path, ports: dict[str, int], *, exclusive: bool) -> None:
        self.config = load_config(config_of(folder, ports, exclusive=exclusive))
        self.clock = MachineClock()
        self.instruments = asyncio.run(fetch_instruments(self.config, self.clock))
        self.run = RunDirectory.create(folder / "runs", "bench", self.config.dump())
        self.run.save_instruments(self.instruments)
        header = JournalHeader(
            node="bench", engine=0, instruments=self.instruments.to_json(),
            accounts=msgspec.json.encode(list(self.config.accounts)),
        )  # fmt: skip
        self.journal = Journal.open(self.run.journal, header=header)
        self.journal.append(EPOCH, np.array([1], np.int64).tobytes(), ts=self.clock.now())
        self.numbers = 0

    async def place(self) -> None:
        """Rest EACH orders at every venue."""
        await asyncio.gather(*(self._place(k, v) for k, v in enumerate(self.config.accounts)))
        self.journal.sync()

    async def _place(self, index: int, venue: str) -> None:
        section = self.config.accounts[venue]
        codec, where = bind_account(self.config, section, index, self.instruments)
        codec.spec = msgspec.structs.replace(codec.spec, transport="http")
        i = self.instruments.of_venue(venue)[0]
        row = self.instruments.rows()[i]
        async with HttpClient(where.http) as client:
            price, qty = await self._quote(codec, client, i, row)
            for _ in range(EACH):
                intent = np.zeros(1, INTENT)
                intent["op"], intent["type"], intent["tif"] = words.PLACE, words.LIMIT, words.GTC
                intent["side"], intent["price"], intent["qty"] = words.BUY, price, qty
                intent["instrument"], intent["account"] = i, index
                await self._send(codec, client, intent)
                await asyncio.sleep(1 / PER_SECOND)

    async def _quote(self, codec, client, i, row) -> tuple[int, int]:
        (ask,) = codec.request(What.SNAPSHOT, self.clock.now(), instrument=i)
        events = await self._read(codec, client, ask, events=True)
        bid, _ = touch_of(events)
        step = 100 * int(row["tick_step"])
        price = int(bid * 0.98) // step * step
        least = max(int(row["qty_min"]), int(row["lot_step"]))
        return price, 20 * least

    async def _send(self, codec, client, intent) -> None:
        self.numbers += 1
        order_id = identity.first_order_id(0, 1) + self.numbers
        intent["order_id"] = order_id
        now = self.clock.now()
        self.journal.append(INTENT_RECORD, intent.tobytes(), ts=now)
        (request,) = codec.encode(intent, now, now // 1_000_000)
        await self._read(codec, client, request)
        ack = np.zeros(1, UPDATE)
        ack["kind"], ack["order_id"], ack["status"] = words.ACK, order_id, words.NEW
        ack["account"], ack["instrument"] = intent["account"], intent["instrument"]
        self.journal.append(UPDATE_RECORD, ack.tobytes(), ts=now)

    @staticmethod
    async def _read(codec, client, request: Request, *, events: bool = False):
        from alephtx.core.ports import Batch

        status, headers, body = await client.fetch(request)
        batch = Batch(events=16_384 if events else 16)
        codec.reply(request, status, headers, body, batch)
        return batch.events[: batch.event_count]


def open_at(port: int) -> int:
    """Return how many orders a twin has open."""
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_twin/account") as answer:
        return sum(len(owner["open_orders"]) for owner in json.loads(answer.read()).values())


def one(folder: Path, ports: dict[str, int], *, exclusive: bool, warm: bool) -> dict[str, float]:
    """Place, kill, and return what the kill took in seconds."""
    folder.mkdir()
    desk = Desk(folder, ports, exclusive=exclusive)
    killer = None
    if warm:
        command = [sys.executable, "-m", "alephtx.engine.killer_main", str(desk.run.path)]
        with (desk.run.logs / "killer.log").open("ab") as log:
            killer = subprocess.Popen([*command, str(os.getpid())], stdout=log, stderr=log)
    asyncio.run(desk.place())
    assert [open_at(port) for port in ports.values()] == [EACH] * len(VENUES)
    begun = time.perf_counter()
    told = kill_door.kill(desk.run, "a benchmark")
    wall = time.perf_counter() - begun
    if killer is not None:
        killer.terminate()
        killer.wait(10)
    desk.journal.close()
    assert told.confirmed, told
    assert [open_at(port) for port in ports.values()] == [0] * len(VENUES)
    assert sum(account.cancels for account in told.accounts) == EACH * len(VENUES)
    return {
        LAST: told.last_cancel_ns / 1e9,
        "to the proof": told.took_ns / 1e9,
        "to the report": wall,
    }


def main() -> None:
    """Print seconds, and their ratio to the limit of one second."""
    given = options(__doc__).parse_args()
    cases = {
        "shared accounts, by our ids": {"exclusive": False, "warm": True},
        "exclusive accounts, in bulk": {"exclusive": True, "warm": True},
        "shared accounts, killer gone": {"exclusive": False, "warm": False},
    }
    found: dict[str, float] = {"the limit": LIMIT_S}
    against = {}
    with tempfile.TemporaryDirectory() as name:
        ports_file = Path(name) / "ports.json"
        command = [sys.executable, "-m", "alephtx.twins.main", "--ports-file", str(ports_file),
                   "--start-in-s", "100000", *VENUES]  # fmt: skip
        twins = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not ports_file.exists():
                time.sleep(0.05)
            ports = json.loads(ports_file.read_bytes())
            for k, (case, how) in enumerate(cases.items()):
                for what, seconds in one(Path(name) / str(k), ports, **how).items():
                    found[f"{case}: {what}"] = seconds
                against[f"{case}: {LAST}"] = "the limit"
        finally:
            twins.terminate()
            twins.wait(10)
    report("kill", found, "s", against=against, as_json=given.json)


if __name__ == "__main__":
    main()
