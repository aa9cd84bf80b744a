"""The commands of `marlinscribe`, one module each."""
