"""Measures the router beside others: `python -m tools.bench_router`."""
