"""Order ids survive every text form, and what is not ours is never taken for ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core import identity
from alephtx.core.errors import ConfigError

IDS = st.integers(1, (1 << 63) - 1)


@pytest.mark.smoke
@given(IDS)
def test_order_id_survives_both_text_forms(order_id):
    text, cloid = identity.to_text(order_id), identity.to_cloid(order_id)
    assert len(text) == 15
    assert len(cloid) == 34
    assert identity.from_text(text) == order_id
    assert identity.from_cloid(cloid) == order_id


@given(st.integers(0, 511), st.integers(1, (1 << 14) - 1), st.integers(0, (1 << 40) - 1))
def test_order_id_splits_into_its_parts_and_stays_positive(engine, epoch, counter):
    order_id = identity.first_order_id(engine, epoch) + counter
    assert identity.split_order_id(order_id) == (engine, epoch, counter)
    assert 0 < order_id < 1 << 63


@pytest.mark.parametrize(("engine", "epoch"), [(-1, 1), (512, 1), (1, 0), (1, 1 << 14)])
def test_first_order_id_outside_its_range_is_refused(engine, epoch):
    with pytest.raises(ConfigError, match="outside"):
        identity.first_order_id(engine, epoch)


@pytest.mark.parametrize(
    "text", ["", "ax", "x" * 15, "ax" + "z" * 13, "ax" + "0" * 12, "AX" + "0" * 13,
     "ax00000000000é0",
             "ax00000000000A0", "web_abcdefghijk", "ax00000 0000000"],
)  # fmt: skip
def test_text_that_is_not_ours_is_zero(text):
    assert identity.from_text(text) == 0


@pytest.mark.parametrize(
    "text", [None, "", "0x", "0x" + "0" * 32, "0x" + "f" * 32, "0x" + "g" * 32, "0x" + "6" * 31,
             "1x616c65706874783100000000000000ff", "0x-16c65706874783100000000000000ff"],
)  # fmt: skip
def test_cloid_that_is_not_ours_is_zero(text):
    assert identity.from_cloid(text) == 0


@given(st.text(max_size=40))
def test_any_text_is_decoded_without_harm(text):
    for value in (identity.from_text(text), identity.from_cloid(text)):
        assert 0 <= value < 1 << 64
