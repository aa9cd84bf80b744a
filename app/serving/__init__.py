"""The engine that serves: how it is loaded, and exchanged for another."""
