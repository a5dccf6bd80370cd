"""The gate: what no order may pass by. One file per rule."""
