"""The words: records, instruments, units, clock, errors, config, plugins, ports and the kernel door."""
