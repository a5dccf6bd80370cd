"""Strategies that read the future on purpose."""
