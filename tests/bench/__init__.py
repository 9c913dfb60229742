"""Benchmarks: each figure with its yardstick, run in the same minutes, as a ratio. ``make bench`` prints JSON."""
