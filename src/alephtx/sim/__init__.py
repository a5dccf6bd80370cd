"""The river in a bottle: matching, latency and replay without a venue."""
