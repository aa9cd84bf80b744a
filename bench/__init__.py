"""Benchmarks, side by side in one run; and the real server they and the tests start."""
