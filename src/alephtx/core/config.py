"""Read a config file: every mistake is found at once, with its line, its value and the remedy.

    config = load_config("config.toml")

The tables are in `config_schema`. Nothing here is global: the value is handed on. Secrets are never
read here beyond asking whether they are there, and values that could be secrets are never shown.
"""

import re
import tomllib
import typing
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from alephtx.core import toml_lines
from alephtx.core.backtest_schema import moment_text
from alephtx.core.config_check import SECRET_KEYS, CrossCheck
from alephtx.core.config_schema import (
    CURRENCY,
    INSTRUMENT_KEY,
    NAME,
    Account,
    BacktestConfig,
    Config,
    MachineConfig,
    MatrixConfig,
    Node,
    Risk,
    Shared,
    Strategy,
    VenueConfig,
)
from alephtx.core.config_words import Key, dotted, near, plainly, shown
from alephtx.core.errors import ConfigError, Finding
from alephtx.core.secrets import is_reference, is_secret_name, looks_like_secret

__all__ = ["Account", "Config", "MatrixConfig", "Node", "Risk", "Strategy", "VenueConfig"]
__all__ += ["BacktestConfig", "load_config", "parse_config"]

FILE_BYTES_MAX = 1 << 20
TABLES_MAX = {"venues": 16, "accounts": 64, "strategies": 64}
OWN_DEPTH_MAX = 4
SCOPED_MAX = 4_096
FINDINGS_MAX = 50
EXPONENT_MAX = 30

_AMOUNT = re.compile(r"-?\d{1,24}(\.\d{1,18})?", re.ASCII)
_WHERE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")


def load_config(
    path: str | Path, environment: Mapping[str, str] | None = None, *, mode: str = ""
) -> Config:
    """Read, check and return a config, or raise ConfigError with one line per mistake.

    environment: where `env:` references are looked up, os.environ unless given. In paper mode
    secrets may be missing, because nothing is signed. mode: stands for node.mode when given, and
    all that is checked is checked for it.
    """
    file = Path(path)
    try:
        with file.open("rb") as handle:
            data = handle.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no config file {path}", remedy="alephtx init") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"config file {path} cannot be read: {reason}") from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"config file {path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        finding = Finding(str(path), line, "", "not UTF-8 text", "save the file as UTF-8")
        raise ConfigError(str(finding), findings=(finding,)) from None
    return parse_config(text, str(path), environment, mode=mode)


def parse_config(
    text: str,
    path: str = "config.toml",
    environment: Mapping[str, str] | None = None,
    *,
    mode: str = "",
) -> Config:
    """Check the text of a config; path is named in errors, and relative paths start from it."""
    reader = _Reader(text.replace("\r\n", "\n"), path, mode)
    config = reader.read()
    if config is not None:
        CrossCheck(reader.find, reader.raw, config, environment).run()
    if reader.findings or config is None:
        found = tuple(sorted(reader.findings, key=lambda finding: finding.line))
        lines = [str(finding) for finding in found[:FINDINGS_MAX]]
        if len(found) > FINDINGS_MAX:
            lines.append(f"{path}: and {len(found) - FINDINGS_MAX} more")
        raise ConfigError("\n".join(lines), findings=found)
    return config


class _Reader:
    """Turns text into Structs table by table and collects what is wrong."""

    def __init__(self, text: str, path: str, mode: str = "") -> None:
        self.text = text
        self.path = path
        self.mode = mode
        self.folder = Path(path).absolute().parent
        self.findings: list[Finding] = []
        self.lines: dict[Key, int] = {}

    def find(self, key: Key, problem: str, remedy: str = "") -> None:
        """Note a mistake at a key; a missing key stands at the line of its table."""
        line, above = 0, key
        while above and not line:
            line, above = self.lines.get(above, 0), above[:-1]
        self.findings.append(Finding(self.path, line, dotted(key), problem, remedy))

    def read(self) -> Config | None:
        """Return the config as far as single values go; None when that much is wrong."""
        raw = self._parse()
        if raw is None:
            return None
        if self.mode and isinstance(raw.setdefault("node", {}), dict):
            raw["node"]["mode"] = self.mode
        self.lines = toml_lines.key_lines(self.text)
        self._unknown((), raw, Config, hidden=("path",))
        single: dict[str, type[Any]] = {
            "node": Node, "matrix": MatrixConfig, "machine": MachineConfig, "risk": Risk,
        }  # fmt: skip
        made: dict[str, Any] = {
            name: self._struct((name,), raw.get(name, {}), kind) for name, kind in single.items()
        }
        for name, kind in {"shared": Shared, "backtest": BacktestConfig}.items():
            if name in raw:
                made[name] = self._struct((name,), raw[name], kind)
        many = {"venues": VenueConfig, "accounts": Account, "strategies": Strategy}
        for name, kind in many.items():
            made[name] = self._named(name, raw.get(name, {}), kind)
        self.raw = raw
        return None if self.findings else Config(**made, path=str(Path(self.path).absolute()))

    def _parse(self) -> dict[str, Any] | None:
        try:
            return tomllib.loads(self.text, parse_float=_exact)
        except tomllib.TOMLDecodeError as error:
            said = str(error)
            match = _WHERE.search(said)
            line = int(match[1]) if match and match[1] else self.text.count("\n") + 1
            problem = _WHERE.sub("", said)
            self.findings.append(Finding(self.path, line, "", f"not TOML: {problem}"))
        except RecursionError:
            self.findings.append(Finding(self.path, 0, "", "nested too deeply"))
        except ValueError as error:  # an integer of thousands of digits, an impossible date
            self.findings.append(Finding(self.path, 0, "", f"not TOML: {error}"))
        return None

    def _named(self, group: str, raw: object, kind: type[Any]) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self.find((group,), f"expected tables such as [{group}.name], got {shown(raw)}")
            return {}
        if group == "venues" and not raw:
            self.find((group,), "no venue", "add a table such as [venues.binance_spot]")
        if len(raw) > TABLES_MAX[group]:
            self.find((group,), f"{len(raw)} tables; at most {TABLES_MAX[group]}")
        made = {}
        for name, table in raw.items():
            if not re.match(NAME, name):
                remedy = "lower-case letters, digits and _, at most 32, a letter first"
                self.find((group, name), f"{shown(name)} is not a name", remedy)
            made[name] = self._struct((group, name), table, kind)
        return made

    def _struct(self, at: Key, raw: object, kind: type[Any]) -> Any:
        """Convert one table field by field, so that every mistake in it is seen."""
        if not isinstance(raw, dict):
            self.find(at, f"expected a table [{dotted(at)}], got {shown(raw)}")
            return None
        values: dict[str, Any] = {}
        if kind is not Strategy:
            self._unknown(at, raw, kind)
        before = len(self.findings)
        for field in msgspec.structs.fields(kind):
            if field.name == "own":
                named = {other.encode_name for other in msgspec.structs.fields(kind)} - {"own"}
                values["own"] = {k: v for k, v in raw.items() if k not in named}
                self._own(at, values["own"])
            elif field.name in raw:
                values[field.name] = self._field((*at, field.name), raw[field.name], field.type)
            elif field.required:
                self.find((*at, field.name), "is missing")
        if len(self.findings) > before:
            return None
        return kind(**self._anchored(values, kind))

    def _anchored(self, values: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
        """Make relative paths absolute, counted from the config's folder."""
        if kind is Node:
            values.setdefault("runs", Node().runs)
        if kind is BacktestConfig:
            values.setdefault("data", BacktestConfig().data)
        for name in ("runs", "plugins", "use", "data"):
            text = values.get(name)
            if text and (name != "use" or text.endswith(".py")):
                values[name] = _absolute(self.folder, text)
        return values

    def _field(self, at: Key, value: Any, kind: Any) -> Any:
        if (at[0] == "accounts" and at[-1] in SECRET_KEYS) or at == ("shared", "password"):
            return self._reference(at, value)
        if at == ("shared", "pool") and isinstance(value, str) and "@" in value:
            said = "an address takes no user and no password (not shown)"
            self.find(at, said, "set password to env:NAME or file:/path")
            return None
        if at[0] == "backtest" and at[-1] in ("tapes", "start", "end"):
            return self._tapes(at, value) if at[-1] == "tapes" else self._moment(at, value)
        if (inner := _struct_in(kind)) is not None:
            return self._struct(at, value, inner)
        if typing.get_origin(kind) is tuple and (inner := _struct_in(typing.get_args(kind)[0])):
            return self._rows(at, value, inner)
        if kind == dict[str, Decimal]:
            return self._amounts(at, value)
        if typing.get_origin(kind) is dict and isinstance(typing.get_args(kind)[1], type):
            return self._tables(at, value, typing.get_args(kind)[1])
        if kind is Decimal or kind == Decimal | None:
            return self._amount(at, value, signed=str(at[-1]).endswith("_bps"))
        if typing.get_origin(kind) is typing.Literal:
            self._choose(at, value, kind)
            return value
        if (words := _choices_in(kind)) is not None and isinstance(value, list):
            fit = [self._choose((*at, k), one, words) for k, one in enumerate(value)]
            if not all(fit):
                return None
        try:
            made = msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            place, said = plainly(str(error))
            item = value[place[0]] if place and isinstance(value, list) else value
            self.find((*at, *place), f"{shown(item, at)}: {said}")
            return None
        if isinstance(made, str) and looks_like_secret(made):
            self._refuse_literal(at)
        return made

    def _choose(self, at: Key, value: Any, kind: Any) -> bool:
        """Say whether a value is one of a Literal's; a mistake is noted, with what is near."""
        choices = [str(choice) for choice in typing.get_args(kind)]
        if value not in choices:
            self.find(at, f"{shown(value, at)} is not a choice", near(value, choices))
        return value in choices

    def _tables(self, at: Key, value: Any, kind: type[Any]) -> dict[str, Any]:
        """Return the tables of a scope, such as [risk.strategies.NAME]."""
        if not isinstance(value, dict):
            self.find(at, f"expected tables such as [{dotted(at)}.name], got {shown(value)}")
            return {}
        if len(value) > SCOPED_MAX:
            self.find(at, f"{len(value)} tables; at most {SCOPED_MAX}")
        return {name: self._struct((*at, name), table, kind) for name, table in value.items()}

    def _rows(self, at: Key, value: Any, kind: type[Any]) -> tuple[Any, ...]:
        """Return a list of small tables, such as tiers of a margin."""
        if not isinstance(value, list):
            names = ", ".join(f"{field.name} = ..." for field in msgspec.structs.fields(kind))
            self.find(at, f"expected a list, got {shown(value)}", f"write [{{ {names} }}, ...]")
            return ()
        if len(value) > SCOPED_MAX:
            self.find(at, f"{len(value)} tables; at most {SCOPED_MAX}")
            return ()
        return tuple(self._struct((*at, k), table, kind) for k, table in enumerate(value))

    def _tapes(self, at: Key, value: Any) -> dict[str, str]:
        """Return replay files by instrument, their paths made absolute."""
        if not isinstance(value, dict):
            said = f"expected instruments and files, got {shown(value, at)}"
            self.find(at, said, 'write { "venue:INSTRUMENT" = "file.ticks" }')
            return {}
        made = {}
        for key, path in value.items():
            if not re.fullmatch(INSTRUMENT_KEY, key):
                self.find((*at, key), "is no instrument", "such as binance_spot:BTC-USDT")
            elif not isinstance(path, str) or not 0 < len(path) < 256 or "\0" in path:
                self.find((*at, key), f"{shown(path, at)} is not a path")
            elif looks_like_secret(path):
                self._refuse_literal((*at, key))
            else:
                made[key] = _absolute(self.folder, path)
        return made

    def _moment(self, at: Key, value: Any) -> str:
        """Return a moment of UTC as text; TOML's own dates are taken too."""
        try:
            return moment_text(value)
        except ValueError:
            remedy = 'write "2024-08-08" or "2024-08-08T09:30:00Z"'
            self.find(at, f"{shown(value, at)} is not a moment of 1970 to 2261", remedy)
            return ""

    def _amounts(self, at: Key, value: Any) -> dict[str, Decimal] | None:
        """Return amounts by currency."""
        if not isinstance(value, dict):
            self.find(at, f"{shown(value, at)} is not a table", 'write { USDT = "1000" }')
            return None
        made = {}
        for name, item in value.items():
            if not re.fullmatch(CURRENCY, name):
                self.find((*at, name), "is not a currency", "capitals and digits, such as USDT")
            made[name] = self._amount((*at, name), item) or Decimal(0)
        return made

    def _amount(self, at: Key, value: Any, *, signed: bool = False) -> Decimal | None:
        """Return an exact amount from an integer or a quoted decimal; positive unless signed."""
        if isinstance(value, Decimal):
            self.find(at, f"{shown(value)} is a float", f'write it in quotes: "{shown(value)}"')
        elif isinstance(value, bool) or not isinstance(value, int | str):
            self.find(at, f"{shown(value, at)} is not an amount", 'write 1000 or "0.5"')
        elif isinstance(value, str) and not _AMOUNT.fullmatch(value):
            self.find(at, f"{shown(value, at)} is not a plain decimal", 'write 1000 or "0.5"')
        elif isinstance(value, int) and not -(10**24) < value < 10**24:
            self.find(at, "has more than 24 digits")
        elif (amount := Decimal(value)) <= 0 and not signed:
            self.find(at, f"{shown(value)} is not above zero")
        else:
            return amount
        return None

    def _reference(self, at: Key, value: Any) -> str | None:
        if not isinstance(value, str) or (value and not is_reference(value)):
            self._refuse_literal(at)
        elif value.startswith("file:") and not value.startswith(("file:/", "file:~")):
            self.find(at, f"{value!r} is a relative path", "write file:/path or file:~/path")
        else:
            return value
        return None

    def _refuse_literal(self, at: Key) -> None:
        self.find(
            at,
            "a secret stands here, or something that looks like one (not shown)",
            "write env:NAME or file:/path instead; if it was a real key, replace it at the venue",
        )

    def _own(self, at: Key, table: Mapping[str, Any], depth: int = 1) -> None:
        """Check a strategy's own keys as far as can be without the strategy."""
        for name, value in table.items():
            self._own_value((*at, name), value, depth)

    def _own_value(self, at: Key, value: Any, depth: int) -> None:
        named = [part for part in at[2:] if isinstance(part, str)]
        if depth > OWN_DEPTH_MAX:
            self.find(at, f"nested more than {OWN_DEPTH_MAX} deep")
        elif isinstance(value, dict):
            self._own(at, value, depth + 1)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._own_value((*at, index), item, depth + 1)
        elif isinstance(value, str):
            secret = any(map(is_secret_name, named)) and not is_reference(value)
            if secret or looks_like_secret(value):
                self._refuse_literal(at)
        elif isinstance(value, Decimal):
            if not _bounded(value):
                self.find(at, f"{shown(value)} is not a number of at most {EXPONENT_MAX} digits")
        elif isinstance(value, int):
            if not -(1 << 63) <= value < 1 << 63:
                self.find(at, "does not fit 64 bits")
        else:
            remedy = "write it as text in quotes"
            self.find(at, f"{shown(value)}: dates and times have no meaning here", remedy)

    def _unknown(
        self, at: Key, raw: Mapping[str, Any], kind: type[Any], hidden: tuple[str, ...] = ()
    ) -> None:
        known = [f.name for f in msgspec.structs.fields(kind) if f.name not in hidden]
        for name, value in raw.items():
            if name not in known:
                what = "table" if isinstance(value, dict) else "key"
                self.find((*at, name), f"unknown {what}", near(name, known))


def _absolute(folder: Path, text: str) -> str:
    """Return a path of a config as counted from its folder; an unknown user's stays as it is."""
    try:
        return str(folder / Path(text).expanduser())
    except RuntimeError:
        return str(folder / text)


def _struct_in(kind: Any) -> type[Any] | None:
    """Return the Struct that a field's type is, or may be; None for other types."""
    if typing.get_origin(kind) in (dict, tuple):
        return None
    for one in typing.get_args(kind) or (kind,):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            return one
    return None


def _choices_in(kind: Any) -> Any:
    """Return the Literal that a list's items are of; None for other types."""
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    items = typing.get_args(kind) if typing.get_origin(kind) is tuple else ()
    return items[0] if items and typing.get_origin(items[0]) is typing.Literal else None


def _exact(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond reason
        return Decimal("NaN")


def _bounded(value: Decimal) -> bool:
    if not value.is_finite():
        return False
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and abs(exponent) <= EXPONENT_MAX >= value.adjusted()
