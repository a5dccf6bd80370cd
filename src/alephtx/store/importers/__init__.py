"""Importers: one foreign format a file, from its rows to EVENT rows."""
