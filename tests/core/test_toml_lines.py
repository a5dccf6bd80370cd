"""The line of every key, checked against the standard parser's idea of the same text."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.toml_lines import key_lines

TEXT = '''\
# comment = 1
top = 1
"quoted key" = "a # no comment = 2"

[a]
  b.c = 1   # deep
  b . "d.e" = [1,
    2, # two
    { x = 3, y = [
      4] } ]
[a.sub]
s = """
not = "a key"
\\""" still """
t = \'\'\'
[nor.this]
\'\'\'
[[many]]
n = 1
[[many]]
n = 2
[many.under]
u = { v.w = 1, "z" = [] }
last = 1979-05-27T07:32:00Z
'''


def paths(value, at=()):
    """Return the path of every key and item of a parsed document."""
    found = set()
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        found.add((*at, key))
        if isinstance(item, dict | list):
            found |= paths(item, (*at, key))
    return found


def test_lines_of_a_document_with_everything_in_it():
    lines = key_lines(TEXT)
    assert set(lines) == paths(tomllib.loads(TEXT))
    expected = {
        ("top",): 2, ("quoted key",): 3, ("a",): 5, ("a", "b", "c"): 6, ("a", "b", "d.e"): 7,
        ("a", "b", "d.e", 0): 7, ("a", "b", "d.e", 1): 8, ("a", "b", "d.e", 2, "x"): 9,
        ("a", "b", "d.e", 2, "y", 0): 10, ("a", "sub"): 11, ("a", "sub", "t"): 15,
        ("many", 0, "n"): 19, ("many", 1, "n"): 21, ("many", 1, "under", "u", "v", "w"): 23,
        ("many", 1, "under", "last"): 24,
    }  # fmt: skip
    assert {path: lines[path] for path in expected} == expected


KEYS = st.text('ab-_1é."\\ \t#=[', min_size=1, max_size=4)
SCALARS = st.one_of(
    st.integers(-5, 10**6).map(str),
    st.sampled_from(
        ["true", "1.5e3", "1979-05-27", "nan", '""', "''", '"""x\n y"""', "'''\n'#'''"]
    ),
)


def quoted(key):
    body = "".join(f"\\u{ord(c):04X}" if c in '"\\\t' or ord(c) > 127 else c for c in key)
    return key if key.isascii() and key.replace("-", "_").isidentifier() else f'"{body}"'


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[ # list\n" + ",\n".join(items) + "\n]"),
        st.dictionaries(KEYS, SCALARS.filter(lambda s: "\n" not in s), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{quoted(k)} = {v}" for k, v in pairs.items()) + "}"
        ),
    ),
    max_leaves=6,
)


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=4))
def test_lines_of_any_document_name_every_key_and_only_keys(tables):
    parts = []
    for name, pairs in tables.items():
        parts.append(f"\n[ {quoted(name)} ] # table")
        parts += [f"{quoted(key)}\t= {value}" for key, value in pairs.items()]
    text = "\n".join(parts)
    lines = key_lines(text)
    assert set(lines) == paths(tomllib.loads(text))
    rows = text.split("\n")
    for (name, *rest), line in lines.items():
        if not rest:
            assert quoted(name) in rows[line - 1]


@pytest.mark.parametrize(
    "text", ["[", "[[", "a", "a.", "= 1", '"', "a = [", "a = {", "a = {b", "]]"]
)
def test_lines_of_broken_text_end_without_harm(text):
    assert isinstance(key_lines(text), dict)


@given(st.text(max_size=80))
def test_lines_of_any_text_end_without_harm(text):
    assert all(1 <= line <= text.count("\n") + 1 for line in key_lines(text).values())
