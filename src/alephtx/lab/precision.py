"""What strategies can keep of the numbers that a sweep makes up, asked of themselves.

`requote_bps` is kept as a whole number of 10^-8, so that 1.23456 of it is refused; what is drawn
must not be finer. Strategies that read their section through `strategies.sections` tell it.
"""

from contextlib import suppress

from alephtx.core.config_schema import Config
from alephtx.core.instruments import Instruments
from alephtx.engine.assemble import load_strategy_module
from alephtx.lab.plan import with_set
from alephtx.lab.space import Parameter, Set, Space, Value
from alephtx.strategies.sections import noting


def kept_decimals(config: Config, space: Space, instruments: Instruments) -> dict[str, int]:
    """Return the decimals that can be kept of each parameter; those of which nobody says are out.

    Each is asked for by reading the section once with it in place, as its conditions want it.
    """
    modules = {
        name: load_strategy_module(section, config.node.plugins)
        for name, section in config.strategies.items()
    }
    found: dict[str, int] = {}
    for parameter in space.parameters:
        _, name, key = parameter.path.split(".", 2)
        section = with_set(config, _with(space, parameter)).strategies[name].section
        with noting() as kept, suppress(Exception):  # a set of its own says what it has wrong
            modules[name].config_to_params(section, instruments)
        if key in kept:
            found[parameter.path] = kept[key]
    return found


def _with(space: Space, parameter: Parameter) -> Set:
    """Return a set in which a parameter applies."""
    axes = {one.path: one for one in space.parameters}
    chosen: Set = {}

    def settle(one: Parameter, value: Value) -> None:
        for path, allowed in one.when:
            points = axes[path].values or allowed
            settle(axes[path], next(v for v in allowed if v in points))
        chosen[one.path] = value

    settle(parameter, parameter.values[0] if parameter.values else parameter.low)
    return chosen
