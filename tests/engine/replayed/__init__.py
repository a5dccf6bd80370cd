"""Strategies that tests replay; each is a file as a user would write it."""
