"""Venue simulators on loopback that speak the real wire, written from the venues' documents."""
