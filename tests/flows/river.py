"""The whole river for tests: twins in processes of their own, `alephtx run` in another.

`Twins` hosts the venues and is never killed, so that its journal can be held against ours. `River`
is one config over them; `Life` is one `alephtx run` of it. `prove` is the claim every flow ends
with: what the venue counted and what we counted are the same, once each, and nothing is left open.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np

from alephtx.core import identity, words
from alephtx.core.instruments import Instruments
from alephtx.core.records import INTENT, UPDATE
from alephtx.engine.rundir import runs
from alephtx.matrix.journal import INTENT as INTENT_RECORD
from alephtx.matrix.journal import UPDATE as UPDATE_RECORD
from alephtx.matrix.journal import read
from alephtx.serve.demo import SYMBOLS, endpoints

BINANCE = ("binance_spot", "binance_usdm", "binance_coinm")
ALL = (*BINANCE, "hyperliquid")
ACCOUNTS = {
    "binance_spot": "spot", "binance_usdm": "usdm", "binance_coinm": "coinm",
    "hyperliquid": "hyper",
}  # fmt: skip
PERP = {
    "binance_spot": ("BTC-USDT", "ETH-USDT"),
    "binance_usdm": ("BTC-USDT-PERP", "ETH-USDT-PERP"),
    "binance_coinm": ("BTC-USD-PERP", "ETH-USD-PERP"),
    "hyperliquid": ("BTC-USD-PERP",),
}

NODE = """\
[node]
name = "flow"
mode = "{mode}"
runs = "{runs}"
[matrix]
path = "{matrix}"
[risk]
notional_max = 20000
position_notional_max = 60000
band_bps = 100
orders_per_s = 40
stale_ms = 2000
drawdown_max = 20000
"""

ARBITRAGE = """\
[strategies.arb_{coin}]
use = "arbitrage"
instruments = [{instruments}]
accounts = ["spot", "usdm", "coinm"]
trigger_bps = "0.2"
unwind_bps = "-1.5"
qty_base = "{qty}"
position_max_base = "{most}"
cooldown_ms = 50
max_age_ms = 1000
assume_parity = true
"""

MAKER = """\
[strategies.mm_{account}]
use = "market_maker"
instruments = ["{instrument}"]
accounts = ["{account}"]
half_spread_bps = "0.2"
skew_bps = "0.4"
requote_bps = "0.2"
qty_base = "0.01"
inventory_max_base = "0.1"
"""


def environment(**more):
    """Return the environment of a child, one thread a library: two cores are all there are."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def until(true, seconds, what, *, every=0.05):
    """Wait until `true()` is truthy and return it; AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {what}")


class Twins:
    """Venue twins in one process of their own."""

    def __init__(self, folder, venues=BINANCE, *, speed=3.0, once=False, fees="0/0", skew_ms=0):
        self.venues = venues
        ports_file = folder / "twins.json"
        fee_words = [word for venue in venues for word in ("--fees", f"{venue}={fees}")]
        once_words = ["--once"] if once else []
        self.log = folder / "twins.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "alephtx.twins.main", "--ports-file", str(ports_file),
                 "--speed", str(speed), "--skew-ms", str(skew_ms), *once_words, *fee_words,
                 *venues],
                stdout=output, stderr=output, env=environment(),
            )  # fmt: skip
        until(ports_file.exists, 60, f"the twins' ports, see {self.log}")
        self.ports = json.loads(ports_file.read_bytes())

    def accepted(self):
        """Return how many orders the twins have accepted so far."""
        return sum(
            row["kind"] == "ACCEPTED" for venue in self.venues for row in self.journal(venue)
        )

    def ask(self, venue, path, body=None):
        """Call a control endpoint of a venue's twin."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.ports[venue]}/_twin/{path}"
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=20) as answer:
            return json.loads(answer.read())

    def fault(self, venue, kind, target, **more):
        """Order a fault."""
        return self.ask(venue, "fault", {"kind": kind, "target": target, **more})

    def journal(self, venue):
        """Return every order, fill and end, as the venue counts them."""
        return self.ask(venue, "journal")

    def stop(self):
        """End the twins."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Life:
    """One `alephtx run` in a process of its own."""

    def __init__(self, river, *words, seconds=None):
        limit = ["--seconds", str(seconds)] if seconds else []
        with river.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "alephtx.cli", "run", str(river.config), "--json", *limit,
                 *words],
                stdout=subprocess.PIPE, stderr=output, env=environment(), start_new_session=True,
            )  # fmt: skip
        self.river = river

    @property
    def run(self):
        """The run directory, once there is one."""
        return next(runs(self.river.runs), None)

    def read(self, name):
        """Return a JSON file of the run, or an empty dict."""
        return (self.run and self.run.read_json(self.run.path / name)) or {}

    def counters(self):
        """Return the engine's counters as it last stated them."""
        return self.read("status.json").get("counters", {})

    def pid(self, name):
        """Return a child's process id, 0 while it does not run."""
        for child in self.read("processes.json") or []:
            if child["name"] == name:
                return child["pid"]
        return 0

    def kill(self, name):
        """Kill a child with -9 and wait until its supervisor has started another."""
        pid = until(lambda: self.pid(name), 10, f"{name} runs")
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.pid(name) not in (0, pid), 15, f"{name} is started again")
        assert not is_ours(pid)

    def trading(self, orders, fills, *, seconds=120, epoch=0, reached=0):
        """Wait until the engine has so many orders and fills, and `reached` are at the twins.

        epoch: not before that start.
        """

        def enough():
            assert self.process.poll() is None, f"the run ended: {self.river.log.read_text()}"
            status = self.read("status.json")
            counted = status.get("counters", {})
            later = status.get("epoch", 0) >= epoch and self.river.twins.accepted() >= reached
            return later and counted.get("orders", 0) >= orders and counted.get("fills", 0) >= fills

        until(enough, seconds, f"{orders} orders and {fills} fills")

    def end(self, number=signal.SIGINT, seconds=40):
        """Send a signal, wait for the end; return (exit code, summary)."""
        if number:
            self.process.send_signal(number)
        try:
            out, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        lines = out.decode().strip().splitlines()
        return self.process.returncode, json.loads(lines[-1]) if lines else {}


class River:
    """One config over some twins, and the runs of it."""

    def __init__(self, folder, twins, *, mode="live", makers=BINANCE, coins=("btc", "eth")):
        self.folder, self.twins = folder, twins
        self.runs = folder / "runs"
        self.log = folder / "run.log"
        self.matrix = Path(f"/dev/shm/aleph-flow-{os.getpid()}-{folder.name}")
        self.config = folder / "config.toml"
        self.config.write_text(self.text(mode, makers, coins))
        self.lives = []

    def text(self, mode, makers, coins):
        """Return the config: arbitrage across the venues and a tight market maker at each."""
        parts = [NODE.format(mode=mode, runs=self.runs, matrix=self.matrix)]
        for venue, port in self.twins.ports.items():
            where = "\n".join(f'{k} = "{v}"' for k, v in endpoints(venue, port).items())
            symbols = ", ".join(f'"{symbol}"' for symbol in SYMBOLS[venue])
            parts.append(
                f'[venues.{venue}]\nsymbols = [{symbols}]\nenvironment = "twin"\n{where}\n'
                'maker_fee_bps = "0"\ntaker_fee_bps = "0"\n'
                f'[accounts.{ACCOUNTS[venue]}]\nvenue = "{venue}"\nsecret = "twin"\n'
                + ("" if venue == "hyperliquid" else 'key = "twin:key"\n')
            )
        # Hyperliquid's recording is of another day: it is quoted there, and paired with nothing.
        paired = [venue for venue in self.twins.venues if venue in BINANCE]
        for k, coin in enumerate(("btc", "eth")):
            if coin in coins:
                keys = ", ".join(f'"{venue}:{PERP[venue][k]}"' for venue in paired)
                qty, most = (("0.01", "0.1"), ("0.2", "2"))[k]
                parts.append(ARBITRAGE.format(coin=coin, instruments=keys, qty=qty, most=most))
        for venue in makers:
            key = f"{venue}:{PERP[venue][0]}"
            parts.append(MAKER.format(account=ACCOUNTS[venue], instrument=key))
        return "\n".join(parts)

    def start(self, *words, seconds=None):
        """Start a life of the run."""
        life = Life(self, *words, seconds=seconds)
        self.lives.append(life)
        return life

    def close(self):
        """End what still runs, by its own process ids."""
        for life in self.lives:
            pids = [life.pid(f"feeder:{venue}") for venue in self.twins.venues]
            pids += [life.pid("engine"), life.pid("killer")]
            if life.process.poll() is None:
                life.process.kill()
            life.process.wait()
            life.process.stdout.close()
            for pid in filter(None, pids):
                until(lambda p=pid: not is_ours(p), 30, f"child {pid} ends by itself")
        self.matrix.unlink(missing_ok=True)


def is_ours(pid):
    """Tell whether a process lives and is one of ours."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"alephtx" in command and state != "Z"


class Books:
    """Our journal, read back: intents by order id with their times, fills counted once."""

    def __init__(self, run):
        self.instruments = Instruments.from_json(run.instruments.read_bytes())
        self.intents = {}
        self.passed = Counter()
        self.fills = Counter()
        self.fill_rows = {}
        self.kinds = Counter()
        self.risk_in_resync = []
        resyncing = set()
        for record in read(run.journal):
            if record.kind == INTENT_RECORD:
                row = np.frombuffer(record.payload, INTENT, count=1)[0]
                if row["op"] == words.PLACE and row["verdict"] == words.PASS:
                    self.passed[int(row["order_id"])] += 1
                    self.intents[int(row["order_id"])] = (record.ts, row.copy())
                    if int(row["account"]) in resyncing:
                        self.risk_in_resync.append(int(row["order_id"]))
            elif record.kind == UPDATE_RECORD:
                row = np.frombuffer(record.payload, UPDATE, count=1)[0]
                self.kinds[int(row["kind"])] += 1
                if row["kind"] == words.RESYNC_BEGIN:
                    resyncing.add(int(row["account"]))
                elif row["kind"] == words.RESYNC_END:
                    resyncing.discard(int(row["account"]))
                if row["kind"] == words.FILL:
                    symbol = self.instruments[int(row["instrument"])].symbol
                    key = (int(row["account"]), symbol, int(row["trade_id"]))
                    self.fills[key] += 1
                    self.fill_rows[key] = row.copy()


def same_numbers(ours, theirs):
    """Compare price and quantity; the venue may count in another power of ten than we do."""
    return all(
        str(int(ours[name])).rstrip("0") == str(theirs[name]).rstrip("0")
        for name in ("price", "qty")
    )


def prove(run, twins, summary, *, orders, fills):
    """Hold our journal against the twins': the same orders and fills, once each; nothing open.

    orders and fills: the least there must be, so that an idle system proves nothing. Returns how
    many there were.
    """
    books = Books(run)
    assert summary["reconciled"], summary["differences"]
    assert max(books.passed.values()) == 1
    assert books.risk_in_resync == [], "an account took new risk while it was being asked for"
    accounts = {venue: k for k, venue in enumerate(twins.ports)}
    accepted = traded = 0
    seen = set()
    for venue in twins.venues:
        journal = twins.journal(venue)
        for row in journal:
            name = row.get("client_id", "")
            order_id = identity.from_text(name) or identity.from_cloid(name)
            assert order_id in books.intents, f"{venue}: {row} has no intent in our journal"
            ts, intent = books.intents[order_id]
            if row["kind"] == "ACCEPTED":
                assert row["client_id"] not in seen, f"client id {row['client_id']} came twice"
                seen.add(row["client_id"])
                accepted += 1
                assert ts // 1_000_000 <= row["time"], "an intent is journaled before it is sent"
                assert same_numbers(intent, row)
            elif row["kind"] == "FILL":
                key = (accounts[venue], row["symbol"], row["trade_id"])
                assert key in books.fills, f"{venue}: fill {row} is not in our journal"
                ours = books.fill_rows[key]
                assert same_numbers(ours, row)
                assert int(ours["order_id"]) == order_id
                traded += 1
        for owner in twins.ask(venue, "account").values():
            assert owner["open_orders"] == [], f"{venue}: orders are left open"
    assert len(books.fills) == traded, "we count a fill that no venue made"
    assert accepted >= orders, f"only {accepted} orders reached a venue"
    assert traded >= fills, f"only {traded} fills"
    return accepted, traded
