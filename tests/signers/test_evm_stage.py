"""L1 actions signed in a kernel: the library's bytes, and signatures others accept."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from alephtx.core.kernel import JIT
from alephtx.core.secrets import Secret
from alephtx.signers.evm import EvmSigner, keccak256, l1_digest
from alephtx.signers.evm_stage import REFUSED
from tests.signers.staged import enter

GOLDEN = Path(__file__).parent.parent / "golden" / "hyperliquid"
ACTIONS = [
    vector
    for vector in json.loads((GOLDEN / "signing.json").read_text())["vectors"]
    if vector["kind"] == "l1_action"
]
KEY = "0x" + "12" * 32
SIZES = (0, 1, 55, 56, 63, 64, 65, 135, 136, 137, 170, 4096)
pytestmark = pytest.mark.kernel


def preimage(action, nonce, vault, expires):
    """What the vendor's SDK hashes, packed here anew."""
    data = msgpack.packb(action) + nonce.to_bytes(8, "big")
    data += b"\0" if vault is None else b"\1" + bytes.fromhex(vault[2:])
    return data if expires is None else data + b"\0" + expires.to_bytes(8, "big")


def agent_signer(payload, signature, mainnet):
    """Who signed, by eth-account: it knows EIP-712 on its own."""
    message = encode_typed_data(
        domain_data={"name": "Exchange", "version": "1", "chainId": 1337,
                     "verifyingContract": "0x" + "0" * 40},
        message_types={"Agent": [{"name": "source", "type": "string"},
                                 {"name": "connectionId", "type": "bytes32"}]},
        message_data={"source": "a" if mainnet else "b", "connectionId": keccak256(payload)},
    )  # fmt: skip
    return Account.recover_message(message, signature=signature)


def test_golden_actions_are_all_there():
    assert len(ACTIONS) >= 20


@pytest.mark.parametrize("index", range(len(ACTIONS)))
def test_stage_signature_of_each_vector_equals_the_sdks(index):
    vector = ACTIONS[index]
    signer = EvmSigner(Secret(vector["private_key"]))
    arguments = (
        vector["action"],
        vector["nonce"],
        vector["vault_address"],
        vector["expires_after"],
    )
    raw = enter(signer.stage(vector["is_mainnet"]), preimage(*arguments))
    said = vector["signature"]
    assert int.from_bytes(raw[:32], "big") == int(said["r"], 16)
    assert int.from_bytes(raw[32:64], "big") == int(said["s"], 16)
    assert raw[64] == said["v"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mainnet", [True, False])
def test_stage_payload_of_any_size_equals_the_python_way(size, mainnet):
    payload = bytes(k * 7 % 251 for k in range(size))
    signer = EvmSigner(Secret(KEY))
    raw = enter(signer.stage(mainnet), payload)
    assert raw == signer.sign_digest(l1_digest(keccak256(payload), mainnet))
    assert agent_signer(payload, raw, mainnet) == signer.address


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=500), st.integers(1, 2**200), st.booleans())
def test_stage_any_key_and_payload_equals_the_python_way(payload, key, mainnet):
    signer = EvmSigner(Secret(f"{key:064x}"))
    expected = signer.sign_digest(l1_digest(keccak256(payload), mainnet))
    assert enter(signer.stage(mainnet), payload) == expected


def test_stage_of_closed_signer_refuses_and_forgets_the_key():
    signer = EvmSigner(Secret(KEY), 2)
    stage = signer.stage(False)
    signer.pool.fill()
    assert len(enter(stage, b"x")) == 65
    signer.close()
    assert enter(stage, b"x") == REFUSED
    assert not stage.owners[0].words.any()
    with pytest.raises(AssertionError, match="closed"):
        signer.sign(b"x")
    with pytest.raises(AssertionError, match="closed"):
        signer.stage(False)


def test_stage_negative_size_is_refused():
    assert enter(EvmSigner(Secret(KEY)).stage(False), b"x", -1) == REFUSED


def test_stage_that_nobody_holds_leaves_no_key():
    signer = EvmSigner(Secret(KEY))
    words = signer.stage(False).owners[0].words
    assert words.any()
    del signer
    gc.collect()
    assert not words.any()


SCRIPT = """
import ctypes, json, sys
import numpy as np
from alephtx.core import kernel
from alephtx.core.secrets import Secret
from alephtx.signers.evm import EvmSigner
kernel.prefer_stored()
stage = EvmSigner(Secret("0x" + "12" * 32)).stage(False)
address, owner = kernel.address_of(stage.function, np.zeros(1, np.int64), 0, 0)
state, payload = stage.state, np.frombuffer(b"payload", np.uint8)
# An array is seven words to compiled code.
enter = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 9)(address)
n = enter(0, 0, len(state), 8, state.ctypes.data, len(state), 8, payload.ctypes.data, 7)
words = ctypes.c_int64.from_address(int(state[0]))
print(json.dumps(["numba.core" in sys.modules, ctypes.string_at(words.value, n).hex()]))
"""


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_stage_of_kept_code_signs_in_a_fresh_process_without_the_compiler(tmp_path):
    """Library addresses are data: code that named them would crash in the next process."""
    environment = {**os.environ, "ALEPHTX_CACHE": str(tmp_path / "cache")}
    told = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            capture_output=True, text=True, env=environment, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout))
    digest = l1_digest(keccak256(b"payload"), False)
    expected = EvmSigner(Secret(KEY)).sign_digest(digest).hex()
    assert told == [[True, expected], [False, expected]]


def test_key_and_midwords_do_not_show():
    stage = EvmSigner(Secret(KEY)).stage(False)
    assert "12121212" not in repr(stage)
    assert str(int(np.frombuffer(b"\x12" * 8, np.int64)[0])) not in repr(stage)
