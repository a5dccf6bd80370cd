"""A seeded world: the whole stack in virtual time."""
