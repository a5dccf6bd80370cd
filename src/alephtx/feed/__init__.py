"""The feeder: links and snapshots of one venue become books, tops and rings in the matrix."""
