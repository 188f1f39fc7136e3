"""The conclusion table: which runs are in it, and where each number comes from."""
