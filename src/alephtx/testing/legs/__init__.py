"""Two-legged trades under every interleaving of what venues may do; see docs/leg-safety.md."""
