"""Ed25519 at the Binance twins: signed by `cryptography`, and by our codec over the wire."""

import base64
import json
import time
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from alephtx.core.secrets import Secret
from alephtx.signers.ed25519 import Ed25519Signer
from alephtx.twins.accounts import TWIN_KEY, TWIN_SECRET
from alephtx.twins.binance_signing import is_signed
from alephtx.venues.binance_orders import signed_call, signed_query
from tests.twins.clients import every_venue, serving
from tests.twins.test_binance_rest import API, limit_order

KEY = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(TWIN_SECRET))
WS_API = {
    "binance_spot": "/ws-api/v3",
    "binance_usdm": "/ws-fapi/v1",
    "binance_coinm": "/ws-dapi/v1",
}


@given(st.binary(max_size=200))
def test_signature_of_a_payload_is_known_and_of_another_is_not(payload):
    given_ = base64.b64encode(KEY.sign(payload)).decode()
    assert is_signed(TWIN_SECRET, payload, given_)
    assert not is_signed(TWIN_SECRET, payload + b"x", given_)


@pytest.mark.parametrize("given_", ["", "A" * 88, "!" * 88, "ü" * 88, "0" * 64, "A" * 87 + "="])
def test_garbage_is_no_signature(given_):
    assert not is_signed(TWIN_SECRET, b"payload", given_)


@every_venue
@pytest.mark.parametrize("spoilt", [False, True])
async def test_rest_order_signed_with_ed25519_is_taken_unless_it_is_spoilt(venue, spoilt):
    async with serving(venue) as served:
        params = {"timestamp": int(time.time() * 1000), **limit_order(venue)}
        query = urlencode(params)
        signature = base64.b64encode(KEY.sign(query.encode())).decode()
        query = query.replace("60000", "60001") if spoilt else query
        url = f"{API[venue]}/order?{query}&{urlencode({'signature': signature})}"
        where = URL(served.url(venue, url), encoded=True)
        headers = {"X-MBX-APIKEY": TWIN_KEY}
        async with served.session.post(where, headers=headers) as answer:
            said = await answer.json()
        assert said.get("code", 0) == (-1022 if spoilt else 0), said


@every_venue
async def test_order_place_of_our_own_signer_is_taken_over_both_transports(venue):
    signer = Ed25519Signer(TWIN_KEY, Secret(TWIN_SECRET))
    async with serving(venue) as served:
        now = time.time_ns()
        frame = signed_call(signer, "p1", "order.place", limit_order(venue), now)
        ws = await served.session.ws_connect(served.url(venue, WS_API[venue]))
        await ws.send_str(frame.decode())
        said = json.loads((await ws.receive()).data)
        assert said["status"] == 200, said
        await ws.close()
        query = signed_query(signer, limit_order(venue), now)
        where = URL(served.url(venue, f"{API[venue]}/order?{query}"), encoded=True)
        async with served.session.post(where, headers={"X-MBX-APIKEY": TWIN_KEY}) as answer:
            assert answer.status == 200, await answer.text()
