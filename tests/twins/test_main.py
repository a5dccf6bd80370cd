"""The twin process: ports file, stop on SIGTERM, refusals; hostile input leaves it standing."""

import asyncio
import io
import json
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alephtx.core.errors import ConfigError
from alephtx.twins.binance_params import flat_params
from alephtx.twins.main import _fees, _pairs, make_twin
from alephtx.twins.options import TwinOptions
from tests.twins.clients import every_venue, serving
from tests.twins.test_binance_streams import receive, socket

TRADE = {
    "binance_spot": "/ws-api/v3",
    "binance_usdm": "/ws-fapi/v1",
    "binance_coinm": "/ws-dapi/v1",
}


def test_process_writes_its_ports_serves_and_stops_on_sigterm(tmp_path):
    ports_file = tmp_path / "ports.json"
    command = [sys.executable, "-m", "alephtx.twins.main", "binance_spot", "binance_usdm"]
    process = subprocess.Popen(
        [*command, "--ports-file", str(ports_file), "--speed", "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not ports_file.exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
        ports = json.loads(ports_file.read_bytes())
        assert set(ports) == {"binance_spot", "binance_usdm"}
        assert json.loads(process.stdout.readline()) == ports
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_unknown_venue_and_malformed_pairs_are_refused_by_name():
    with pytest.raises(ConfigError, match="no twin of 'nasdaq'"):
        make_twin("nasdaq", TwinOptions(venues=("nasdaq",)))
    with pytest.raises(ConfigError, match="VENUE=VALUE"):
        _pairs("binance_spot")
    with pytest.raises(ConfigError, match="MAKER/TAKER"):
        _fees("0.1")


async def test_port_in_use_is_one_clear_error():
    from alephtx.core.errors import SimulationError

    async with serving("binance_spot") as served:
        port = served.ports["binance_spot"]
        with pytest.raises(SimulationError, match="loopback port"):
            async with serving("binance_spot", ports={"binance_spot": port}):
                pass


GARBAGE = [
    "",
    "{",
    "null",
    "[]",
    "7",
    '"text"',
    '{"method":7}',
    '{"id":1}',
    '{"id":1,"method":"nothing"}',
    '{"id":1,"method":"order.place"}',
    '{"id":1,"method":"order.place","params":[]}',
    '{"id":1,"method":"order.place","params":{"apiKey":null}}',
    '{"id":1,"method":"order.place","params":{"apiKey":"a","timestamp":1e999,"signature":"x"}}',
    '{"id":{"a":[1]},"method":"ping","params":{}}',
    '{"id":1,"method":"SUBSCRIBE","params":{}}',
    '{"id":1,"method":"SUBSCRIBE","params":[7]}',
    '{"id":1,"method":"' + "x" * 5000 + '"}',
]


@every_venue
async def test_garbage_frames_get_an_answer_and_leave_the_link_open(venue):
    async with serving(venue) as served:
        for path in (TRADE[venue], "/ws"):
            ws = await socket(served, venue, path)
            for text in GARBAGE:
                await ws.send_str(text)
                answer = await receive(ws, within=3)
                assert "error" in answer or answer.get("status") == 200
            await ws.close()
        stats = await served.ask(venue, "stats")
        assert "internal_errors" not in stats["counts"]


@every_venue
async def test_hostile_http_is_answered_without_an_internal_error(venue):
    api = {"binance_spot": "/api/v3", "binance_usdm": "/fapi/v1", "binance_coinm": "/dapi/v1"}
    async with serving(venue) as served:
        tries = [
            ("GET", f"{api[venue]}/depth", b""),
            ("GET", f"{api[venue]}/depth?symbol=NOPE", b""),
            ("GET", f"{api[venue]}/depth?symbol=BTCUSDT&limit=-1", b""),
            ("GET", f"{api[venue]}/depth?symbol=%00%ff&limit=5", b""),
            ("POST", f"{api[venue]}/order", b"\xff\xfe" * 50),
            ("POST", f"{api[venue]}/order?timestamp=1&signature=%zz", b"symbol=A&symbol=B"),
            ("DELETE", f"{api[venue]}/order", b"orderId=x"),
            ("POST", f"{api[venue]}/order", b"x" * (2 << 20)),
            ("PATCH", f"{api[venue]}/order", b""),
            ("GET", "/../../etc/passwd", b""),
        ]
        headers = {"X-MBX-APIKEY": "nobody"}
        for method, path, body in tries:
            url = served.url(venue, path)
            async with served.session.request(
                method, url, data=io.BytesIO(body), headers=headers
            ) as answer:
                assert 400 <= answer.status < 500
        stats = await served.ask(venue, "stats")
        assert "internal_errors" not in stats["counts"]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_params_of_any_json_become_texts_or_a_value_error(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    try:
        flat = flat_params(raw)
    except ValueError:
        return
    assert all(isinstance(text, str) for text in flat.values())


async def test_server_sends_ping_frames_and_answers_a_clients():
    async with serving("binance_spot") as served:
        served.twins["binance_spot"].ping_seconds = 0.2
        url = served.url("binance_spot", "/ws")
        ws = await served.session.ws_connect(url, autoping=False)
        message = await asyncio.wait_for(ws.receive(), 3)
        assert message.type.name == "PING"
        await ws.close()
