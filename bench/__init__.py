"""Benchmarks: what the system costs, as ratios measured in one run beside the limit and the peers."""
