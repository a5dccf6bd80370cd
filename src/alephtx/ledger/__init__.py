"""Fills to positions and money: the compiled position kernel, and the double-entry ledger."""
