"""The words: records, instruments, units, clock, errors, config, plugins, ports, kernel door."""
