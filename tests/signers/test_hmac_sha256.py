"""HMAC-SHA256: published and independently made vectors, requests made by ccxt, and secrecy."""

import json
import pickle
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.errors import ConfigError
from alephtx.core.secrets import Secret
from alephtx.signers.hmac_sha256 import HmacSigner

GOLDEN = Path(__file__).parent.parent / "golden" / "binance"
VECTORS = json.loads((GOLDEN / "signatures.json").read_text())
REQUESTS = json.loads((GOLDEN / "requests_ccxt.json").read_text())


@pytest.mark.smoke
@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v.get("id") or v["signature"][:8])
def test_sign_published_vector_equals(vector):
    signer = HmacSigner("key", Secret(vector["secret"]))
    assert signer.sign(vector["payload"].encode()) == vector["signature"].encode()


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: r["implicit_method"])
def test_sign_request_made_by_ccxt_equals(request_):
    """ccxt signs the query or the body exactly as it sends them."""
    sent = request_["body"] or urlsplit(request_["url"]).query
    payload, _, signature = sent.rpartition("&signature=")
    signer = HmacSigner(request_["api_key"], Secret(request_["secret"]))
    assert signer.sign(payload.encode()) == signature.encode()
    assert request_["headers"]["X-MBX-APIKEY"] == signer.api_key


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_sign_twice_keeps_no_state(first, second):
    """The prepared key schedule must not take payloads in."""
    signer = HmacSigner("key", Secret("secret"))
    alone = HmacSigner("key", Secret("secret")).sign(second)
    signer.sign(first)
    assert signer.sign(second) == alone


def test_repr_and_pickle_show_no_secret():
    signer = HmacSigner("publicKey123", Secret("very-secret-words"))
    assert "very-secret" not in repr(signer)
    assert "Key123" not in repr(signer)
    with pytest.raises(TypeError):
        pickle.dumps(signer)


@pytest.mark.parametrize("key", ["", "with blank", "line\nbreak", "schlüssel"])
def test_signer_unfit_key_is_refused(key):
    """A key that cannot stand in a header would be a smuggled header."""
    with pytest.raises(ConfigError, match="header"):
        HmacSigner(key, Secret("secret"))


def test_signer_empty_secret_is_refused():
    with pytest.raises(ConfigError, match="empty"):
        HmacSigner("key", Secret(""))
