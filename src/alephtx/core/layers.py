"""Execution layers: how fast a strategy means to be, and what of its way is measured.

L0: received and sent by the compiled loop itself, the direct path. L1: compiled, between a feeder
and the gateway. L2: Python. A strategy's module says in NEEDS which it was made for, its section of
the config may say otherwise. A budget is for one order, from the receive stamp of what caused it to
its bytes' way into the kernel.
"""

from alephtx.core.config_schema import Strategy
from alephtx.core.errors import ConfigError
from alephtx.core.view import Needs

LAYERS = ("L0", "L1", "L2")

BUDGETS_NS = (50_000, 2_000_000, 100_000_000)
"""What an order of each layer may take where nobody says otherwise."""

BUDGET_MAX_US = 60_000_000

STAGES = ("strategy", "decide", "send", "order")
"""What is measured: a strategy's own function; from the receive stamp until an order is decided,
journaled and handed over; from then until its bytes are the kernel's; and from the receive stamp
until then."""

STAGE_STRATEGY, STAGE_DECIDE, STAGE_SEND, STAGE_ORDER = range(4)


def layer_of(name: str, section: Strategy, needs: Needs, *, compiled: bool) -> tuple[int, int]:
    """Return a strategy's layer, 0 to 2, and its budget in ns; ConfigError for what cannot be."""
    if section.path == "direct" and not compiled:
        raise ConfigError(
            f"strategies.{name}: path = direct is the compiled loop's, and {section.use} says"
            " COMPILED = False",
            remedy="set path = split, or compile it",
        )
    usual = "L2" if not compiled else "L0" if section.path == "direct" else "L1"
    said = needs.layer if section.layer == "auto" else section.layer
    layer = said or usual
    if layer not in LAYERS:
        raise ConfigError(
            f"strategy {name}: NEEDS.layer = {layer!r} is no layer",
            remedy=f"one of {', '.join(LAYERS)}",
        )
    if layer != "L2" and not compiled:
        raise ConfigError(
            f"strategy {name} wants layer {layer}, and {section.use} says COMPILED = False",
            remedy=f'set strategies.{name}.layer = "L2", or compile it',
        )
    if layer == "L0" and section.path != "direct":
        raise ConfigError(
            f"strategy {name} wants layer L0, and its path is {section.path}",
            remedy=f'set strategies.{name}.path = "direct", or layer = "L1"',
        )
    budget_us = section.budget_us or needs.budget_us
    if type(budget_us) is not int or not 0 <= budget_us <= BUDGET_MAX_US:
        raise ConfigError(
            f"strategy {name}: NEEDS.budget_us = {budget_us!r} is no budget",
            remedy=f"whole microseconds, 1 to {BUDGET_MAX_US}",
        )
    index = LAYERS.index(layer)
    return index, budget_us * 1_000 or BUDGETS_NS[index]
