"""A secret never shows, and a reference that cannot be resolved says what to do."""

import copy
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.errors import ConfigError
from alephtx.core.secrets import (
    FILE_BYTES_MAX,
    MASK,
    Secret,
    is_reference,
    is_secret_name,
    looks_like_secret,
    resolve,
    scrub,
)

TEXT = "hunter2-hunter2"


@pytest.mark.smoke
def test_secret_in_any_text_shows_as_mask():
    secret = Secret(TEXT)
    shown = f"{secret} {secret!r} {secret!s} {[secret]} {secret:>40}"
    assert TEXT not in shown
    assert repr(secret) == MASK
    assert secret.reveal() == TEXT


def test_secret_pickled_or_copied_to_bytes_is_refused():
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(TEXT))
    with pytest.raises(TypeError):
        copy.copy(Secret(TEXT))


def test_secrets_compare_by_text_and_only_with_secrets():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")
    assert Secret("a")


def test_resolve_env_reads_the_given_environment():
    assert resolve("env:KEY", {"KEY": " abc \n"}).reveal() == "abc"


@pytest.mark.parametrize("environment", [{}, {"KEY": ""}, {"KEY": "  "}])
def test_resolve_env_missing_or_empty_names_the_variable(environment):
    with pytest.raises(ConfigError, match="environment variable KEY is not set") as caught:
        resolve("env:KEY", environment)
    assert "export KEY" in caught.value.remedy


def test_resolve_env_uses_the_process_environment(monkeypatch):
    monkeypatch.setenv("ALEPHTX_TEST_KEY", "abc")
    assert resolve("env:ALEPHTX_TEST_KEY").reveal() == "abc"


@pytest.mark.parametrize(
    "reference", ["", "abcdefgh", "env:", "file:", "vault:x1", "twin:", "env:a b1"]
)
def test_resolve_without_a_proper_reference_never_shows_it(reference):
    with pytest.raises(ConfigError) as caught:
        resolve(reference, {})
    assert reference.endswith(":") or not reference or reference not in str(caught.value)


def secret_file(folder, data=b"abc\n", mode=0o600):
    path = folder / "key"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_resolve_file_drops_one_newline(tmp_path, ending):
    assert resolve(f"file:{secret_file(tmp_path, b'a b' + ending)}").reveal() == "a b"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_resolve_file_open_to_others_is_refused(tmp_path, mode):
    with pytest.raises(ConfigError, match="chmod 600"):
        resolve(f"file:{secret_file(tmp_path, mode=mode)}")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"\xff\xfe", "UTF-8"),
        (b"a" * (FILE_BYTES_MAX + 1), "larger"),
    ],
)
def test_resolve_file_with_useless_content_is_refused(tmp_path, data, said):
    with pytest.raises(ConfigError, match=said):
        resolve(f"file:{secret_file(tmp_path, data)}")


def test_resolve_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        resolve(f"file:{tmp_path}/none")
    with pytest.raises(ConfigError, match="directory"):
        resolve(f"file:{tmp_path}")
    with pytest.raises(ConfigError, match="not a regular file"):
        resolve("file:/dev/null")
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve("file:/a\0b")


def test_resolve_twin_is_stable_and_differs_by_name():
    assert resolve("twin") == resolve("twin")
    assert resolve("twin") != resolve("twin:second")
    assert len(bytes.fromhex(resolve("twin").reveal())) == 32


@given(st.text(max_size=40))
def test_is_reference_agrees_with_resolve(text):
    if text.startswith("file:"):
        return
    try:
        resolve(text, dict.fromkeys([text[4:]], "value"))
    except ConfigError:
        assert not is_reference(text) or text.startswith("env:")
    else:
        assert is_reference(text)


@pytest.mark.parametrize(
    "name",
    ["key", "api_key", "apiKey", "X-MBX-APIKEY", "secret", "listenKey", "privateKey", "auth_token",
     "signature", "PASSPHRASE", "Authorization", "API_SECRET"],
)  # fmt: skip
def test_is_secret_name_of_secrets_is_true(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["monkey", "keyboard", "instrument", "broken", "signed", "design"])
def test_is_secret_name_of_other_words_is_false(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "text",
    ["0x" + "4f3c2b1a" * 8, "4F3C2B1A" * 4, "8c7f2d51-6a7e-4bb1-9c0d-2f6f7d8a9b0c",
     "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
     "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==",
     "key=vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6", "https://h/" + "4f3c2b1a" * 4],
)  # fmt: skip
def test_looks_like_secret_of_a_key_is_true(text):
    assert looks_like_secret(text)


@pytest.mark.parametrize(
    "text",
    ["binance_usdm:BTC-USDT-PERP", "z" * 64, "1" * 77, "0x" + "4f3c2b1a" * 5, "market_maker",
     "/home/User1/projects/trading-2026/strategies/Mine.py", "~/A1/bcdefghijklmnopqrstuvwxyzABCD/2",
     "https://testnet.example.org/a/long/path/With/Capitals/1", "2026-01-31T12:00:00.000000Z"],
)  # fmt: skip
def test_looks_like_secret_of_names_numbers_addresses_and_paths_is_false(text):
    assert not looks_like_secret(text)


def test_scrub_masks_living_secrets_and_signatures():
    secret = Secret(TEXT)
    assert scrub(f"GET /x?symbol=A&key={TEXT}") == f"GET /x?symbol=A&key={MASK}"
    assert scrub("/x?symbol=A&signature=ab12&b=1") == f"/x?symbol=A&signature={MASK}&b=1"
    assert scrub("nothing here") == "nothing here"
    assert secret


def test_scrub_forgets_dead_secrets():
    text = "x" + os.urandom(8).hex()
    secret = Secret(text)
    assert scrub(text) == MASK
    del secret
    assert scrub(text) == text
