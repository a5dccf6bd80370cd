"""Say in which line of a TOML text a key stands; the standard parser keeps no line numbers.

Works on text that `tomllib` has accepted, so it only has to find its way, not to judge. Knows
tables, arrays of tables, dotted and quoted keys, inline tables, arrays, comments and strings.
"""

import re

Path = tuple[str | int, ...]

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\r\n#]*")
_STRINGS = (
    re.compile(r'"""(?:\\.|[^\\])*?"""(?:""|")?(?!")', re.DOTALL),
    re.compile(r"'''.*?'''(?:''|')?(?!')", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\\n])*"'),
    re.compile(r"'[^'\n]*'"),
)
_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([btnfre"\\]))')
_ESCAPED = {
    "b": "\b",
    "t": "\t",
    "n": "\n",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
    '"': '"',
    "\\": "\\",
}


def key_lines(text: str) -> dict[Path, int]:
    """Return the line (from 1) of every table, key and array item, by its path.

    `[venues.okx]` with `symbols = ["BTC"]` gives ("venues",), ("venues", "okx"), ("venues", "okx",
    "symbols") and ("venues", "okx", "symbols", 0). Cost: linear in the text.
    """
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.counted = 0
        self.found: dict[Path, int] = {}
        self.arrays: dict[Path, int] = {}

    def run(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip(_BLANK) and self.at < len(self.text):
            before = self.at
            if self.text.startswith("[[", self.at):
                self.at += 2
                table = self._table(self._keys(), repeated=True)
                self.at = self.text.find("]]", self.at) + 2
            elif self.text[self.at] == "[":
                self.at += 1
                table = self._table(self._keys(), repeated=False)
                self.at = self.text.find("]", self.at) + 1
            else:
                self._pair(table)
            if self.at <= before:  # not TOML after all: what was found so far stands
                break
        return self.found

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return match is not None

    def _note(self, path: Path) -> None:
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        for length in range(1, len(path) + 1):
            self.found.setdefault(path[:length], self.line)

    def _table(self, keys: list[str], *, repeated: bool) -> Path:
        """Return the path of a table header; inside arrays of tables it means the last item."""
        path: Path = ()
        for position, key in enumerate(keys):
            path = (*path, key)
            last = position == len(keys) - 1
            if last and repeated:
                self.arrays[path] = self.arrays.get(path, -1) + 1
            if path in self.arrays:
                path = (*path, self.arrays[path])
        self._note(path)
        return path

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            match = _BARE_KEY.match(self.text, self.at)
            if match is not None:
                keys.append(match.group())
                self.at = match.end()
            else:
                keys.append(self._quoted())
            self._skip(_SPACE)
            if self.text[self.at : self.at + 1] != ".":
                return keys
            self.at += 1

    def _quoted(self) -> str:
        for pattern in _STRINGS[2:]:
            match = pattern.match(self.text, self.at)
            if match is not None:
                self.at = match.end()
                body = match.group()[1:-1]
                return _ESCAPE.sub(_unescape, body) if match.group()[0] == '"' else body
        return ""

    def _pair(self, table: Path) -> None:
        path = (*table, *self._keys())
        self._note(path)
        if self.text[self.at : self.at + 1] == "=":
            self.at += 1
            self._skip(_SPACE)
            self._value(path)

    def _value(self, path: Path) -> None:
        opening = self.text[self.at : self.at + 1]
        if opening == "[":
            self._list(path)
        elif opening == "{":
            self._inline(path)
        elif opening in ("'", '"'):
            any(self._skip(pattern) for pattern in _STRINGS)
        else:
            self._skip(_SCALAR)

    def _list(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self._skip(_BLANK) and self.at < len(self.text):
            before = self.at
            if self.text[self.at] == "]":
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._note((*path, index))
            self._value((*path, index))
            index += 1
            if self.at == before:
                return

    def _inline(self, path: Path) -> None:
        self.at += 1
        while self._skip(_BLANK) and self.at < len(self.text):
            before = self.at
            if self.text[self.at] == "}":
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._pair(path)
            if self.at == before:
                return


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else _ESCAPED[match[3]]
