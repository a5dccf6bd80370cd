"""Parameter spaces: what a sweep tries, as its file says it, and how sets are drawn from it.

```
[space.strategies.maker]
half = [0.5, 1.0, 1.5]                          # these
skew = { from = 0.1, to = 0.5, step = 0.1 }     # from .. to, both included
qty = { from = 1, to = 1000, count = 4, log = true }  # 1, 10, 100, 1000
rest_ms = { from = 0, to = 500 }                # anything between: for random and tpe
levels = { values = [2, 3], when = { mode = ["deep"] } }  # only where mode is "deep"
```

A set is a dict from path (`strategies.maker.half`) to value; a parameter whose condition does not
hold is not in it, and the config's own value stands. Numbers with a point are Decimals, exact.

Numbers that a range makes up have as many decimals as its ends, at least FIGURES significant
digits, and never more decimals than the strategy can keep of that key (`fit`).
"""

import itertools
import random
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from alephtx.core.config_words import near, shown
from alephtx.core.errors import ConfigError

Value = bool | int | Decimal | str
Set = dict[str, Value]

VALUES_MAX = 100_000
FIGURES = 4
"""Significant digits that a number made up has at least, where the strategy can keep them."""
DIGITS = 24
"""Significant digits that it has at most: Decimal reckons with 28."""
_KEYS = ["values", "from", "to", "step", "count", "log", "when"]


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One axis. values: the points, empty where anything between low and high may be drawn.

    count: of points that are spread over a range. kept: decimals that the strategy can keep, None
    where it does not say. when: (path, values) that must hold of parameters stated before.
    """

    path: str
    values: tuple[Value, ...] = ()
    low: int | Decimal = 0
    high: int | Decimal = 0
    log: bool = False
    count: int = 0
    kept: int | None = None
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    def applies(self, chosen: Mapping[str, Value]) -> bool:
        """Say whether the parameter's conditions hold."""
        return all(path in chosen and chosen[path] in allowed for path, allowed in self.when)

    def typed(self, told: bool | int | str) -> Value:
        """Return a value that was written down as text in the type that the space has."""
        if not isinstance(told, str) or (self.values and isinstance(self.values[0], str)):
            return told
        return Decimal(told)

    def at(self, share: float) -> Value:
        """Return the value a share (0 to 1) of the way, for those without points."""
        low, high = self.low, self.high
        if self.log:
            return self.near(low * (Decimal(high) / Decimal(low)) ** Decimal(share))
        return self.near(low + (Decimal(high) - Decimal(low)) * Decimal(share))

    def near(self, value: Decimal) -> Value:
        """Return the number nearest to a value that the range may make up."""
        low, high = self.low, self.high
        if isinstance(low, int) and isinstance(high, int):
            return min(max(int(value.to_integral_value()), low), high)
        size = value.adjusted() if value else 0
        decimals = max(decimals_of(low), decimals_of(high), FIGURES - 1 - size)
        if self.kept is not None:
            decimals = min(decimals, self.kept)
        cut = value.quantize(Decimal(1).scaleb(-min(decimals, DIGITS - size)))
        return min(max(Decimal(f"{cut:f}"), Decimal(low)), Decimal(high))

    def spread(self) -> tuple[Value, ...]:
        """Return `count` points from low to high, each once."""
        return tuple(dict.fromkeys(self.at(k / (self.count - 1)) for k in range(self.count)))


class Space(msgspec.Struct, frozen=True):
    """The axes of a sweep, in the order of its file: conditions look back."""

    parameters: tuple[Parameter, ...]

    def grid(self) -> Iterator[Set]:
        """Yield every set once; ConfigError for an axis without points."""
        for parameter in self.parameters:
            if not parameter.values:
                raise ConfigError(
                    f"space: {parameter.path} has no step, and a grid needs one",
                    remedy='give step or count, or search = "random"',
                )
        yield from self._below(0, {})

    def _below(self, depth: int, chosen: Set) -> Iterator[Set]:
        if depth == len(self.parameters):
            yield chosen
            return
        parameter = self.parameters[depth]
        if not parameter.applies(chosen):
            yield from self._below(depth + 1, chosen)
            return
        for value in parameter.values:
            yield from self._below(depth + 1, {**chosen, parameter.path: value})

    def draw(self, count: int, seed: int) -> list[Set]:
        """Return up to `count` different random sets; the same seed gives the same."""
        dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
        found: list[Set] = []
        for _ in range(20 * count):
            chosen: Set = {}
            for parameter in self.parameters:
                if not parameter.applies(chosen):
                    continue
                if parameter.values:
                    chosen[parameter.path] = dice.choice(parameter.values)
                else:
                    chosen[parameter.path] = parameter.at(dice.random())
            if chosen not in found:
                found.append(chosen)
            if len(found) == count:
                break
        return found


def decimals_of(value: int | Decimal) -> int:
    """Return how many decimals a number was written with."""
    return max(0, -int(value.as_tuple().exponent)) if isinstance(value, Decimal) else 0


def fit(space: Space, kept: Mapping[str, int]) -> Space:
    """Return a space whose ranges make up only numbers that strategies can keep.

    kept: path -> decimals; a path that is not in it takes any. ConfigError names a range whose own
    ends or step are too fine.
    """
    made = []
    for parameter in space.parameters:
        most = kept.get(parameter.path)
        if most is None or parameter.low == parameter.high:  # a list is as it was written
            made.append(parameter)
            continue
        points = (parameter.low, parameter.high, *(() if parameter.count else parameter.values[:2]))
        for value in points:
            if isinstance(value, Decimal) and value != round(value, most):
                raise _wrong(
                    parameter.path,
                    f"{value} has more decimals than the strategy can keep ({most})",
                    f"write from, to and step with at most {most} decimals",
                )
        fitted = msgspec.structs.replace(parameter, kept=most)
        if parameter.count:
            fitted = msgspec.structs.replace(fitted, values=fitted.spread())
        made.append(fitted)
    return Space(tuple(made))


def read_space(table: Any) -> Space:
    """Return the space that [space] of a sweep file says; ConfigError names what is wrong."""
    if not isinstance(table, dict) or not isinstance(table.get("strategies"), dict):
        raise ConfigError("space is empty", remedy="add [space.strategies.NAME] with what to try")
    if odd := sorted(set(table) - {"strategies"}):
        raise ConfigError(
            f"space.{odd[0]}: only parameters of strategies can be swept",
            remedy="write [space.strategies.NAME]",
        )
    made: list[Parameter] = []
    for name, keys in table["strategies"].items():
        if not isinstance(keys, dict) or not keys:
            raise ConfigError(f"space.strategies.{name} is empty", remedy="name what to try")
        for key, given in keys.items():
            above = {p.path: p for p in made if p.path.startswith(f"strategies.{name}.")}
            made.append(_parameter(f"strategies.{name}.{key}", given, above))
    if not made:
        raise ConfigError("space is empty", remedy="add [space.strategies.NAME] with what to try")
    return Space(tuple(made))


def _parameter(path: str, given: Any, above: Mapping[str, Parameter]) -> Parameter:
    if path.rpartition(".")[2] in ("use", "instruments", "accounts"):
        raise _wrong(path, "cannot be swept", "lanes of one pass share the market: make two sweeps")
    if isinstance(given, list):
        return Parameter(path=path, values=_values(path, given))
    if not isinstance(given, dict):
        raise _wrong(
            path, f"is {shown(given)}", "write [1, 2, 3] or { from = 1, to = 3, step = 1 }"
        )
    for key in given:
        if key not in _KEYS:
            raise _wrong(f"{path}.{key}", "unknown key", near(key, _KEYS))
    when = _conditions(path, given.get("when", {}), above)
    if "values" in given:
        if beside := sorted(set(given) - {"values", "when"}):
            raise _wrong(path, f"values stand beside {beside[0]}", "keep one")
        return Parameter(path=path, values=_values(path, given["values"]), when=when)
    return _range(path, given, when)


def _values(path: str, given: Any) -> tuple[Value, ...]:
    if not isinstance(given, list) or not given:
        raise _wrong(path, "no values", "write at least one, such as [1, 2]")
    for value in given:
        if not isinstance(value, bool | int | Decimal | str):
            raise _wrong(path, f"{shown(value)} is no single value", "numbers, text, true, false")
    if len({type(v) is bool for v in given}) > 1 or len({isinstance(v, str) for v in given}) > 1:
        raise _wrong(path, "values of several kinds", "numbers, or texts, or true and false")
    if len(set(given)) < len(given):
        raise _wrong(path, "a value is listed twice", "list each once")
    return tuple(given)


def _range(path: str, given: Mapping[str, Any], when: Any) -> Parameter:
    """Read from, to and step or count."""
    low, high = (_number(path, given, name) for name in ("from", "to"))
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise _wrong(f"{path}.log", f"is {shown(log)}", "true or false")
    if not low < high:
        raise _wrong(path, f"from {low} is not below to {high}", "swap them")
    if log and low <= 0:
        raise _wrong(path, f"from {low} is not above 0, and a log range needs that", "raise it")
    open_ended = Parameter(path=path, low=low, high=high, log=log, when=when)
    if "step" in given and ("count" in given or log):
        raise _wrong(path, "step stands beside count or log", "a log range takes count")
    if "step" in given:
        step = _number(path, given, "step")
        if step <= 0:
            raise _wrong(f"{path}.step", f"{step} is not above 0", "raise it")
        count = int((high - low) // step) + 1
        if count > VALUES_MAX:
            raise _wrong(path, f"{count} values; at most {VALUES_MAX}", "take a larger step")
        points: list[Value] = [low + k * step for k in range(count)]
        return msgspec.structs.replace(open_ended, values=tuple(points))
    if "count" not in given:
        return open_ended
    count = given["count"]
    if isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= VALUES_MAX:
        raise _wrong(f"{path}.count", f"is {shown(count)}", f"an integer from 2 to {VALUES_MAX}")
    spaced = msgspec.structs.replace(open_ended, count=count)
    return msgspec.structs.replace(spaced, values=spaced.spread())


def _number(path: str, given: Mapping[str, Any], name: str) -> int | Decimal:
    value = given.get(name)
    if name not in given:
        raise _wrong(path, f"{name} is missing", "write { from = 1, to = 3, step = 1 }")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _wrong(f"{path}.{name}", f"{shown(value)} is not a number", "write 1 or 0.5")
    if isinstance(value, Decimal) and not value.is_finite():
        raise _wrong(f"{path}.{name}", f"{value} is not finite", "write 1 or 0.5")
    return value


def _conditions(
    path: str, given: Any, above: Mapping[str, Parameter]
) -> tuple[tuple[str, tuple[Value, ...]], ...]:
    if not isinstance(given, dict):
        raise _wrong(f"{path}.when", f"is {shown(given)}", 'write { mode = ["deep"] }')
    made = []
    for key, allowed in given.items():
        other = f"{path.rpartition('.')[0]}.{key}"
        if other not in above:
            known = [name.rpartition(".")[2] for name in above]
            raise _wrong(f"{path}.when.{key}", "is no parameter stated before", near(key, known))
        wanted = _values(f"{path}.when.{key}", allowed)
        points = above[other].values
        if points and not set(wanted) & set(points):
            raise _wrong(f"{path}.when.{key}", "never holds", f"{other} is one of {points}")
        made.append((other, wanted))
    return tuple(made)


def _wrong(path: str, said: str, remedy: str) -> ConfigError:
    return ConfigError(f"space: {path}: {said}", remedy=remedy)


def listed(space: Space, most: int) -> list[Set]:
    """Return the whole grid; ConfigError when it has more than `most` sets."""
    sets = list(itertools.islice(space.grid(), most + 1))
    if len(sets) > most:
        raise ConfigError(
            f"space: more than {most} sets", remedy='take fewer values, or search = "random"'
        )
    return sets
