"""The twin's own signature check on the SDK's vectors, and on everything that is not one."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.twins.hyperliquid_actions import (
    BadRequest,
    NotSimulated,
    canonical,
    pack,
    read_request,
)
from alephtx.twins.hyperliquid_signing import (
    NONCE_FUTURE_MS,
    NONCE_PAST_MS,
    BadSignature,
    Nonces,
    Signature,
    address_of_private_key,
    agent_digest,
    connection_id,
    keccak256,
    recover,
)
from tests.twins.hyperliquid_clients import ME, STRANGER, order, orders, signed

GOLDEN = Path(__file__).parents[1] / "golden" / "hyperliquid"
VECTORS = [
    vector
    for vector in json.loads((GOLDEN / "signing.json").read_text())["vectors"]
    if vector["kind"] == "l1_action"
]
NOW = 1_800_000_000_000


def signer_of(body, source):
    envelope, action = read_request(json.dumps(body).encode())
    identity = connection_id(
        pack(action), envelope.nonce, envelope.vaultAddress, envelope.expiresAfter
    )
    return recover(agent_digest(source, identity), envelope.signature), identity


@pytest.mark.smoke
def test_keccak_is_the_one_of_ethereum():
    empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"").hex() == empty


def test_every_vector_of_a_simulated_action_gives_its_hash_and_its_signer():
    seen = set()
    for vector in VECTORS:
        body = {
            "action": vector["action"], "nonce": vector["nonce"],
            "signature": vector["signature"], "vaultAddress": vector["vault_address"],
            "expiresAfter": vector["expires_after"],
        }  # fmt: skip
        try:
            signer, identity = signer_of(body, "a" if vector["is_mainnet"] else "b")
        except NotSimulated as refused:
            assert str(refused) == vector["action"]["type"]
            continue
        assert "0x" + identity.hex() == vector["connection_id"]
        assert signer == vector["address"].lower()
        seen.add(vector["action"]["type"])
    assert {"order", "cancel", "cancelByCloid", "batchModify", "scheduleCancel"} <= seen


def test_address_of_a_private_key_agrees_with_eth_account():
    assert address_of_private_key("11" * 32) == STRANGER.address.lower()


def test_signature_for_the_other_network_is_a_stranger():
    body = signed(orders(order()), mainnet=True)
    assert signer_of(body, "a")[0] == ME
    assert signer_of(body, "b")[0] != ME


@pytest.mark.parametrize(
    "wire",
    [order(price="100000.0"), order(size="0.010"), order(cloid="0x" + "AB" * 16)],
    ids=["trailing zero in price", "trailing zero in size", "upper case cloid"],
)
def test_client_that_signs_another_form_than_the_venues_is_a_stranger(wire):
    assert signer_of(signed(orders(wire)), "b")[0] != ME


def test_client_that_signs_fields_in_another_order_is_a_stranger():
    action = orders(order())
    shuffled = {"grouping": "na", "type": "order", "orders": action["orders"]}
    assert signer_of(signed(action), "b")[0] == ME
    assert signer_of(signed(shuffled), "b")[0] != ME


@given(st.text(max_size=70), st.text(max_size=70), st.integers(-(2**62), 2**62))
@settings(max_examples=150, deadline=None)
def test_any_signature_recovers_an_address_or_is_refused(r, s, v):
    try:
        address = recover(bytes(32), Signature(r, s, v))
    except BadSignature:
        return
    assert len(address) == 42


@given(st.integers(1, 2**256 - 1), st.integers(1, 2**256 - 1), st.sampled_from([0, 1, 27, 28]))
@settings(max_examples=150, deadline=None)
def test_any_numbers_in_range_recover_an_address_or_are_refused(r, s, v):
    try:
        address = recover(keccak256(b"x"), Signature(hex(r), hex(s), v))
    except BadSignature:
        return
    assert len(address) == 42


@pytest.mark.parametrize(
    ("given_text", "text"),
    [("1.10", "1.1"), ("100", "100"), ("100.000", "100"), ("0.00000001", "0.00000001"),
     ("007.5", "7.5"), ("0.0", "0"), ("1000000000", "1000000000")],
)  # fmt: skip
def test_canonical_drops_only_needless_zeros(given_text, text):
    assert canonical(given_text) == text


def test_nonce_used_twice_too_old_or_too_far_ahead_is_refused_in_words():
    nonces = Nonces()
    assert nonces.refusal(NOW, NOW) == ""
    nonces.keep(NOW)
    assert nonces.refusal(NOW, NOW) == f"Invalid nonce: duplicate nonce {NOW}"
    assert nonces.refusal(NOW - NONCE_PAST_MS, NOW) == ""
    assert "too low" in nonces.refusal(NOW - NONCE_PAST_MS - 1, NOW)
    assert nonces.refusal(NOW + NONCE_FUTURE_MS, NOW) == ""
    assert "too high" in nonces.refusal(NOW + NONCE_FUTURE_MS + 1, NOW)


@given(st.lists(st.integers(0, 400), max_size=300))
@settings(max_examples=60, deadline=None)
def test_nonces_accept_what_a_plain_reading_of_the_rule_accepts(offsets):
    nonces, kept = Nonces(), []
    for offset in offsets:
        nonce = NOW + offset
        highest = sorted(kept)[-100:]
        fine = nonce not in highest and (len(highest) < 100 or nonce > highest[0])
        assert (nonces.refusal(nonce, NOW) == "") == fine
        if fine:
            nonces.keep(nonce)
            kept.append(nonce)


WRONG_SHAPES = [
    {}, [], None, 1, "x",
    {"action": {}, "nonce": 1, "signature": {"r": "0x1", "s": "0x1", "v": 27}},
    {"action": {"type": "order"}, "nonce": 1, "signature": {"r": "1", "s": "1", "v": 27}},
    signed(orders(order(price="1e5"))), signed(orders(order(price="-1"))),
    signed(orders(order(price="NaN"))), signed(orders(order(size="Infinity"))),
    signed(orders(order(price="1" * 21))), signed(orders(order(tif="Fok"))),
    signed(orders(order(cloid="0x12"))), signed(orders(order() | {"a": -1})),
    signed(orders(order() | {"a": 1 << 40})), signed(orders(order() | {"b": 1})),
    signed(orders(order() | {"t": {}})), signed({"type": "dance"}),
    signed(orders()) | {"nonce": -1}, signed(orders()) | {"nonce": "1"},
    signed(orders()) | {"nonce": 1 << 70}, signed(orders()) | {"vaultAddress": "0x12"},
]  # fmt: skip


@pytest.mark.parametrize("body", WRONG_SHAPES, ids=range(len(WRONG_SHAPES)))
def test_request_of_a_wrong_shape_is_refused_as_unreadable(body):
    with pytest.raises(BadRequest) as refused:
        read_request(json.dumps(body).encode())
    assert refused.value.status == 422


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused_as_unreadable(data):
    with pytest.raises(BadRequest):
        read_request(data)


def test_nesting_without_end_is_refused_as_unreadable():
    with pytest.raises(BadRequest):
        read_request(b"[" * 100_000)
    with pytest.raises(BadRequest):
        read_request(b'{"action":' * 50_000)
