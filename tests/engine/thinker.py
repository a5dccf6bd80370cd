"""The quoter again, as plain Python that Numba would not take: it keeps what it hears in lists."""

from tests.engine import quoter
from tests.engine.quoter import NEEDS, PARAMS, STATE, config_to_params, on_start, on_stop, on_timer

__all__ = ["NEEDS", "PARAMS", "STATE", "config_to_params", "on_start", "on_stop", "on_timer"]

COMPILED = False
heard = []


def on_event(event, view, params, state, intents):
    heard.append(("event", int(event[0]["kind"]), int(view.now[1])))
    if params[0]["qty"] == 13:
        raise ValueError("thirteen")
    return quoter.on_event(event, view, params, state, intents)


def on_update(update, view, params, state, intents):
    heard.append(("update", int(update[0]["kind"]), int(update[0]["order_status"])))
    return quoter.on_update(update, view, params, state, intents)
