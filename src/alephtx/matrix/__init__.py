"""The water: shared memory, rings, books and the journal; every hot part compiled."""
