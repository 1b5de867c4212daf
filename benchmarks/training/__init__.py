"""The training benchmark; benchmarks/bench.py is its door."""
