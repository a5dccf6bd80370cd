"""Strategies: one module of plain functions each; see docs/add-a-strategy.md."""
