"""Sockets, HTTP, reconnection, rate limits and clock sync. Knows no venue."""
