"""A recorded session beside its replay: what differs, and why. See `alephtx.cli.diff`."""
