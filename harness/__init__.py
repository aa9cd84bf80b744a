"""The real server that tests and benchmarks start, and what both look for in its processes."""
