"""The only room that composes stations: step, loop, session, recovery and supervisor."""
