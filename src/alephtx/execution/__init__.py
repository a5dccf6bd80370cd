"""Orders: their state, their open exposure, and the way to the venue."""
