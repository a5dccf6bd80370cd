"""Markup that is escaped by construction: a plain string is text, only `Html` is markup."""

import html
import json
from collections.abc import Iterable
from typing import Any

VOID = ("meta", "link", "br")

# What could end a script element, open a comment in it, or break a line of JavaScript.
_IN_SCRIPT = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


class Html(str):
    """Markup."""

    __slots__ = ()


Part = str | Iterable[Any] | None


def text(part: Part) -> str:
    """Return a part as markup: strings are escaped, None is nothing, iterables are joined."""
    if part is None:
        return ""
    if isinstance(part, Html):
        return str(part)
    if isinstance(part, str):
        return html.escape(part, quote=True)
    return "".join(text(one) for one in part)


def tag(name: str, /, *children: Part, **attributes: str | bool | None) -> Html:
    """Return an element. class_ stands for class, data_x for data-x; None and False are nothing."""
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        plain = key.rstrip("_").replace("_", "-")
        said = "" if value is True else f'="{html.escape(str(value), quote=True)}"'
        written.append(f" {plain}{said}")
    opened = f"<{name}{''.join(written)}>"
    if name in VOID:
        return Html(opened)
    return Html(f"{opened}{text(children)}</{name}>")


def table(
    headers: Iterable[str], rows: Iterable[Iterable[Part]], *, left: int = 1, caption: str = ""
) -> Html:
    """Return a table; the first `left` columns are words, the others numbers (right-aligned)."""
    names = list(headers)
    made = [
        tag("tr", [tag("td", cell, class_=None if k < left else "n") for k, cell in enumerate(row)])
        for row in rows
    ]
    if not made:
        made = [tag("tr", tag("td", "nothing", colspan=str(len(names)), class_="none"))]
    head = [tag("th", name, class_=None if k < left else "n") for k, name in enumerate(names)]
    inside = [
        tag("caption", caption) if caption else None,
        tag("thead", tag("tr", head)),
        tag("tbody", made),
    ]
    return tag("div", tag("table", inside), class_="scroll")


def data_block(identity: str, encoded: bytes) -> Html:
    """Return JSON as a data block that no value of it can leave."""
    decoded = encoded.decode().translate(_IN_SCRIPT)
    json.loads(decoded)  # the escapes are JSON's own; anything else would be a bug here
    return Html(f'<script type="application/json" id="{identity}">{decoded}</script>')
