"""The EVM signer against vectors of the vendor's SDK and against an independent verifier."""

import json
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.errors import ConfigError, UnitError
from alephtx.core.secrets import Secret
from alephtx.signers.evm import (
    EvmSigner,
    action_hash,
    checksum_address,
    keccak256,
    l1_digest,
    number_text,
    user_digest,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "hyperliquid"
VECTORS = json.loads((GOLDEN / "signing.json").read_text())["vectors"]
MORE = json.loads((GOLDEN / "signing_more.json").read_text())
KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
ORDER = {
    "type": "order",
    "orders": [{"a": 0, "b": True, "p": "80000.5", "s": "0.00123", "r": False,
                "t": {"limit": {"tif": "Alo"}}, "c": "0x" + "0" * 31 + "1"}],
    "grouping": "na",
}  # fmt: skip
USER_NAMES = {
    "usd_send": "UsdSend",
    "withdraw3": "Withdraw",
    "usd_class_transfer": "UsdClassTransfer",
    "approve_agent": "ApproveAgent",
    "spot_send": "SpotSend",
}


def numbers(signature):
    """The SDK drops leading zeros of r and s, so they are compared as numbers."""
    return int(signature["r"], 16), int(signature["s"], 16), signature["v"]


def test_vectors_are_all_there():
    assert len(VECTORS) == 34
    assert len(MORE) == 6


@pytest.mark.parametrize("index", range(34))
def test_signature_of_each_vector_equals_the_sdks(index):
    vector = VECTORS[index]
    signer = EvmSigner(Secret(vector["private_key"]))
    assert vector["address"] == signer.address
    if vector["kind"] == "l1_action":
        arguments = (vector["nonce"], vector["vault_address"], vector["expires_after"])
        hashed = action_hash(vector["action"], *arguments)
        assert vector["connection_id"] == "0x" + hashed.hex()
        made = signer.sign_l1(vector["action"], *arguments, vector["is_mainnet"])
    else:
        name = USER_NAMES[vector["kind"]]
        made = signer.sign_user(name, vector["message"], vector["is_mainnet"])
    assert numbers(vector["signature"]) == numbers(made)


@pytest.mark.smoke
@pytest.mark.parametrize("vector", MORE, ids=lambda vector: vector["id"])
def test_signature_of_the_second_set_equals_the_sdks(vector):
    given_, expected = vector["input"], vector["expected"]
    signer = EvmSigner(Secret(given_["private_key"]))
    if vector["scheme"] == "hl-user-signed":
        made = signer.sign_user("UsdSend", given_["action"], given_["is_mainnet"])
    else:
        arguments = (given_["nonce"], given_["vault_address"], given_["expires_after"])
        assert expected["connection_id"] == "0x" + action_hash(given_["action"], *arguments).hex()
        made = signer.sign_l1(given_["action"], *arguments, given_["is_mainnet"])
    assert numbers(expected["signature"]) == numbers(made)


def agent_message(connection_id, source):
    """The typed data as the venue's documents state it, for a general EIP-712 library."""
    return {
        "domain": {"chainId": 1337, "name": "Exchange", "version": "1",
                   "verifyingContract": "0x" + "0" * 40},
        "types": {
            "Agent": [{"name": "source", "type": "string"},
                      {"name": "connectionId", "type": "bytes32"}],
            "EIP712Domain": [{"name": "name", "type": "string"},
                             {"name": "version", "type": "string"},
                             {"name": "chainId", "type": "uint256"},
                             {"name": "verifyingContract", "type": "address"}],
        },
        "primaryType": "Agent",
        "message": {"source": source, "connectionId": connection_id},
    }  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(
    key=st.integers(1, 2**255),
    nonce=st.integers(0, 2**64 - 1),
    expires=st.none() | st.integers(0, 2**63),
    mainnet=st.booleans(),
    asset=st.integers(0, 2**31),
)
def test_l1_signature_recovers_to_our_address_by_another_library(
    key, nonce, expires, mainnet, asset
):
    signer = EvmSigner(Secret(f"{key:064x}"))
    action = {"type": "cancelByCloid", "cancels": [{"asset": asset, "cloid": "0x" + "a" * 32}]}
    made = signer.sign_l1(action, nonce, None, expires, mainnet)
    connection = action_hash(action, nonce, None, expires)
    message = encode_typed_data(full_message=agent_message(connection, "a" if mainnet else "b"))
    recovered = Account.recover_message(message, vrs=(made["v"], made["r"], made["s"]))
    assert signer.address == recovered
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    assert int(made["s"], 16) <= order // 2
    assert len(made["r"]) == len(made["s"]) == 66


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        (
            "SendAsset",
            "destination:string,sourceDex:string,destinationDex:string,token:string,"
            "amount:string,fromSubAccount:string,nonce:uint64",
            {"destination": "0x" + "5" * 40, "sourceDex": "", "destinationDex": "spot",
             "token": "USDC:0x6d1e7cde53ba9467b783cb7c530ce054", "amount": "1.5",
             "fromSubAccount": "", "nonce": 1790000000000},
        ),
        (
            "TokenDelegate",
            "validator:address,wei:uint64,isUndelegate:bool,nonce:uint64",
            {"validator": "0x" + "7" * 40, "wei": 12, "isUndelegate": True, "nonce": 3},
        ),
        (
            "ApproveBuilderFee",
            "maxFeeRate:string,builder:address,nonce:uint64",
            {"maxFeeRate": "0.001%", "builder": "0x" + "8" * 40, "nonce": 4},
        ),
    ],
)  # fmt: skip
def test_user_action_signature_recovers_by_another_library(name, fields, message):
    signer = EvmSigner(Secret(KEY))
    made = signer.sign_user(name, message, mainnet=True)
    listed = ["hyperliquidChain:string", *fields.split(",")]
    typed = agent_message(b"", "")
    typed["domain"] |= {"name": "HyperliquidSignTransaction", "chainId": 0x66EEE}
    primary = f"HyperliquidTransaction:{name}"
    del typed["types"]["Agent"]
    typed["types"][primary] = [
        {"name": field.partition(":")[0], "type": field.partition(":")[2]} for field in listed
    ]
    typed["primaryType"] = primary
    typed["message"] = {**message, "hyperliquidChain": "Mainnet"}
    recovered = Account.recover_message(
        encode_typed_data(full_message=typed), vrs=(made["v"], made["r"], made["s"])
    )
    assert signer.address == recovered


def test_sign_of_bytes_recovers_to_our_key():
    signer = EvmSigner(Secret(KEY))
    raw = signer.sign(b"payload")
    recovered = Account._recover_hash(
        keccak256(b"payload"),
        vrs=(raw[64], int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:64], "big")),
    )
    assert len(raw) == 65
    assert signer.address == recovered


def test_key_without_prefix_and_with_blanks_is_the_same_wallet():
    assert EvmSigner(Secret(KEY)).address == EvmSigner(Secret(f" {KEY[2:].upper()}\n")).address


@pytest.mark.parametrize(
    "text", ["", "0x12", "z" * 64, "0x" + "1" * 63, "0x" + "1" * 65, "0" * 64, "f" * 64]
)
def test_bad_key_is_refused_and_never_shown(text):
    with pytest.raises(ConfigError) as caught:
        EvmSigner(Secret(text))
    assert not text or text not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_repr_shows_the_address_and_not_the_key():
    signer = EvmSigner(Secret(KEY))
    assert repr(signer) == f"EvmSigner({signer.address})"
    assert KEY[2:] not in repr(vars(signer))


@pytest.mark.parametrize(
    "bad",
    [
        {"p": 80000.5},
        {"p": float("nan")},
        {"a": -1},
        {"a": 2**64},
        {"c": "0x" + "1" * 33},
        {"c": "1" * 34},
        {"c": "0x" + "g" * 32},
        {"s": b"1"},
        {"s": ("1",)},
        {3: "x"},
    ],
)
def test_action_that_would_be_misread_is_refused(bad):
    action = {**ORDER, "orders": [ORDER["orders"][0] | bad]}
    with pytest.raises(UnitError):
        action_hash(action, 1)


def test_action_nested_without_end_is_refused():
    action = {"type": "order"}
    action["orders"] = [action]
    with pytest.raises(UnitError, match="nests deeper"):
        action_hash(action, 1)


@pytest.mark.parametrize("nonce", [-1, 2**64, 1.5, True, None, "1"])
def test_nonce_that_is_no_unsigned_word_is_refused(nonce):
    with pytest.raises(UnitError):
        action_hash(ORDER, nonce)


@pytest.mark.parametrize("vault", ["", "0x12", "0x" + "g" * 40, 5])
def test_vault_that_is_no_address_is_refused(vault):
    with pytest.raises(UnitError, match="vault"):
        action_hash(ORDER, 1, vault)


def test_order_of_keys_changes_the_hash():
    turned = {"orders": ORDER["orders"], "type": "order", "grouping": "na"}
    assert action_hash(ORDER, 1) != action_hash(turned, 1)


def test_networks_sign_differently():
    connection = action_hash(ORDER, 1)
    assert l1_digest(connection, True) != l1_digest(connection, False)


def test_user_action_unknown_missing_or_malformed_is_refused():
    good = {"destination": "0x" + "5" * 40, "amount": "1", "time": 1}
    with pytest.raises(ConfigError, match="unknown action"):
        user_digest("Order", good, False)
    for bad in ({"time": -1}, {"time": 1.0}, {"amount": 1}):
        with pytest.raises(UnitError):
            user_digest("UsdSend", good | bad, False)
    with pytest.raises(UnitError, match="lacks the field amount"):
        user_digest("UsdSend", {"destination": "x", "time": 1}, False)
    with pytest.raises(UnitError, match="not true or false"):
        user_digest("UsdClassTransfer", {"amount": "1", "toPerp": 1, "nonce": 1}, False)


@given(value=st.integers(0, 2**62), scale=st.integers(0, 8))
def test_number_text_is_the_vendors_text_exactly(value, scale):
    text = number_text(value, scale)
    whole, _, fraction = text.partition(".")
    assert int(whole) * 10**scale + int(fraction.ljust(scale, "0") or 0) == value
    assert not fraction.endswith("0")
    assert "e" not in text.lower()
    assert text == "0" or not text.startswith("0") or text.startswith("0.")


@pytest.mark.parametrize("value", [1.5, float("nan"), "1", True, None])
def test_number_text_of_no_int_is_refused(value):
    with pytest.raises(UnitError):
        number_text(value, 2)


def test_number_text_negative_or_too_fine_is_refused():
    with pytest.raises(UnitError, match="negative"):
        number_text(-1, 2)
    with pytest.raises(UnitError, match="decimals"):
        number_text(1, 9)
    assert number_text(10, 9) == "0.00000001"


def test_checksum_address_matches_the_published_examples():
    for text in (
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ):
        assert text == checksum_address(bytes.fromhex(text[2:]))
    with pytest.raises(UnitError):
        checksum_address(b"12")


def test_digest_of_wrong_length_is_refused():
    with pytest.raises(UnitError, match="32 bytes"):
        EvmSigner(Secret(KEY)).sign_digest(b"1")
