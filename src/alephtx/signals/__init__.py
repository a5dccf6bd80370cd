"""Signals: named numbers about a market, one file each, that a compiled strategy can call.

A module offers its kernels over plain arrays, `fields(count)` for the STATE of whoever calls them,
and, as a plugin, PARAMS, STATE, NEEDS, `config_to_params`, `warmup_ns` and `on_event`, which
returns the number after an event. NaN is how a signal says that it is not ready, or that there is
no market to speak of. Only + - * / and the square root are used, and `elementary` for exp and log,
so compiled and plain runs agree in every bit.
"""
