"""Checkpoints: their sources, their recipes, and the cache that keeps the made ones."""
