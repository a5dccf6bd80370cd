"""A sweep file: which backtest, which parameters, how they are searched and judged.

config = "maker.toml"        # with a [backtest] table; relative to this file
search = "grid"              # grid, random, tpe
objective = "net"            # net, sharpe, deflated_sharpe
[space.strategies.maker]     # see lab.space
half = [0.5, 1.0, 1.5]
[walk]                       # optional, see lab.walk
train_s = 3600
test_s = 600
"""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from alephtx.core.config import load_config
from alephtx.core.config_schema import Config
from alephtx.core.config_words import near, plainly
from alephtx.core.errors import ConfigError
from alephtx.lab.space import Set, Space, read_space

SETS_MAX = 100_000


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """[walk]: train, leave a gap, test, move on by test_s. Whole seconds of market time.

    purge_s: the gap, the horizon of what is learnt, so that none of it reaches into the test.
    embargo_s: what later trainings leave out behind each test before them, see `lab.walk`.
    anchored: training begins where the data does, and grows.
    """

    train_s: Annotated[int, Meta(ge=1)]
    test_s: Annotated[int, Meta(ge=1)]
    purge_s: Annotated[int, Meta(ge=0)] = 0
    embargo_s: Annotated[int, Meta(ge=0)] = 0
    anchored: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """See the module. trials: of random and tpe. lanes: sets that share a pass of the market.

    period_s: of the P&L values that ratios are made of.
    """

    config: str
    space: dict[str, Any] = {}
    search: Literal["grid", "random", "tpe"] = "grid"
    objective: Literal["net", "sharpe", "deflated_sharpe"] = "net"
    trials: Annotated[int, Meta(ge=1, le=SETS_MAX)] = 100
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 1
    lanes: Annotated[int, Meta(ge=1, le=256)] = 16
    period_s: Annotated[int, Meta(ge=1, le=86_400 * 31)] = 60
    walk: Walk | None = None


class Sweep(msgspec.Struct, frozen=True):
    """A plan with what it names: the backtest's config and the space."""

    name: str
    plan: Plan
    config: Config
    space: Space


def load_sweep(path: Path) -> Sweep:
    """Read and check a sweep file and the config that it names; ConfigError says what is wrong."""
    try:
        raw = tomllib.loads(path.read_bytes().decode(), parse_float=Decimal)
    except OSError as error:
        raise ConfigError(f"sweep file {path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"sweep file {path}: not TOML: {error}") from None
    _known(path, "", raw, Plan)
    if isinstance(raw.get("walk"), dict):
        _known(path, "walk.", raw["walk"], Walk)
    try:
        plan = msgspec.convert(raw, Plan)
    except msgspec.ValidationError as error:
        where = str(error).partition(" - at `$.")[2].rstrip("`")
        said = plainly(str(error))[1]
        raise ConfigError(f"{path}: {where}: {said}" if where else f"{path}: {said}") from None
    space = read_space(plan.space)
    config = load_config(path.absolute().parent / plan.config, mode="paper")
    if config.backtest is None:
        raise ConfigError(
            f"{plan.config} has no [backtest]", remedy="say there what to replay: docs/backtest.md"
        )
    _check_paths(space, config)
    return Sweep(path.stem, plan, config, space)


def _known(path: Path, above: str, raw: dict[str, Any], kind: type[Any]) -> None:
    known = [field.name for field in msgspec.structs.fields(kind)]
    for name in raw:
        if name not in known:
            raise ConfigError(f"{path}: {above}{name}: unknown key", remedy=near(name, known))


def _check_paths(space: Space, config: Config) -> None:
    """Refuse a parameter that the config does not state: a typo would be swept without effect."""
    for parameter in space.parameters:
        _, name, key = parameter.path.split(".", 2)
        if name not in config.strategies:
            raise ConfigError(
                f"space.strategies.{name}: the config has no such strategy",
                remedy=near(name, list(config.strategies)),
            )
        own = config.strategies[name].own
        if key not in own:
            close = near(key, list(own))
            raise ConfigError(
                f"space: {parameter.path}: the config does not state it",
                remedy=f"{close}; or write its plain value there first",
            )


def with_set(config: Config, chosen: Set) -> Config:
    """Return the config with a set's values in the place of its own."""
    strategies = dict(config.strategies)
    for path, value in chosen.items():
        _, name, key = path.split(".", 2)
        own = {**strategies[name].own, key: value}
        strategies[name] = msgspec.structs.replace(strategies[name], own=own)
    return msgspec.structs.replace(config, strategies=strategies)
