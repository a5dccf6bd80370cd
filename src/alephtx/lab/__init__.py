"""Experiments on backtests: parameter spaces, sweeps, walk-forward, and what is luck in them."""
