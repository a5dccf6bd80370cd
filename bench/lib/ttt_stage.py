"""Starts exchange and clients, plays one row at a time between them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lib.peer import peer_python
from lib.ttt_plan import ABOVE_BID
from lib.ttt_rows import CLIENT_CORE, EXCHANGE_CORE, Row

from alephtx.twins.accounts import TWIN_KEY, TWIN_SECRET

LIB = Path(__file__).parent
END_S = 30.0
ORDER_BYTES = {"binance_usdm": 330, "hyperliquid": 420}  # of the product's own, about
INSIDE = {"binance_usdm": "ttt_inside.py", "hyperliquid": "ttt_inside_hyper.py"}
CERTIFICATE = """\
[req]
distinguished_name = dn
x509_extensions = ext
prompt = no
[dn]
CN = bench
[ext]
subjectAltName = DNS:localhost,IP:127.0.0.1
basicConstraints = critical,CA:TRUE
"""


def hurry() -> None:
    """Put a process, alone in its session, before the machine's others, where that is allowed."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        Path("/proc/self/autogroup").write_text("-20")  # or sessions share alike


class Stage:
    """An exchange that lives for all rows, and the client of the moment."""

    def __init__(self, folder: Path, *, ticks: int, warm: int, pace_us: int) -> None:
        self._folder = folder
        self._spec: dict[str, Any] = {"ticks": ticks, "warm": warm, "pace_us": pace_us}
        self._made = 0
        self.ca, self.key = folder / "ca.pem", folder / "key.pem"
        self._exchange = subprocess.Popen(
            [sys.executable, LIB / "ttt_exchange.py", str(EXCHANGE_CORE)],
            start_new_session=True, preexec_fn=hurry,  # noqa: PLW1509 - no threads here
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def _certificate(self) -> None:
        """Make a certificate of our own for this run."""
        (self._folder / "ca.cnf").write_text(CERTIFICATE)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-keyout", self.key, "-out", self.ca,
             "-config", self._folder / "ca.cnf"],
            check=True, capture_output=True,
        )  # fmt: skip

    def _say(self, told: object) -> None:
        assert self._exchange.stdin is not None
        self._exchange.stdin.write(json.dumps(told) + "\n")
        self._exchange.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._exchange.stdout is not None
        line = self._exchange.stdout.readline()
        if not line:
            sys.exit("the exchange ended: see above")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def play(self, row: Row) -> dict[str, Any]:
        """Return what the exchange saw of a row: times in ns, what was bad or missing."""
        if row.client == "inside":
            return self._inside(row)
        self._made += 1
        if row.tls and not self.ca.exists():
            self._certificate()
        found = self._folder / f"found-{self._made}.json"
        mine = row.client == "echo"
        self._say(self._spec | {
            "venue": row.venue, "shape": row.shape, "stamps": row.stamps, "tls": row.tls,
            "cert": str(self.ca), "cert_key": str(self.key), "answers": not mine, "check": not mine,
            "found": str(found),
        })  # fmt: skip
        ports = self._hear()
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            client = self._client(row, ports, Path(name))
            try:
                self._hear()
                told: dict[str, Any] = json.loads(found.read_text())
                code = self._end(row, client)
            finally:
                client.kill()
                client.wait()
                if os.environ.get("TTT_KEEP"):
                    subprocess.run(["cp", "-r", name, os.environ["TTT_KEEP"]], check=False)
        self._say("end")
        if row.signature and "took" in told:
            signature = self._signature()
            told["took"] = [ns + signature for ns in told["took"]]
        if code:
            told["faults"] = [*told.get("faults", []), f"the client ended with {code}"]
            told["bad"] = told.get("bad", 0) + 1
        return told

    def _inside(self, row: Row) -> dict[str, Any]:
        """Return what a row without sockets says of itself."""
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            given = {"folder": name, "core": CLIENT_CORE, "shape": row.shape,
                     "ticks": self._spec["ticks"], "warm": self._spec["warm"]}  # fmt: skip
            done = subprocess.run(
                [sys.executable, LIB / INSIDE[row.venue], json.dumps(given)], check=True,
                stdout=subprocess.PIPE, text=True, start_new_session=True,
                preexec_fn=hurry,
            )  # fmt: skip
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    @staticmethod
    def _signature() -> int:
        """Return what a signature costs on the client's core, in ns."""
        command = [sys.executable, LIB / "ttt_sign.py", str(CLIENT_CORE)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def _client(self, row: Row, ports: dict[str, int], folder: Path) -> "subprocess.Popen[str]":
        given: dict[str, Any] = dict(ports)
        given |= {"core": CLIENT_CORE, "tls": row.tls, "folder": str(folder)}
        given |= {"venue": row.venue, "orders_by_http": row.orders_by_http}
        given["ca"] = str(self.ca) if row.tls else ""
        environment = dict(os.environ)
        python = Path(sys.executable)
        if row.client == "echo":
            given["bytes"] = ORDER_BYTES[row.venue]
        elif row.client == "product":
            given |= {"wait": row.wait, "account": row.account, "strategy": row.strategy,
                      "market": row.market, "main_wait": row.main_wait,
                      "feeder_wait": row.feeder_wait,
                      "cores": {"feeder": EXCHANGE_CORE, "main": row.main_core,
                                "loop": CLIENT_CORE}}  # fmt: skip
            if row.tls:
                environment["SSL_CERT_FILE"] = given["ca"]
        else:
            python = peer_python(row.client)
            given |= {"key": TWIN_KEY, "secret": TWIN_SECRET, "above": ABOVE_BID, "qty": 0.01,
                      "cores": [EXCHANGE_CORE, CLIENT_CORE]}  # fmt: skip
        script = LIB / f"ttt_{row.client}.py"
        return subprocess.Popen(
            [python, script, json.dumps(given)], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True, env=environment,
            start_new_session=True, preexec_fn=hurry,  # noqa: PLW1509 - no threads here
        )  # fmt: skip

    @staticmethod
    def _end(row: Row, client: "subprocess.Popen[str]") -> int:
        """End the client in order where that says something."""
        if row.client != "product":
            client.send_signal(signal.SIGKILL)
            return 0
        assert client.stdin is not None
        client.stdin.close()
        try:
            return client.wait(END_S)
        except subprocess.TimeoutExpired:
            return -1

    def close(self) -> None:
        """End the exchange."""
        assert self._exchange.stdin is not None
        self._exchange.stdin.close()
        try:
            self._exchange.wait(10)
        except subprocess.TimeoutExpired:
            self._exchange.kill()
