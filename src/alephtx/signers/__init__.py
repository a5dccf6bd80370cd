"""One file per signature scheme: keys in, signatures out, and no secret ever shown."""
