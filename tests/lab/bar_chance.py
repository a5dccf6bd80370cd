"""A bar strategy that trades as its parameters' arithmetic says: long, short, turns and pauses."""

import numpy as np

COMPILED = True
PARAMS = np.dtype([("a", "i8"), ("b", "i8"), ("span", "i8"), ("size", "i8"), ("every", "i8")])
STATE = np.dtype([("word", "i8")])


def config_to_params(section, instruments):
    row = np.zeros(1, PARAMS)
    for name in PARAMS.names:
        row[name] = section[name]
    return row


def on_bar(bars, k, position, params, state):
    word = (state[0]["word"] * 31 + bars[k]["close"] * params[0]["a"] + params[0]["b"]) % 1_000_003
    state[0]["word"] = word
    if word % params[0]["every"] != 0:
        return position
    return (word % (2 * params[0]["span"] + 1) - params[0]["span"]) * params[0]["size"]
