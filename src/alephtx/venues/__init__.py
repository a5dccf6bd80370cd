"""One file per wire dialect: bytes in, rows out, and back. No sockets, clocks or order state."""
