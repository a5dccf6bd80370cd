"""How a mistake in a config is put into words: keys, values that may be shown, near misses."""

import difflib
import re
from typing import Any

from alephtx.core.backtest_schema import PATH
from alephtx.core.config_schema import INSTRUMENT_KEY, NAME
from alephtx.core.secrets import is_secret_name, looks_like_secret

Key = tuple[str | int, ...]

FORMS = {
    PATH: "that is a path",
    INSTRUMENT_KEY: "such as binance_spot:BTC-USDT",
    NAME: "of lower-case letters, digits and _, at most 32, a letter first",
}


def dotted(key: Key) -> str:
    """Return a key's path as a user would write it."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", part) else repr(part[:64])
            shown = "'...'" if looks_like_secret(part) else shown
            text += f".{shown}" if text else shown
    return text


def shown(value: Any, at: Key = ()) -> str:
    """Return a value as text for an error, cut, and hidden where it could be a secret."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 64:
        return "an integer beyond 64 bits"
    hidden = any(is_secret_name(part) for part in at if isinstance(part, str))
    text = str(value) if not isinstance(value, str) else repr(value)
    if hidden or looks_like_secret(text):
        return "a value that is not shown"
    text = str(value).lower() if isinstance(value, bool) else text
    return text if len(text) <= 60 else f"{text[:57]}..."


def plainly(said: str) -> tuple[tuple[int, ...], str]:
    """Return the list index that msgspec's message is about, and the message in a user's words."""
    words = {"`str`": "text", "`int`": "an integer", "`bool`": "true or false", "`array`": "a list"}
    words |= {"`object`": "a table", "`float`": "a float", "`decimal`": "a float"}
    words |= {f"matching regex {pattern!r}": form for pattern, form in FORMS.items()}
    for term, plain in words.items():
        said = said.replace(term, plain)
    said, _, where = said.partition(" - at `$")
    index = re.match(r"\[(\d+)\]", where)
    return ((int(index[1]),) if index else ()), said[:1].lower() + said[1:]


def near(name: Any, known: list[str]) -> str:
    """Return a remedy: the known names closest to a wrong one."""
    close = difflib.get_close_matches(str(name)[:64], known, n=2)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(known[:20])}" if known else ""
